"""From the incident to a clean mesh by wgaudit's commands alone, as the packets see it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.answers import ask_from_all
from tests.lab.cases import incident, managed
from tests.lab.files import DRAINED
from tests.lab.mesh import Lab, wait_until
from tests.lab.sweeps import Sweep
from tests.lab.topology import Topology, host

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]
PAIR = "10.0.0.1"
TRIPLE = "10.20.0.7"
KEEPER = "worker-ams-1"
NEW_KEY = "A" * 42 + "E="

Answers = dict[str, str | None]
"""By the node that asks: who answered; None: nobody."""

MOVERS = ("edge-sin-1", "edge-fra-1", "worker-iad-1", "worker-nrt-1")
REPOSITORY = Path(__file__).parents[2]
MARK = "exit code "
_NEW = """$(grep -o '"new": "[0-9.]*' plan.json | cut -d '"' -f 4)"""
ASK_BY_HAND = f"for address in {TRIPLE} {_NEW}; do who-answers $address; done"


@dataclass(frozen=True)
class Circle:
    """One incident that was repaired, and what was seen on the way. The mesh still stands."""

    lab: Lab
    answers_before: dict[str, Answers]
    files_before: dict[str, str]
    adopt: Sweep
    swept_before: Sweep
    planned: Sweep
    plan: dict[str, Any]
    applied: Sweep
    swept_after: Sweep
    asked_after: Sweep

    @property
    def moves(self) -> dict[str, str]:
        """By node: its new address."""
        moves = [move for contested in self.plan["contested"] for move in contested["moves"]]
        return {move["node"]["name"]: move["new"].removesuffix("/32") for move in moves}


def test_the_commands_of_the_lab_document_lead_from_the_incident_to_a_clean_mesh(lab_parts: None) -> None:
    """Each line that it has for the lab's shell, in its order; the fleet's agents set the peers."""
    document = (REPOSITORY / "docs" / "lab.md").read_text(encoding="utf-8")
    section = re.split(
        r"^## ", document.split("## From the incident to a clean mesh")[1], maxsplit=1, flags=re.MULTILINE
    )[0]
    commands = re.findall(r"^```sh\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)[1].splitlines()
    assert len(commands) == 9
    # By packets that know nothing of wgaudit, and before the fleet gets a node that has no server.
    adopting = commands.index(next(each for each in commands if each.startswith("wgaudit adopt")))
    commands[adopting:adopting] = [ASK_BY_HAND, "cat drained.log"]
    typed = "".join(f"{command}\necho {MARK}$?\n" for command in commands)

    done = subprocess.run(
        [sys.executable, "-m", "tests.lab", "--shell", "incident"],
        cwd=REPOSITORY,
        input=typed,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    outputs = re.split(rf"^{MARK}(\d+)\n", done.stdout, flags=re.MULTILINE)
    said = [(int(code), text) for text, code in zip(outputs[::2], outputs[1::2], strict=False)]
    assert len(said) == len(commands), done.stdout + done.stderr
    assert done.returncode == 1, "the first sweep's own"
    ask_before, plan, _, _, apply, sweep, ask_after, by_hand, drained, adopt, allocate = said
    assert ask_before[0] == 1
    assert {"edge-sin-1", "edge-fra-1"} <= set(re.findall(r"^ *(\S+)", ask_before[1], flags=re.MULTILINE))
    assert "10.20.0.7" in plan[1]
    assert apply[0] == 0, apply[1] + done.stderr
    assert drained[1].split()[::4] == ["drain", "undrain"] * len(MOVERS)
    assert set(drained[1].split()[1::4]) == set(MOVERS)
    assert (sweep[0], sweep[1].split()[0]) == (0, "CLEAN"), sweep[1]
    assert ask_after[0] == 0, ask_after[1]
    assert f"9 reached {KEEPER}" in ask_after[1]
    answered = Counter(re.findall(r"(\S+) answers$", by_hand[1], flags=re.MULTILINE))
    assert answered == dict.fromkeys((KEEPER, *MOVERS), 10)
    assert (adopt[0], allocate[0]) == (0, 0), done.stderr
    assert re.search(r"^10\.\d+\.\d+\.\d+$", allocate[1], flags=re.MULTILINE)


@pytest.fixture(scope="module")
def circle(lab_parts: None) -> Iterator[Circle]:
    """The whole way in a fleet that has no agents, so that apply must set the peers."""
    topology = replace(managed(incident()), agents=False)
    with Lab(topology) as lab:
        lab.answer()
        plan = lab.folder / "plan.json"
        yield Circle(
            lab=lab,
            answers_before={each: ask_from_all(lab.networks(), each) for each in (PAIR, TRIPLE)},
            files_before=lab.device_files(),
            adopt=lab.run("adopt"),
            swept_before=lab.sweep(),
            planned=lab.run("plan", "--format", "json", "--output", str(plan)),
            plan=json.loads(plan.read_text()),
            applied=lab.run("apply", str(plan), "--yes", "--push-peers"),
            swept_after=lab.sweep(),
            asked_after=lab.run("ask", TRIPLE, "--all", "--format", "json"),
        )


def test_packets_to_a_contested_address_come_to_different_servers(circle: Circle) -> None:
    """The incident as the fleet feels it: whom a node reaches depends on where it asks from."""
    claimants = {each: claimants_of(circle.lab.topology, each) for each in (PAIR, TRIPLE)}
    for address, answers in circle.answers_before.items():
        elsewhere = {name for asking, name in answers.items() if asking not in claimants[address]}
        assert elsewhere - {None} == claimants[address]


def test_adopt_refuses_a_registry_with_duplicates_and_names_them(circle: Circle) -> None:
    """Claims for them would make the incident the truth."""
    assert circle.adopt.code == 1
    said = circle.adopt.stdout + circle.adopt.stderr
    assert PAIR in said
    assert TRIPLE in said


def test_the_sweep_finds_both_contested_addresses(circle: Circle) -> None:
    """Exit 1, and nothing was left unseen."""
    assert (circle.swept_before.code, circle.swept_before.gaps()) == (1, set())
    assert circle.swept_before.subjects("duplicate-address") == {PAIR, TRIPLE}


def test_the_plan_moves_everybody_but_the_oldest_of_the_triple(circle: Circle) -> None:
    """Nobody keeps the first address of the pool here, and the new addresses were held by nobody."""
    assert circle.planned.code in (0, 1), circle.planned.stderr
    keepers = {item["address"]: item["keeper"]["node"] for item in circle.plan["contested"]}
    assert keepers[host(PAIR)] is None
    assert keepers[host(TRIPLE)]["name"] == KEEPER
    assert circle.moves.keys() == set(MOVERS)
    assert len(set(circle.moves.values())) == len(circle.moves)
    assert not set(circle.moves.values()) & {node.address for node in circle.lab.topology.nodes}


def test_apply_carries_the_plan_out(circle: Circle) -> None:
    """Exit 0, and each node that moved is named with its new address."""
    assert circle.applied.code == 0, circle.applied.stdout + circle.applied.stderr
    said = circle.applied.stdout + circle.applied.stderr
    assert [name for name, address in circle.moves.items() if name not in said or address not in said] == []


def test_each_node_is_taken_out_of_production_before_its_move_and_back_when_it_was_verified(
    circle: Circle,
) -> None:
    """One after the other: at most one of them is missed at a time, and each is drained at its old address."""
    topology = circle.lab.topology
    log = (circle.lab.folder / DRAINED).read_text().splitlines()
    expected = []
    for contested in circle.plan["contested"]:
        for move in contested["moves"]:
            node = topology.node(move["node"]["name"])
            expected += [f"{word} {node.label} {node.region}" for word in ("drain", "undrain")]
    assert [line.rpartition(" ")[0] for line in log] == expected
    said = circle.applied.stdout + circle.applied.stderr
    for name in circle.moves:
        places = [said.index(f"{name}@dc1: {step} done") for step in ("drain", "add", "verify", "undrain")]
        assert places == sorted(places)


def test_each_move_is_verified_by_who_answers_at_its_new_address(circle: Circle) -> None:
    """The NATS server of the node that moved, by all but those whose own address is contested: answers to them may go
    to a rival."""
    said = circle.applied.stdout + circle.applied.stderr
    for name in circle.moves:
        assert re.search(
            rf"^{name}@dc1: verify done .*\b([6-9]) of \1 asked reached {name}@dc1", said, re.MULTILINE
        ), said


def test_the_sweep_afterwards_is_clean(circle: Circle) -> None:
    """All ten nodes were seen, and nothing is left: not a warning."""
    after = circle.swept_after
    assert (after.code, after.report["verdict"], after.report["findings"]) == (0, "clean", []), after.stdout
    assert (after.report["coverage"]["observed"], after.gaps()) == (10, set())


def test_packets_to_each_new_address_come_to_the_node_that_moved(circle: Circle) -> None:
    """From every node of the fleet, its former doubles too, and to nobody else."""
    for name, address in circle.moves.items():
        answers = ask_from_all(circle.lab.networks(), address)
        assert answers == dict.fromkeys(answers, name), address


def test_packets_to_the_kept_address_come_to_its_keeper_from_everywhere(circle: Circle) -> None:
    """Those too that reached another one before, and those that were one of its claimants."""
    answers = ask_from_all(circle.lab.networks(), TRIPLE)
    assert answers == dict.fromkeys(answers, KEEPER)
    asked = circle.asked_after.report["addresses"][0]["answers"]
    assert {each["observer"]: each["node"] for each in asked} == {
        label: name for label, name in answers.items() if label != KEEPER
    }


def test_packets_to_the_address_that_nobody_keeps_come_to_nobody(circle: Circle) -> None:
    """It is on no device any more, and routed to none."""
    answers = ask_from_all(circle.lab.networks(), PAIR)
    assert answers == dict.fromkeys(answers, None)


def test_the_nodes_hold_their_new_address_alone(circle: Circle) -> None:
    """The old one went after the new one came; nobody else's changed."""
    topology = circle.lab.topology
    held = {node.label: circle.lab.addresses(node.label) for node in topology.nodes}
    assert held == {node.label: {host(circle.moves.get(node.label, node.address))} for node in topology.nodes}


