"""Ways to a node as ssh goes them: its configuration, jump hosts, proxy commands, several addresses, agents."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import ConfigError, GapReason
from auditor.nodes.ssh import identities
from auditor.nodes.ssh.config_file import local_facts
from auditor.nodes.table_store import TableStore
from tests.cases import CASES
from tests.nodes.bench import Bench
from tests.parts.sshd import Sshd, keygen, make_key, public


def config(bench: Bench, text: str) -> Path:
    file = bench.folder / "config"
    file.write_text(text)
    return file


# --- ssh's configuration ---


@pytest.mark.parametrize(
    "case", ["comment-behind-value", "identity-absent-everywhere", "match-localnetwork", "time-with-unit"]
)
async def test_lines_that_ssh_reads_leniently_stop_nothing(
    bench: Bench, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = bench.sshd()
    file = CASES / "nodes/06-ssh_config" / case
    assert (await bench.observe(server, config_file=file)).host_key == server.fingerprint
    # And where the file has its say in which identities there are.
    home = bench.folder / "home"
    (home / ".ssh").mkdir(parents=True)
    bench.identity.rename(home / ".ssh/id_ed25519")
    monkeypatch.setenv("HOME", str(home))
    text = (
        file.read_text()
        + "\nHost *\n IdentityFile ~/.ssh/id_ed25519\n CertificateFile ~/.ssh/absent-cert.pub\n"
    )
    seen = await bench.observe(server, config_file=config(bench, text), identity_files=())
    assert seen.host_key == server.fingerprint


def test_the_addresses_of_this_machine_are_known() -> None:
    addresses = local_facts(1.0).addresses()
    assert "127.0.0.1" in addresses
    assert all(ip_address(address) for address in addresses)


async def test_known_hosts_files_of_the_configuration_count(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(bench.folder))
    server = bench.sshd(known=False)
    (bench.folder / "others").write_text(server.known_hosts_line)
    for keyword in ("UserKnownHostsFile", "GlobalKnownHostsFile"):
        file = config(bench, f"Host *\n {keyword} /nowhere {bench.folder}/others\n")
        seen = await bench.observe(server, config_file=file, known_hosts="default")
        assert seen.host_key == server.fingerprint
    # The setting stands in the place of the user's files; those for everybody count beside it.
    assert (await bench.observe(server, config_file=file)).host_key == server.fingerprint
    file = config(bench, f"UserKnownHostsFile {bench.folder}/others\n")
    assert (await bench.refused(server, config_file=file)).reason is GapReason.HOST_KEY


@pytest.mark.parametrize(
    "line", ["KnownHostsCommand /bin/true", "RevokedHostKeys /etc/revoked", "ProxyUseFdpass yes"]
)
async def test_what_cannot_be_followed_is_refused_by_name(bench: Bench, line: str) -> None:
    error = await bench.refused(bench.sshd(), config_file=config(bench, f"Host *\n {line}\n"))
    assert error.reason is GapReason.SSH_PROTOCOL
    assert f"line 2: {line.split()[0].lower()} is not followed" in error.detail


async def test_algorithms_of_the_configuration_are_those_that_are_offered(bench: Bench) -> None:
    server = bench.sshd(lines=["LogLevel DEBUG3"])
    text = "KexAlgorithms sntrup-of-tomorrow,ecdh-sha2-nistp384\nCiphers +unknown\nMACs hmac-sha2-512\n"
    await bench.observe(server, config_file=config(bench, text))
    assert "kex: algorithm: ecdh-sha2-nistp384" in server.log()
    error = await bench.refused(server, config_file=config(bench, "Ciphers none-that-is-known\n"))
    assert "line 1: ciphers: none of these is known here" in error.detail


# --- jump hosts and commands ---


async def test_jump_hosts_before_a_jump_host_are_followed(bench: Bench) -> None:
    jump, server = bench.sshd("jump"), bench.sshd()
    text = (CASES / "nodes/06-ssh_config/proxyjump-nested").read_text()
    names = {"n1": server, "b2": bench.sshd("second"), "b1": jump}
    lines = []
    for line in text.replace("Port 1\n", "Port PORT\n").splitlines():
        if line.startswith("Host "):
            there = names[line.split()[1]]
        lines.append(line.replace("PORT", str(there.port)))
    seen = await bench.observe("n1", config_file=config(bench, "\n".join(lines) + "\n"))
    assert seen.host_key == server.fingerprint
    assert all("Accepted publickey" in one.log() for one in names.values())


@pytest.mark.parametrize(
    "text", ["Host *\n ProxyJump b\n", "Host n1 b2\n ProxyJump b1\nHost b1\n ProxyJump b2\n"]
)
async def test_jump_hosts_that_lead_in_a_circle_are_refused(bench: Bench, text: str) -> None:
    error = await bench.refused("n1", config_file=config(bench, text))
    assert error.reason is GapReason.SSH_PROTOCOL
    assert "line 2: the jump hosts lead in a circle" in error.detail


@pytest.mark.parametrize("place", ["setting", "configuration"])
async def test_a_jump_host_may_be_a_uri(bench: Bench, place: str) -> None:
    jump, server = bench.sshd("jump"), bench.sshd()
    uri = f"ssh://{jump.user}@{jump.host}:{jump.port}"
    settings: dict[str, object] = {"proxy_jump": uri}
    if place == "setting":
        assert (await bench.observe(server, **settings)).host_key == server.fingerprint
    else:
        # The jump host has the node's address here, so it is its own way: a circle, as for ssh.
        settings = {
            "config_file": config(
                bench, f"Host n1\n HostName {server.host}\n Port {server.port}\n ProxyJump {uri}\n"
            )
        }
        assert (await bench.observe("n1", **settings)).host_key == server.fingerprint
    assert "Accepted publickey" in jump.log()


async def test_a_proxy_command_goes_through_the_users_shell(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = bench.sshd()
    home = bench.folder / "home"
    (home / "bin").mkdir(parents=True)
    proxy = home / "bin/proxy"
    proxy.write_text(
        "#!/usr/bin/env python3\n"
        "import os, socket, sys, threading\n"
        "there = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def pump(read, write):\n"
        "    while data := read(65536):\n"
        "        write(data)\n"
        "threading.Thread(target=pump, args=(there.recv, lambda data: os.write(1, data)), daemon=True).start()\n"
        "pump(lambda size: os.read(0, size), there.sendall)\n"
    )
    proxy.chmod(0o755)
    monkeypatch.setenv("HOME", str(home))
    text = (CASES / "nodes/06-ssh_config/proxycommand-tilde").read_text().replace("PORT", str(server.port))
    seen = await bench.observe("n1", config_file=config(bench, text))
    assert seen.host_key == server.fingerprint


async def test_what_a_proxy_command_says_on_stderr_is_quoted(bench: Bench) -> None:
    file = config(bench, "ProxyCommand echo 'no such bastion' >&2; exit 3\n")
    error = await bench.refused("n1", config_file=file)
    assert error.reason is GapReason.CONNECTION_LOST
    assert "no such bastion" in error.detail


async def test_a_proxy_command_that_hangs_is_ended_with_its_children(bench: Bench) -> None:
    pid = bench.folder / "pid"
    file = config(bench, f"ProxyCommand sh -c 'sleep 1000 & echo $! >{pid}; wait'\n")
    error = await bench.refused("n1", config_file=file, connect_timeout=0.5)
    assert error.reason is GapReason.CONNECT_TIMEOUT
    assert has_ended(int(pid.read_text()))


def has_ended(pid: int) -> bool:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 10)[0])
    finally:
        os.close(process)


# --- several addresses ---


@contextmanager
def silent(address: str, port: int) -> Iterator[None]:
    """A listener that never says a word."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as found:
        found.bind((address, port))
        found.listen()
        yield


