"""several-endpoints: one key met at several outer hosts at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from auditor.judge import judge
from auditor.state.recording import from_json, to_json
from auditor.values.findings import Finding, Severity
from auditor.values.models import Meeting, Memory, NodeId, Roaming
from tests.fleets import STARTED, Mesh, key_of, names, of, prefixes

IDENT = "several-endpoints"
REGISTERED, OTHER, THIRD = "198.18.0.1", "198.18.0.66", "198.18.0.77"
OBSERVERS = ("edge-ams-1", "edge-ams-2", "edge-fra-1", "edge-fra-2", "edge-sin-2")


def fleet(hosts: dict[str, str], age: int | None = 20, **policy: object) -> Mesh:
    """Six nodes in three regions; each observer met edge-sin-1 at the host that is given for it."""
    mesh = Mesh(**policy)
    for number, name in enumerate(("edge-sin-1", *OBSERVERS), start=2):
        mesh.node(name, f"10.0.0.{number}", region=name.split("-")[1])
    for observer in OBSERVERS:
        mesh.meets(observer, "edge-sin-1", f"{hosts.get(observer, REGISTERED)}:51820", age)
    return mesh


def found(mesh: Mesh) -> list[Finding]:
    return of(judge(mesh.snapshot()), IDENT)


CLONE = {"edge-ams-1": OTHER, "edge-fra-1": OTHER}


def test_a_clone_is_one_warning_with_both_hosts_and_who_met_it_there() -> None:
    (finding,) = found(fleet(CLONE))
    assert (finding.severity, finding.public_key) == (Severity.WARNING, key_of("edge-sin-1"))
    assert names(finding.nodes) == ["edge-sin-1"]
    assert f"{REGISTERED}, the registered one (3 observers) and {OTHER} (2 observers)." in finding.facts
    assert finding.evidence.observers == 5
    assert {"edge-ams-1", "edge-ams-2"} <= set(names(finding.evidence.sample))
    assert dict(finding.evidence.facts)[f"met at {OTHER} by"] == "edge-ams-1 and edge-fra-1"
    assert finding.guess is not None


def test_two_hosts_of_which_none_is_registered_are_said_to_be_none() -> None:
    (finding,) = found(fleet(dict.fromkeys(OBSERVERS, OTHER) | {"edge-ams-1": THIRD}))
    assert finding.facts.endswith("; none of them is registered.")


def test_one_host_is_no_finding_even_where_it_is_not_the_registered_one() -> None:
    """Behind NAT, or moved: that is an old registration and no second server."""
    assert found(fleet(dict.fromkeys(OBSERVERS, OTHER))) == []


def test_an_endpoint_without_a_fresh_handshake_is_where_a_peer_was_once() -> None:
    mesh = fleet({})
    mesh.meets("edge-ams-1", "edge-sin-1", f"{OTHER}:51820", 181)
    assert found(mesh) == []


def test_where_no_times_are_told_nothing_is_concluded() -> None:
    assert found(fleet(CLONE, age=None)) == []


@pytest.mark.parametrize(
    "endpoint", [f"{REGISTERED}:40001", "[fd00:0:0:1::2]:51820", "192.168.7.7:51820", "[2001:db8::7]:51820"]
)
def test_a_port_another_family_and_an_inside_address_are_no_second_place(endpoint: str) -> None:
    mesh = fleet({})
    mesh.meets("edge-ams-1", "edge-sin-1", endpoint)
    assert found(mesh) == []


def test_ipv6_addresses_of_one_network_are_one_place() -> None:
    mesh = fleet({}).reached_at("edge-sin-1", None, "[2001:db8::1]:51820")
    for number, observer in enumerate(OBSERVERS, start=1):
        mesh.meets(observer, "edge-sin-1", f"[2001:db8::a:{number}]:51820")
    assert found(mesh) == []
    assert found(mesh.meets("edge-ams-1", "edge-sin-1", "[2001:db8:0:1::1]:51820")) != []


def test_the_host_of_ssh_is_the_nodes_own() -> None:
    assert found(fleet(CLONE).reached_at("edge-sin-1", OTHER, f"{REGISTERED}:51820")) == []


def test_where_all_of_its_region_meet_it_at_one_host_and_nobody_else_that_is_its_inside() -> None:
    assert found(fleet({"edge-sin-2": OTHER})) == []
    assert found(fleet({"edge-sin-2": OTHER, "edge-ams-1": OTHER})) != []


def test_an_observer_behind_what_rewrites_addresses_is_no_witness_of_that_host() -> None:
    mesh = fleet({"edge-ams-1": OTHER})
    assert found(mesh) != []
    for peer in ("edge-ams-2", "edge-fra-1"):
        mesh.meets("edge-ams-1", peer, f"{OTHER}:5{len(peer)}")
    assert found(mesh) == []


def test_two_registered_nodes_with_the_key_are_the_duplicates_and_no_second_finding() -> None:
    mesh = fleet(CLONE).node("copy-ams-1", "10.0.0.99", region="ams", key="edge-sin-1")
    mesh.reached_at("copy-ams-1", None, f"{OTHER}:51820")
    assert found(mesh) == []
    assert of(judge(mesh.snapshot()), "duplicate-public-key") != []


def test_an_unregistered_key_at_two_hosts_follows_from_its_peer() -> None:
    mesh = fleet(CLONE).unregistered("edge-sin-1")
    (finding,) = found(mesh)
    (ghost,) = of(judge(mesh.snapshot()), "unregistered-peer")
    assert finding.caused_by is None or finding.caused_by == ghost.fingerprint


def test_a_registration_in_flight_is_left_alone() -> None:
    mesh = fleet(CLONE)
    snapshot = mesh.snapshot()
    moving = next(item for item in snapshot.registrations if item.node.name == "edge-sin-1")
    assert of(judge(replace(snapshot, in_flight=(moving,))), IDENT) == []


def agreed(*hosts: str, days: int = 1, nodes: frozenset[str] = frozenset({"edge-sin-1"})) -> Mesh:
    return fleet(CLONE, roaming=(Roaming(nodes, prefixes(hosts), "two uplinks", STARTED + timedelta(days)),))


def test_a_node_that_is_agreed_to_roam_does_not_count() -> None:
    (finding,) = found(agreed())
    assert finding.agreed == "roaming until 2026-03-02: two uplinks"
    (finding,) = found(agreed("198.18.0.64/28"))
    assert finding.agreed is not None


@pytest.mark.parametrize(
    "mesh",
    [agreed(days=0), agreed("198.18.0.77"), agreed(nodes=frozenset({"edge-sin-2"}))],
    ids=["over", "another host", "another node"],
)
def test_no_other_agreement_covers_it(mesh: Mesh) -> None:
    (finding,) = found(mesh)
    assert finding.agreed is None


def test_what_a_watch_met_is_judged_as_what_a_sweep_met_and_is_replayed() -> None:
    meetings = tuple(
        Meeting(key_of("edge-sin-1"), CLONE.get(name, REGISTERED), NodeId("dc1", name)) for name in OBSERVERS
    )
    snapshot = replace(fleet({}, age=None, roaming=agreed().policy.roaming).snapshot(), meetings=meetings)
    (finding,) = of(judge(snapshot), IDENT)
    assert finding.facts == found(fleet(CLONE))[0].facts
    assert from_json(to_json(snapshot).encode(), "a file") == snapshot


def test_what_stands_is_not_over_in_a_sweep_that_asks_for_no_endpoints() -> None:
    (finding,) = found(fleet(CLONE))
    remembered = Memory(several=frozenset({key_of("edge-sin-1")}))
    silent = replace(fleet(CLONE, age=None).snapshot(), memory=remembered)
    assert finding.fingerprint in judge(silent).withheld
    assert finding.fingerprint not in judge(replace(fleet({}).snapshot(), memory=remembered)).withheld
    watched = replace(silent, meetings=())
    assert finding.fingerprint not in judge(watched).withheld
    assert from_json(to_json(watched).encode(), "a file") == watched