def test_verify_says_of_each_node_that_moved_that_it_is_in_its_place_and_answers_there(
    circle: Circle,
) -> None:
    done = circle.lab.run("verify", *circle.moves, "--all")
    assert done.code == 0, done.stdout
    lines = done.stdout.splitlines()
    assert len(lines) == 4 * len(circle.moves)
    assert {line.split(": ")[1] for line in lines} == {"device", "routes", "old addresses", "answers"}


def test_the_devices_files_hold_the_new_address_in_the_place_of_the_old_one(circle: Circle) -> None:
    """A restart must not bring the incident back. What they say of peers, keys and routes stays."""
    after = circle.lab.device_files()
    expected = {}
    for path, text in circle.files_before.items():
        name = path.split("/")[0].removeprefix("node-")
        old = host(circle.lab.topology.node(name).address)
        lines = text.splitlines()
        (at,) = [number for number, line in enumerate(lines) if line.startswith("Address")]
        lines[at] = lines[at].replace(old, host(circle.moves[name]))
        expected[path] = "\n".join(lines) + "\n"
    assert len(expected) == 4
    assert {path: after[path] for path in expected} == expected


def test_adopt_then_works_and_allocate_gives_an_address_that_nobody_holds(circle: Circle) -> None:
    """The way back into this incident is closed. It is the last test: the new node has no server."""
    lab = circle.lab
    adopted = lab.run("adopt")
    assert adopted.code == 0, adopted.stdout + adopted.stderr
    assert lab.run("adopt", "--check").code == 0
    held = {address for node in lab.topology.nodes for address in lab.addresses(node.label)}
    routed = {
        prefix
        for node in lab.topology.nodes
        for prefixes in lab.allowed_ips(node.label).values()
        for prefix in prefixes
    }

    allocate = ("allocate", "--node", "edge-fra-9", "--public-key", NEW_KEY, "--region", "fra")
    allocated = lab.run(*allocate)

    assert allocated.code == 0, allocated.stderr
    address = allocated.stdout.strip()
    assert host(address) not in held | routed | {host(PAIR)}
    assert lab.run(*allocate).stdout.strip() == address
    assert lab.run("adopt", "--check").code == 0


