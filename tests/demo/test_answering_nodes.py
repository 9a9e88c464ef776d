"""Connections into the demo's mesh: by the observer's own routes they meet the node that the audit says they do."""

from __future__ import annotations

import json
from pathlib import Path

import asyncssh
import pytest

from auditor.demo.answering_nodes import NATS_PORT, AnsweringNodes
from auditor.demo.demo_fleet import FEWEST_NODES, DemoFleet, build_fleet
from auditor.demo.node_programs import write_states
from auditor.demo.servers import serve
from auditor.values.addresses import format_prefix, parse_prefix
from tests.demo.test_servers import connect

FLEET: DemoFleet = build_fleet(FEWEST_NODES)
assert FLEET.incident is not None
NOBODYS = parse_prefix("10.9.9.9")
PAIR, TRIPLE = FLEET.incident.contests
WELL = [
    node
    for node in FLEET.nodes
    if node.reachable and node.name not in (*PAIR.claimants, *TRIPLE.claimants, FLEET.incident.drifted)
]


@pytest.fixture
def mesh(tmp_path: Path) -> AnsweringNodes:
    return AnsweringNodes(FLEET, write_states(FLEET, tmp_path / "nodes"))


def test_each_observer_meets_the_claimant_that_its_own_routes_lead_to(mesh: AnsweringNodes) -> None:
    for contest in (PAIR, TRIPLE):
        for observer in WELL:
            met = mesh.met(observer, contest.address)
            assert met is not None
            assert met.name == FLEET.keeper(observer, contest)


def test_who_is_met_changes_with_the_observers_routes(mesh: AnsweringNodes) -> None:
    observer = WELL[0]
    table = FLEET.peer_table(observer)
    before = FLEET.keeper(observer, PAIR)
    other = next(FLEET.node(name) for name in PAIR.claimants if name != before)
    table.set_peer(other.public_key, [PAIR.address])
    (mesh.states[observer.name] / "allowed-ips").write_text(table.allowed_ips())
    assert mesh.met(observer, PAIR.address) == other


def test_what_comes_for_the_address_that_a_node_left_is_passed_on(mesh: AnsweringNodes) -> None:
    """By a rule beside WireGuard: the routes lead to the one, and the other answers."""
    assert FLEET.incident is not None
    left = FLEET.node(FLEET.incident.drifted).registered_address
    assert mesh.met(WELL[0], left) is FLEET.node(FLEET.incident.stand_in)


def test_nobody_is_met_where_the_way_back_leads_elsewhere(mesh: AnsweringNodes) -> None:
    """As WireGuard drops what comes from an address that another peer has: a claimant gets no answer from some."""
    asking, there = next(
        (FLEET.node(name), node)
        for name in TRIPLE.claimants
        for node in WELL
        if FLEET.keeper(node, TRIPLE) != name
    )
    assert mesh.met(WELL[0], NOBODYS) is None
    assert mesh.met(asking, there.device_address) is None
    assert mesh.met(there, there.device_address) is there


def test_a_node_that_refuses_ssh_answers_over_the_mesh(mesh: AnsweringNodes) -> None:
    """What is broken there is its sshd; its NATS is not asked by that way."""
    assert FLEET.incident is not None
    unreachable = FLEET.node(FLEET.incident.unreachable)
    assert mesh.met(WELL[0], unreachable.registered_address) is unreachable


async def test_a_connection_through_ssh_meets_that_nodes_nats_and_nothing_else(tmp_path: Path) -> None:
    """Refusals come in the words of OpenSSH's server."""
    observer = WELL[0]
    keeper = FLEET.node(FLEET.keeper(observer, PAIR))
    async with serve(FLEET, tmp_path, sessions=8) as served, connect(served, observer.name) as connection:
        reader, _ = await connection.open_connection(format_prefix(PAIR.address), NATS_PORT)
        word, said = (await reader.readline()).split(b" ", 1)
        for address, port, why in (
            (NOBODYS, NATS_PORT, "Connection timed out"),
            (PAIR.address, 22, "Connection refused"),
        ):
            with pytest.raises(asyncssh.ChannelOpenError, match=why):
                await connection.open_connection(format_prefix(address), port)

    info = json.loads(said)
    assert (word, info["server_name"], info["cluster"]) == (b"INFO", keeper.name, keeper.region)
