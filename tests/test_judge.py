"""Verdicts, causes, second looks: what is said of what was seen, whatever the order it came in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import GapReason, GapScope
from auditor.fleet.fleet import Fleet
from auditor.judge import judge
from auditor.values.addresses import Prefix
from auditor.values.drains import Drained
from auditor.values.findings import Severity
from auditor.values.models import Gap, Memory, NodeId, SharedAddress, Snapshot
from auditor.values.report import Verdict
from auditor.values.route_table import RouteTable
from tests.fleet.test_routes import fleets
from tests.fleets import (
    STARTED,
    Mesh,
    check_causes,
    contested,
    healthy,
    idents,
    key_of,
    names,
    prefixes,
    roots,
    trio,
)

T = TypeVar("T")


# -- verdicts


def test_a_fleet_that_was_seen_whole_and_has_nothing_wrong_is_clean() -> None:
    """The only way to clean."""
    report = judge(healthy().snapshot())
    assert report.verdict is Verdict.CLEAN
    assert (report.coverage.registered, report.coverage.observed, report.coverage.share) == (6, 6, 1.0)


REGISTRY_REASONS = [
    reason for reason in GapReason if reason.value.startswith(("consul", "registry", "prefix"))
]


@pytest.mark.parametrize("reason", REGISTRY_REASONS)
def test_a_gap_of_the_registry_is_never_clean(reason: GapReason) -> None:
    """There may be registrations that we did not see, however many nodes we saw."""
    mesh = healthy(minimum_coverage=0.0).gap(reason, "file" if "registry" in reason.value else "consul")
    assert judge(mesh.snapshot()).verdict is Verdict.INCONCLUSIVE


def test_an_empty_registry_is_never_clean() -> None:
    """Nothing to look at is not nothing wrong."""
    assert judge(Mesh(minimum_coverage=0.0).snapshot()).verdict is Verdict.INCONCLUSIVE


def test_one_node_that_was_not_seen_is_not_clean() -> None:
    """And it is named."""
    report = judge(healthy().not_seen("edge-sin-1").snapshot())
    assert report.verdict is Verdict.INCONCLUSIVE
    assert [(gap.node, gap.reason) for gap in report.gaps] == [("edge-sin-1", GapReason.CONNECT_REFUSED)]


@pytest.mark.parametrize(("minimum", "verdict"), [(0.83, Verdict.CLEAN), (0.84, Verdict.INCONCLUSIVE)])
def test_a_share_of_the_fleet_may_be_enough_if_the_configuration_says_so(
    minimum: float, verdict: Verdict
) -> None:
    """Five of six are 0.833."""
    assert judge(healthy(minimum_coverage=minimum).not_seen("edge-sin-1").snapshot()).verdict is verdict


def test_nobody_seen_is_not_clean_even_where_no_share_is_asked_for() -> None:
    """Not seeing is not clean."""
    mesh = trio(minimum_coverage=0.0)
    for name in ("edge-fra-1", "edge-sin-1", "edge-ams-1"):
        mesh.not_seen(name)
    assert judge(mesh.snapshot()).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("minimum", [0.0, 0.5, 1.0])
def test_a_sweep_that_was_cut_short_is_never_clean(minimum: float) -> None:
    """Even if every node had answered: the registry was not read again. A gap says so to everybody."""
    report = judge(replace(healthy(minimum_coverage=minimum).snapshot(), cut_short="interrupted"))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert [(gap.source, gap.reason) for gap in report.gaps] == [("sweep", GapReason.CUT_SHORT)]


def test_a_sweep_that_was_cut_short_before_the_registry_was_read_has_one_gap() -> None:
    """The same thing is not told twice."""
    unread = Gap("sweep", GapReason.CUT_SHORT, "the sweep was cut short before the registry was read")
    report = judge(replace(Mesh().snapshot(), gaps=(unread,), cut_short="deadline"))
    assert report.gaps == (unread,)


def test_coverage_counts_the_nodes_whose_registration_cannot_be_read() -> None:
    """Each node once, and none that another registration of its own makes readable."""
    mesh = healthy().broken("db-sin-1").broken("db-sin-1", "again").broken("edge-sin-1")
    coverage = judge(mesh.snapshot()).coverage
    assert (coverage.registered, coverage.observed, coverage.unreadable) == (7, 6, 1)


# -- what is absent where not everything was read


def two_datacenters(**policy: object) -> Mesh:
    """Three nodes in dc1, and three in dc2."""
    mesh = trio(**policy)
    for number in range(7, 10):
        mesh.node(f"far-{number}", f"10.0.0.{number}", dc="dc2")
    return mesh


@pytest.mark.parametrize("reason", [GapReason.CONSUL_TIMEOUT, GapReason.CONSUL_FILTERED])
def test_the_peers_of_a_datacenter_that_was_not_read_are_no_findings(reason: GapReason) -> None:
    """They are not listed, and not unregistered: inconclusive, and the gap counts them."""
    report = judge(two_datacenters().without_datacenter("dc2", reason).snapshot())
    assert (report.verdict, report.findings, len(report.withheld)) == (Verdict.INCONCLUSIVE, (), 3)
    (gap,) = report.gaps
    assert gap.detail == "planted; 3 keys on devices may be registered there"


def test_the_peers_of_a_file_that_was_not_read_whole_are_no_findings() -> None:
    """An export that breaks off is a list that is missing."""
    mesh = trio().peers_with("edge-fra-1", "ghost", "10.0.0.66").gap(GapReason.REGISTRY_UNREADABLE, "file")
    report = judge(mesh.snapshot())
    assert (report.verdict, report.findings) == (Verdict.INCONCLUSIVE, ())
    assert report.gaps[0].detail == "planted; 1 key on devices may be registered there"


def test_what_does_not_rest_on_an_absence_is_found_though_a_datacenter_was_not_read() -> None:
    """A missing list voids nothing else."""
    mesh = two_datacenters().holds("edge-sin-1", "10.0.0.2").without_datacenter("dc2")
    report = judge(mesh.snapshot())
    assert report.verdict is Verdict.FINDINGS
    assert roots(report) == [("duplicate-address", "10.0.0.2")]
    assert "unregistered-peer" not in idents(report)


def test_how_much_of_its_peers_an_observer_lacks_is_not_said_of_a_registry_that_was_not_read() -> None:
    """It lacks both nodes of the list that was read; nobody knows of how many that is the most."""
    mesh = two_datacenters().lacks("edge-fra-1", "edge-sin-1", "edge-ams-1")
    assert roots(judge(mesh.snapshot())) == [
        ("missing-peer", "edge-ams-1"),
        ("missing-peer", "edge-sin-1"),
    ]
    assert roots(judge(mesh.without_datacenter("dc2").snapshot())) == [
        ("missing-peer", "edge-ams-1"),
        ("missing-peer", "edge-sin-1"),
    ]


def test_a_retired_node_may_be_registered_anew_where_the_registry_was_not_read() -> None:
    """It moved to the other datacenter with its key."""
    mesh = trio().node("moved", "10.0.0.66").retired("moved")
    assert "retired-but-live" in idents(judge(mesh.snapshot()))
    assert judge(mesh.gap(GapReason.CONSUL_TIMEOUT, dc="dc2").snapshot()).findings == ()


def test_the_live_key_of_a_drifted_node_that_hides_is_no_unregistered_peer() -> None:
    """An earlier sweep saw whose it is. Not clean either, however few nodes must be seen."""

    def drifted() -> Mesh:
        mesh = trio(minimum_coverage=0.5).rekeyed("edge-sin-1", "new")
        return mesh.peers_with("edge-fra-1", "new").not_seen("edge-sin-1")

    assert "unregistered-peer" in idents(judge(drifted().snapshot()))
    report = judge(drifted().remembers("edge-sin-1", "new").snapshot())
    assert (report.verdict, report.findings) == (Verdict.INCONCLUSIVE, ())
    assert len(report.withheld) == 1


def test_a_remembered_key_explains_nothing_once_its_node_is_seen_or_gone() -> None:
    """What a device holds now counts, and a node that is not registered owns no key."""
    seen = trio().peers_with("edge-fra-1", "new").remembers("edge-sin-1", "new")
    assert "unregistered-peer" in idents(judge(seen.snapshot()))
    gone = trio().peers_with("edge-fra-1", "new").remembers("edge-sin-1", "new").unregistered("edge-sin-1")
    assert "unregistered-peer" in idents(judge(gone.snapshot()))


def test_a_report_says_which_devices_hold_another_key_than_is_registered() -> None:
    """What the next sweep is told, where this one is remembered."""
    report = judge(trio().rekeyed("edge-sin-1", "new").snapshot())
    assert report.drifted == {NodeId("dc1", "edge-sin-1"): key_of("new")}


def test_findings_are_findings_however_little_was_seen() -> None:
    """What was seen was seen."""
    report = judge(contested().not_seen("watch-a").gap(GapReason.CONSUL_TIMEOUT).snapshot())
    assert report.verdict is Verdict.FINDINGS


def test_a_node_in_flight_is_registered_and_observed_like_others_and_never_clean() -> None:
    """What is live on it counts; its registration had not held still."""
    report = judge(healthy().flying("edge-sin-1", addresses=prefixes(["10.0.0.33"])).snapshot())
    assert (report.coverage.registered, report.coverage.observed) == (6, 6)
    assert names(report.in_flight) == ["edge-sin-1"]
    (gap,) = report.gaps
    assert (gap.reason, gap.scope, gap.node) == (GapReason.UNSETTLED, GapScope.REGISTRY, "edge-sin-1")
    assert gap.detail.endswith("address 10.0.0.3, before 10.0.0.33")
    assert report.verdict is Verdict.INCONCLUSIVE


def test_a_fleet_that_is_all_in_flight_is_not_clean() -> None:
    """Nothing of it was seen in a settled state."""
    mesh = trio()
    for name in ("edge-fra-1", "edge-sin-1", "edge-ams-1"):
        mesh.flying(name)
    assert judge(mesh.snapshot()).verdict is Verdict.INCONCLUSIVE


def test_tables_and_nodes_without_digest_are_counted() -> None:
    """What the sweep cost."""
    snapshot = contested().snapshot()
    plain = replace(
        snapshot, observations=tuple(replace(item, digested=False) for item in snapshot.observations)
    )
    coverage = judge(plain).coverage
    assert coverage.undigested == 5
    assert coverage.distinct_tables == len({item.table for item in snapshot.observations})


# -- causes


@settings(max_examples=50, deadline=None)
@given(fleets())
def test_a_cause_leads_and_is_never_less_severe(snapshot: Snapshot) -> None:
    """In any fleet with any faults."""
    check_causes(judge(snapshot))


def test_the_incident_is_one_root_for_each_contested_address() -> None:
    """A pair on the pool's first address and a triple: two pages, with all the rest as evidence."""
    mesh = Mesh(name_pattern=r"-(?P<region>[a-z]{3})$")
    for region in ("fra", "sin"):
        mesh.node(f"pair-{region}", "10.0.0.1", region=region)
    for region in ("fra", "sin", "ams"):
        mesh.node(f"triple-{region}", "10.0.0.9", region=region)
    for number, region in enumerate(("fra", "sin", "ams", "nrt"), start=20):
        mesh.node(f"watch-{region}", f"10.0.0.{number}", region=region)
        mesh.picks(f"watch-{region}", "pair-fra" if number % 2 else "pair-sin")
        mesh.picks(f"watch-{region}", f"triple-{region}" if region != "nrt" else "triple-sin")
    report = judge(mesh.snapshot())
    assert roots(report) == [("duplicate-address", "10.0.0.1"), ("duplicate-address", "10.0.0.9")]
    assert idents(report) == [
        "displaced-allowed-ips",
        "duplicate-address",
        "fallback-address",
        "region-mismatch",
        "self-routed-address",
        "split-routing",
    ]


