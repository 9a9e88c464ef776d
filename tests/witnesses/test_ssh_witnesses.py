"""Questions through a real sshd to real servers: an answer that names them, or a gap; never a hang."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from auditor.errors import ConfigError, GapReason
from auditor.nodes.key_options import key_options
from auditor.nodes.stop import Stop
from auditor.settings.witnesses import WitnessSettings
from auditor.values.addresses import Prefix
from auditor.values.models import NodeId, Registration
from auditor.values.witness_answers import OWN_LOOPBACK, AnswerSource, WitnessAnswer
from auditor.witnesses.interface import Question
from auditor.witnesses.ssh_witnesses import SshWitnesses
from tests.parts.nats import NatsServer
from tests.parts.sshd import Sshd, keygen, public
from tests.witnesses.conftest import Observer

SIN, FRA = NodeId("dc1", "edge-sin-1"), NodeId("dc1", "edge-fra-1")
CONTESTED = Prefix("127.0.0.2/32")
REGISTERED = (
    Registration(SIN, None, (CONTESTED,), "sin", ssh_host="198.18.0.1"),
    Registration(FRA, None, (CONTESTED, Prefix("127.0.0.3/32")), "fra", ssh_host="198.18.0.2"),
)
Observe = Callable[..., Observer]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def nats(port: int, **settings: object) -> WitnessSettings:
    return WitnessSettings.model_validate({"type": "nats", "port": port, **settings})


async def answers(
    observer: Observer,
    settings: WitnessSettings,
    *addresses: Prefix,
    registered: tuple[Registration, ...] = REGISTERED,
    stop: Stop | None = None,
) -> list[WitnessAnswer]:
    witnesses = SshWitnesses(observer.access, [settings], ["nrt"])
    questions = [Question(observer.registration, address, settings.source) for address in addresses]
    asking = witnesses.ask(questions, (*registered, observer.registration), stop or Stop())
    async with aclosing(asking) as stream:
        return sorted([item async for item in stream], key=lambda item: item.address)


def test_a_real_nats_server_is_tied_to_its_node(observe: Observe, tmp_path: Path) -> None:
    """By its name alone, before any login; its cluster is a region because it is called like one."""
    with NatsServer(tmp_path / "nats", name="edge-fra-1", cluster="fra", address="127.0.0.2") as server:
        (answer,) = asyncio.run(answers(observe(), nats(server.port), CONTESTED))
        log = server.log()
    assert (answer.observer.name, answer.said, answer.node, answer.region) == (
        "observer-ams-1",
        "edge-fra-1",
        FRA,
        "fra",
    )
    assert answer.reason is None
    assert 0 < answer.seconds < 3
    assert "Error" not in log


def test_a_cluster_that_is_no_regions_name_says_nothing_of_the_region(
    observe: Observe, tmp_path: Path
) -> None:
    with NatsServer(tmp_path / "nats", name="n-edge-sin-1", cluster="prod", address="127.0.0.2") as server:
        (answer,) = asyncio.run(answers(observe(), nats(server.port, name="n-{node}"), CONTESTED))
    assert (answer.node, answer.region) == (SIN, None)


def test_a_nodes_own_monitoring_tells_the_region_by_its_tag(observe: Observe, tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats", name="edge-sin-1", cluster="sin", tags=("region:fra",)) as server:
        settings = nats(server.port, monitoring_port=server.monitoring_port)
        (answer,) = asyncio.run(answers(observe(), settings, OWN_LOOPBACK))
    assert (answer.said, answer.node, answer.region) == ("edge-sin-1", SIN, "fra")


# What is not a NATS server


@asynccontextmanager
async def served(serve: Serve, host: str = "127.0.0.2", port: int = 0) -> AsyncIterator[int]:
    """Serve at an address of loopback; yields the port. Ends with all that it still serves."""
    serving: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass  # the auditor has hung up, as it should
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handle, host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0)


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """TLS first: it waits for the client's hello."""
    await reader.read()


async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"INFO {")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def half_a_line(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'INFO {"server_na')
    writer.write_eof()
    await writer.drain()
    await asyncio.sleep(0.1)


