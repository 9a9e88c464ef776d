"""One sweep over a fleet in memory: what it gathers, what it sets aside, and how it ends early."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from auditor.errors import GapReason
from auditor.gather.sweep import SweepOptions
from auditor.judge import judge
from auditor.values.models import Gap, Registration, RegistryReading
from auditor.values.report import Verdict
from tests.fakes import NO_SECOND, MemoryNodes, MemoryRegistry, Watcher, look, nodes_named, reading
from tests.fleets import Mesh, contested, healthy, idents, names, of, trio

AT_ONCE = SweepOptions(confirm_after=0.0)
DOWN = Gap("consul", GapReason.CONSUL_UNREACHABLE, "planted")


# -- what it gathers


async def test_a_healthy_fleet_is_swept_clean() -> None:
    """Everybody answered, and the registry was read twice."""
    registry = MemoryRegistry(reading(healthy()))
    snapshot = await look(registry, healthy())
    assert judge(snapshot).verdict is Verdict.CLEAN
    assert len(snapshot.observations) == 6
    assert registry.reads == 2
    assert snapshot.cut_short is None
    assert snapshot.started_at <= snapshot.finished_at


async def test_every_node_is_announced_before_the_first_is_asked() -> None:
    """A mesh address is no way to a node, and the registry says which addresses those are."""
    nodes = MemoryNodes(trio())
    announced: list[int] = []

    async def note(_: Registration) -> None:
        announced.append(len(nodes.expected))

    nodes.before = note
    await look(MemoryRegistry(reading(trio())), nodes)
    assert set(announced) == {3}


async def test_the_incident_is_found_end_to_end() -> None:
    """From registrations and tables to a verdict."""
    report = judge(await look(contested(), contested()))
    assert report.verdict is Verdict.FINDINGS
    assert "duplicate-address" in idents(report)


async def test_a_failed_probe_is_a_gap_with_its_reason() -> None:
    """The others are seen."""
    snapshot = await look(trio(), trio().not_seen("edge-sin-1", GapReason.HOST_KEY))
    assert [(gap.source, gap.node, gap.datacenter, gap.reason) for gap in snapshot.gaps] == [
        ("ssh", "edge-sin-1", "dc1", GapReason.HOST_KEY)
    ]
    assert len(snapshot.observations) == 2


async def test_one_nodes_surprise_does_not_end_the_run() -> None:
    """It is a gap that names the kind of error, and not its text, which may hold anything."""
    nodes = MemoryNodes(trio())
    nodes.surprises = {"edge-sin-1": RuntimeError("hunter2")}
    snapshot = await look(MemoryRegistry(reading(trio())), nodes)
    (gap,) = snapshot.gaps
    assert (gap.node, gap.reason) == ("edge-sin-1", GapReason.INTERNAL)
    assert "RuntimeError" in gap.detail
    assert "hunter2" not in gap.detail
    assert len(snapshot.observations) == 2


async def test_an_empty_registry_asks_nobody_and_is_not_clean() -> None:
    """Nothing to look at."""
    snapshot = await look(MemoryRegistry(RegistryReading()), trio())
    assert judge(snapshot).verdict is Verdict.INCONCLUSIVE


async def test_unreadable_registrations_travel_into_the_snapshot() -> None:
    """Reported, never dropped."""
    assert names(item.node for item in (await look(trio().broken("oops"), trio())).invalid) == ["oops"]


async def test_equal_tables_are_fetched_once() -> None:
    """However many nodes show them at the same time."""
    nodes = MemoryNodes(trio())
    snapshot = await look(MemoryRegistry(reading(trio())), nodes)
    assert list(nodes.fetched.values()) == [1]
    assert set(snapshot.tables) == {item.table for item in snapshot.observations}


async def test_no_more_nodes_are_asked_at_a_time_than_the_bound_allows() -> None:
    """Nodes answer only once as many as allowed wait together; more would be counted."""
    mesh = Mesh()
    for number in range(2, 22):
        mesh.node(f"n{number}", f"10.0.0.{number}")
    nodes = MemoryNodes(mesh)
    together = asyncio.Event()

    async def wait_for_company(_: Registration) -> None:
        if nodes.busy == 5:
            together.set()
        await together.wait()

    nodes.before = wait_for_company
    snapshot = await look(MemoryRegistry(reading(mesh)), nodes, concurrency=5)
    assert nodes.busiest == 5
    assert len(snapshot.observations) == 20


async def test_progress_is_told() -> None:
    """Phases, how many nodes, and each one's outcome."""
    watcher = Watcher()
    await look(trio(), trio().not_seen("edge-sin-1"), watcher=watcher)
    assert watcher.phases == ["registry", "nodes", "registry again"]
    assert watcher.counts == [3]
    assert watcher.done == {True: 2, False: 1}


