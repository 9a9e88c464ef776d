"""Provisioning as it should be is young: registered first, the device next, the peers last; and nobody is told."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import pytest

from auditor.judge import judge
from auditor.values.findings import Finding
from auditor.values.models import Registration
from auditor.values.report import Report, Verdict
from auditor.watch.young import LONGEST, YoungFindings
from tests.fleets import Mesh, healthy, prefixes, trio

INTERVAL = 60.0


def judged(mesh: Mesh) -> Report:
    """The report on a fleet of which everybody was heard twice."""
    return judge(mesh.snapshot(again=mesh))


def form(mesh: Mesh, name: str) -> Registration:
    """The registration of a node."""
    return mesh.registrations[mesh.find(name)]


def checks(report: Report) -> set[str]:
    """Checks of what leads an incident."""
    return {item.check for item in report.standing if item.caused_by is None}


def new_node() -> Mesh:
    """A registered node that no other has as a peer yet."""
    mesh = healthy().node("edge-fra-9", "10.0.0.9", region="fra")
    for node in list(mesh.registrations):
        if node.name != "edge-fra-9":
            mesh.lacks(node.name, "edge-fra-9")
    return mesh


def renumbered() -> Mesh:
    """A node whose device has the address that it was registered with before."""
    mesh = healthy().node("edge-fra-9", "10.0.0.9", region="fra")
    return mesh.holds("edge-fra-9", "10.0.0.8")


def rotated() -> Mesh:
    """A node whose device has the key that it was registered with before."""
    return healthy().node("edge-fra-9", "10.0.0.9", region="fra").rekeyed("edge-fra-9", "its key before")


def retired() -> Mesh:
    """A node that was retired, and runs on."""
    return healthy().node("edge-fra-9", "10.0.0.9", region="fra").retired("edge-fra-9")


@pytest.mark.parametrize("moved", [new_node, renumbered, rotated, retired])
def test_what_devices_and_peers_did_not_follow_yet_is_left_out_until_it_stood_for_an_interval(
    moved: Callable[[], Mesh],
) -> None:
    mesh, young = moved(), YoungFindings()
    report = judged(mesh)
    assert checks(report)
    young.moved([form(mesh, "edge-fra-9")], 100.0)
    left = young.left_out_of(report, (), 102.0, INTERVAL)
    assert left.standing == ()
    assert left.verdict is Verdict.INCONCLUSIVE
    assert left.withheld >= {item.fingerprint for item in report.standing}
    assert left.gaps == report.gaps
    assert young.of_age_at == 160.0
    assert young.left_out_of(report, (), 160.0, INTERVAL) is report


def test_many_new_nodes_at_once_leave_no_old_peer_list_to_tell_of() -> None:
    """Each observer lacks most of the peers that are registered now: one finding about its whole list."""
    mesh, young = trio(), YoungFindings()
    new = [f"edge-fra-{number}" for number in range(10, 16)]
    for number, name in enumerate(new, start=10):
        mesh.node(name, f"10.0.0.{number}", region="fra")
    for name in ("edge-fra-1", "edge-sin-1", "edge-ams-1"):
        mesh.lacks(name, *new)
    report = judged(mesh)
    assert {item.subject for item in report.standing} >= {"peers of edge-sin-1"}
    young.moved([form(mesh, new[0])], 100.0)
    assert "missing-peer" in checks(young.left_out_of(report, (), 100.0, INTERVAL))
    young.moved([form(mesh, name) for name in new], 101.0)
    assert young.left_out_of(report, (), 102.0, INTERVAL).standing == ()


def test_what_the_registry_itself_shows_is_never_young_and_leads_what_follows_from_it() -> None:
    mesh, young = trio().node("edge-fra-9", "10.0.0.3", region="fra"), YoungFindings()
    report = judged(mesh)
    assert checks(report) == {"duplicate-address"}
    young.moved([form(mesh, "edge-fra-9")], 100.0)
    assert young.left_out_of(report, (), 100.0, INTERVAL) is report


def test_a_fallback_address_is_told_at_once_unless_another_node_just_left_it() -> None:
    """One of two that fell back to it was given another address, and the other one is to follow."""
    mesh = trio(pools=prefixes(["10.0.0.0/24"])).node("edge-fra-9", "10.0.0.1", region="fra")
    mesh.node("edge-fra-8", "10.0.0.8", region="fra")
    report, young = judged(mesh), YoungFindings()
    assert checks(report) == {"fallback-address"}
    young.moved([form(mesh, "edge-fra-9")], 100.0)
    assert young.left_out_of(report, (), 100.0, INTERVAL) is report
    now = form(mesh, "edge-fra-8")
    young.moved([replace(now, addresses=prefixes(["10.0.0.1"])), now], 101.0)
    assert young.left_out_of(report, (), 102.0, INTERVAL).standing == ()
    assert young.left_out_of(report, (), 161.0, INTERVAL) is report
    # Its device holds the address for a moment longer.
    late = judged(mesh.holds("edge-fra-8", "10.0.0.1"))
    alone = replace(late, findings=tuple(item for item in late.findings if item.check == "fallback-address"))
    young.moved([replace(now, addresses=prefixes(["10.0.0.1"])), now], 200.0)
    assert young.left_out_of(alone, (), 201.0, INTERVAL).standing == ()


def told_of(report: Report, checks: Collection[str]) -> set[str]:
    """Fingerprints of the findings of these checks."""

    def is_of(item: Finding) -> bool:
        return item.check in checks

    return {item.fingerprint for item in report.standing if is_of(item)}


def test_what_was_told_before_its_registration_moved_is_told_of_as_ever() -> None:
    mesh, young = renumbered(), YoungFindings()
    report = judged(mesh)
    young.moved([form(mesh, "edge-fra-9")], 100.0)
    told = told_of(report, checks(report))
    assert young.left_out_of(report, told, 100.0, INTERVAL) is report


def test_what_no_move_explains_is_told_at_once_beside_what_is_young() -> None:
    mesh, young = renumbered().holds("edge-sin-1", "10.0.0.77"), YoungFindings()
    report = judged(mesh)
    young.moved([form(mesh, "edge-fra-9")], 100.0)
    left = young.left_out_of(report, (), 100.0, INTERVAL)
    assert {node.name for item in left.standing for node in item.nodes} == {"edge-sin-1"}
    assert left.verdict is Verdict.FINDINGS


def test_a_registration_that_moves_without_end_keeps_its_findings_young_for_a_while_only() -> None:
    mesh, young = renumbered(), YoungFindings()
    report, now = judged(mesh), 0.0
    while young.left_out_of(report, (), now, INTERVAL) is not report or now == 0.0:
        young.moved([form(mesh, "edge-fra-9")], now)
        now += 10.0
        assert now <= (LONGEST + 1) * INTERVAL


def test_nothing_is_kept_of_what_came_of_age() -> None:
    mesh, young = healthy(), YoungFindings()
    for number in range(1000):
        mesh.node("passing", f"10.0.5.{number % 250}")
        young.moved([form(mesh, "passing")], float(number))
    young.left_out_of(judged(healthy()), (), 2000.0, INTERVAL)
    assert young._moves == {}  # the bound itself
    assert young.of_age_at == float("inf")
