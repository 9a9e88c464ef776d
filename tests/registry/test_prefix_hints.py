"""The hint on consul.prefix: one level too wide, too narrow, misspelt, or without its first level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from auditor.errors import GapReason
from auditor.registry.consul import ConsulRegistry
from auditor.settings.consul import ConsulSettings
from tests.parts.consul import ConsulServer
from tests.registry.records_of import key_of, record


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """A registry beside the claims of its addresses, as `wgaudit adopt` leaves it."""
    with ConsulServer(tmp_path_factory.mktemp("consul")) as started:
        for name in ("edge-sin-1", "worker-fra-1"):
            started.put(f"wireguard/nodes/{name}", record(name))
            started.put(f"wireguard/addresses/{name}", b'{"claim": 1}')
            started.put(f"fields/nodes/{name}/ip", b"10.0.0.1")
            started.put(f"fields/nodes/{name}/public_key", key_of(name).encode())
        started.put("unrelated/key", b"")
        yield started


async def told(server: ConsulServer, **settings: object) -> Mapping[GapReason, str]:
    reading = await ConsulRegistry(
        ConsulSettings.model_validate({"url": server.url, **settings}), None
    ).read()
    assert reading.registrations == ()
    return {gap.reason: gap.detail for gap in reading.gaps}


@pytest.mark.parametrize(
    ("layout", "prefix", "fitting"),
    [
        ("kv-json", "wireguard/", "wireguard/nodes/"),
        ("kv-fields", "fields/", "fields/nodes/"),
        ("kv-fields", "fields/nodes/edge-sin-1/", "fields/nodes/"),
    ],
)
async def test_a_prefix_under_which_registrations_stand_a_level_off_is_told(
    server: ConsulServer, layout: str, prefix: str, fitting: str
) -> None:
    gaps = await told(server, prefix=prefix, layout=layout)
    assert f"is consul.prefix to be {fitting}?" in gaps[GapReason.REGISTRY_EMPTY]


@pytest.mark.parametrize(
    ("prefix", "hint"),
    [
        ("wireguard/node/", "is consul.prefix to be wireguard/nodes/?"),
        ("nodes/", "is consul.prefix to be fields/nodes/ or wireguard/nodes/?"),
        ("wireguard/nodes/nodes/", "wireguard/nodes/ holds 2 keys: is that consul.prefix?"),
        ("mesh/", "the top level holds the folders fields/, unrelated/ and wireguard/"),
    ],
)
async def test_a_prefix_that_is_not_there_is_told_with_what_is(
    server: ConsulServer, prefix: str, hint: str
) -> None:
    assert hint in (await told(server, prefix=prefix))[GapReason.PREFIX_NOT_FOUND]


async def test_a_prefix_far_from_everything_gets_no_hint(server: ConsulServer) -> None:
    """Above it there is nothing, and the answer stands without it."""
    detail = (await told(server, prefix="a/b/c/d/"))[GapReason.PREFIX_NOT_FOUND]
    assert "is consul.prefix to be" not in detail


async def test_unreadable_registrations_get_no_hint_and_no_gap(server: ConsulServer) -> None:
    """Each is told by itself."""
    assert await told(server, prefix="wireguard/addresses/") == {}
