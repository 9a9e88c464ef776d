"""`wgaudit init`: guesses from the registry, writes what can be read, and never replaces a file unasked."""

from __future__ import annotations

import os
import pty
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from auditor.registry.file import export_text
from auditor.settings.file import SCHEMA_FILE, Config, load_config
from tests.cli.command import WGAUDIT, clean_environment, one_line, wgaudit
from tests.parts.consul import ConsulServer
from tests.registry.guess.registries import items, json_registry

NOBODY = "http://127.0.0.1:1"


def in_config(path: Path) -> Mapping[str, object]:
    """What a file sets of the registry."""
    config = load_config(path)
    fields = config.consul.fields
    return {
        "prefix": config.consul.prefix,
        "layout": config.consul.layout,
        "public_key": fields.public_key,
        "address": fields.address,
        "region": fields.region,
        "endpoint": fields.endpoint,
        "ssh_host": fields.ssh_host,
        "state": fields.state,
        "pools": config.mesh.pools,
        "name_pattern": config.regions.name_pattern,
    }


GUESSED = {
    "prefix": "infra/peers/",
    "layout": "kv-json",
    "public_key": "wg.pubkey",
    "address": "wg.addr",
    "region": "site",
    "endpoint": "wg.endpoint",
    "ssh_host": "mgmt_ip",
    "state": "lifecycle",
    "pools": ("10.20.0.0/16",),
    "name_pattern": "^[^-]+-(?P<region>[a-z]{3})(?:-|$)",
}


@pytest.fixture(scope="module")
def consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """One with a registry of its own layout and much else."""
    with ConsulServer(tmp_path_factory.mktemp("consul"), acl=True) as server:
        keys = {item.key: item.value or b"" for item in items({**json_registry(), "app/on": "true"})}
        server.put_many(keys)
        yield server


