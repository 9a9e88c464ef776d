"""The model of a fleet: what the kernel's rule makes of the incident, for any size and seed."""

from __future__ import annotations

import base64
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.demo.demo_fleet import (
    FALLBACK_ADDRESS,
    FEWEST_NODES,
    MOST_NODES,
    NAME_PATTERN,
    REGIONS,
    PeerTable,
    build_fleet,
)
from auditor.values.addresses import PublicKey, parse_prefix, parse_public_key

KEYS = [PublicKey(base64.b64encode(bytes([number]) * 32).decode()) for number in range(4)]
PREFIXES = [parse_prefix(f"10.0.0.{number}") for number in range(1, 5)]

sizes = st.integers(FEWEST_NODES, 70)
seeds = st.integers(0, 2**32)


def test_a_prefix_moves_to_the_peer_that_was_written_last_and_the_loser_shows_none() -> None:
    table = PeerTable(KEYS[0])
    table.set_peer(KEYS[1], [PREFIXES[0]])
    table.set_peer(KEYS[2], [PREFIXES[0]])
    assert table.allowed_ips() == f"{KEYS[1]}\t(none)\n{KEYS[2]}\t{PREFIXES[0]}\n"
    assert table.owner(PREFIXES[0]) == KEYS[2]


def test_a_peer_with_two_prefixes_loses_only_the_contested_one() -> None:
    table = PeerTable(KEYS[0])
    table.set_peer(KEYS[1], PREFIXES[:2])
    table.set_peer(KEYS[2], PREFIXES[1:3])
    expected = f"{KEYS[1]}\t{PREFIXES[0]}\n{KEYS[2]}\t{PREFIXES[1]} {PREFIXES[2]}\n"
    assert table.allowed_ips() == expected


def test_prefixes_of_different_length_do_not_take_each_other() -> None:
    """Overlaps coexist in the kernel; only an exactly equal prefix moves."""
    table = PeerTable(KEYS[0])
    table.set_peer(KEYS[1], [parse_prefix("10.0.0.0/24")])
    table.set_peer(KEYS[2], [parse_prefix("10.0.0.0/32")])
    assert "(none)" not in table.allowed_ips()


def test_a_peer_with_the_devices_own_key_is_ignored() -> None:
    table = PeerTable(KEYS[0])
    table.set_peer(KEYS[0], [PREFIXES[0]])
    assert table.allowed_ips() == ""


@given(
    st.lists(
        st.tuples(st.sampled_from(KEYS), st.lists(st.sampled_from(PREFIXES), unique=True, max_size=4)),
        max_size=30,
    )
)
def test_after_any_writes_each_prefix_belongs_to_one_peer_and_the_last_writer_keeps_its_list(
    writes: list[tuple[PublicKey, list[str]]],
) -> None:
    table = PeerTable(KEYS[0])
    for key, prefixes in writes:
        table.set_peer(key, [parse_prefix(prefix) for prefix in prefixes])
    held = [prefix for prefixes in table.peers.values() for prefix in prefixes]
    assert len(held) == len(set(held))
    assert all(table.owner(prefix) == key for key, prefixes in table.peers.items() for prefix in prefixes)
    if writes and writes[-1][0] != KEYS[0]:
        assert table.peers[writes[-1][0]] == tuple(writes[-1][1])


@given(sizes, seeds)
@settings(max_examples=40)
def test_every_fleet_holds_the_whole_incident(size: int, seed: int) -> None:
    """Each fault has nodes of its own; those that share an address stand in different regions."""
    fleet = build_fleet(size, seed)
    incident = fleet.incident
    assert incident is not None
    assert len(fleet.nodes) == size
    assert incident.pair.address == FALLBACK_ADDRESS
    assert len(incident.pair.claimants) == 2
    assert len(incident.triple.claimants) == 3
    faulty = [*incident.pair.claimants, *incident.triple.claimants]
    faulty += [incident.misplaced, incident.drifted, incident.unreachable, incident.stand_in]
    assert len(set(faulty)) == 9
    for contest in incident.contests:
        assert len({fleet.node(name).region for name in contest.claimants}) == len(contest.claimants)
    holders: dict[str, list[str]] = {}
    for node in fleet.nodes:
        holders.setdefault(node.registered_address, []).append(node.name)
    shared = {address: tuple(names) for address, names in holders.items() if len(names) > 1}
    assert shared == {contest.address: contest.claimants for contest in incident.contests}
    assert [node.name for node in fleet.nodes if not node.reachable] == [incident.unreachable]
    drifted = [node.name for node in fleet.nodes if node.device_address != node.registered_address]
    assert drifted == [incident.drifted]
    assert fleet.node(incident.drifted).device_address not in holders
    misplaced = [node.name for node in fleet.nodes if node.region != node.registered_region]
    assert misplaced == [incident.misplaced]


@given(sizes, seeds)
@settings(max_examples=40)
def test_each_claimant_is_picked_by_at_least_one_observer_that_claims_nothing(size: int, seed: int) -> None:
    """Else there would be no split to see."""
    fleet = build_fleet(size, seed)
    for contest in fleet.contests:
        picked = set()
        for observer in fleet.nodes:
            if observer.reachable and observer.name not in contest.claimants:
                owner = fleet.peer_table(observer).owner(contest.address)
                picked |= {node.name for node in fleet.nodes if node.public_key == owner}
        assert picked == set(contest.claimants)