@pytest.mark.parametrize("how", ["wg-quick down wg0", "ip link del wg0"])
def test_a_node_that_is_started_anew_from_its_file_has_the_new_address_and_not_the_old(
    circle: Circle, how: str
) -> None:
    """As a reboot would; its peers are those of its file again, so this is the last test of all."""
    lab, topology = circle.lab, circle.lab.topology
    elsewhere = next(node.label for node in topology.nodes if node.label not in (*MOVERS, KEEPER))
    for name in MOVERS:
        if topology.node(name).file != "wg-quick":
            continue
        log = lab.node_folder(name) / "wg-quick.log"
        restart = f"exec >>{log} 2>&1 </dev/null; set -e; {how}; wg-quick up wg0; "
        routes = "; ".join(f"ip route replace {pool} dev wg0" for pool in topology.pools)
        assert lab.on(name, "sh", "-c", restart + routes) == ""
        assert lab.addresses(name) == {host(circle.moves[name])}, log.read_text()
        # The other side still has the session of before: who was started anew begins another one.
        key = topology.public_key(topology.node(elsewhere))
        lab.on(name, "wg", "set", "wg0", "peer", key, "persistent-keepalive", "25")
        wait_until(lambda: lab.who_answers(elsewhere, circle.moves[name]) == name, f"{name} to answer")  # noqa: B023


def claimants_of(topology: Topology, address: str) -> set[str]:
    """The nodes that hold the address before the repair."""
    return {node.label for node in topology.nodes if node.address == address}
