"""Agreed sharing: an address that is meant to be held by several counts for nothing, and only it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from auditor.judge import judge
from auditor.values.addresses import parse_prefix
from auditor.values.models import SharedAddress
from auditor.values.report import Report, Verdict
from tests.fleets import STARTED, Mesh, contested, of

LATER = STARTED + timedelta(days=30)


def agreement(address: str = "10.0.0.9", *nodes: str, **changes: object) -> SharedAddress:
    """The twins' address, or another one, as agreed."""
    names = nodes or ("twin-fra", "twin-sin")
    made = SharedAddress(parse_prefix(address), frozenset(names), "anycast, OPS-77", LATER)
    return replace(made, **changes)  # type: ignore[arg-type]


def judged(*shared: SharedAddress, mesh: Mesh | None = None) -> Report:
    """The incident's mesh under these agreements."""
    mesh = mesh or contested()
    mesh.policy = replace(mesh.policy, shared=shared)
    return judge(mesh.snapshot())


def test_an_agreed_address_is_clean_and_stays_in_the_report() -> None:
    """With all that follows from it; marked with why and until when."""
    report = judged(agreement())
    assert report.verdict is Verdict.CLEAN
    assert report.standing == ()
    assert {finding.agreed for finding in report.findings} == {"shared until 2026-03-31: anycast, OPS-77"}
    assert {finding.check for finding in report.findings} >= {"duplicate-address", "split-routing"}


def test_without_an_agreement_nothing_is_marked() -> None:
    """It counts."""
    report = judged()
    assert report.verdict is Verdict.FINDINGS
    assert {finding.agreed for finding in report.findings} == {None}


@pytest.mark.parametrize(
    "shared",
    [
        agreement("10.0.0.8"),
        agreement("10.0.0.0/24"),
        agreement("10.0.0.9", "twin-fra", "twin-ams"),
        agreement("10.0.0.9", "twin-fra"),
        agreement(until=STARTED),
        agreement(until=STARTED - timedelta(seconds=1)),
    ],
)
def test_another_address_a_claimant_too_many_or_a_past_date_covers_nothing(shared: SharedAddress) -> None:
    """All of its claimants are findings then, not only the one too many."""
    report = judged(shared)
    assert report.verdict is Verdict.FINDINGS
    assert {finding.agreed for finding in report.findings} == {None}


def test_an_agreement_holds_up_to_its_end() -> None:
    """And may name more than hold it now."""
    shared = agreement("10.0.0.9", "twin-fra", "twin-sin", "twin-ams", until=STARTED + timedelta(seconds=1))
    assert judged(shared).verdict is Verdict.CLEAN


def test_one_more_claimant_is_a_finding_with_all_of_them() -> None:
    """Though its registration is right: its own device holds it."""
    mesh = contested().holds("watch-c", "10.0.1.99", "10.0.0.9")
    report = judged(agreement(), mesh=mesh)
    (finding,) = of(report, "duplicate-address")
    assert finding.agreed is None
    assert [node.name for node in finding.nodes] == ["twin-fra", "twin-sin", "watch-c"]


def test_a_stranger_that_observers_route_the_address_to_is_a_claimant_too() -> None:
    """A ghost that no registration knows takes the traffic: that was not agreed."""
    mesh = contested().peers_with("watch-a", "ghost", "10.0.0.9")
    report = judged(agreement(), mesh=mesh)
    assert report.verdict is Verdict.FINDINGS
    assert {finding.agreed for finding in report.findings} == {None}


def test_a_registered_node_that_observers_route_the_address_to_is_a_claimant_too() -> None:
    """watch-c neither is registered with it nor holds it, but gets its traffic from watch-a."""
    mesh = contested().peers_with("watch-a", "watch-c", "10.0.0.9", "10.0.1.99")
    assert judged(agreement(), mesh=mesh).verdict is Verdict.FINDINGS


def test_other_findings_of_the_same_nodes_count() -> None:
    """Sharing one address excuses nothing else."""
    mesh = contested().holds("twin-sin", "10.0.0.77", "10.0.0.9")
    report = judged(agreement(), mesh=mesh)
    assert report.verdict is Verdict.FINDINGS
    assert {finding.check for finding in report.standing} == {"address-drift"}


def test_a_drift_that_follows_from_an_agreed_address_counts() -> None:
    """twin-sin's device holds another address than it is registered with: nobody agreed on that."""
    mesh = contested().node("twin-ams", "10.0.0.9", region="ams").holds("twin-sin", "10.0.0.77")
    report = judged(agreement("10.0.0.9", "twin-fra", "twin-sin", "twin-ams"), mesh=mesh)
    assert [(item.check, item.agreed) for item in report.standing if item.subject == "twin-sin"] == [
        ("address-drift", None)
    ]


def test_what_is_agreed_hides_no_gap() -> None:
    """Not seeing is not clean."""
    assert judged(agreement(), mesh=contested().not_seen("watch-a")).verdict is Verdict.INCONCLUSIVE


def test_an_agreement_survives_a_second_look() -> None:
    """Confirmed sharing is still agreed."""
    mesh = contested()
    mesh.policy = replace(mesh.policy, shared=(agreement(),))
    report = judge(mesh.snapshot(again=contested()))
    assert report.verdict is Verdict.CLEAN
    assert all(finding.agreed and finding.confirmed for finding in report.findings)


def test_of_two_agreements_on_one_address_one_that_holds_is_enough() -> None:
    """The older one has run out."""
    past = agreement(until=STARTED, reason="past")
    for order in ((past, agreement()), (agreement(), past)):
        report = judged(*order)
        assert report.verdict is Verdict.CLEAN
        assert "anycast" in str(report.findings[0].agreed)


def test_a_prefix_may_be_agreed_on_for_the_node_that_has_it() -> None:
    """Whatever registered addresses it covers: the overlap of exactly this prefix counts for nothing."""
    for mesh in (Mesh().node("hub", "10.0.0.9", "10.0.0.0/8"), Mesh().node("hub", "10.0.0.9")):
        mesh.node("spoke", "10.0.0.2").node("other", "10.0.0.3")
        mesh.peers_with("other", "hub", "10.0.0.9", "10.0.0.0/8")
        assert judged(mesh=mesh).verdict is Verdict.FINDINGS
        assert judged(agreement("10.0.0.0/8", "hub"), mesh=mesh).verdict is Verdict.CLEAN
        assert judged(agreement("10.0.0.0/8", "spoke"), mesh=mesh).verdict is Verdict.FINDINGS
        assert judged(agreement("10.0.0.0/9", "hub"), mesh=mesh).verdict is Verdict.FINDINGS


def test_a_prefix_that_a_stranger_has_as_well_is_not_agreed_on() -> None:
    """For none of them."""
    mesh = Mesh().node("hub", "10.0.0.9", "10.0.0.0/24").node("spoke", "10.0.0.2").node("other", "10.0.0.3")
    mesh.peers_with("other", "spoke", "10.0.0.2", "10.0.0.0/24")
    report = judged(agreement("10.0.0.0/24", "hub"), mesh=mesh)
    assert {finding.agreed for finding in report.findings} == {None}


def test_an_observer_that_sends_an_agreed_address_out_by_an_exit_voids_no_agreement() -> None:
    """The exit's default route claims nothing."""
    mesh = contested().node("exit", "10.0.0.8", "0.0.0.0/0").lacks("watch-a", "twin-fra", "twin-sin")
    report = judged(agreement(), mesh=mesh)
    assert next(item for item in report.findings if item.check == "duplicate-address").agreed is not None