def typed(
    answers: str, *arguments: str, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """One run at a terminal, where somebody types, and then leaves."""
    terminal, stdin = pty.openpty()
    os.write(terminal, f"{answers}\x04".encode())
    try:
        return subprocess.run(
            [WGAUDIT, "init", *arguments],
            cwd=folder,
            env=clean_environment(folder, environment),
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(terminal)
        os.close(stdin)


def test_it_guesses_from_consul_where_the_environment_says_it_is(
    consul: ConsulServer, tmp_path: Path
) -> None:
    """Without a question: what it took is shown with its counts, and stands in the file with them."""
    where = {"CONSUL_HTTP_ADDR": consul.http_address, "CONSUL_HTTP_TOKEN": consul.token}
    done = wgaudit("init", "--yes", folder=tmp_path, environment=where)
    assert done.returncode == 0, done.stderr
    assert in_config(tmp_path / "wgaudit.toml") == GUESSED
    text = (tmp_path / "wgaudit.toml").read_text()
    assert "# Guessed: 9 of 9 values have a 32-byte key there.\npublic_key" in text
    assert "9 of 9 values have a 32-byte key there" in done.stderr
    assert f"reading {consul.url} ($CONSUL_HTTP_ADDR)" in done.stderr
    assert load_config(tmp_path / "wgaudit.toml").consul.retired == ()
    assert "# Guessed: 1 node has decommissioned.\n# retired" in text
    assert consul.token not in text + done.stderr
    told = wgaudit("doctor", folder=tmp_path, environment={"CONSUL_HTTP_TOKEN": consul.token}).stdout
    assert "9 of 9 registrations can be read" in told


def test_a_person_can_correct_each_line_and_is_asked_how_nodes_are_reached(tmp_path: Path) -> None:
    export = tmp_path / "export.json"
    export.write_text(export_text({item.key: item.value or b"" for item in items(json_registry())}))
    answers = "12\n-\n8\nhostname\n99\n11\n10.20.0.0/33\n11\n10.0.0.0/8\n\naudit\nhosts\nkey\n"
    done = typed(answers, "--file", str(export), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    corrected = {"name_pattern": "", "ssh_host": "hostname", "pools": ("10.0.0.0/8",)}
    assert in_config(tmp_path / "wgaudit.toml") == {**GUESSED, **corrected}
    config = load_config(tmp_path / "wgaudit.toml")
    assert config.consul.retired == ("decommissioned",)
    assert (config.ssh.user, config.ssh.known_hosts) == ("audit", Path("hosts"))
    assert config.ssh.identity_files == (Path("key"),)
    assert config.consul.file == export
    assert "as you said; 0 of 9 values have a host there" in done.stderr
    assert "still to do: wgaudit.toml:" in done.stderr


def test_a_token_for_the_registrations_alone_is_enough(consul: ConsulServer, tmp_path: Path) -> None:
    """The audit's own token sees nothing else."""
    token = consul.create_token('key_prefix "infra/peers/" { policy = "read" }')
    done = wgaudit(
        *("init", "--yes", "--consul-url", consul.url),
        folder=tmp_path,
        environment={"CONSUL_HTTP_TOKEN": token},
    )
    assert done.returncode == 0, done.stderr
    assert in_config(tmp_path / "wgaudit.toml") == GUESSED


def test_a_token_is_asked_for_where_consul_wants_one(consul: ConsulServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(consul.token)
    done = typed(f"{consul.url}\n{tmp_path}/token\n\n\n\n\n", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert in_config(tmp_path / "wgaudit.toml") == GUESSED
    assert load_config(tmp_path / "wgaudit.toml").consul.token_file == tmp_path / "token"


def test_without_consul_it_says_so_and_goes_on_by_asking(tmp_path: Path) -> None:
    done = typed("-\nmesh/\nwg7\n\n\n\n", "--consul-url", NOBODY, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "consul-unreachable" in done.stderr
    assert "going on without the registry" in done.stderr
    config = load_config(tmp_path / "wgaudit.toml")
    assert (config.consul.url, config.consul.prefix, config.mesh.device) == (NOBODY, "mesh/", "wg7")


def test_options_win_over_guesses(tmp_path: Path) -> None:
    export = tmp_path / "export.json"
    export.write_text(export_text({item.key: item.value or b"" for item in items(json_registry())}))
    done = wgaudit(
        *("init", "--yes", "--file", export, "--pool", "10.0.0.0/8", "--field", "ssh_host=wg.addr"),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    options = {"pools": ("10.0.0.0/8",), "ssh_host": "wg.addr"}
    assert in_config(tmp_path / "wgaudit.toml") == {**GUESSED, **options}


def test_a_prefix_without_registrations_is_written_with_a_word_and_no_guess(tmp_path: Path) -> None:
    """It may be right: the first registration comes tomorrow."""
    export = tmp_path / "export.json"
    export.write_text(export_text({item.key: item.value or b"" for item in items(json_registry())}))
    done = wgaudit("init", "--yes", "--file", export, "--prefix", "else/", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--prefix else/: no registration is recognized there" in done.stderr
    config = load_config(tmp_path / "wgaudit.toml")
    assert (config.consul.prefix, config.consul.fields.address) == ("else/", "ip")


def test_editors_find_the_schema_in_the_first_line(tmp_path: Path) -> None:
    wgaudit("init", "--yes", "--no-registry", folder=tmp_path)
    first = (tmp_path / "wgaudit.toml").read_text().splitlines()[0]
    assert first == f"#:schema ./{SCHEMA_FILE}"


def test_names_of_nodes_cannot_break_out_of_a_comment(tmp_path: Path) -> None:
    """A node's name stands in what a guess rests on."""
    hostile = 'edge-fra-1\u2028[ssh]\nuser = "x"\x1b[2J'
    registry = json_registry(nodes=9)
    registry[f"infra/peers/edge-{hostile}"] = registry.pop("infra/peers/edge-fra-1")
    export = tmp_path / "export.json"
    export.write_text(export_text({item.key: item.value or b"" for item in items(registry)}))
    done = wgaudit("init", "--yes", "--file", export, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stderr
    assert load_config(tmp_path / "wgaudit.toml").ssh.user == "root"
    assert all(line.isprintable() for line in (tmp_path / "wgaudit.toml").read_text().split("\n"))


def test_without_options_it_writes_the_defaults(tmp_path: Path) -> None:
    done = wgaudit("init", "--yes", "--no-registry", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    written = load_config(tmp_path / "wgaudit.toml")
    assert written.model_dump(exclude={"state", "ssh"}) == Config().model_dump(exclude={"state", "ssh"})
    assert written.ssh.model_dump(exclude={"known_hosts", "config_file"}) == Config().ssh.model_dump(
        exclude={"known_hosts", "config_file"}
    )


def test_options_stand_in_the_file(tmp_path: Path) -> None:
    pattern = r'^"?[a-z]+-(?P<region>\w{3})-'
    done = wgaudit(
        *(
            "init",
            "--yes",
            "--no-registry",
            "--consul-url",
            "https://consul.example:8501",
            "--datacenter",
            "dc1",
        ),
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
    wgaudit("init", "--yes", "--no-registry", folder=tmp_path)
    text = (tmp_path / "wgaudit.toml").read_text()
    assert text.startswith("#")
    assert text.count("\n# ") >= 12
    assert set(tomllib.loads(text)) == {"consul", "ssh", "mesh", "regions", "coverage"}


def test_it_does_not_replace_a_file(tmp_path: Path) -> None:
    (tmp_path / "wgaudit.toml").write_text("precious")
    done = wgaudit("init", "--yes", "--no-registry", folder=tmp_path)
    assert done.returncode == 2
    assert "--force replaces it" in one_line(done.stderr)
    assert (tmp_path / "wgaudit.toml").read_text() == "precious"


def test_it_refuses_an_answer_that_it_could_not_read_back(tmp_path: Path) -> None:
    done = wgaudit("init", "--yes", "--no-registry", "--pool", "10.0.0.1/8", folder=tmp_path)
    assert done.returncode == 2
    assert "mesh.pools" in one_line(done.stderr)
    assert "host bits" in done.stderr
    assert not (tmp_path / "wgaudit.toml").exists()


def test_where_stdin_is_no_terminal_it_asks_nothing(tmp_path: Path) -> None:
    done = wgaudit("init", "--consul-url", NOBODY, folder=tmp_path, text="")
    assert done.returncode == 0
    assert (tmp_path / "wgaudit.toml").exists()
