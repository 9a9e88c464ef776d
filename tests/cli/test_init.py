"""`wgaudit init`: what it writes can be read, says what was asked for, and never replaces a file unasked."""

from __future__ import annotations

import tomllib
from pathlib import Path

from auditor.settings.file import Config, load_config
from tests.cli.command import one_line, wgaudit


def test_without_options_it_writes_the_defaults(tmp_path: Path) -> None:
    done = wgaudit("init", "--yes", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    written = load_config(tmp_path / "wgaudit.toml")
    assert written.model_dump(exclude={"state", "ssh"}) == Config().model_dump(exclude={"state", "ssh"})
    assert written.ssh.model_dump(exclude={"known_hosts", "config_file"}) == Config().ssh.model_dump(
        exclude={"known_hosts", "config_file"}
    )


def test_options_stand_in_the_file(tmp_path: Path) -> None:
    pattern = r'^"?[a-z]+-(?P<region>\w{3})-'
    done = wgaudit(
        *("init", "--yes", "--consul-url", "https://consul.example:8501", "--datacenter", "dc1"),
        *(
            "--datacenter",
            "dc2",
            "--pool",
            "10.0.0.0/8",
            "--pool",
            "fdaa::/16",
            "--sudo",
            "--ssh-port",
            "2222",
        ),
        *(
            "--token-file",
            "/etc/wgaudit/tökén",
            "--name-pattern",
            pattern,
            "--ssh-host",
            "{node}.example.net",
        ),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    config = load_config(tmp_path / "wgaudit.toml")
    assert config.consul.url == "https://consul.example:8501"
    assert config.consul.datacenters == ("dc1", "dc2")
    assert config.consul.token_file == Path("/etc/wgaudit/tökén")
    assert config.mesh.pools == ("10.0.0.0/8", "fdaa::/16")
    assert config.ssh.sudo is True
    assert config.ssh.port == 2222
    assert config.ssh.host == "{node}.example.net"
    assert config.regions.name_pattern == pattern


def test_every_setting_in_it_has_a_comment_or_speaks_for_itself(tmp_path: Path) -> None:
    wgaudit("init", "--yes", folder=tmp_path)
    text = (tmp_path / "wgaudit.toml").read_text()
    assert text.startswith("#")
    assert text.count("\n# ") >= 12
    assert set(tomllib.loads(text)) == {"consul", "ssh", "mesh", "regions", "coverage"}


def test_it_does_not_replace_a_file(tmp_path: Path) -> None:
    (tmp_path / "wgaudit.toml").write_text("precious")
    done = wgaudit("init", "--yes", folder=tmp_path)
    assert done.returncode == 2
    assert "--force replaces it" in one_line(done.stderr)
    assert (tmp_path / "wgaudit.toml").read_text() == "precious"


def test_it_refuses_an_answer_that_it_could_not_read_back(tmp_path: Path) -> None:
    done = wgaudit("init", "--yes", "--pool", "10.0.0.1/8", folder=tmp_path)
    assert done.returncode == 2
    assert "mesh.pools" in one_line(done.stderr)
    assert "host bits" in done.stderr
    assert not (tmp_path / "wgaudit.toml").exists()


def test_where_stdin_is_no_terminal_it_asks_nothing(tmp_path: Path) -> None:
    done = wgaudit("init", folder=tmp_path, text="")
    assert done.returncode == 0
    assert (tmp_path / "wgaudit.toml").exists()
