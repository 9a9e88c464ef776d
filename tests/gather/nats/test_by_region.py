"""An assignment divided by region: each node is looked at by its region's collectors, from here, or not at all."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from functools import partial

import pytest
from nats.aio.client import Client

from auditor.errors import ConfigError, GapReason
from auditor.fleet.region_sources import RegionSources
from auditor.gather.by_region import RegionalCollector, RegionOutOfReach, RegionToAsk
from auditor.gather.collector import Assignment, Collector, Seen, node_of
from auditor.gather.local import LocalCollector
from auditor.gather.nats.asked_look import LookTerms
from auditor.gather.nats.nats_collector import NatsCollector
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.values.addresses import Prefix
from auditor.values.models import AuditPolicy, Gap, Observation
from tests.fakes import MemoryNodes
from tests.fleets import Mesh, key_of, trio
from tests.gather.nats.scripted_collector import ScriptedCollector, Talk, as_it_should

POLICY = AuditPolicy(
    name_pattern="^[a-z]+-(?P<region>[a-z]{3})-", region_pools={"nrt": Prefix("10.7.0.0/16")}
)
LONGEST = 15.0


def fleet() -> Mesh:
    """Nodes whose region is registered, in their name, in their address, or nowhere."""
    return trio().node("core-sin-2", "10.0.1.2").node("alpha", "10.7.0.1").node("omega", "10.0.3.1")


def regional(client: Client, *names: str, local: Mesh | None = None) -> RegionalCollector:
    regions = {name: NatsCollector(client, name, LookTerms("wg0"), silent=LONGEST) for name in names}
    here = partial(LocalCollector, MemoryNodes(local)) if local is not None else None
    return RegionalCollector(RegionSources(POLICY), regions, here)


async def looked(
    collector: RegionalCollector, mesh: Mesh, tables: TableStore | None = None
) -> dict[str, Seen]:
    registered = tuple(mesh.registrations.values())
    async with asyncio.timeout(LONGEST):
        stream = collector.collect(Assignment(registered, registered), tables or TableStore(), Stop())
        async with aclosing(stream) as results:
            found = [seen async for seen in results]
    assert len(found) == len(mesh.registrations)
    return {node_of(seen).name: seen for seen in found}


def reasons(results: dict[str, Seen]) -> dict[str, GapReason]:
    return {name: seen.reason for name, seen in results.items() if isinstance(seen, Gap)}


async def test_each_region_s_nodes_go_to_its_collector_and_the_others_are_looked_at_from_here(
    client: Client, far: Client
) -> None:
    """The region is what the registration says, else the name, else the address plan."""
    mesh, tables = fleet(), TableStore()
    async with ScriptedCollector(far, "sin", mesh) as sin, ScriptedCollector(far, "nrt", mesh) as nrt:
        results = await looked(regional(client, "sin", "nrt", "fra", local=mesh), mesh, tables)

    assert results == {node.name: mesh.observe(node) for node in mesh.registrations}
    assert tables.tables == mesh.tables()
    assert sorted(form["name"] for form in sin.talks[0].nodes) == ["core-sin-2", "edge-sin-1"]
    assert [form["name"] for form in nrt.talks[0].nodes] == ["alpha"]
    # Of the one table that all have, one text came: from here, or from one of the two.
    assert sum((sin.wants + nrt.wants).values()) <= 1


async def test_without_a_fallback_nodes_of_no_listed_region_and_of_none_with_a_collector_are_gaps(
    client: Client, far: Client
) -> None:
    mesh = fleet()
    async with ScriptedCollector(far, "sin", mesh):
        results = await looked(regional(client, "sin", "fra"), mesh)
    assert reasons(results) == dict.fromkeys(
        ("edge-fra-1", "edge-ams-1", "alpha", "omega"), GapReason.COLLECTOR_MISSING
    )
    details = {name: seen.detail for name, seen in results.items() if isinstance(seen, Gap)}
    assert details["edge-fra-1"] == "no collector of region fra is there"
    assert details["edge-ams-1"] == "its region ams is not among collectors.regions"
    assert "no collector looks at it" in details["omega"]


@pytest.mark.parametrize("fallback", [True, False])
async def test_a_server_out_of_reach_is_the_same_as_no_collector_anywhere(fallback: bool) -> None:
    mesh = trio()
    regions: dict[str, RegionToAsk] = {"fra": RegionOutOfReach("no collector could be asked: it is away")}
    collector = RegionalCollector(
        RegionSources(POLICY), regions, partial(LocalCollector, MemoryNodes(mesh)) if fallback else None
    )
    results = await looked(collector, mesh)
    if fallback:
        assert all(isinstance(seen, Observation) for seen in results.values())
    else:
        assert set(reasons(results)) == {"edge-fra-1", "edge-sin-1", "edge-ams-1"}


async def test_where_collectors_look_at_all_nodes_nothing_is_made_to_look_from_here(
    client: Client, far: Client
) -> None:
    mesh, made = trio(), list[str]()

    def local() -> Collector:
        made.append("local")
        return LocalCollector(MemoryNodes(mesh))

    names = ("fra", "sin", "ams")
    regions = {name: NatsCollector(client, name, LookTerms("wg0"), silent=LONGEST) for name in names}
    collector = RegionalCollector(RegionSources(POLICY), regions, local)
    async with AsyncExitStack() as stack:
        for name in names:
            await stack.enter_async_context(ScriptedCollector(far, name, mesh))
        assert not reasons(await looked(collector, mesh))
        assert made == []
    results = await looked(collector, mesh)  # their collectors have gone
    assert not reasons(results)
    assert made == ["local"]


async def test_a_look_from_here_that_cannot_be_set_up_is_a_gap_of_just_those_who_need_it(
    client: Client, far: Client
) -> None:
    mesh = fleet()

    def local() -> Collector:
        raise ConfigError("ssh.known_hosts: cannot read it")

    regions = {name: NatsCollector(client, name, LookTerms("wg0"), silent=LONGEST) for name in ("sin", "fra")}
    async with ScriptedCollector(far, "sin", mesh):
        results = await looked(RegionalCollector(RegionSources(POLICY), regions, local), mesh)
    assert reasons(results) == dict.fromkeys(
        ("edge-fra-1", "edge-ams-1", "alpha", "omega"), GapReason.COLLECTOR_MISSING
    )
    details = {name: seen.detail for name, seen in results.items() if isinstance(seen, Gap)}
    nor = "; nor can it be looked at from here: ssh.known_hosts: cannot read it"
    assert details["edge-fra-1"] == f"no collector of region fra is there{nor}"
    assert details["edge-ams-1"] == f"its region ams is not among collectors.regions{nor}"


async def test_a_collector_cannot_answer_for_another_region_s_node(client: Client, far: Client) -> None:
    """It names the other's node before that one's own collector does; the other region does not notice."""
    mesh = trio()
    lied = asyncio.Event()

    async def lying(talk: Talk) -> None:
        own = talk.result("edge-fra-1")["observations"][0]
        foreign = {**own, "name": "edge-sin-1", "public_key": key_of("liar")}
        await talk.send("seen", observations=[foreign])
        await talk.send(
            "seen", gaps=[{"name": "edge-ams-1", "datacenter": "dc1", "reason": "auth", "detail": ""}]
        )
        await as_it_should(talk)
        lied.set()

    async def after(talk: Talk) -> None:
        await lied.wait()
        await as_it_should(talk)

    async with (
        ScriptedCollector(far, "fra", mesh, lying),
        ScriptedCollector(far, "sin", mesh, after),
        ScriptedCollector(far, "ams", mesh, after),
    ):
        results = await looked(regional(client, "fra", "sin", "ams"), mesh)
    assert results == {node.name: mesh.observe(node) for node in mesh.registrations}


async def test_one_region_s_loss_is_no_other_s(client: Client, far: Client) -> None:
    mesh = trio()

    async def giving_up(talk: Talk) -> None:
        await talk.send("failed", detail="told to end")

    async with ScriptedCollector(far, "fra", mesh, giving_up), ScriptedCollector(far, "sin", mesh):
        results = await looked(regional(client, "fra", "sin", local=mesh), mesh)
    assert reasons(results) == {"edge-fra-1": GapReason.COLLECTOR_LOST}
    assert results["edge-sin-1"] == mesh.observe(mesh.find("edge-sin-1"))


async def test_a_gap_of_a_node_that_was_to_be_a_collector_s_says_that_it_was_looked_at_from_here(
    client: Client,
) -> None:
    """Its server may well let in nobody from here: then the collector is what is wrong."""
    mesh = trio().not_seen("edge-fra-1", GapReason.AUTH).not_seen("edge-ams-1", GapReason.AUTH)
    results = await looked(regional(client, "fra", "sin", local=mesh), mesh)
    details = {name: seen.detail for name, seen in results.items() if isinstance(seen, Gap)}
    assert details == {
        "edge-fra-1": "planted; looked at from here, for no collector of region fra is there",
        "edge-ams-1": "planted",
    }


async def test_a_stream_that_is_closed_ends_the_looks_of_all_regions(client: Client, far: Client) -> None:
    mesh, tables = trio(), TableStore()
    tables.add(mesh.table(mesh.find("edge-fra-1")))

    async def slow(talk: Talk) -> None:
        await talk.send("seen", **talk.result(talk.nodes[0]["name"]))
        await talk.send("alive")
        await asyncio.Event().wait()

    registered = tuple(mesh.registrations.values())
    async with (
        ScriptedCollector(far, "fra", mesh, slow) as fra,
        ScriptedCollector(far, "sin", mesh, slow) as sin,
        asyncio.timeout(LONGEST),
    ):
        stream = regional(client, "fra", "sin").collect(Assignment(registered, registered), tables, Stop())
        async with aclosing(stream) as results:
            async for seen in results:
                if isinstance(seen, Observation):
                    break
        await asyncio.gather(fra.talks[0].ended.wait(), sin.talks[0].ended.wait())
