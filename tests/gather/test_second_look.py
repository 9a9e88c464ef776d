"""What a second look at suspects confirms, what it takes back, and whom it asks."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import GapReason
from auditor.fleet.fleet import Fleet
from auditor.fleet.showing import asked_first
from auditor.judge import find, judge
from auditor.values.models import NodeId, SecondLook, Snapshot
from auditor.values.report import Verdict
from tests.fleet.test_routes import fleets
from tests.fleets import (
    Mesh,
    check_causes,
    contested,
    healthy,
    idents,
    names,
    of,
    roots,
    trio,
)


def suspects(snapshot: Snapshot) -> list[NodeId]:
    """Those of a snapshot's nodes that are asked first."""
    asked = {node for finding in find(Fleet(snapshot)) for node in asked_first(finding)}
    return sorted(asked & {item.node for item in snapshot.observations})


def test_a_finding_that_was_not_looked_at_twice_is_not_confirmed() -> None:
    """Neither true nor false."""
    assert {finding.confirmed for finding in judge(contested().snapshot()).findings} == {None}


def test_what_shows_again_is_confirmed() -> None:
    """All of the incident."""
    report = judge(contested().snapshot(again=contested()))
    assert {finding.confirmed for finding in report.findings} == {True}


def test_what_everybody_who_showed_it_no_longer_shows_is_gone_and_the_fleet_clean() -> None:
    """It stays in the report, marked, and does not count."""
    report = judge(trio().empties("edge-fra-1", "edge-sin-1").snapshot(again=trio()))
    assert [finding.confirmed for finding in report.findings] == [False]
    assert report.standing == ()
    assert report.verdict is Verdict.CLEAN


def test_what_one_unasked_observer_may_still_show_is_not_gone() -> None:
    """Two showed it, one was looked at again."""
    first = healthy().empties("edge-fra-1", "edge-sin-1").empties("edge-ams-1", "edge-sin-1")
    report = judge(first.snapshot(again=healthy(), asked=["edge-fra-1", "edge-sin-1"]))
    assert [finding.confirmed for finding in report.findings] == [None]
    assert report.verdict is Verdict.FINDINGS


def test_what_an_observer_that_failed_the_second_time_showed_is_not_gone() -> None:
    """A gap is not a resolution; and the gap is in the report."""
    first = trio().empties("edge-fra-1", "edge-sin-1")
    report = judge(first.snapshot(again=trio().not_seen("edge-fra-1", GapReason.COMMAND_TIMEOUT)))
    assert [finding.confirmed for finding in report.findings] == [None]
    assert [(gap.node, gap.reason) for gap in report.gaps] == [("edge-fra-1", GapReason.COMMAND_TIMEOUT)]
    assert report.gaps[0].detail.startswith("on a second look: ")


def test_what_a_wrong_host_answers_the_second_time_resolves_nothing() -> None:
    """The node itself was not seen again."""
    first = trio().holds("edge-fra-1", "10.0.0.99")
    report = judge(first.snapshot(again=trio().answers_as("edge-fra-1", "edge-sin-1")))
    (finding,) = of(report, "address-drift")
    assert finding.confirmed is None
    assert report.verdict is Verdict.FINDINGS
    assert [(gap.node, gap.reason) for gap in report.gaps] == [("edge-fra-1", GapReason.WRONG_HOST)]


def test_a_split_ends_when_the_few_come_round_although_the_many_were_not_asked_again() -> None:
    """The many showed nothing wrong."""
    mesh = Mesh()
    for number in range(2, 32):
        mesh.node(f"n{number}", f"10.0.0.{number}")
    few = Mesh()
    few.registrations, few.machines = (
        dict(mesh.registrations),
        {node: replace(machine, edits=list(machine.edits)) for node, machine in mesh.machines.items()},
    )
    few.peers_with("n9", "ghost", "10.0.0.2")
    first = few.snapshot()
    asked = suspects(first)
    assert len(asked) < 12
    report = judge(few.snapshot(again=mesh, asked=names(asked)))
    assert "split-routing" in idents(report)
    assert {finding.confirmed for finding in report.findings} == {False}


