"""Two sweeps compared: what came, went and changed, and what one of the two could not see."""

from __future__ import annotations

from dataclasses import replace

from auditor.errors import GapReason
from auditor.explain.comparison import ComparedSweep, SweepDifference, compare
from auditor.judge import judge
from auditor.values.findings import Severity
from auditor.values.past_sweeps import content_of
from tests.fleets import Mesh, contested, healthy


def side(mesh: Mesh, *, recorded: bool = True) -> ComparedSweep:
    """A sweep over the mesh, as a recording or as the history has it."""
    snapshot = mesh.snapshot()
    report = judge(snapshot)
    return ComparedSweep(
        "a.json.gz" if recorded else "7",
        None if recorded else 7,
        report.started_at,
        report.finished_at,
        report.verdict,
        report.coverage.registered,
        report.coverage.observed,
        content_of(report),
        snapshot.registrations if recorded else None,
    )


def between(a: Mesh, b: Mesh) -> SweepDifference:
    """The difference from the one to the other."""
    return compare(side(a), side(b))


def test_a_sweep_is_the_same_as_itself_whatever_the_time() -> None:
    one = side(contested())
    assert compare(one, replace(one, name="other", finished_at=one.finished_at.replace(year=2027))).same


def test_what_is_only_in_b_came_and_what_is_only_in_a_went() -> None:
    assert [item.check for item in between(healthy(), contested()).came][:1] == ["duplicate-address"]
    gone = between(contested(), healthy())
    assert [item.check for item in gone.went][:1] == ["duplicate-address"]
    assert (gone.came, gone.hidden_in_b) == ((), ())
    assert not gone.same


def test_a_finding_whose_claimant_b_did_not_see_has_not_gone() -> None:
    """The drift shows on the node's device alone, and nobody looked at that."""
    drifted = healthy().holds("edge-sin-1", "10.0.7.7")
    difference = between(drifted, healthy().not_seen("edge-sin-1"))
    assert "address-drift" not in {item.check for item in difference.went}
    hidden = {item.finding.check: item for item in difference.hidden_in_b}
    assert [node.name for node in hidden["address-drift"].nodes] == ["edge-sin-1"]
    assert [(gap.node, gap.reason) for gap in difference.gaps_came] == [
        ("edge-sin-1", GapReason.CONNECT_REFUSED)
    ]


def test_a_finding_whose_registry_b_did_not_read_has_not_gone() -> None:
    difference = between(contested(), healthy().gap(GapReason.CONSUL_TIMEOUT, dc="dc1"))
    assert difference.went == ()
    assert {item.datacenters for item in difference.hidden_in_b} == {("dc1",)}


def test_a_finding_that_a_could_not_see_has_not_come() -> None:
    drifted = healthy().holds("edge-sin-1", "10.0.7.7")
    difference = between(healthy().not_seen("edge-sin-1"), drifted)
    assert "address-drift" not in {item.check for item in difference.came}
    assert "address-drift" in {item.finding.check for item in difference.hidden_in_a}
    assert [gap.node for gap in difference.gaps_went] == ["edge-sin-1"]


def test_a_finding_of_both_is_changed_by_severity_nodes_and_confirmation() -> None:
    one = side(contested())
    first, *rest = one.content.findings
    other = replace(
        first,
        severity=Severity.INFO,
        nodes=(*first.nodes[1:], "zeta"),
        confirmed=False,
    )
    changed = compare(one, replace(one, content=replace(one.content, findings=(other, *rest)))).changed
    assert [(item.before, item.after) for item in changed] == [(first, other)]
    assert (changed[0].nodes_added, changed[0].nodes_removed) == (("zeta",), first.nodes[:1])


def test_a_claimant_that_b_did_not_see_is_not_a_claimant_less() -> None:
    one = side(contested())
    finding = next(item for item in one.content.findings if item.check == "duplicate-address")
    node = next(node for node in finding.places if node.name in finding.nodes)
    fewer = replace(finding, nodes=tuple(name for name in finding.nodes if name != node.name))
    content = replace(
        one.content,
        findings=tuple(fewer if item is finding else item for item in one.content.findings),
        unseen=frozenset({node}),
    )
    (changed,) = compare(one, replace(one, content=content)).changed
    assert (changed.nodes_removed, changed.nodes_not_seen) == ((), (node.name,))


def test_registrations_are_compared_by_key_addresses_and_region() -> None:
    moved = healthy()
    node = moved.find("edge-sin-1")
    moved.registrations[node] = replace(moved.registrations[node], region="nrt")
    gone = moved.find("edge-fra-1")
    del moved.registrations[gone]
    found = between(healthy(), moved).registrations
    assert found is not None
    changed = {item.node: item for item in found}
    assert changed.keys() == {node, gone}
    assert changed[node].after == moved.registrations[node]
    assert (changed[gone].after, changed[gone].seen) == (None, True)


def test_a_registration_that_was_not_read_has_not_gone() -> None:
    lost = healthy().gap(GapReason.CONSUL_TIMEOUT, dc="dc1")
    gone = lost.find("edge-fra-1")
    del lost.registrations[gone]
    found = between(healthy(), lost).registrations
    assert found is not None
    assert [(item.node, item.seen) for item in found] == [(gone, False)]


def test_a_recording_and_a_sweep_of_the_history_are_compared_by_what_both_hold() -> None:
    difference = compare(side(healthy(), recorded=False), side(contested()))
    assert difference.registrations is None
    assert difference.came
    assert compare(side(contested(), recorded=False), side(contested())).same
