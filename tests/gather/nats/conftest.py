"""One NATS server for the tests of a module, and a connection of each side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import nats
import pytest
from nats.aio.client import Client

from tests.parts.nats import NatsServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats"), name="collect", monitoring=False) as server:
        yield server


@pytest.fixture
async def client(server: NatsServer) -> AsyncIterator[Client]:
    """The auditor's connection."""
    connected = await nats.connect(f"nats://127.0.0.1:{server.port}", inbox_prefix="_INBOX_auditor")
    yield connected
    await connected.close()


@pytest.fixture
async def far(server: NatsServer) -> AsyncIterator[Client]:
    """The collectors' own connection."""
    connected = await nats.connect(f"nats://127.0.0.1:{server.port}", inbox_prefix="_INBOX_collector")
    yield connected
    await connected.close()
