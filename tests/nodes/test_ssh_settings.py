"""Settings that cannot be used are one clear line, before any node is asked."""

from __future__ import annotations

import base64

import pytest

from auditor.errors import ConfigError, GapReason
from tests.nodes.bench import Bench
from tests.parts.sshd import keygen

SHORT = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\1k").decode()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"known_hosts": "/nowhere/known_hosts"}, r"ssh\.known_hosts: cannot read .*ssh-keyscan"),
        ({"identity_files": ["/nowhere/id"]}, r"ssh\.identity_files: cannot read /nowhere/id"),
        ({"config_file": "/nowhere/config"}, r"ssh\.config_file: no file at"),
        ({"host": "{node.__class__}"}, r"ssh\.host: "),
        ({"proxy_jump": "a b"}, r"ssh\.proxy_jump: "),
        ({"proxy_jump": "host:99999"}, r"ssh\.proxy_jump: "),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_clear_line(
    bench: Bench, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        bench.nodes(**settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_an_identity_with_a_passphrase_and_no_agent_is_one_clear_line(bench: Bench) -> None:
    keygen("-q", "-p", "-N", "a passphrase", "-f", str(bench.identity))
    with pytest.raises(ConfigError, match=r"protected by a passphrase; add it to an ssh-agent"):
        bench.nodes()


def test_an_identity_that_is_no_key_is_one_clear_line(bench: Bench) -> None:
    bench.identity.write_text("not a key\n")
    with pytest.raises(ConfigError, match=r"ssh\.identity_files: "):
        bench.nodes()


@pytest.mark.parametrize("line", ["@revoked * ssh-ed25519 AAAA", f"@revoked * ssh-ed25519 {SHORT}"])
def test_a_line_that_revokes_and_cannot_be_read_is_one_clear_line(bench: Bench, line: str) -> None:
    bench.known_hosts.write_text(f"{line}\n")
    with pytest.raises(ConfigError, match=r"ssh\.known_hosts: .* a line that revokes"):
        bench.nodes()


def test_lines_of_known_hosts_that_cannot_be_read_are_one_warning(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.known_hosts.write_text("# fine\n=\n@mystery host ssh-ed25519 AAAA\n|1|abc\n")
    bench.nodes()
    (record,) = caplog.records
    assert "line 2 and 2 more like it cannot be read" in record.getMessage()


async def test_a_line_of_sshs_configuration_that_cannot_be_followed_concerns_its_hosts_alone(
    bench: Bench,
) -> None:
    server = bench.sshd()
    config = bench.folder / "config"
    config.write_text(f"Host {server.host}\n User {server.user}\nHost other\n Port many\n")
    assert (await bench.observe(server, config_file=config)).host_key == server.fingerprint
    error = await bench.refused("other", config_file=config)
    assert error.reason is GapReason.SSH_PROTOCOL
    assert f"{config} line 4: port: not a port number" in error.detail


def test_a_file_that_sshs_configuration_includes_and_others_can_write_is_refused(bench: Bench) -> None:
    """As by ssh: a command that stands there would be run."""
    config, other = bench.folder / "config", bench.folder / "other"
    config.write_text(f"Include {other}\n")
    other.write_text("Host *\n")
    other.chmod(0o666)
    with pytest.raises(ConfigError, match=r"can be written by others"):
        bench.nodes(config_file=config)


def test_sshs_default_configuration_need_not_exist(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(bench.folder))
    bench.nodes(config_file="default")