async def hangs_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (silent, GapReason.NO_ANSWER),
        (hangs_up, GapReason.NO_ANSWER),
        (drip, GapReason.NO_ANSWER),
        (flood, GapReason.UNREADABLE_ANSWER),
        (half_a_line, GapReason.UNREADABLE_ANSWER),
    ],
)
def test_what_is_no_nats_server_is_a_gap_in_time(observe: Observe, serve: Serve, reason: GapReason) -> None:
    """And the server that answers beside it is heard, over the same connection."""

    async def well(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_name":"edge-fra-1"}\r\n')
        await reader.read()

    async def ask() -> list[WitnessAnswer]:
        async with served(serve) as port, served(well, "127.0.0.3", port):
            return await answers(observe(), nats(port, timeout=0.3), CONTESTED, Prefix("127.0.0.3/32"))

    begun = time.monotonic()
    bad, fine = asyncio.run(ask())
    assert time.monotonic() - begun < 5
    assert (bad.reason, bad.said, bad.node) == (reason, "", None)
    assert "127.0.0.2" in bad.detail
    assert (fine.node, fine.reason) == (FRA, None)


def test_a_port_where_nobody_listens_is_refused(observe: Observe) -> None:
    async def ask() -> list[WitnessAnswer]:
        async with served(silent, "127.0.0.3") as port:
            return await answers(observe(), nats(port), CONTESTED)

    (answer,) = asyncio.run(ask())
    assert (answer.reason, answer.node) == (GapReason.ANSWER_REFUSED, None)
    assert "Connection refused" in answer.detail


def test_a_stop_ends_the_asking_and_leaves_no_question_without_a_word(observe: Observe) -> None:
    async def ask() -> list[WitnessAnswer]:
        async with served(silent) as port:
            return await answers(observe(), nats(port, timeout=30.0), CONTESTED, stop=Stop(0.3))

    begun = time.monotonic()
    (answer,) = asyncio.run(ask())
    assert answer.reason is GapReason.CUT_SHORT
    assert time.monotonic() - begun < 5


def test_an_observer_that_cannot_be_reached_says_why_for_each_question(observe: Observe) -> None:
    observer = observe()
    observer.server.stop()
    found = asyncio.run(answers(observer, nats(4222), CONTESTED, Prefix("127.0.0.3/32")))
    assert [item.reason for item in found] == [GapReason.CONNECT_REFUSED] * 2


def test_a_type_that_is_not_configured_is_one_clear_line(observe: Observe) -> None:
    async def ask() -> None:
        observer = observe()
        witnesses = SshWitnesses(observer.access, [nats(4222)])
        question = Question(observer.registration, CONTESTED, AnswerSource.SSH_HOST_KEY)
        async for _ in witnesses.ask([question], REGISTERED, Stop()):
            pass

    with pytest.raises(ConfigError, match="no \\[\\[witnesses\\]\\] of type ssh-host-key"):
        asyncio.run(ask())


# What authorized_keys must allow


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (key_options([WitnessSettings(type="nats", port=4222)]).replace("4222", "{port}"), None),
        ('command="false",restrict,port-forwarding,permitopen="*:{port}"', None),
        ("restrict", GapReason.FORWARDING_REFUSED),
        ('restrict,permitopen="*:{port}"', GapReason.FORWARDING_REFUSED),
        ('restrict,port-forwarding,permitopen="*:1"', GapReason.FORWARDING_REFUSED),
        # A network is no host pattern: sshd takes the whole line for nothing, and the audit is locked out.
        ('restrict,port-forwarding,permitopen="127.0.0.0/8:{port}"', GapReason.AUTH),
    ],
)
def test_the_keys_line_decides_whether_the_node_connects_on(
    observe: Observe, tmp_path: Path, options: str, reason: GapReason | None
) -> None:
    with NatsServer(tmp_path / "nats", name="edge-sin-1", address="127.0.0.2", monitoring=False) as server:
        observer = observe(options.format(port=server.port))
        (answer,) = asyncio.run(answers(observer, nats(server.port), CONTESTED))
    assert answer.reason is reason
    if reason is GapReason.FORWARDING_REFUSED:
        assert "authorized_keys needs port-forwarding, and permitopen for this port" in answer.detail


