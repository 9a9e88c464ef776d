"""The connection to a real nats-server: whom it trusts, how it fails, and that it comes back."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from nats.aio.client import Server

from auditor.errors import ConfigError, NatsAway
from auditor.gather.nats import connection as module
from auditor.gather.nats.connection import NatsConnection, open_nats
from auditor.gather.nats.nats_login import NatsLogin, read_login
from auditor.settings.collectors import CollectorSettings
from auditor.values.addresses import Prefix
from tests.gather.nats.servers import HOST, Nkey, SecureServer, new_nkey, secure_server
from tests.parts.certificates import self_signed
from tests.parts.nats import NatsServer, require_nats

MESH = (Prefix("10.0.0.0/8"),)


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Nkey:
    return new_nkey(tmp_path_factory.mktemp("keys"), "auditor")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, user: Nkey) -> Iterator[SecureServer]:
    """A server with TLS, which lets one user in."""
    require_nats()
    made = secure_server(tmp_path_factory.mktemp("secure"), [user.public])
    with made.server:
        yield made


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server without TLS, which lets everybody in."""
    with NatsServer(tmp_path_factory.mktemp("plain"), name="plain", monitoring=False) as server:
        yield server


def login(nats: str, pools: tuple[Prefix, ...] = MESH, **more: Any) -> NatsLogin:
    return read_login(CollectorSettings(nats=nats, **more), pools)


@asynccontextmanager
async def connected(made: NatsLogin, told: list[str] | None = None) -> AsyncIterator[NatsConnection]:
    async with open_nats(made, "_INBOX_test", (told if told is not None else []).append) as connection:
        yield connection


async def refusal(made: NatsLogin) -> str:
    with pytest.raises((NatsAway, ConfigError)) as caught:
        async with connected(made):
            pass
    return str(caught.value)


async def test_a_user_comes_in_by_tls_and_nkey_and_has_inboxes_of_its_own(
    secure: SecureServer, user: Nkey
) -> None:
    async with connected(login(secure.url, ca_file=secure.ca_file, nkey_file=user.file)) as connection:
        assert connection.client.asks_for_login
        assert connection.max_payload == 1024 * 1024
        inbox = connection.client.new_inbox()
        assert inbox.startswith("_INBOX_test.")
        subscription = await connection.client.subscribe(inbox)
        await connection.client.publish(inbox, b"there")
        assert (await subscription.next_msg(5)).data == b"there"


async def test_who_is_not_let_in_hears_why_in_one_line_and_no_seed(
    secure: SecureServer, user: Nkey, tmp_path: Path
) -> None:
    stranger = new_nkey(tmp_path, "stranger")
    other_ca, _ = self_signed(tmp_path, "elsewhere")
    said = {
        "stranger": await refusal(login(secure.url, ca_file=secure.ca_file, nkey_file=stranger.file)),
        "nobody": await refusal(login(secure.url, ca_file=secure.ca_file)),
        "ca": await refusal(login(secure.url, ca_file=other_ca, nkey_file=user.file)),
        "name": await refusal(
            login(secure.url.replace(HOST, "127.0.0.1"), ca_file=secure.ca_file, nkey_file=user.file)
        ),
    }
    assert f"does not let the user {stranger.public} in" in said["stranger"]
    assert "it wants a login; set collectors.nkey_file" in said["nobody"]
    assert "its certificate is not accepted: self-signed certificate" in said["ca"]
    assert "its certificate is not accepted: IP address mismatch" in said["name"]
    seeds = (user.file.read_text().strip(), stranger.file.read_text().strip())
    assert not any("\n" in line or seed in line for line in said.values() for seed in seeds)


async def test_tls_is_never_given_up_because_the_server_does_not_ask_for_it(plain: NatsServer) -> None:
    """Whoever stands between could take that line out of what it says."""
    before = plain.log().count("ERR")
    assert "speaks no TLS" in await refusal(login(f"tls://127.0.0.1:{plain.port}"))
    assert plain.log().count("ERR") == before