def test_fingerprints_do_not_collide() -> None:
    """Each finding of a report has its own."""
    report = judge(
        contested().node("x", "10.0.0.1").broken("y").peers_with("watch-a", "g", "10.0.0.0/8").snapshot()
    )
    assert len({finding.fingerprint for finding in report.findings}) == len(report.findings)


def test_findings_come_worst_first() -> None:
    """Whatever order the checks ran in."""
    ranks = [
        finding.severity.rank for finding in judge(contested().node("x", "10.0.0.1").snapshot()).findings
    ]
    assert ranks == sorted(ranks)
    assert Severity.CRITICAL.rank in ranks
    assert Severity.WARNING.rank in ranks


# -- the order of input


def shuffled(draw: st.DrawFn, snapshot: Snapshot) -> Snapshot:
    """The same snapshot with every part in another order."""

    def order(items: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(draw(st.permutations(items)))

    return replace(
        snapshot,
        registrations=order(snapshot.registrations),
        invalid=order(snapshot.invalid),
        observations=order(snapshot.observations),
        tables=dict(order(tuple(snapshot.tables.items()))),
        gaps=order(snapshot.gaps),
        in_flight=order(snapshot.in_flight),
    )


@settings(max_examples=40, deadline=None)
@given(st.data(), fleets())
def test_a_report_does_not_depend_on_the_order_of_input(data: st.DataObject, snapshot: Snapshot) -> None:
    """Random fleets, every part of the snapshot permuted."""
    assert judge(data.draw(st.composite(shuffled)(snapshot))) == judge(snapshot)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_incidents_report_does_not_depend_on_the_order_of_input(data: st.DataObject) -> None:
    """With invalid registrations, gaps, a mirror and a second look in it."""
    mesh = contested().node("twin-ams", "10.0.0.9", region="ams").node("first", "10.0.0.1")
    mesh.node("watch-a", "10.0.1.97", dc="dc2").broken("one").broken("two").gap(GapReason.CONSUL_TIMEOUT)
    mesh.not_seen("watch-b").gap(GapReason.CONSUL_FORBIDDEN).picks("watch-a", "twin-ams").flying("first")
    snapshot = mesh.snapshot(
        again=contested()
        .node("twin-ams", "10.0.0.9")
        .node("first", "10.0.0.1")
        .node("watch-a", "10.0.1.97", dc="dc2")
    )
    assert judge(data.draw(st.composite(shuffled)(snapshot))) == judge(snapshot)


# -- races with the registry


def test_a_duplicate_among_registrations_in_flight_is_found() -> None:
    """Registered twice is registered twice."""
    report = judge(trio().node("new", "10.0.0.2").flying("new").not_seen("new").snapshot())
    assert roots(report) == [("duplicate-address", "10.0.0.2")]


@pytest.mark.parametrize("seen", ["before", "after"])
def test_a_node_whose_address_changes_during_the_sweep_is_no_drift(seen: str) -> None:
    """Seen with its old or its new address, by itself and by its observers."""
    mesh = trio().flying("edge-sin-1", addresses=prefixes(["10.0.0.33"]))
    if seen == "before":
        mesh.holds("edge-sin-1", "10.0.0.33").peers_with("edge-fra-1", "edge-sin-1", "10.0.0.33")
        mesh.empties("edge-ams-1", "edge-sin-1")
    report = judge(mesh.snapshot())
    assert report.findings == ()
    assert report.verdict is Verdict.INCONCLUSIVE


def test_a_node_whose_key_changes_during_the_sweep_is_no_drift() -> None:
    """Both keys are in flight."""
    mesh = trio().flying("edge-sin-1", public_key=key_of("old")).rekeyed("edge-sin-1", "old")
    mesh.lacks("edge-fra-1", "edge-sin-1").peers_with("edge-fra-1", "old", "10.0.0.3")
    assert judge(mesh.snapshot()).findings == ()


# -- cost, by what is counted and not by the clock


def big(size: int, deviating: int = 0) -> Snapshot:
    """A full mesh of `size` nodes, some observers of which lost one peer's address."""
    mesh = Mesh()
    for number in range(size):
        mesh.node(
            f"n{number:05}", f"10.{number >> 8 & 255}.{number & 255}.2", region=("fra", "sin")[number % 2]
        )
    base = mesh.table(NodeId("dc1", "n00000"))
    lines = base.text.splitlines(keepends=True)
    snapshot = mesh.snapshot_of_one_table(base)
    tables = dict(snapshot.tables)
    observations = list(snapshot.observations)
    for number in range(deviating):
        lost = lines[number + 1]
        text = b"".join(sorted({*lines, lost.split(b"\t")[0] + b"\t(none)\n"} - {lost}))
        table = RouteTable(text)
        tables[table.digest] = table
        observations[number] = replace(observations[number], table=table.digest)
    return replace(snapshot, tables=tables, observations=tuple(observations))


def test_a_fleet_at_peace_costs_one_comparison_whatever_its_size() -> None:
    """Two thousand observers, one table."""
    fleet = Fleet(big(2000))
    assert judge(big(2000)).verdict is Verdict.CLEAN
    assert len(fleet.routes.observers.tables) == 1


def test_work_grows_with_distinct_tables_and_not_with_observers_times_peers() -> None:
    """Single lines are held only where a table differs: here one lost prefix and one `(none)` each."""
    for size, deviating in ((500, 5), (2000, 20)):
        routes = Fleet(big(size, deviating)).routes
        assert len(routes.observers.tables) == deviating + 1
        shown = routes.deviations
        assert len(shown.missing) + len(shown.extra) + len(shown.idle_keys) == 2 * deviating


def test_gaps_are_told_once() -> None:
    """The same gap from both readings of the registry is one gap."""
    snapshot = trio().snapshot()
    gap = Gap("consul", GapReason.CONSUL_TIMEOUT, "the same")
    assert judge(replace(snapshot, gaps=(gap, gap))).gaps == (gap,)


def test_a_named_mesh_has_fingerprints_of_its_own_and_the_same_causes() -> None:
    """Two meshes with one contested address are two incidents."""
    plain, named = (judge(contested(mesh=mesh).snapshot()) for mesh in ("", "prod-eu"))

    assert (plain.mesh, named.mesh) == ("", "prod-eu")
    assert {item.fingerprint for item in plain.findings}.isdisjoint(
        item.fingerprint for item in named.findings
    )
    assert roots(plain) == roots(named)


def test_an_agreement_holds_in_a_named_mesh() -> None:
    agreed = SharedAddress(
        Prefix("10.0.0.1/32"), frozenset({"a", "b"}), "anycast", STARTED + timedelta(days=1)
    )
    mesh = (
        Mesh(mesh="prod-eu", shared=(agreed,))
        .node("a", "10.0.0.1")
        .node("b", "10.0.0.1")
        .node("c", "10.0.0.3")
    )

    assert judge(mesh.snapshot()).standing == ()


# -- drained nodes

_DRAINED = Drained(STARTED, "anna", "consul-maintenance", "who answers?")


def test_a_report_says_which_of_its_nodes_the_memory_has_drained() -> None:
    mesh = healthy()
    node = min(mesh.registrations)
    mesh.memory = Memory(drained={node: _DRAINED})
    report = judge(mesh.snapshot())
    assert (report.drained, report.verdict) == ({node: _DRAINED}, Verdict.CLEAN)


def test_a_drained_node_that_the_registry_no_longer_lists_is_nobody_s_business() -> None:
    mesh = healthy()
    mesh.memory = Memory(drained={NodeId("dc1", "scrapped"): _DRAINED})
    assert judge(mesh.snapshot()).drained == {}


def test_where_the_registry_was_not_read_no_drained_node_is_passed_over() -> None:
    """What was not seen is not gone."""
    mesh = healthy().gap(GapReason.CONSUL_UNREACHABLE)
    mesh.memory = Memory(drained={NodeId("dc1", "elsewhere"): _DRAINED})
    assert NodeId("dc1", "elsewhere") in judge(mesh.snapshot()).drained
