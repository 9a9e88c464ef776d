"""NATS servers that want TLS: the line before the handshake names them; where TLS comes first there is none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from auditor.errors import GapReason
from auditor.values.witness_answers import WitnessAnswer
from tests.parts.certificates import self_signed
from tests.parts.nats import NatsServer, version
from tests.witnesses.test_ssh_witnesses import CONTESTED, SIN, Observe, answers, nats

TLS_FIRST_SINCE = (2, 10, 4)
AT = "127.0.0.2"


def server(folder: Path, certificate: tuple[Path, Path], *, first: bool) -> NatsServer:
    """A real one that demands TLS; with `first`, without a word before the handshake."""
    cert, key = (json.dumps(str(path)) for path in certificate)
    handshake = "handshake_first: true" if first else ""
    lines = (f"tls {{ cert_file: {cert}, key_file: {key}\n {handshake} }}",)
    return NatsServer(folder, name="edge-sin-1", cluster="sin", address=AT, monitoring=False, lines=lines)


@contextlib.asynccontextmanager
async def tls_first(folder: Path, certificate: tuple[Path, Path]) -> AsyncIterator[int]:
    """A server with TLS first, a real NATS where this machine's can do it; yields the port."""
    if version() >= TLS_FIRST_SINCE:
        with server(folder, certificate, first=True) as running:
            yield running.port
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    listening = await asyncio.start_server(lambda _, writer: writer.close(), AT, ssl=context)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


def test_a_server_that_demands_tls_names_itself_before(observe: Observe, tmp_path: Path) -> None:
    with server(tmp_path / "nats", self_signed(tmp_path, "nats.test"), first=False) as running:
        (answer,) = asyncio.run(answers(observe(), nats(running.port), CONTESTED))
    assert (answer.said, answer.node, answer.region, answer.reason) == ("edge-sin-1", SIN, "sin", None)


def test_a_server_with_tls_first_is_a_gap_in_time_and_not_nobody(observe: Observe, tmp_path: Path) -> None:
    async def ask() -> list[WitnessAnswer]:
        certificate = self_signed(tmp_path, "nats.test")
        async with tls_first(tmp_path / "nats", certificate) as port:
            return await answers(observe(), nats(port, timeout=0.3), CONTESTED)

    (answer,) = asyncio.run(ask())
    assert (answer.reason, answer.node, answer.said) == (GapReason.NO_ANSWER, None, "")
    assert answer.seconds < 3