def test_a_sample_that_moved_to_the_other_side_does_not_end_a_split() -> None:
    """Those who were not asked again still hold the old route."""
    mesh, moved = contested(), contested()
    for number in range(20, 30):
        for side in (mesh, moved):
            side.node(f"more-{number}", f"10.0.0.{number}").picks(f"more-{number}", "twin-sin")
    for watcher in ("watch-a", "watch-b", "watch-c"):
        moved.picks(watcher, "twin-fra")
    report = judge(
        mesh.snapshot(again=moved, asked=["watch-a", "watch-b", "watch-c", "twin-fra", "twin-sin"])
    )
    (finding,) = of(report, "split-routing")
    assert finding.confirmed is None


def test_what_only_the_second_look_shows_is_in_the_report_and_never_clean() -> None:
    """The first problem went, and another came."""
    first = trio().empties("edge-fra-1", "edge-sin-1")
    report = judge(first.snapshot(again=trio().holds("edge-fra-1", "10.0.0.99")))
    assert {(finding.check, finding.confirmed) for finding in report.findings} == {
        ("displaced-allowed-ips", False),
        ("address-drift", None),
    }
    assert report.verdict is Verdict.FINDINGS


def test_what_stands_does_not_hang_on_a_cause_that_is_gone() -> None:
    """Else nothing that counts would lead the incident."""
    first = (
        healthy()
        .holds("edge-fra-1", "10.0.0.2", "10.0.0.3")
        .peers_with("edge-ams-1", "edge-fra-1", "10.0.0.3")
    )
    again = healthy().peers_with("edge-ams-1", "edge-fra-1", "10.0.0.3")
    report = judge(first.snapshot(again=again))
    assert [finding.confirmed for finding in of(report, "duplicate-address")] == [False]
    assert [finding.confirmed for finding in of(report, "split-routing")] == [True]
    check_causes(report)
    assert ("split-routing", "10.0.0.3") in roots(report)


def test_a_duplicate_of_the_registry_stands_whatever_the_devices_show() -> None:
    """It was read from the registry, not from nodes."""
    report = judge(contested().snapshot(again=contested().holds("twin-fra").holds("twin-sin")))
    assert [finding.confirmed for finding in of(report, "duplicate-address")] == [True]


@settings(max_examples=40, deadline=None)
@given(fleets(), st.data())
def test_confirmation_says_gone_only_of_what_the_latest_state_does_not_show(
    snapshot: Snapshot, data: st.DataObject
) -> None:
    """In any fleet; some nodes answer again as before, some do not: then nothing is gone."""
    again = tuple(item for item in snapshot.observations if data.draw(st.booleans()))
    asked = tuple(item.node for item in snapshot.observations)
    report = judge(replace(snapshot, second_look=SecondLook(asked, again)))
    assert all(finding.confirmed is not False for finding in report.findings if _stable(snapshot))
    check_causes(report)


def _stable(snapshot: Snapshot) -> bool:
    """Whether looking at a part of the nodes again cannot change who is a wrong host."""
    return not Fleet(snapshot).wrong_hosts


# -- suspects


def test_suspects_are_those_that_findings_are_about_and_a_few_observers() -> None:
    """Not the whole fleet."""
    mesh = Mesh()
    for number in range(2, 42):
        mesh.node(f"n{number}", f"10.0.0.{number}")
    for number in range(10, 40):
        mesh.empties(f"n{number}", "n2")
    snapshot = mesh.snapshot()
    asked = suspects(snapshot)
    assert NodeId("dc1", "n2") in asked
    assert len(asked) == 4


def test_a_node_that_was_not_seen_is_no_suspect() -> None:
    """A gap is no finding."""
    snapshot = contested().not_seen("twin-fra").snapshot()
    asked = suspects(snapshot)
    assert "twin-fra" not in names(asked)
    assert "twin-sin" in names(asked)
