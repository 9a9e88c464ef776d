"""region-mismatch: witnesses of a region disagree, or a region's address is routed to another region."""

from __future__ import annotations

import pytest

from auditor.judge import judge
from auditor.values.addresses import Prefix
from auditor.values.findings import Finding, Severity
from tests.fleets import Mesh, contested, names, of, roots, trio

IDENT = "region-mismatch"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


PATTERN = r"^edge-(?P<region>[a-z]{3})-"


@pytest.mark.parametrize(
    ("mesh", "witness"),
    [
        (Mesh(name_pattern=PATTERN).node("edge-fra-1", "10.0.0.2", region="sin"), "name says fra"),
        (Mesh().node("x", "10.0.0.2", region="sin").says_region("x", "fra"), "node itself says fra"),
        (
            Mesh(region_pools={"fra": Prefix("10.0.0.0/16")}).node("x", "10.0.0.2", region="sin"),
            "address plan says fra",
        ),
    ],
)
def test_each_witness_may_disagree_with_the_registration(mesh: Mesh, witness: str) -> None:
    """Name, address plan, and the node itself."""
    (finding,) = found(mesh)
    assert finding.severity is Severity.ERROR
    assert "registration says sin" in finding.summary
    assert witness in finding.summary
    assert finding.regions == ("fra", "sin")


def test_witnesses_disagree_without_the_registration_too() -> None:
    """It may say nothing of a region."""
    assert (
        len(found(Mesh(name_pattern=PATTERN).node("edge-fra-1", "10.0.0.2").says_region("edge-fra-1", "sin")))
        == 1
    )


def test_two_addresses_of_two_planned_regions_disagree() -> None:
    """One node is in one region."""
    plan = {"fra": Prefix("10.1.0.0/16"), "sin": Prefix("10.2.0.0/16")}
    assert len(found(Mesh(region_pools=plan).node("x", "10.1.0.2", "10.2.0.2"))) == 1


def test_a_name_that_the_pattern_does_not_match_says_nothing() -> None:
    """No witness, no disagreement."""
    assert found(Mesh(name_pattern=PATTERN).node("bastion", "10.0.0.2", region="sin")) == []


def test_a_contested_address_routed_across_regions_follows_from_it() -> None:
    """Peers that should be in sin appear in fra: the incident's only clue."""
    report = judge(contested().snapshot())
    (finding,) = of(report, IDENT)
    assert finding.subject == "10.0.0.9"
    assert finding.evidence.observers == 3
    assert roots(report) == [("duplicate-address", "10.0.0.9")]


def test_observers_of_a_claimant_in_flight_are_not_counted_as_crossing() -> None:
    """Where they route it is about to change; the two others still cross."""
    mesh = (
        contested().node("twin-ams", "10.0.0.9", region="ams").flying("twin-ams").picks("watch-a", "twin-ams")
    )
    (finding,) = found(mesh)
    assert finding.evidence.observers == 2


def test_a_pair_within_one_region_crosses_none() -> None:
    """Contested, but not across regions."""
    mesh = (
        Mesh().node("x", "10.0.0.9", region="fra").node("y", "10.0.0.9", region="fra").node("w", "10.0.0.2")
    )
    assert found(mesh) == []


def test_an_address_on_another_nodes_peer_crosses_regions() -> None:
    """One observer routes sin's address to fra's node."""
    (finding,) = found(trio().peers_with("edge-ams-1", "edge-fra-1", "10.0.0.3"))
    assert finding.subject == "10.0.0.3"
    assert finding.evidence.observers == 1
    assert names(finding.nodes) == ["edge-fra-1", "edge-sin-1"]


def test_a_wrong_hosts_word_is_not_the_asked_nodes() -> None:
    """It answered with its own region."""
    assert found(trio().says_region("edge-fra-1", "fra").answers_as("edge-sin-1", "edge-fra-1")) == []


def test_a_node_in_flight_may_be_moving() -> None:
    """Its region changed during the sweep."""
    assert found(Mesh().node("x", "10.0.0.2", region="sin").says_region("x", "fra").flying("x")) == []