# -- what changes meanwhile


async def test_a_registration_that_was_only_written_again_has_not_changed() -> None:
    """Consul's index moved, the content did not: its drift counts."""
    before, after = trio().node("x", "10.0.0.9", index=5), trio().node("x", "10.0.0.9", index=6)
    live = trio().node("x", "10.0.0.9").holds("x", "10.0.0.77")
    snapshot = await look(MemoryRegistry(reading(before), reading(after)), live)
    assert snapshot.in_flight == ()
    assert idents(judge(snapshot)) == ["address-drift"]


async def test_a_duplicate_that_is_registered_during_the_sweep_is_found() -> None:
    """In flight, and among the final registrations."""
    after = trio().node("new", "10.0.0.2")
    snapshot = await look(MemoryRegistry(reading(trio()), reading(after)), trio())
    assert [finding.subject for finding in of(judge(snapshot), "duplicate-address")] == ["10.0.0.2"]


async def test_a_failed_second_reading_sets_nothing_aside_and_adds_its_gap() -> None:
    """An empty answer is not everybody's departure: the first reading stands."""
    snapshot = await look(MemoryRegistry(reading(trio()), RegistryReading(gaps=(DOWN,))), trio())
    assert snapshot.in_flight == ()
    assert len(snapshot.registrations) == 3
    assert snapshot.gaps == (DOWN,)
    assert judge(snapshot).verdict is Verdict.INCONCLUSIVE


async def test_a_second_reading_that_lost_one_datacenter_sets_nothing_aside() -> None:
    """Part of an answer proves no change."""
    both = trio().node("far", "10.0.0.99", dc="dc2")
    partial = replace(reading(trio()), gaps=(DOWN,))
    snapshot = await look(MemoryRegistry(reading(both), partial), both)
    assert snapshot.in_flight == ()
    assert len(snapshot.registrations) == 4


async def test_a_first_reading_that_failed_is_tried_again_before_anybody_is_asked() -> None:
    """So a fault that is over when the sweep goes on costs nothing, and is no gap."""
    registry = MemoryRegistry(RegistryReading(gaps=(DOWN,)), reading(trio()))
    report = judge(await look(registry, trio()))
    assert (report.coverage.registered, report.coverage.observed) == (3, 3)
    assert report.verdict is Verdict.CLEAN


async def test_nodes_that_only_the_last_reading_knows_are_asked_then_and_the_failure_stays_a_gap() -> None:
    """A datacenter that was read once only was not seen to hold still."""
    unread = RegistryReading(gaps=(DOWN,))
    snapshot = await look(MemoryRegistry(unread, unread, reading(trio())), trio())
    assert snapshot.in_flight == ()
    report = judge(snapshot)
    assert (report.coverage.registered, report.coverage.observed) == (3, 3)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert DOWN in report.gaps


async def test_a_datacenter_that_is_read_late_does_not_have_the_others_asked_twice() -> None:
    """Only its own nodes are asked late."""
    near, both = trio(), trio().node("far", "10.0.0.99", dc="dc2")
    down = replace(DOWN, datacenter="dc2")
    partial = replace(reading(near), gaps=(down,))
    nodes = MemoryNodes(both)
    snapshot = await look(MemoryRegistry(partial, partial, reading(both)), nodes)
    assert names(item.node for item in snapshot.observations) == [
        "edge-ams-1",
        "edge-fra-1",
        "edge-sin-1",
        "far",
    ]
    assert set(nodes.asked.values()) == {1}
    assert snapshot.gaps == (down,)


