"""Files with secrets that others may read are named, and no others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor.cli.exposure import exposed
from auditor.settings.file import Config, parse_config
from tests.cli.command import wgaudit
from tests.parts import require

URL = "https://hooks.example/services/T0/B0/secret"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def secret(folder: Path, name: str, mode: int) -> Path:
    """A file of this mode."""
    path = folder / name
    path.write_text("1234\n")
    path.chmod(mode)
    return path


def token_in(path: Path) -> Config:
    """A configuration with its token in that file."""
    return parse_config({"consul": {"token_file": str(path)}}, "test")


@pytest.mark.parametrize(
    ("mode", "who"), [(0o644, "everybody here"), (0o640, "its group"), (0o604, "everybody here")]
)
def test_a_token_file_that_others_may_read_is_named_with_its_mode(folder: Path, mode: int, who: str) -> None:
    path = secret(folder, "token", mode)
    assert exposed(token_in(path), None) == (
        f"{path}: {who} may read it (mode {mode:04o}), and it holds consul.token_file; chmod 600 it",
    )


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o711])
def test_a_token_file_of_its_owner_alone_is_not_named(folder: Path, mode: int) -> None:
    assert exposed(token_in(secret(folder, "token", mode)), None) == ()


def test_a_file_in_a_folder_that_nobody_else_may_enter_is_not_named(folder: Path) -> None:
    """As systemd and Kubernetes hand secrets out: the folder guards them."""
    (folder / "closed").mkdir(mode=0o700)
    assert exposed(token_in(secret(folder / "closed", "token", 0o644)), None) == ()


def test_a_file_of_somebody_elses_that_is_read_by_its_group_is_as_it_must_be(folder: Path) -> None:
    """root:wgaudit, 0640: the group is how the audit gets at it."""
    require("root", os.geteuid() == 0, "run as root: only root gives files away")
    path = secret(folder, "token", 0o640)
    os.chown(path, 65534, 65534)
    assert exposed(token_in(path), None) == ()


def test_a_missing_file_is_somebody_elses_complaint(folder: Path) -> None:
    """Whoever reads it says so."""
    assert exposed(token_in(folder / "none"), None) == ()


def test_a_configuration_counts_only_where_a_secret_stands_in_it(folder: Path) -> None:
    """Then it is named once, with all that it holds."""
    path = secret(folder, "wgaudit.toml", 0o644)
    assert exposed(Config(), path) == ()
    config = parse_config(
        {
            "consul": {"token": "t"},
            "notifiers": [
                {"name": "chat", "type": "slack", "url": URL},
                {"name": "oncall", "type": "pagerduty", "routing_key_env": "KEY"},
            ],
        },
        "test",
    )
    (line,) = exposed(config, path)
    assert "it holds consul.token, notifiers.chat.url; chmod 600 it" in line
    assert URL not in line


def test_every_kind_of_secret_file_counts(folder: Path) -> None:
    """Tokens, TLS keys, webhooks' URLs, signing secrets, routing keys; certificates are none."""
    path = str(secret(folder, "any", 0o644))
    config = parse_config(
        {
            "consul": {"token_file": path, "key_file": path, "cert_file": path, "ca_file": path},
            "alerts": {"heartbeat_url_file": path},
            "notifiers": [
                {"name": "a", "type": "webhook", "url_file": path, "secret_file": path},
                {"name": "b", "type": "pagerduty", "routing_key_file": path},
            ],
        },
        "test",
    )
    (line,) = exposed(config, None)
    assert line.rpartition("it holds ")[2] == (
        "consul.token_file, consul.key_file, alerts.heartbeat_url_file, notifiers.a.url_file, "
        "notifiers.a.secret_file, notifiers.b.routing_key_file; chmod 600 it"
    )


def test_a_sweep_says_so_in_one_line_on_stderr(folder: Path) -> None:
    """Beside its summary; the report and the exit code are as they were."""
    (folder / "known_hosts").touch()
    (folder / "export.json").write_text("[]")
    token = secret(folder, "token", 0o644)
    (folder / "wgaudit.toml").write_text(
        f"[consul]\nfile = '{folder}/export.json'\ntoken_file = '{token}'\n"
        f"[ssh]\nagent = false\nknown_hosts = '{folder}/known_hosts'\n"
    )
    done = wgaudit("sweep", "--no-progress", folder=folder)
    assert done.returncode == 3
    first, summary = done.stderr.splitlines()
    assert (
        first
        == f"wgaudit: {token}: everybody here may read it (mode 0644), and it holds consul.token_file; chmod 600 it"
    )
    assert summary.startswith("wgaudit: inconclusive")