async def test_what_does_not_answer_as_a_nats_server_is_told_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CONNECT_WITHIN", 0.4)

    async def garbage(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()
        writer.close()

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 100_000)
        await writer.drain()
        writer.close()

    for talk, words in ((garbage, "no NATS server"), (endless, "no NATS server")):
        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            assert words in await refusal(login(f"nats://127.0.0.1:{port}"))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        assert "no answer within" in await refusal(login(f"nats://127.0.0.1:{port}"))
    assert f":{port}: Connect call failed" in await refusal(login(f"nats://127.0.0.1:{port}"))


async def test_a_server_in_the_mesh_is_refused_as_it_is_written_and_as_its_name_resolves(
    plain: NatsServer,
) -> None:
    mesh = (Prefix("127.0.0.0/8"), Prefix("::1/128"))
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1 lies in mesh\.pools"):
        login(f"nats://127.0.0.1:{plain.port}", mesh)
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1 lies in mesh\.pools"):
        login(f"nats://[::ffff:127.0.0.1]:{plain.port}", mesh)
    by_name = login(f"nats://localhost:{plain.port}", mesh)
    said = await refusal(by_name)
    assert "lies in mesh.pools" in said
    assert "localhost resolves to it" in said
    async with connected(login(f"nats://127.0.0.1:{plain.port}", mesh, over_mesh=True)) as connection:
        assert not connection.client.asks_for_login


async def test_a_name_that_resolves_into_the_mesh_a_moment_later_is_refused_before_a_word_is_said(
    plain: NatsServer,
) -> None:
    """The address of the connection counts, each time that it is made."""
    mesh = (Prefix("127.0.0.0/8"), Prefix("::1/128"))
    made = NatsConnection(login(f"nats://localhost:{plain.port}", mesh), print)
    with pytest.raises(module._NotConnected) as caught:
        await made._connect("_INBOX_test")
    await made.close()
    assert "lies in mesh.pools" in str(caught.value.__cause__)


async def test_a_server_that_wants_client_certificates_gets_one_or_it_is_told(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path, HOST)
    tls = f'tls {{ cert_file: "{cert}", key_file: "{key}", ca_file: "{cert}", verify: true }}'
    with NatsServer(tmp_path / "verify", name="verify", lines=[tls], monitoring=False) as server:
        url = f"tls://{HOST}:{server.port}"
        async with connected(login(url, ca_file=cert, cert_file=cert, key_file=key)):
            pass
        assert "it wants a client certificate that it knows" in await refusal(login(url, ca_file=cert))
    key.write_text("no key")
    with pytest.raises(ConfigError, match=r"collectors\.key_file: not usable PEM"):
        login(url, ca_file=cert, cert_file=cert, key_file=key)


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_seed_that_others_may_read_is_refused(user: Nkey, mode: int) -> None:
    """In a folder that is open to all: the tests' own is not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder, "seed")
        file.write_bytes(user.file.read_bytes())
        file.chmod(mode)
        with pytest.raises(ConfigError, match=rf"may read it \(mode {mode:04o}\); chmod 600 it"):
            login("nats://198.18.0.5", nkey_file=file)


def test_what_is_no_users_seed_is_refused_without_being_repeated(tmp_path: Path) -> None:
    file = tmp_path / "seed"
    for text in ("hunter2hunter2", "SUAAAA", "UA" + "A" * 54, "SO" + "A" * 56):
        file.write_text(text)
        file.chmod(0o600)
        with pytest.raises(ConfigError) as caught:
            login("nats://198.18.0.5", nkey_file=file)
        assert "collectors.nkey_file" in str(caught.value)
        assert text not in str(caught.value)


UNREADABLE = [
    (b"there", b"", header)
    for header in (
        b"NATS/1.0 \xff\xfe\xfd\r\n\r\n",
        b"NATS/1.0 200 \xff\xfe\xfd\r\n\r\n",
        b"NATS/1.0\r\nNats-Service-Error: \x1b[2J\xff\r\n\r\n",
        b"NATS/1.0\r\nno colon\r\n\r\n",
        b"NATS/1.0",
        b"N",
    )
] + [(b"there", b"\xff\xfe", b""), (b"there.\xff", b"", b"")]


async def test_what_another_user_publishes_ends_no_reading_and_is_not_said(
    plain: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Names and headers that are no text, and headers that are none."""
    told: list[str] = []
    async with connected(login(f"nats://127.0.0.1:{plain.port}"), told) as connection:
        subscription = await connection.client.subscribe("there")
        await connection.client.subscribe("there.*")
        await connection.settle()
        reader, writer = await asyncio.open_connection("127.0.0.1", plain.port)
        try:
            writer.write(b'CONNECT {"headers":true,"verbose":false}\r\n')
            for subject, reply, header in UNREADABLE:
                sizes = f"{len(header)} {len(header) + 2}" if header else "2"
                verb = b"HPUB" if header else b"PUB"
                writer.write(b" ".join([verb, subject, reply, sizes.encode()]) + b"\r\n" + header + b"no\r\n")
            writer.write(b"PUB there 3\r\nyes\r\nPING\r\n")
            async with asyncio.timeout(10):
                await reader.readuntil(b"PONG\r\n")
                while (await subscription.next_msg(10)).data != b"yes":
                    pass
        finally:
            writer.close()
    assert told == []
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


