"""What a target means, and what its story holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from auditor.addresses import PublicKey
from auditor.errors import UsageError
from auditor.explain import explain
from auditor.judge import judge
from auditor.models import NodeId, Pick, Registration, Snapshot, Witness
from auditor.story import Story
from tests.reports import fleet
from tests.reports.sample import key


def told(target: str, snapshot: Snapshot | None = None) -> Story:
    """The story of the target in the sample fleet."""
    seen = snapshot or fleet.snapshot()
    return explain(seen, judge(seen), target)


def names(pick: Pick) -> list[str]:
    """The observers that a pick names."""
    return [node.name for node in pick.sample]


def test_an_address_is_told_with_its_claims_and_their_consul_indexes() -> None:
    """By registration and by device, from each claimant."""
    story = told("10.0.0.1")
    assert story.kind == "address"
    assert story.headline == "10.0.0.1 is claimed by 2 nodes: edge-fra-1 (fra), edge-sin-1 (sin)"
    registered = [claim for claim in story.claims if claim.witness is Witness.REGISTERED]
    assert {claim.where: (claim.create_index, claim.modify_index) for claim in registered} == {
        "wireguard/nodes/edge-fra-1": (4712, 4714),
        "wireguard/nodes/edge-sin-1": (4711, 4713),
    }
    assert sum(claim.witness is Witness.DEVICE for claim in story.claims) == 2


def test_an_address_is_told_with_every_observer_and_where_it_routes() -> None:
    """Few observers are all named; those that hold the address themselves are none."""
    (routing,) = told("10.0.0.1").routing
    to = {pick.node.name: pick for pick in routing.picks if pick.node}
    assert names(to["edge-fra-1"]) == ["worker-fra-1", "worker-fra-2"]
    assert names(to["edge-sin-1"]) == ["worker-nrt-1", "worker-nrt-2", "worker-sin-1", "worker-sin-2"]
    assert to["edge-sin-1"].regions == {"nrt": 2, "sin": 2}


def test_the_story_and_the_report_count_alike() -> None:
    """Two answers to one question would be worse than none."""
    snapshot = fleet.snapshot()
    finding = next(item for item in judge(snapshot).findings if item.check == "duplicate-address")
    (routing,) = told("10.0.0.1").routing
    assert [(pick.public_key, pick.observers, pick.regions) for pick in routing.picks] == [
        (pick.public_key, pick.observers, pick.regions) for pick in finding.evidence.routing
    ]


@pytest.mark.parametrize("target", ["10.0.0.1", "10.0.0.1/32", " 10.0.0.1 "])
def test_an_address_is_understood_with_and_without_its_length(target: str) -> None:
    """As values, not as text."""
    assert told(target).target == "10.0.0.1"


def test_an_address_that_one_node_holds_is_told_too() -> None:
    """Nothing wrong is an answer."""
    story = told("10.0.1.2")
    assert story.headline == "10.0.1.2 is claimed by worker-sin-1 (sin) alone"
    assert story.findings == ()


def test_an_address_that_is_only_routed_is_told() -> None:
    """A ghost's address: nobody that was seen claims it, yet observers send there."""
    story = told("10.0.9.9")
    assert story.claims == ()
    assert story.routing[0].picks[0].public_key == fleet.GHOST
    assert {finding.check for finding in story.findings} == {"unregistered-peer"}


@pytest.mark.parametrize("target", ["edge-sin-1", "edge-sin-1@dc1"])
def test_a_node_is_told_with_its_registration_its_device_and_its_findings(target: str) -> None:
    """By its name alone, or with its datacenter."""
    story = told(target)
    assert story.kind == "node"
    assert [item.where for item in story.registrations] == ["wireguard/nodes/edge-sin-1"]
    assert [item.device.public_key for item in story.observations] == [key("edge-sin-1")]
    assert story.findings[0].check == "duplicate-address"


def test_a_node_that_others_show_without_an_address_says_who_they_are() -> None:
    """Traffic is dropped there, which its own side cannot see."""
    assert any(
        note.startswith("3 observers (edge-fra-1, worker-fra-1, worker-fra-2) show it with no allowed-ips")
        for note in told("edge-sin-1").notes
    )


