"""Looks at nodes whose registrations are lost: evidence beside a sweep, and no part of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from auditor.errors import GapReason
from auditor.gather.local import LocalCollector
from auditor.service.lost_nodes import MOST_ASKED, live_keys, look_at_lost
from auditor.values.addresses import Prefix
from auditor.values.models import LostNodeLook, LostRegistration, NodeId
from tests.fakes import MemoryNodes
from tests.fleets import STARTED, Mesh, key_of, trio


def deleted(*names: str) -> tuple[Mesh, list[LostRegistration]]:
    """A fleet that still has these as peers, and what was lost of them, the last one first."""
    mesh = trio()
    for number, name in enumerate(names):
        mesh.node(name, f"10.0.1.{number + 1}")
    lost = [
        LostRegistration(mesh.registrations[mesh.find(name)], STARTED - timedelta(minutes=number))
        for number, name in enumerate(names)
    ]
    for name in names:
        mesh.unregistered(name)
    return mesh, lost


async def looked_at(
    mesh: Mesh, lost: list[LostRegistration], nodes: MemoryNodes | None = None
) -> dict[str, LostNodeLook | None]:
    """The looks, by node."""
    found = await look_at_lost(lost, mesh.snapshot(), LocalCollector(nodes or MemoryNodes(mesh)))
    assert [item.registration for item in found] == [item.registration for item in lost]
    return {item.registration.node.name: item.look for item in found}


async def test_a_lost_node_that_answers_says_its_key_and_its_addresses() -> None:
    looks = await looked_at(*deleted("edge-10"))
    assert looks == {"edge-10": LostNodeLook(key_of("edge-10"), (Prefix("10.0.1.1/32"),))}


async def test_a_lost_node_that_does_not_answer_says_why_and_is_no_gap() -> None:
    mesh, lost = deleted("edge-10")
    mesh.unseen[mesh.find("edge-10")] = GapReason.CONNECT_REFUSED
    assert await looked_at(mesh, lost) == {"edge-10": LostNodeLook(why_not="connect-refused: planted")}


async def test_who_is_nobodys_peer_any_more_or_was_released_is_not_asked() -> None:
    """Whatever was taken down for good would cost each sweep a timeout."""
    mesh, lost = deleted("edge-10")
    nodes = MemoryNodes(mesh)
    assert await looked_at(mesh, [replace(lost[0], released=True)], nodes) == {"edge-10": None}
    for observer in ("edge-fra-1", "edge-sin-1", "edge-ams-1"):
        mesh.edit(observer, lambda peers: [peer for peer in peers if peer[0] != key_of("edge-10")])
    assert await looked_at(mesh, lost, nodes) == {"edge-10": None}
    assert not nodes.asked


async def test_only_those_that_were_lost_last_are_asked() -> None:
    mesh, lost = deleted(*(f"edge-{number}" for number in range(100, 103 + MOST_ASKED)))
    looks = await looked_at(mesh, lost)
    assert [name for name, look in looks.items() if look is None] == [
        f"edge-{number}" for number in range(100 + MOST_ASKED, 103 + MOST_ASKED)
    ]


async def test_an_interrupted_sweep_asks_nobody_and_does_not_wait_for_one_that_is_asked() -> None:
    mesh, lost = deleted("edge-10")
    nodes, interrupt = MemoryNodes(mesh), asyncio.Event()

    async def hang(_: object) -> None:
        interrupt.set()
        await asyncio.Event().wait()

    nodes.before = hang
    async with asyncio.timeout(10):
        (item,) = await look_at_lost(lost, mesh.snapshot(), LocalCollector(nodes), interrupt)
        assert item.look is not None
        assert item.look.public_key is None
        (item,) = await look_at_lost(lost, mesh.snapshot(), LocalCollector(MemoryNodes(mesh)), interrupt)
        assert item.look is None


def test_a_key_is_live_on_a_device_or_in_a_table() -> None:
    mesh, _ = deleted("edge-10")
    assert live_keys(mesh.snapshot(), {key_of("edge-10"), key_of("nobody"), key_of("edge-fra-1"), None}) == {
        key_of("edge-10"),
        key_of("edge-fra-1"),
    }
    assert NodeId("dc1", "edge-10") not in {item.node for item in mesh.snapshot().registrations}