def test_forwarding_in_one_direction_is_enough(observe: Observe, tmp_path: Path) -> None:
    """So sshd_config can take away what the key's line cannot: listening on the node."""
    with NatsServer(tmp_path / "nats", name="edge-sin-1", address="127.0.0.2", monitoring=False) as server:
        observer = observe(lines=("AllowTcpForwarding local",))
        (answer,) = asyncio.run(answers(observer, nats(server.port), CONTESTED))
    assert answer.node == SIN


# SSH host keys


def ssh_host_key(port: int, known_hosts: Path) -> WitnessSettings:
    return WitnessSettings.model_validate(
        {"type": "ssh-host-key", "port": port, "known_hosts": str(known_hosts)}
    )


@pytest.mark.parametrize("hashed", [False, True])
def test_a_host_key_is_tied_to_the_node_that_known_hosts_has_it_for(
    observe: Observe, tmp_path: Path, hashed: bool
) -> None:
    known = tmp_path / "known_hosts.nodes"
    with Sshd(tmp_path / "fra", lines=("ListenAddress 127.0.0.2",)) as server:
        known.write_text(f"198.18.0.2 {public(server.host_key)}\n")
        if hashed:
            keygen("-H", "-f", str(known))
        (answer,) = asyncio.run(answers(observe(), ssh_host_key(server.port, known), CONTESTED))
        told = (
            ("", None, GapReason.LOGINS_COUNTED) if counts_logins(server) else (server.fingerprint, FRA, None)
        )
        assert (answer.said, answer.node, answer.reason) == told
        assert "Accepted" not in server.log()


def counts_logins(server: Sshd) -> bool:
    """Tell whether this machine's OpenSSH is 9.8 or newer, which is not asked."""
    with socket.create_connection(("127.0.0.2", server.port), 10) as connection:
        version = re.match(rb"SSH-2\.0-OpenSSH_(\d+)\.(\d+)", connection.recv(255))
    assert version is not None
    return (int(version[1]), int(version[2])) >= (9, 8)


def test_a_key_of_two_nodes_speaks_for_the_registered_one(observe: Observe, tmp_path: Path) -> None:
    """A cloned image's key does not show that somebody else is there."""
    known = tmp_path / "known_hosts.nodes"
    other = Registration(NodeId("dc1", "a-clone"), None, (Prefix("127.0.0.8/32"),), ssh_host="198.18.0.8")
    with Sshd(tmp_path / "fra", lines=("ListenAddress 127.0.0.2",)) as server:
        known.write_text(f"198.18.0.2,198.18.0.8 {public(server.host_key)}\n")
        settings = ssh_host_key(server.port, known)
        (answer,) = asyncio.run(answers(observe(), settings, CONTESTED, registered=(*REGISTERED, other)))
        assert answer.node == (None if counts_logins(server) else FRA)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.8p1 Debian-3", GapReason.LOGINS_COUNTED),
        (b"SSH-2.0-OpenSSH_10.0", GapReason.LOGINS_COUNTED),
        (b"SSH-2.0-OpenSSH_9.7", GapReason.UNREADABLE_ANSWER),
        (b"garbage", GapReason.UNREADABLE_ANSWER),
    ],
)
def test_a_server_that_counts_failed_logins_is_told_by_its_version(
    observe: Observe, tmp_path: Path, version: bytes, reason: GapReason
) -> None:
    (tmp_path / "empty").write_text("")

    async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(version + b"\r\n")
        writer.write_eof()
        await reader.read()

    async def ask() -> list[WitnessAnswer]:
        async with served(greets) as port:
            return await answers(observe(), ssh_host_key(port, tmp_path / "empty"), CONTESTED)

    (answer,) = asyncio.run(ask())
    assert answer.reason is reason


def test_a_server_that_counts_failed_logins_is_not_asked_again(observe: Observe, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    connections: list[int] = []

    async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
        writer.write_eof()
        await reader.read()

    async def ask() -> set[GapReason | None]:
        observer = observe()
        async with served(greets) as port:
            witnesses = SshWitnesses(observer.access, [ssh_host_key(port, tmp_path / "empty")])
            question = Question(observer.registration, CONTESTED, AnswerSource.SSH_HOST_KEY)
            return {
                answer.reason
                for _ in range(3)
                async for answer in witnesses.ask([question], REGISTERED, Stop())
            }

    assert asyncio.run(ask()) == {GapReason.LOGINS_COUNTED}
    assert len(connections) == 1