@pytest.fixture
def twofold(monkeypatch: pytest.MonkeyPatch) -> str:
    """A name with two addresses, as a resolver would give them; a server is at the second one."""
    asked = socket.getaddrinfo

    def resolve(host: str, port: int, *arguments: Any, **options: Any) -> Any:
        if host != "twofold.example.net":
            return asked(host, port, *arguments, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", port)) for last in (2, 1)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return "twofold.example.net"


def known_as(bench: Bench, server: Sshd, name: str) -> str:
    bench.known_hosts.write_text(f"[{name}]:{server.port} {public(server.host_key)}\n")
    return f"{name}:{server.port}"


async def test_an_address_that_is_silent_leaves_time_for_the_next_one(bench: Bench, twofold: str) -> None:
    server = bench.sshd(known=False)
    host = known_as(bench, server, twofold)
    with silent("127.0.0.2", server.port):
        assert (await bench.observe(host, connect_timeout=3.0)).host_key == server.fingerprint


async def test_an_address_that_refuses_is_passed_over_at_once(bench: Bench, twofold: str) -> None:
    server = bench.sshd(known=False)
    assert (await bench.observe(known_as(bench, server, twofold))).host_key == server.fingerprint


async def test_the_address_that_did_not_answer_is_named(bench: Bench, twofold: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with silent("127.0.0.2", port):
            error = await bench.refused(f"{twofold}:{port}", connect_timeout=0.6)
        assert error.reason is GapReason.CONNECT_TIMEOUT
        assert "no answer from 127.0.0.2; 127.0.0.1: connection refused within 0.6 s" in error.detail
        error = await bench.refused(f"{twofold}:{port}")
    assert error.reason is GapReason.CONNECT_REFUSED
    assert "127.0.0.2: connection refused; 127.0.0.1: connection refused" in error.detail


# --- last words ---


@asynccontextmanager
async def speaking(words: bytes) -> AsyncIterator[str]:
    """A server that says something and hangs up."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    "words", [(CASES / "nodes/09-last-words/maxstartups").read_text(), "Not allowed at this time\r\n"]
)
async def test_a_server_that_takes_no_more_connections_is_throttled(bench: Bench, words: str) -> None:
    async with speaking(words.encode()) as host:
        error = await bench.refused(host)
    assert error.reason is GapReason.THROTTLED
    assert words.strip() in error.detail


async def test_what_a_server_says_before_it_hangs_up_is_quoted(bench: Bench) -> None:
    async with speaking(b"This bastion moved\r\nto b2.example.net\x1b[2J") as host:
        error = await bench.refused(host)
    assert error.reason is GapReason.CONNECTION_LOST
    assert "This bastion moved to b2.example.net" in error.detail
    assert error.detail.isprintable()


async def test_a_banner_stands_beside_a_refused_login(bench: Bench) -> None:
    banner = bench.folder / "banner"
    banner.write_bytes((CASES / "nodes/09-last-words/etc-nologin").read_bytes())
    error = await bench.refused(bench.sshd(authorized=[], lines=[f"Banner {banner}"]))
    assert error.reason is GapReason.AUTH
    assert "System is going down for maintenance." in error.detail


# --- agents ---


@contextmanager
def broken_agent(folder: Path, answer: bytes | None) -> Iterator[list[int]]:
    """An agent that hangs (None), or answers so and hangs up; counts who asks."""
    asked: list[int] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "broken-agent"))
        listening.listen()
        kept = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                asked.append(1)
                kept.append(connection)
                if answer is not None:
                    connection.recv(100)
                    connection.sendall(answer)
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield asked
        listening.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


@pytest.mark.parametrize(
    "answer", [None, b"", b"\0\0\0\1\5", b"\0\0\0\x05\x0c\xff\xff\xff\xff", b"\xff\xff\xff\xffx"]
)
async def test_a_broken_agent_costs_nobody_who_has_a_key_file(
    bench: Bench, answer: bytes | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(identities, "AGENT_SECONDS", 0.2)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(bench.folder / "broken-agent"))
    server = bench.sshd()
    with broken_agent(bench.folder, answer) as asked:
        nodes = bench.nodes()
        await asyncio.gather(
            *(nodes.observe(bench.registered(server, f"n{n}"), TableStore()) for n in range(3))
        )
        assert len(asked) == 1
        (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert "SSH_AUTH_SOCK" in record.getMessage()
        monkeypatch.setenv("HOME", str(bench.folder / "nobody"))
        error = await bench.refused(server, identity_files=())
    assert error.reason is GapReason.AUTH
    assert "SSH_AUTH_SOCK" in error.detail


async def test_an_agent_that_is_not_there_costs_nobody(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(bench.folder / "gone"))
    server = bench.sshd()
    assert (await bench.observe(server)).host_key == server.fingerprint


@pytest.mark.parametrize("place", ["setting", "configuration"])
async def test_a_public_half_names_the_key_that_the_agent_holds(
    bench: Bench, agent: Callable[[Path], None], place: str
) -> None:
    for number in range(8):
        agent(make_key(bench.folder / f"other{number}"))
    agent(bench.identity)
    bench.identity.unlink()
    settings: dict[str, object] = {"identity_files": [f"{bench.identity}.pub"]}
    if place == "configuration":
        text = f"IdentitiesOnly yes\nIdentityFile {bench.identity}.pub\n"
        settings = {"identity_files": (), "config_file": config(bench, text)}
    server = bench.sshd()
    assert (await bench.observe(server, **settings)).host_key == server.fingerprint


async def test_a_public_half_without_an_agent_is_one_clear_line(bench: Bench) -> None:
    with pytest.raises(
        ConfigError, match=r"holds the public half alone; add it to an ssh-agent \(SSH_AUTH_SOCK"
    ):
        bench.nodes(identity_files=[f"{bench.identity}.pub"])


async def test_a_certificate_goes_with_the_key_that_the_agent_holds(
    bench: Bench, agent: Callable[[Path], None]
) -> None:
    authority = make_key(bench.folder / "authority")
    server = bench.sshd(authorized=[], lines=[f"TrustedUserCAKeys {authority}.pub"])
    agent(bench.identity)
    keygen("-q", "-s", str(authority), "-I", "test", "-n", server.user, f"{bench.identity}.pub")
    bench.identity.unlink()
    seen = await bench.observe(server, identity_files=[f"{bench.identity}.pub"])
    assert seen.host_key == server.fingerprint
    assert "ED25519-CERT" in server.log()