def test_a_node_that_was_not_seen_is_told_with_the_reason_and_what_to_do() -> None:
    """Not seen is not the same as fine."""
    story = told(fleet.UNSEEN)
    assert "not seen" in story.headline
    assert any(gap.node == fleet.UNSEEN for gap in story.gaps)
    assert (
        "Make worker-nrt-3 reachable for the audit (connect-refused), then sweep again." in story.next_steps
    )
    assert not any("Nothing to do" in step for step in story.next_steps)


def test_a_node_whose_registration_cannot_be_read_is_told() -> None:
    """With what stood there."""
    story = told("db-sin-1")
    assert [item.reason for item in story.invalid] == ["not valid JSON"]
    assert "unreadable" in story.headline


@pytest.mark.parametrize("length", [6, 8, 44])
def test_a_key_is_understood_from_its_first_six_characters(length: int) -> None:
    """Where they are unique."""
    story = told(fleet.GHOST[:length])
    assert story.kind == "key"
    assert story.target == fleet.GHOST


@pytest.mark.parametrize("ellipsis", ["…", "..."])
def test_a_key_copied_from_a_report_is_understood_with_its_ellipsis(ellipsis: str) -> None:
    """The report shows `6tbvA9Ye…`; that is what gets pasted."""
    assert told(fleet.GHOST[:8] + ellipsis).target == fleet.GHOST


def test_five_characters_of_a_key_are_too_few() -> None:
    """Too easily another key's."""
    with pytest.raises(UsageError, match="saw no address, node or key"):
        told(fleet.GHOST[:5])


def test_a_start_that_two_keys_share_asks_for_more() -> None:
    """It never picks one of them."""
    snapshot = fleet.snapshot()
    first, other = snapshot.registrations[2:4]
    alike = PublicKey(first.public_key[:10] + other.public_key[10:])
    changed = replace(other, public_key=alike)
    registrations = tuple(changed if item is other else item for item in snapshot.registrations)
    with pytest.raises(UsageError, match="2 keys start with"):
        told(first.public_key[:10], replace(snapshot, registrations=registrations))


def test_a_name_in_two_datacenters_asks_which_one() -> None:
    """And names both."""
    snapshot = fleet.snapshot()
    original = snapshot.registrations[2]
    twin: Registration = replace(original, node=NodeId("dc2", original.node.name), public_key=key("twin"))
    doubled = replace(snapshot, registrations=(*snapshot.registrations, twin))
    with pytest.raises(UsageError, match=r"worker-sin-1@dc1.*worker-sin-1@dc2"):
        told("worker-sin-1", doubled)
    assert told("worker-sin-1@dc2", doubled).registrations == (twin,)


def test_an_unknown_target_is_one_line_with_the_nearest_names_and_what_was_seen() -> None:
    """Unseen nodes may hold it: the line says how many there are."""
    with pytest.raises(UsageError) as raised:
        told("worker-nrt-9")
    text = str(raised.value)
    assert "'worker-nrt-9' (8 of 10 nodes seen, 2 gaps); nearest known: 'worker-nrt-" in text
    assert "\n" not in text


@pytest.mark.parametrize("target", ["x\n\x1b[31my", "\u202egnp", "z" * 5000, "\udc80"])
def test_a_strange_target_gives_one_short_printable_line(target: str) -> None:
    """It is repeated escaped, and not at full length."""
    with pytest.raises(UsageError) as raised:
        told(target)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def test_an_empty_target_is_refused() -> None:
    """With what to give in its place."""
    with pytest.raises(UsageError, match="name an address, a node or a key"):
        told("  ")


def test_the_next_step_of_a_contest_names_who_was_registered_first() -> None:
    """By Consul's CreateIndex."""
    assert told("10.0.0.1").next_steps[0] == (
        "Decide which node keeps 10.0.0.1. edge-sin-1 was registered with it first (CreateIndex 4711)."
    )


def test_nothing_to_do_is_said_only_where_everything_was_seen() -> None:
    """With a gap anywhere, it says that not everything was seen."""
    assert "not everything was seen" in told("10.0.1.2").next_steps[-1]
    whole = fleet.snapshot(unseen=False)
    # The ghost in the routes becomes a gap of its own; here it is in flight, and so no suspect.
    ghost = replace(whole.registrations[0], node=NodeId("dc1", "ghost"), public_key=fleet.GHOST)
    assert "Nothing to do" in told("10.0.1.2", replace(whole, in_flight=(ghost,))).next_steps[-1]