@given(sizes, seeds)
@settings(max_examples=20)
def test_what_wg_prints_is_a_line_for_each_other_node_with_none_for_each_loser(size: int, seed: int) -> None:
    fleet = build_fleet(size, seed)
    by_key = {node.public_key: node for node in fleet.nodes}
    for observer in fleet.nodes:
        lines = fleet.peer_table(observer).allowed_ips().splitlines()
        peers = dict(line.split("\t") for line in lines)
        assert set(peers) == set(by_key) - {observer.public_key}
        contested = {contest.address for contest in fleet.contests}
        for key, text in peers.items():
            registered = by_key[PublicKey(key)].registered_address
            assert text == registered or (text == "(none)" and registered in contested)
        # Of each contested address's claimants, all but one peer lost it.
        for contest in fleet.contests:
            others = [name for name in contest.claimants if name != observer.name]
            shown = [peers[fleet.node(name).public_key] for name in others]
            assert sorted(shown) == sorted([contest.address] + ["(none)"] * (len(others) - 1))


def test_a_claimants_own_peer_keeps_the_address_that_is_also_its_own() -> None:
    """The kernel sees no conflict between a device's own address and an allowed-ip."""
    fleet = build_fleet(40)
    assert fleet.incident is not None
    first, second = fleet.incident.pair.claimants
    table = fleet.peer_table(fleet.node(first))
    assert table.owner(fleet.incident.pair.address) == fleet.node(second).public_key


def test_the_order_of_peers_differs_between_nodes() -> None:
    """So that whoever compares tables must sort them, as with real devices."""
    fleet = build_fleet(40, incident=False)
    orders = set()
    for node in fleet.nodes:
        keys = list(fleet.peer_table(node).peers)
        orders.add(next(key for key in keys if key not in {fleet.nodes[0].public_key, node.public_key}))
    assert len(orders) > 5


def test_routing_counts_every_reachable_observer_once_and_no_claimant() -> None:
    """A claimant delivers the address to itself: where it would route it tells nothing."""
    fleet = build_fleet(40)
    for contest in fleet.contests:
        picks = fleet.routing(contest.address)
        assert sum(sum(regions.values()) for regions in picks.values()) == 39 - len(contest.claimants)
        assert set(picks) == set(contest.claimants)


def test_equal_arguments_give_an_equal_fleet_and_another_seed_another_one() -> None:
    assert build_fleet(40, 3) == build_fleet(40, 3)
    one, other = build_fleet(40, 3), build_fleet(40, 4)
    assert {node.public_key for node in one.nodes}.isdisjoint(node.public_key for node in other.nodes)
    assert one.incident != other.incident


def test_a_fleet_without_the_incident_is_a_healthy_full_mesh() -> None:
    fleet = build_fleet(20, incident=False)
    assert fleet.incident is None
    assert fleet.contests == ()
    tables = set()
    for node in fleet.nodes:
        text = fleet.peer_table(node).allowed_ips()
        assert "(none)" not in text
        tables.add("".join(sorted([*text.splitlines(True), f"{node.public_key}\t{node.device_address}\n"])))
    assert len(tables) == 1


@pytest.mark.parametrize("count", [0, FEWEST_NODES - 1, MOST_NODES + 1])
def test_a_size_that_cannot_hold_the_incident_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"{FEWEST_NODES} to {MOST_NODES} nodes, not {count}"):
        build_fleet(count)


def test_ten_thousand_nodes_have_names_keys_addresses_and_endpoints_of_their_own() -> None:
    fleet = build_fleet(10_000, incident=False)
    for values in (
        {node.name for node in fleet.nodes},
        {parse_public_key(node.public_key) for node in fleet.nodes},
        {parse_prefix(node.registered_address) for node in fleet.nodes},
        {node.endpoint for node in fleet.nodes},
    ):
        assert len(values) == 10_000
    assert FALLBACK_ADDRESS not in {node.registered_address for node in fleet.nodes}


def test_names_say_the_region_in_which_a_node_stands() -> None:
    fleet = build_fleet(40)
    for node in fleet.nodes:
        match = re.search(NAME_PATTERN, node.name)
        assert match is not None
        assert match["region"] == node.region
    assert {node.region for node in fleet.nodes} == set(REGIONS)


def test_the_registry_has_a_json_record_a_node_under_its_name() -> None:
    fleet = build_fleet(FEWEST_NODES)
    records = fleet.records({node.name: f"127.0.0.1:{node.index}" for node in fleet.nodes})
    assert len(records) == FEWEST_NODES
    for node in fleet.nodes:
        assert json.loads(records[f"wireguard/nodes/{node.name}"]) == {
            "public_key": node.public_key,
            "ip": node.registered_address.removesuffix("/32"),
            "region": node.registered_region,
            "endpoint": node.endpoint,
            "ssh_host": f"127.0.0.1:{node.index}",
        }


def test_the_default_fleet_tells_the_story_of_sin_and_fra() -> None:
    fleet = build_fleet(40)
    assert fleet.incident is not None
    assert {fleet.node(name).region for name in fleet.incident.pair.claimants} == {"sin", "fra"}
    misplaced = fleet.node(fleet.incident.misplaced)
    assert (misplaced.region, misplaced.registered_region) == ("sin", "fra")


@given(sizes, seeds)
@settings(max_examples=30, deadline=None)
def test_indexes_are_each_nodes_own_and_the_triples_stand_close_behind_its_first(
    size: int, seed: int
) -> None:
    fleet = build_fleet(size, seed)
    assert fleet.incident is not None
    indexes = {node.name: fleet.create_index(node) for node in fleet.nodes}
    assert len(set(indexes.values())) == size
    triple = sorted(indexes[name] for name in fleet.incident.triple.claimants)
    assert [index - triple[0] for index in triple] == [0, 1, 3]
