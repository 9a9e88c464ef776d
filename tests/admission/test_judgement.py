"""What speaks against a record before it is written: each objection, and what is none."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from auditor.admission.judged_against import live_in
from auditor.admission.objections import (
    FINDINGS,
    AdmissionVerdict,
    ObjectionIdent,
    Proposal,
    Unseen,
)
from auditor.checks.catalogue import BY_IDENT
from auditor.errors import GapReason
from auditor.fleet.fleet import Fleet
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix
from auditor.values.models import (
    FieldFault,
    Gap,
    InvalidRegistration,
    NodeId,
    Registration,
    RegistryReading,
    SharedAddress,
)
from tests.admission.records import idents, judged, registration, warned
from tests.fleets import STARTED, Mesh, key_of

OLD = registration("old", "10.0.0.5")
ADDRESS = Prefix("10.0.0.9/32")


def test_a_new_node_with_a_free_address_and_a_key_of_its_own_is_admitted() -> None:
    (found,) = judged(registration("new", "10.0.0.9"), registry=[OLD])
    assert (found.verdict, found.objections, found.sentence) == (AdmissionVerdict.ADMITTED, (), "yes")


# The two bugs of the incident


def test_two_writers_with_one_address_are_both_refused_before_either_is_written() -> None:
    found = judged(registration("a", "10.0.0.9"), registration("b", "10.0.0.9"))
    assert [idents(each) for each in found] == [["address-registered"]] * 2
    assert "in the same input" in found[0].sentence


def test_the_second_writer_is_refused_once_the_first_has_written() -> None:
    (found,) = judged(registration("b", "10.0.0.5"), registry=[OLD])
    assert (
        found.sentence == "no: address-registered: 10.0.0.5 is registered for old@dc1 (wireguard/nodes/old)"
    )


def test_the_address_of_an_allocator_that_could_not_read_is_refused() -> None:
    (found,) = judged(registration("new", "10.0.0.1"), registry=[OLD])
    assert idents(found) == ["first-address"]


def test_a_first_address_that_the_node_has_already_is_a_warning() -> None:
    hub = registration("hub", "10.0.0.1")
    (found,) = judged(registration("hub", "10.0.0.1", region="sin"), registry=[hub])
    assert (found.verdict, warned(found)) == (AdmissionVerdict.ADMITTED, ["first-address"])
    assert found.sentence.startswith("yes (warning: first-address: ")


def test_what_is_allowed_is_a_warning() -> None:
    (found,) = judged(registration("new", "10.0.0.1"))
    eased = found.allowing(frozenset({ObjectionIdent.FIRST_ADDRESS}))
    assert (eased.verdict, warned(eased)) == (AdmissionVerdict.ADMITTED, ["first-address"])


# The registry


def test_a_nodes_own_earlier_registration_is_no_conflict() -> None:
    rewritten = registration("old", "10.0.0.5", region="sin")
    moved = registration("old", "10.0.0.6")
    for record in (rewritten, moved):
        assert judged(record, registry=[OLD])[0].verdict is AdmissionVerdict.ADMITTED


def test_two_nodes_that_exchange_their_addresses_are_judged_as_both_will_stand() -> None:
    registry = [registration("a", "10.0.0.5"), registration("b", "10.0.0.6")]
    found = judged(registration("a", "10.0.0.6"), registration("b", "10.0.0.5"), registry=registry)
    assert {each.verdict for each in found} == {AdmissionVerdict.ADMITTED}


def test_a_key_of_another_node_is_refused() -> None:
    (found,) = judged(registration("new", "10.0.0.9", key="old"), registry=[OLD])
    assert idents(found) == ["key-registered"]
    assert found.refusals[0].nodes == (OLD.node,)


def test_a_mirror_of_a_node_in_another_datacenter_is_no_conflict() -> None:
    (found,) = judged(registration("old", "10.0.0.5", dc="dc2"), registry=[OLD])
    assert (found.verdict, warned(found)) == (AdmissionVerdict.ADMITTED, ["name-elsewhere"])


def test_a_retired_node_claims_nothing() -> None:
    gone = registration("old", "10.0.0.5", retired=True, state="decommissioned")
    (found,) = judged(registration("new", "10.0.0.5", key="old"), registry=[gone])
    assert found.verdict is AdmissionVerdict.ADMITTED
    (again,) = judged(registration("old", "10.0.0.5", retired=True), registry=[registration("b", "10.0.0.5")])
    assert again.verdict is AdmissionVerdict.ADMITTED


def test_an_address_in_another_nodes_network_is_refused_and_the_network_around_it_too() -> None:
    wide, host = registration("wide", "10.0.0.8", "10.9.0.0/24"), registration("host", "10.9.0.7")
    assert idents(judged(host, registry=[wide])[0]) == ["address-overlaps"]
    assert idents(judged(wide, registry=[host])[0]) == ["address-overlaps"]


def test_a_shared_address_is_admitted_for_its_nodes_alone_until_the_agreement_ends() -> None:
    def shared(days: int) -> dict[str, object]:
        until = STARTED + timedelta(days=days)
        return {"shared": (SharedAddress(ADDRESS, frozenset({"a", "b"}), "anycast", until),)}

    registry, record = [registration("a", "10.0.0.9")], registration("b", "10.0.0.9")
    assert judged(record, registry=registry, policy=shared(1))[0].verdict is AdmissionVerdict.ADMITTED
    assert idents(judged(record, registry=registry, policy=shared(-1))[0]) == ["address-registered"]
    stranger = registration("c", "10.0.0.9")
    assert idents(judged(stranger, registry=registry, policy=shared(1))[0]) == ["address-registered"]


def test_one_node_twice_in_the_input_is_refused() -> None:
    found = judged(registration("a", "10.0.0.8"), registration("a", "10.0.0.9"))
    assert [idents(each) for each in found] == [["node-twice"]] * 2


def test_a_registry_that_was_not_read_whole_proves_no_absence() -> None:
    gap = Gap("consul", GapReason.CONSUL_TIMEOUT, "dc2: no answer", datacenter="dc2")
    reading = RegistryReading((OLD,), gaps=(gap,))
    (unknown,) = judged(registration("new", "10.0.0.9"), reading=reading)
    assert (unknown.verdict, unknown.unseen) == (
        AdmissionVerdict.UNKNOWN,
        (Unseen("registry", "consul-timeout", "dc2: no answer"),),
    )
    assert unknown.sentence == "can't tell: registry (consul-timeout): dc2: no answer"


def test_what_was_read_refuses_whatever_was_not() -> None:
    gap = Gap("consul", GapReason.CONSUL_TIMEOUT, "dc2: no answer", datacenter="dc2")
    (found,) = judged(registration("new", "10.0.0.5"), reading=RegistryReading((OLD,), gaps=(gap,)))
    assert found.verdict is AdmissionVerdict.REFUSED


def test_other_registrations_that_cannot_be_read_are_a_warning() -> None:
    odd = InvalidRegistration(NodeId("dc1", "odd"), "wireguard/nodes/odd", "not JSON", "{")
    (found,) = judged(registration("new", "10.0.0.9"), reading=RegistryReading((OLD,), (odd,)))
    assert (found.verdict, warned(found)) == (AdmissionVerdict.ADMITTED, ["others-unreadable"])


# The record and the plan


@pytest.mark.parametrize(
    ("address", "ident"),
    [
        ("192.0.2.7", "outside-pool"),
        ("10.0.0.0", "network-address"),
        ("10.255.255.255", "broadcast-address"),
        ("fd00::1", "first-address"),
    ],
)
def test_an_address_that_no_node_may_have_is_refused(address: str, ident: str) -> None:
    assert idents(judged(registration("new", address))[0]) == [ident]


def test_a_network_behind_a_node_need_not_lie_in_a_pool() -> None:
    (found,) = judged(registration("new", "10.0.0.9", "192.168.7.0/24"))
    assert found.verdict is AdmissionVerdict.ADMITTED


@pytest.mark.parametrize(
    ("name", "region", "address", "says"),
    [
        ("edge-fra-1", "sin", "10.16.0.9", "registration says sin, name says fra and address plan says sin"),
        ("edge-fra-1", None, "10.16.0.9", "name says fra and address plan says sin"),
        ("edge-sin-1", "sin", "10.32.0.9", "registration says sin, name says sin and address plan says fra"),
    ],
)
def test_a_region_that_name_and_plan_contradict_is_refused(
    name: str, region: str | None, address: str, says: str
) -> None:
    policy = {
        "name_pattern": "^[a-z]+-(?P<region>[a-z]{3})-",
        "region_pools": {"sin": Prefix("10.16.0.0/12"), "fra": Prefix("10.32.0.0/12")},
    }
    (found,) = judged(registration(name, address, region=region), policy=policy)
    assert found.sentence == f"no: region-mismatch: sources disagree: {says}"


@pytest.mark.parametrize("endpoint", ["10.0.0.7:51820", "[fd00::7]:51820", "::ffff:10.0.0.7:51820"])
def test_an_endpoint_inside_the_mesh_is_refused_and_an_ssh_host_there_is_a_warning(endpoint: str) -> None:
    (found,) = judged(registration("new", "10.0.0.9", endpoint=endpoint, ssh_host="10.0.0.7"))
    assert (idents(found), warned(found)) == (["host-in-mesh"], ["host-in-mesh"])
    outside = registration("new", "10.0.0.9", endpoint="node.example.net:51820", ssh_host="198.18.0.9")
    assert judged(outside)[0].objections == ()


def test_each_field_that_cannot_be_read_is_an_objection_of_its_own() -> None:
    faults = (FieldFault("public_key", "missing"), FieldFault("ip[1]", "not an IP address"))
    unreadable = InvalidRegistration(NodeId("dc1", "new"), "w/new", "…", "{", faults)
    from auditor.admission.judged_against import JudgedAgainst
    from auditor.admission.judgement import admissions
    from tests.admission.records import POLICY

    record = registration("new", "10.0.0.5", key=None)
    proposal = Proposal(record.node, record.where, record, (unreadable,))
    (found,) = admissions([proposal], JudgedAgainst(POLICY, STARTED, RegistryReading((OLD,))))
    assert idents(found) == ["unreadable", "unreadable", "address-registered"]
    assert [item.field for item in found.refusals] == ["public_key", "ip[1]", ""]


# Claims


def claim(state: ClaimState, node: str = "other", **more: object) -> AddressClaim:
    key = key_of(node) if node else None
    return AddressClaim(ADDRESS, state, node, key, STARTED, more.pop("until", None), "allocate")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("held", "says"),
    [
        (claim(ClaimState.HELD), "10.0.0.9 is claimed for other (by allocate)"),
        (claim(ClaimState.RESERVED), "10.0.0.9 is reserved for other (by allocate)"),
        (claim(ClaimState.SEEN, ""), "was seen live without a registration, held by nobody known"),
        (claim(ClaimState.RELEASED, until=STARTED + timedelta(days=1)), "in quarantine until 2026-03-02"),
    ],
)
def test_an_address_that_is_claimed_by_another_is_refused(held: AddressClaim, says: str) -> None:
    (found,) = judged(registration("new", "10.0.0.9"), claims={ADDRESS: held})
    assert idents(found) == ["address-claimed"]
    assert says in found.sentence


@pytest.mark.parametrize(
    "held",
    [
        claim(ClaimState.HELD, "new"),
        claim(ClaimState.RESERVED, "new"),
        claim(ClaimState.RELEASED, "new", until=STARTED + timedelta(days=1)),
        claim(ClaimState.RELEASED, until=STARTED - timedelta(days=1)),
    ],
)
def test_an_own_claim_and_one_whose_quarantine_is_over_keep_nothing(held: AddressClaim) -> None:
    (found,) = judged(registration("new", "10.0.0.9"), claims={ADDRESS: held})
    assert found.verdict is AdmissionVerdict.ADMITTED


# What is live


def live(mesh: Mesh, record: Registration) -> dict[str, object]:
    return {"live": live_in(Fleet(mesh.snapshot()), [record])}


def test_an_address_that_is_live_without_a_registration_is_refused() -> None:
    mesh = Mesh().node("a", "10.0.0.5").node("b", "10.0.0.6").holds("b", "10.0.0.6", "10.0.0.9")
    record = registration("new", "10.0.0.9")
    (found,) = judged(record, registry=mesh.registrations.values(), **live(mesh, record))
    assert found.sentence == "no: address-live: 10.0.0.9 is on the device of b@dc1"


def test_an_address_that_observers_route_elsewhere_is_refused() -> None:
    mesh = Mesh().node("a", "10.0.0.5").node("b", "10.0.0.6").node("ghost", "10.0.0.9")
    registry = [item for node, item in mesh.registrations.items() if node.name != "ghost"]
    record = registration("new", "10.0.0.9")
    (found,) = judged(record, registry=registry, **live(mesh, record))
    assert idents(found) == ["address-live"]
    assert "is routed to ghost@dc1 by 2 observers" in found.sentence


def test_what_the_node_itself_holds_live_is_its_own() -> None:
    mesh = Mesh().node("a", "10.0.0.5").node("b", "10.0.0.6")
    record = registration("a", "10.0.0.5", region="sin")
    assert judged(record, registry=mesh.registrations.values(), **live(mesh, record))[0].objections == ()


def test_a_key_on_another_nodes_device_is_refused() -> None:
    mesh = Mesh().node("a", "10.0.0.5").node("b", "10.0.0.6")
    mesh.machines[NodeId("dc1", "b")].key = key_of("new")
    record = registration("new", "10.0.0.9")
    (found,) = judged(record, registry=mesh.registrations.values(), **live(mesh, record))
    assert found.sentence == f"no: key-live: key {key_of('new')[:8]}… is on the device of b@dc1"


def test_a_retired_nodes_address_that_is_still_live_is_refused_and_its_key_too() -> None:
    mesh = Mesh().node("a", "10.0.0.5").node("old", "10.0.0.6")
    gone = registration("old", "10.0.0.6", retired=True, state="decommissioned")
    registry = [mesh.registrations[NodeId("dc1", "a")], gone]
    for record in (registration("new", "10.0.0.6"), registration("new", "10.0.0.9", key="old")):
        (found,) = judged(record, registry=registry, **live(mesh, record))
        assert idents(found) == ["retired-live"]


# The idents


def test_each_finding_that_an_objection_foresees_is_one_of_a_check() -> None:
    assert set(FINDINGS.values()) <= set(BY_IDENT)


def test_each_objection_has_its_row_in_the_document() -> None:
    """With the finding that it foresees."""
    text = (Path(__file__).parents[2] / "docs" / "prevention.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| (?:`([a-z-]+)`)? ?\|$", text, re.MULTILINE)
    foreseen = {item.value: FINDINGS[item].value if item in FINDINGS else "" for item in ObjectionIdent}
    assert dict(rows) == foreseen
