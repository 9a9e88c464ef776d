"""The three witnesses side by side: who claims what, who is who, and who answered in whose place."""

from __future__ import annotations

import pytest

from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix
from auditor.values.findings import Witness
from auditor.values.models import NodeId
from tests.fleets import Mesh, contested, healthy, key_of, names, prefixes, trio

P = Prefix


def fleet(mesh: Mesh) -> Fleet:
    """The index over the mesh's snapshot."""
    return Fleet(mesh.snapshot())


def contested_of(mesh: Mesh) -> dict[str, list[str]]:
    """Contested prefixes with the claimants' names."""
    return {prefix: names(nodes) for prefix, nodes in fleet(mesh).contested.items()}


# -- contested addresses


def test_a_healthy_fleet_contests_nothing() -> None:
    """Each address is claimed twice by one node: by its registration and by its device."""
    assert contested_of(healthy()) == {}


def test_two_registrations_contest_an_address_even_if_no_device_holds_it() -> None:
    """The registry's duplicates count on their own."""
    mesh = trio().node("x", "10.0.0.9").node("y", "10.0.0.9").holds("x").holds("y")
    assert contested_of(mesh) == {"10.0.0.9/32": ["x", "y"]}


def test_two_devices_contest_an_address_that_no_registration_has() -> None:
    """The devices' duplicates count on their own."""
    mesh = trio().holds("edge-fra-1", "10.0.0.9").holds("edge-sin-1", "10.0.0.9")
    assert contested_of(mesh) == {"10.0.0.9/32": ["edge-fra-1", "edge-sin-1"]}


def test_a_registration_and_another_nodes_device_contest_an_address() -> None:
    """Both together: one witness each."""
    mesh = trio().node("x", "10.0.0.9").not_seen("x").holds("edge-sin-1", "10.0.0.3", "10.0.0.9")
    assert contested_of(mesh) == {"10.0.0.9/32": ["edge-sin-1", "x"]}


@pytest.mark.parametrize("size", [2, 3, 7])
def test_a_group_of_any_size_is_one_contest(size: int) -> None:
    """Pairs, triples and more."""
    mesh = trio()
    for number in range(size):
        mesh.node(f"x{number}", "10.0.0.9")
    assert contested_of(mesh) == {"10.0.0.9/32": [f"x{number}" for number in range(size)]}


def test_both_families_of_a_dual_stack_pair_are_contested() -> None:
    """IPv4 first."""
    mesh = trio().node("x", "fd00::9", "10.0.0.9").node("y", "10.0.0.9", "fd00::9")
    assert list(contested_of(mesh)) == ["10.0.0.9/32", "fd00::9/128"]


def test_a_network_that_two_nodes_register_is_contested_too() -> None:
    """A /24 belongs behind one node."""
    mesh = trio().node("x", "10.0.0.8", "10.8.0.0/24").node("y", "10.0.0.9", "10.8.0.0/24")
    assert contested_of(mesh) == {"10.8.0.0/24": ["x", "y"]}


def test_a_node_whose_key_drifted_does_not_contest_its_own_address() -> None:
    """Two keys, one node: that is key-drift."""
    assert contested_of(trio().rekeyed("edge-fra-1", "other")) == {}


def test_a_node_mirrored_into_two_datacenters_is_one_claimant() -> None:
    """Same name, same key."""
    mesh = trio().node("x", "10.0.0.9", dc="dc1").node("x", "10.0.0.9", dc="dc2")
    assert contested_of(mesh) == {}


def test_two_servers_of_one_name_in_two_datacenters_are_two_claimants() -> None:
    """Same name, different keys."""
    mesh = trio().node("x", "10.0.0.9", dc="dc1").node("x", "10.0.0.9", dc="dc2", key="y")
    assert contested_of(mesh) == {"10.0.0.9/32": ["x", "x"]}


def test_a_mirrored_node_and_another_one_are_two_claimants() -> None:
    """The mirror is not counted twice."""
    mesh = trio().node("x", "10.0.0.9").node("x", "10.0.0.9", dc="dc2").node("z", "10.0.0.9")
    assert contested_of(mesh) == {"10.0.0.9/32": ["x", "z"]}