async def test_a_flush_that_was_given_up_ends_no_reading(
    plain: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(login(f"nats://127.0.0.1:{plain.port}")) as connection:
        subscription = await connection.client.subscribe("there")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await connection.client.flush()
        await connection.client.publish("there", b"yes")
        assert (await subscription.next_msg(10)).data == b"yes"
        await connection.settle()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_sender_of_too_much_does_not_decide_how_many_lines_say_so(plain: NatsServer) -> None:
    told: list[str] = []
    async with connected(login(f"nats://127.0.0.1:{plain.port}"), told) as connection:
        await connection.client.subscribe("flood", pending_msgs_limit=1)
        for _ in range(100):
            await connection.client.publish("flood", b"more")
        await connection.settle()
    assert len(told) == 1
    assert "messages were lost" in told[0]


async def test_it_comes_back_after_the_server_was_started_anew_with_its_subscriptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.1)
    told: list[str] = []
    with NatsServer(tmp_path, name="again", monitoring=False) as server:
        async with connected(login(f"nats://127.0.0.1:{server.port}"), told) as connection:
            subscription = await connection.client.subscribe("there")
            await connection.client.flush()
            server.stop()
            await asyncio.to_thread(server.__enter__)
            # What is said meanwhile is kept, and sent when it is back.
            await connection.client.publish("there", b"held")
            assert (await subscription.next_msg(10)).data == b"held"
            assert not connection.closed.is_set()
    assert [line.split(": ", 1)[1].split(" ")[0] for line in told] == ["connection", "back"]


async def test_one_that_does_not_come_back_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOST_FOR", 0.2)
    with NatsServer(tmp_path, name="gone", monitoring=False) as server:
        async with connected(login(f"nats://127.0.0.1:{server.port}")) as connection:
            await asyncio.to_thread(server.stop)
            async with asyncio.timeout(5):
                await connection.closed.wait()


def test_a_server_that_another_one_names_is_never_connected_to() -> None:
    """It could lie in the mesh, or anywhere."""
    made = NatsConnection(login("nats://198.18.0.5:4222"), print)
    named = Server(uri=urlparse("nats://10.0.0.1:4222"), reconnects=0)
    ours = Server(uri=urlparse("nats://198.18.0.5:4222"), reconnects=9)
    chosen, pause = made._again([named, ours], {})
    assert chosen is ours
    assert module.LONGEST_PAUSE / 2 <= pause <= module.LONGEST_PAUSE
