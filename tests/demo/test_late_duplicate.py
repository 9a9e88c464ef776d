"""A duplicate that comes about in a healthy fleet looks as on a real one, witness by witness."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.demo.demo_fleet import REGISTRY_PREFIX, build_fleet
from auditor.demo.late_duplicate import late_duplicate, set_device, set_peers
from auditor.demo.node_programs import write_states

FLEET = build_fleet(15, incident=False)
DUPLICATE = late_duplicate(FLEET)


@pytest.mark.parametrize("seed", range(12))
def test_two_servers_of_two_regions_share_it(seed: int) -> None:
    chosen = late_duplicate(build_fleet(15, seed, incident=False))
    assert chosen.keeper.name != chosen.late.name
    assert chosen.keeper.region != chosen.late.region
    assert chosen.late.registered_address == chosen.keeper.registered_address


def test_its_registration_differs_in_its_address_alone() -> None:
    before = FLEET.records({node.name: "127.0.0.1:1" for node in FLEET.nodes})[
        f"{REGISTRY_PREFIX}{DUPLICATE.late.name}"
    ]
    after = json.loads(DUPLICATE.record(before))
    assert DUPLICATE.key == f"{REGISTRY_PREFIX}{DUPLICATE.late.name}"
    assert {key for key, value in json.loads(before).items() if after[key] != value} == {"ip"}
    assert after["ip"] == DUPLICATE.address


def test_observers_split_between_both_and_nobody_else_moves() -> None:
    address = DUPLICATE.keeper.registered_address
    keys = {DUPLICATE.keeper.public_key, DUPLICATE.late.public_key}
    picks = {
        DUPLICATE.table(observer).owner(address)
        for observer in FLEET.nodes
        if observer.public_key not in keys
    }
    assert picks == keys
    for observer in FLEET.nodes:
        before, after = FLEET.peer_table(observer).peers, DUPLICATE.table(observer).peers
        assert {key: held for key, held in after.items() if key not in keys} == {
            key: held for key, held in before.items() if key not in keys
        }


def test_device_and_peers_are_what_the_servers_programs_show(tmp_path: Path) -> None:
    states = write_states(FLEET, tmp_path / "nodes")
    set_device(DUPLICATE, tmp_path / "nodes")
    state = states[DUPLICATE.late.name]
    assert (state / "addresses").read_text() == f"{DUPLICATE.address}/8\n"
    assert (state / "route-source").read_text() == f"{DUPLICATE.address}\n"
    observer = FLEET.nodes[-1]
    set_peers(DUPLICATE, observer, tmp_path / "nodes")
    assert (states[observer.name] / "allowed-ips").read_text() == DUPLICATE.table(observer).allowed_ips()