def test_registrations_that_were_written_during_the_sweep_contest_their_address() -> None:
    """A race that is caught in the act is still a race."""
    mesh = trio().node("x", "10.0.0.2").flying("x").not_seen("x")
    assert contested_of(mesh) == {"10.0.0.2/32": ["edge-fra-1", "x"]}


def test_the_device_of_a_node_in_flight_claims_what_it_holds() -> None:
    """It is live, whatever becomes of the registration."""
    mesh = trio().flying("edge-fra-1", addresses=prefixes(["10.0.0.3"])).holds("edge-fra-1", "10.0.0.3")
    assert contested_of(mesh) == {"10.0.0.3/32": ["edge-fra-1", "edge-sin-1"]}


def test_each_claim_says_where_it_was_seen() -> None:
    """Registry key, and device on its node."""
    claims = fleet(trio()).claims(P("10.0.0.2/32"))
    assert [(claim.witness, claim.where) for claim in claims] == [
        (Witness.REGISTERED, "wireguard/nodes/edge-fra-1"),
        (Witness.DEVICE, "wg0"),
    ]


# -- who answered


def test_the_server_of_another_node_is_a_wrong_host() -> None:
    """Both looks met one host key and one device."""
    (wrong,) = fleet(trio().answers_as("edge-sin-1", "edge-fra-1")).wrong_hosts
    assert (wrong.observation.node.name, wrong.actual.name) == ("edge-sin-1", "edge-fra-1")


def test_a_wrong_host_is_known_even_if_its_owner_was_not_seen() -> None:
    """It holds nothing that the asked node should hold."""
    mesh = trio().answers_as("edge-sin-1", "edge-fra-1").not_seen("edge-fra-1")
    assert [wrong.actual.name for wrong in fleet(mesh).wrong_hosts] == ["edge-fra-1"]


def test_two_nodes_whose_ways_are_swapped_are_two_wrong_hosts() -> None:
    """Each answered in the other one's place."""
    mesh = trio().answers_as("edge-sin-1", "edge-fra-1").answers_as("edge-fra-1", "edge-sin-1")
    assert len(fleet(mesh).wrong_hosts) == 2


def test_a_wrong_host_is_no_witness() -> None:
    """Neither of the asked node's device nor of its routes."""
    index = fleet(trio().answers_as("edge-sin-1", "edge-fra-1"))
    assert names(item.node for item in index.witnesses) == ["edge-ams-1", "edge-fra-1"]
    assert len(index.routes.observers) == 2


def test_a_wrong_host_does_not_say_where_the_asked_node_is() -> None:
    """The region that it answered with is its own."""
    index = fleet(trio().says_region("edge-fra-1", "fra").answers_as("edge-sin-1", "edge-fra-1"))
    assert {word.region for word in index.region_witnesses(NodeId("dc1", "edge-sin-1"))} == {"sin"}


def test_another_host_key_under_the_same_wireguard_key_is_a_clone() -> None:
    """Two machines, one key, even if all addresses were cloned too."""
    index = fleet(trio().rekeyed("edge-sin-1", "edge-fra-1").holds("edge-sin-1", "10.0.0.2"))
    assert index.wrong_hosts == ()
    assert names(index.device_holders[key_of("edge-fra-1")]) == ["edge-fra-1", "edge-sin-1"]


def test_a_clone_with_the_same_host_key_is_known_by_its_own_address() -> None:
    """Images are often cloned with their SSH host keys."""
    mesh = trio().rekeyed("edge-sin-1", "edge-fra-1").cloned_host_key("edge-sin-1", "edge-fra-1")
    assert fleet(mesh).wrong_hosts == ()


def test_a_clone_is_known_by_its_own_address_if_the_original_was_not_seen() -> None:
    """There is one machine to look at, and it holds what is registered for the asked node."""
    assert fleet(trio().rekeyed("edge-sin-1", "edge-fra-1").not_seen("edge-fra-1")).wrong_hosts == ()