async def test_a_gap_that_both_readings_have_does_not_hide_what_changed_elsewhere() -> None:
    """One datacenter is down all along; in the other one a node joins."""
    before = replace(reading(trio()), gaps=(DOWN,))
    after = replace(reading(trio().node("new", "10.0.0.99")), gaps=(DOWN,))
    snapshot = await look(MemoryRegistry(before, after), trio())
    assert names(item.node for item in snapshot.in_flight) == ["new"]
    assert snapshot.gaps == (DOWN,)


# -- the second look


async def test_suspects_are_asked_once_more_and_nobody_else() -> None:
    """Here: the displaced node, and the one observer that shows it."""
    mesh = healthy().empties("edge-fra-1", "edge-sin-1")
    nodes = MemoryNodes(mesh)
    snapshot = await look(MemoryRegistry(reading(mesh)), nodes, AT_ONCE)
    assert {node for node, times in nodes.asked.items() if times == 2} == nodes_named(
        ["edge-fra-1", "edge-sin-1"]
    )
    assert max(nodes.asked.values()) == 2
    assert snapshot.second_look is not None
    assert set(snapshot.second_look.asked) == nodes_named(["edge-fra-1", "edge-sin-1"])
    assert [finding.confirmed for finding in judge(snapshot).findings] == [True]


async def test_what_is_gone_on_the_second_look_does_not_count() -> None:
    """The observer was between two writes of its configuration."""
    mesh = trio().empties("edge-fra-1", "edge-sin-1")
    report = judge(await look(MemoryRegistry(reading(mesh)), MemoryNodes(mesh, trio()), AT_ONCE))
    assert [finding.confirmed for finding in report.findings] == [False]
    assert report.verdict is Verdict.CLEAN


async def test_tables_that_only_the_second_look_met_are_in_the_snapshot() -> None:
    """A replay needs them."""
    mesh, later = trio().empties("edge-fra-1", "edge-sin-1"), trio().empties("edge-fra-1", "edge-ams-1")
    snapshot = await look(MemoryRegistry(reading(mesh)), MemoryNodes(mesh, later), AT_ONCE)
    assert snapshot.second_look is not None
    again = {item.table for item in snapshot.second_look.observations}
    assert again - {item.table for item in snapshot.observations}
    assert again <= set(snapshot.tables)


async def test_nobody_is_asked_twice_where_confirming_is_off() -> None:
    """`--no-confirm`."""
    nodes = MemoryNodes(contested())
    snapshot = await look(MemoryRegistry(reading(contested())), nodes, NO_SECOND)
    assert set(nodes.asked.values()) == {1}
    assert snapshot.second_look is None


async def test_nobody_is_asked_twice_where_nothing_was_found() -> None:
    """A gap is no finding, and is not tried again."""
    mesh = trio().not_seen("edge-sin-1")
    nodes = MemoryNodes(mesh)
    snapshot = await look(MemoryRegistry(reading(mesh)), nodes, AT_ONCE)
    assert set(nodes.asked.values()) == {1}
    assert snapshot.second_look is None


async def test_a_suspect_that_fails_the_second_time_is_a_gap_of_the_second_look() -> None:
    """And its finding stands."""
    mesh = trio().empties("edge-fra-1", "edge-sin-1")
    nodes = MemoryNodes(mesh, trio().not_seen("edge-fra-1", GapReason.AUTH))
    snapshot = await look(MemoryRegistry(reading(mesh)), nodes, AT_ONCE)
    assert snapshot.second_look is not None
    assert [(gap.node, gap.reason) for gap in snapshot.second_look.gaps] == [("edge-fra-1", GapReason.AUTH)]
    assert judge(snapshot).verdict is Verdict.FINDINGS
