"""What a connection says to a server, and what it leaves out."""

from __future__ import annotations

import logging
from asyncio import selector_events
from collections.abc import Callable
from pathlib import Path
from time import process_time

import asyncssh
import pytest

from auditor.errors import GapReason
from auditor.nodes.ssh import lean
from auditor.nodes.ssh_config import LocalFacts, SshConfig
from tests.nodes.bench import Bench
from tests.parts.sshd import keygen, make_key, public


def test_the_installed_library_is_one_that_the_lean_connection_was_written_against() -> None:
    """Else each node costs half as much again. Look at what `lean.py` overrides before its list grows."""
    assert lean.IN_USE, f"asyncssh {asyncssh.__version__}: lean.py was written against {lean.LOOKED_AT}*"


async def test_another_release_of_the_library_is_used_as_it_is_and_the_log_says_so_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lean, "IN_USE", False)
    lean._log_off.cache_clear()
    caplog.set_level(logging.INFO, lean.__name__)
    server = bench.sshd()
    assert (await bench.observe(server)).host_key == server.fingerprint
    keygen("-q", "-H", "-f", str(bench.known_hosts))
    assert (await bench.observe(server)).host_key == server.fingerprint
    (record,) = [record for record in caplog.records if record.name == lean.__name__]
    assert f"asyncssh {asyncssh.__version__} is in use" in record.getMessage()


async def test_a_look_at_a_node_is_nine_writes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version, offers, secret, service, login, channel, command, what it reads, and its end with the good-bye."""
    writes: list[int] = []
    transport = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    write = transport.write

    def counted(self: object, data: bytes) -> None:
        writes.append(len(data))
        write(self, data)

    server = bench.sshd()
    monkeypatch.setattr(transport, "write", counted)
    await bench.observe(server)
    # Nobody has the table yet, so it goes over a second channel, with three of these once more.
    assert len(writes) <= 9 + 3, writes


async def test_a_key_from_a_file_is_shown_with_its_signature_and_nothing_is_asked_before(
    bench: Bench,
) -> None:
    server = bench.sshd(lines=["LogLevel DEBUG3"])
    await bench.observe(server)
    assert "method publickey" in server.log()
    assert "method none" not in server.log()
    assert "Postponed publickey" not in server.log()
    assert "SSH2_MSG_IGNORE" not in server.log()


async def test_an_agent_is_not_asked_to_sign_for_a_key_that_is_not_welcome(
    bench: Bench, agent: Callable[[Path], None]
) -> None:
    """Its owner may have to confirm each signature."""
    agent(make_key(bench.folder / "other"))
    agent(bench.identity)
    server = bench.sshd()
    await bench.observe(server, identity_files=())
    assert "Failed publickey" in server.log()
    assert "Postponed publickey" in server.log()


async def test_the_second_of_two_identities_is_tried_when_the_first_is_not_welcome(bench: Bench) -> None:
    server = bench.sshd()
    for kind in ("ed25519", "rsa", "ecdsa"):
        other = make_key(bench.folder / kind, kind=kind)
        seen = await bench.observe(server, identity_files=(other, bench.identity))
        assert seen.host_key == server.fingerprint


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
async def test_other_kinds_of_identities_log_in(bench: Bench, kind: str) -> None:
    other = make_key(bench.folder / kind, kind=kind)
    server = bench.sshd(authorized=[public(other)])
    assert (await bench.observe(server, identity_files=(other,))).host_key == server.fingerprint


async def test_a_cipher_in_cbc_mode_keeps_its_empty_messages(bench: Bench) -> None:
    """They keep what is known of a message's first block from an attacker, in that mode alone."""
    server = bench.sshd(lines=["LogLevel DEBUG3", "Ciphers aes128-cbc"])
    config = bench.folder / "config"
    config.write_text("Host *\n Ciphers aes128-cbc\n")
    await bench.observe(server, config_file=config)
    assert "SSH2_MSG_IGNORE" in server.log()


async def test_a_block_of_sshs_configuration_that_counts_last_is_followed(bench: Bench) -> None:
    server = bench.sshd()
    config = bench.folder / "config"
    config.write_text(f"Match final host nowhere\n User nobody\nHost *\n HostName {server.host}\n")
    seen = await bench.observe(f"edge-fra-1:{server.port}", config_file=config)
    assert seen.host_key == server.fingerprint
    bench.known_hosts.write_text("")
    error = await bench.refused(f"edge-fra-1:{server.port}", config_file=config)
    assert error.reason is GapReason.HOST_KEY


class _Open(asyncssh.SSHServer):
    """Asks nobody to prove anything."""

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002
        return False


async def test_a_server_that_asks_for_no_proof_is_entered_without_a_key(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(bench.folder))
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    commands: list[str | None] = []

    def refuse(process: asyncssh.SSHServerProcess[bytes]) -> None:
        commands.append(process.command)
        process.exit(1)

    async with await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        server_factory=_Open,
        process_factory=refuse,
        encoding=None,
    ) as listener:
        key = host_key.export_public_key().decode()
        bench.known_hosts.write_text(f"[127.0.0.1]:{listener.get_port()} {key}")
        await bench.refused(f"127.0.0.1:{listener.get_port()}", identity_files=(), agent=False)
    assert len(commands) == 2  # packed, and as it is


async def test_nothing_is_left_open_behind_a_look(bench: Bench) -> None:
    server = bench.sshd()
    await bench.observe(server)
    before = _open_sockets()
    await bench.observe(server)
    assert _open_sockets() == before


def _open_sockets() -> int:
    links = Path("/proc/self/fd").iterdir()
    return sum(link.is_symlink() and str(link.readlink()).startswith("socket:") for link in links)


def test_a_large_configuration_of_ssh_costs_a_host_little(tmp_path: Path) -> None:
    """It is parsed once; what is left for each host is to pass the blocks that are not its own."""
    blocks = "".join(
        f"Host node-{n} *.region-{n}.example.net\n HostName 198.18.{n % 256}.1\n" for n in range(1000)
    )
    local = LocalFacts("root", "/root", "here", 0)

    def parsed() -> float:
        began = process_time()
        SshConfig("config", blocks.encode(), lambda _: ())
        return process_time() - began

    large = SshConfig("config", blocks.encode(), lambda _: ())

    def cost() -> float:
        began = process_time()
        for number in range(50):
            large.resolve(f"edge-{number}", local)
        return (process_time() - began) / 50

    # Against the same machine in the same moment: as a bound in seconds it failed where others worked beside it.
    assert min(cost() for _ in range(3)) < min(parsed() for _ in range(3)) / 2