def test_an_address_that_both_are_registered_with_proves_no_clone() -> None:
    """In the incident itself, the wrong host of a pair holds the pair's address too."""
    mesh = contested().answers_as("twin-sin", "twin-fra").not_seen("twin-fra")
    assert [wrong.actual.name for wrong in fleet(mesh).wrong_hosts] == ["twin-fra"]


def test_a_wrong_host_is_told_from_a_clone_where_two_nodes_share_a_key() -> None:
    """Its host key is that of one of them."""
    mesh = (
        trio()
        .node("x", "10.0.0.8", key="shared")
        .node("y", "10.0.0.9", key="shared")
        .answers_as("edge-sin-1", "y")
    )
    assert [wrong.actual.name for wrong in fleet(mesh).wrong_hosts] == ["y"]


def test_an_unknown_key_is_no_wrong_host() -> None:
    """Nobody else is registered with it: the node's own key drifted."""
    assert fleet(trio().rekeyed("edge-sin-1", "never seen")).wrong_hosts == ()


def test_a_node_whose_registration_changes_during_the_sweep_is_no_wrong_host() -> None:
    """Its way may have changed with it. What answered in its place is no witness all the same."""
    mesh = trio().answers_as("edge-sin-1", "edge-fra-1").flying("edge-sin-1")
    assert fleet(mesh).wrong_hosts == ()
    assert names(item.node for item in fleet(mesh).witnesses) == ["edge-ams-1", "edge-fra-1"]


# -- regions and names


def test_the_registration_is_the_best_witness_of_a_region() -> None:
    """Before name, address plan and the node itself; all are listed."""
    mesh = Mesh(name_pattern=r"^edge-(?P<region>[a-z]{3})-", region_pools={"ams": P("10.0.0.0/16")})
    mesh.node("edge-fra-1", "10.0.0.2", region="sin").says_region("edge-fra-1", "nrt")
    words = fleet(mesh).region_witnesses(NodeId("dc1", "edge-fra-1"))
    assert [tuple(word) for word in words] == [
        ("registration", "sin"),
        ("name", "fra"),
        ("address plan", "ams"),
        ("node itself", "nrt"),
    ]
    assert fleet(mesh).region(NodeId("dc1", "edge-fra-1")) == "sin"


def test_the_longest_prefix_of_the_address_plan_decides() -> None:
    """A plan may carve a region out of another one's."""
    mesh = Mesh(region_pools={"eu": P("10.0.0.0/8"), "fra": P("10.1.0.0/16"), "six": P("fd00::/8")})
    mesh.node("x", "10.1.0.2").node("y", "10.2.0.2").node("z", "fd00::2").node("w", "192.0.2.1")
    index = fleet(mesh)
    assert [index.region(NodeId("dc1", name)) for name in "xyzw"] == ["fra", "eu", "six", ""]


def test_a_name_shows_its_datacenter_only_where_it_stands_in_two() -> None:
    """Unreadable registrations count too."""
    index = fleet(trio().broken("edge-fra-1", dc="dc2"))
    assert index.name(NodeId("dc1", "edge-fra-1")) == "edge-fra-1@dc1"
    assert index.name(NodeId("dc1", "edge-sin-1")) == "edge-sin-1"


def test_the_key_of_an_unreadable_registration_is_known() -> None:
    """So that its live peer is not called unregistered."""
    mesh = trio().node("half", "10.0.0.66").unread("half", "addresses")
    assert key_of("half") in fleet(mesh).known_keys


def test_an_unregistered_key_belongs_to_the_node_whose_device_holds_it() -> None:
    """The registry's word comes first."""
    index = fleet(trio().rekeyed("edge-sin-1", "new"))
    assert index.node_of_key(key_of("new")) == NodeId("dc1", "edge-sin-1")
    assert index.node_of_key(key_of("edge-sin-1")) == NodeId("dc1", "edge-sin-1")
    assert index.node_of_key(key_of("nobody")) is None
