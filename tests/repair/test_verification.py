"""What verifies that a node is where the registry says: each thing by itself, and what was not seen."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import GapReason
from auditor.fleet.fleet import Fleet
from auditor.repair.peer_view import PeerView
from auditor.repair.verification import (
    NodeVerification,
    SeenOfNode,
    VerificationOutcome,
    VerifiedSubject,
    verified,
    worst,
)
from auditor.values.addresses import PublicKey
from auditor.values.models import Gap, NodeId
from auditor.values.witness_answers import AnswerSource, WitnessAnswer
from tests.fleets import Mesh, prefixes, trio

SIN = "edge-sin-1"
VERIFIED, NOT, UNKNOWN = (
    VerificationOutcome.VERIFIED,
    VerificationOutcome.NOT_VERIFIED,
    VerificationOutcome.UNKNOWN,
)


def verify(
    mesh: Mesh,
    answers: Sequence[WitnessAnswer] | None = None,
    *,
    hidden: Sequence[str] = (),
    minimum: float = 1.0,
    partial: bool = False,
    before: Sequence[str] = (),
) -> NodeVerification:
    """The verification of edge-sin-1; hidden: nodes that were not seen."""
    snapshot = mesh.snapshot()
    fleet = Fleet(snapshot)
    views = {
        item.node: Gap("ssh", GapReason.CONNECT_TIMEOUT, "", item.node.name)
        if item.node.name in hidden
        else PeerView(item, snapshot.tables[item.table].text)
        for item in snapshot.observations
    }
    node = mesh.find(SIN)
    seen = SeenOfNode(
        fleet.by_node[node],
        views.pop(node),
        views,
        answers,
        prefixes(before),
    )
    return verified(
        seen,
        minimum=minimum,
        partial=partial,
        is_route=fleet.is_route,
        holder_of=lambda key: fleet.name(owner) if (owner := fleet.node_of_key(PublicKey(key))) else key[:8],
    )


def outcomes(found: NodeVerification) -> dict[str, VerificationOutcome]:
    return {thing.subject.value: thing.outcome for thing in found.things}


def thing(found: NodeVerification, subject: VerifiedSubject) -> str:
    return next(item.statement for item in found.things if item.subject is subject)


def test_a_node_in_its_place_is_verified_thing_by_thing_with_counts() -> None:
    found = verify(trio(), before=["10.0.0.1"])
    assert outcomes(found) == dict.fromkeys(["device", "routes", "old-addresses"], VERIFIED)
    assert found.outcome is VERIFIED
    assert [item.statement for item in found.things] == [
        "its device holds 10.0.0.3 and no other address",
        "2 of 2 observers give 10.0.0.3 to edge-sin-1@dc1",
        "2 of 2 observers give edge-sin-1@dc1 no other address (10.0.0.1 earlier)",
    ]


def test_an_old_secondary_that_is_left_on_the_device_is_told() -> None:
    found = verify(trio().holds(SIN, "10.0.0.3", "10.0.0.1"))
    assert outcomes(found)["device"] is NOT
    assert thing(found, VerifiedSubject.DEVICE) == "its device holds 10.0.0.1, which is not registered"
    assert verify(trio().holds(SIN)).outcome is NOT
    assert verify(trio().link_down(SIN)).outcome is NOT


def test_an_observer_that_still_gives_it_the_old_address_is_named() -> None:
    found = verify(trio().peers_with("edge-fra-1", SIN, "10.0.0.1"))
    assert outcomes(found) == {"device": VERIFIED, "routes": VERIFIED, "old-addresses": NOT}
    (old,) = (item for item in found.things if item.subject is VerifiedSubject.OLD_ADDRESSES)
    assert old.wrong == (("edge-fra-1@dc1", "gives it 10.0.0.1"),)
    assert (old.right, old.asked) == (1, 2)


def test_an_observer_that_gives_its_address_to_another_or_to_nobody_is_named_with_whom() -> None:
    found = verify(trio().peers_with("edge-fra-1", "edge-ams-1", "10.0.0.3"))
    (routes,) = (item for item in found.things if item.subject is VerifiedSubject.ROUTES)
    assert routes.wrong == (("edge-fra-1@dc1", "10.0.0.3 goes to edge-ams-1"),)
    found = verify(trio().lacks("edge-fra-1", SIN))
    (routes,) = (item for item in found.things if item.subject is VerifiedSubject.ROUTES)
    assert routes.wrong == (("edge-fra-1@dc1", "10.0.0.3 goes to nobody"),)
    assert verify(trio().lacks("edge-fra-1", SIN), partial=True).outcome is VERIFIED


def test_who_was_not_seen_verifies_nothing() -> None:
    assert outcomes(verify(trio(), hidden=["edge-fra-1"])) == {
        "device": VERIFIED,
        "routes": UNKNOWN,
        "old-addresses": UNKNOWN,
    }
    assert verify(trio(), hidden=["edge-fra-1"], minimum=0.5).outcome is VERIFIED
    assert verify(trio(), hidden=["edge-fra-1", "edge-ams-1"], minimum=0.0).outcome is UNKNOWN
    assert outcomes(verify(trio(), hidden=[SIN]))["device"] is UNKNOWN


def answer(observer: str, node: str | None, reason: GapReason | None = None) -> WitnessAnswer:
    return WitnessAnswer(
        NodeId("dc1", observer),
        prefixes(["10.0.0.3"])[0],
        AnswerSource.NATS,
        0.1,
        said=node or "",
        node=NodeId("dc1", node) if node else None,
        reason=reason,
    )


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([answer("edge-fra-1", SIN)], VERIFIED),
        ([answer("edge-fra-1", SIN), answer("edge-ams-1", None, GapReason.NO_ANSWER)], VERIFIED),
        ([answer("edge-fra-1", SIN), answer("edge-ams-1", "edge-fra-1")], NOT),
        ([answer("edge-fra-1", None, GapReason.NO_ANSWER)], UNKNOWN),
        ([], UNKNOWN),
    ],
)
def test_the_right_server_answers_the_wrong_one_or_nobody_who_can_be_told(
    answers: list[WitnessAnswer], outcome: VerificationOutcome
) -> None:
    found = verify(trio(), answers)
    assert outcomes(found)["answers"] is outcome
    assert found.outcome is outcome


@given(st.lists(st.sampled_from(VerificationOutcome)))
def test_what_is_wrong_counts_more_than_what_is_not_known(outcomes: list[VerificationOutcome]) -> None:
    found = worst(outcomes)
    assert (found is NOT) == (NOT in outcomes)
    assert (found is VERIFIED) == (set(outcomes) <= {VERIFIED})
