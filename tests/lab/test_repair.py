"""From the incident to a clean mesh by the commands of docs/lab.md, as the packets see it."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.answers import ask_from_all
from tests.lab.cases import incident, managed
from tests.lab.files import DRAINED
from tests.lab.mesh import Lab, wait_until
from tests.lab.room import SHELL, shell_room
from tests.lab.sweeps import Sweep
from tests.lab.topology import Topology, host

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]
PAIR = "10.0.0.1"
TRIPLE = "10.20.0.7"
KEEPER = "worker-ams-1"

Answers = dict[str, str | None]
"""By the node that asks: who answered; None: nobody."""

MOVERS = ("edge-sin-1", "edge-fra-1", "worker-iad-1", "worker-nrt-1")
REPOSITORY = Path(__file__).parents[2]
MARK = "exit code "


@dataclass(frozen=True)
class Circle:
    """One incident that was repaired, and what was seen on the way. The mesh still stands."""

    lab: Lab
    answers_before: dict[str, Answers]
    files_before: dict[str, str]
    adopt: Sweep
    swept_before: Sweep
    asked_before: Sweep
    shown: Sweep
    """The plan on the screen."""
    planned: Sweep
    plan: dict[str, Any]
    dry_run: Sweep
    applied: Sweep
    swept_after: Sweep
    asked_after: Sweep

    @property
    def moves(self) -> dict[str, str]:
        """By node: its new address."""
        moves = [move for contested in self.plan["contested"] for move in contested["moves"]]
        return {move["node"]["name"]: move["new"].removesuffix("/32") for move in moves}


def documented() -> list[str]:
    """The lines that docs/lab.md has for the lab's shell, in its order."""
    document = (REPOSITORY / "docs" / "lab.md").read_text(encoding="utf-8")
    section = re.split(
        r"^## ", document.split("## From the incident to a clean mesh")[1], maxsplit=1, flags=re.MULTILINE
    )[0]
    commands = re.findall(r"^```sh\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)[1].splitlines()
    assert len(commands) == 9
    return commands


def typed(lab: Lab, commands: Sequence[str]) -> list[Sweep]:
    """Types the lines into the lab's shell; what each said, on stdout and stderr alike."""
    done = subprocess.run(
        [*lab.prefix, *SHELL],
        env=lab.environment() | shell_room(lab),
        cwd=lab.folder,
        input="".join(f"{command}\necho {MARK}$?\n" for command in commands),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    outputs = re.split(rf"^{MARK}(\d+)\n", done.stdout, flags=re.MULTILINE)
    said = [Sweep(int(code), text, "") for text, code in zip(outputs[::2], outputs[1::2], strict=False)]
    assert len(said) == len(commands), done.stdout
    return said


@pytest.fixture(scope="module")
def circle(lab_parts: None) -> Iterator[Circle]:
    """The way of the document up to the clean sweep, in its shell; the fleet's agents set the peers."""
    commands = documented()
    with Lab(managed(incident())) as lab:
        lab.answer()
        before = {each: ask_from_all(lab.networks(), each) for each in (PAIR, TRIPLE)}
        files_before = lab.device_files()
        adopt, swept_before = lab.run("adopt"), lab.sweep()
        ask_before, shown, planned, dry, applied, swept, ask_after = typed(lab, commands[:-2])
        yield Circle(
            lab=lab,
            answers_before=before,
            files_before=files_before,
            adopt=adopt,
            swept_before=swept_before,
            asked_before=ask_before,
            shown=shown,
            planned=planned,
            plan=json.loads((lab.folder / "plan.json").read_text()),
            dry_run=dry,
            applied=applied,
            swept_after=swept,
            asked_after=ask_after,
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


def test_ask_names_the_rivals_for_the_first_address(circle: Circle) -> None:
    assert circle.asked_before.code == 1
    answering = set(re.findall(r"^ *(\S+)", circle.asked_before.stdout, flags=re.MULTILINE))
    assert {"edge-sin-1", "edge-fra-1"} <= answering


def test_the_plan_moves_everybody_but_the_oldest_of_the_triple(circle: Circle) -> None:
    """Nobody keeps the first address of the pool here, and the new addresses were held by nobody."""
    assert circle.planned.code in (0, 1), circle.planned.stdout
    assert TRIPLE in circle.shown.stdout
    keepers = {item["address"]: item["keeper"]["node"] for item in circle.plan["contested"]}
    assert keepers[host(PAIR)] is None
    assert keepers[host(TRIPLE)]["name"] == KEEPER
    assert circle.moves.keys() == set(MOVERS)
    assert len(set(circle.moves.values())) == len(circle.moves)
    assert not set(circle.moves.values()) & {node.address for node in circle.lab.topology.nodes}


def test_apply_carries_the_plan_out(circle: Circle) -> None:
    """Exit 0, and each node that moved is named with its new address; the dry run before it changed nothing."""
    said = circle.applied.stdout
    assert circle.applied.code == 0, said
    assert "done" not in circle.dry_run.stdout
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
    said = circle.applied.stdout
    for name in circle.moves:
        places = [said.index(f"{name}@dc1: {step} done") for step in ("drain", "add", "verify", "undrain")]
        assert places == sorted(places)


def test_each_move_is_verified_by_who_answers_at_its_new_address(circle: Circle) -> None:
    """The NATS server of the node that moved, by all but those whose own address is contested: answers to them may go
    to a rival."""
    said = circle.applied.stdout
    for name in circle.moves:
        assert re.search(
            rf"^{name}@dc1: verify done .*\b([6-9]) of \1 asked reached {name}@dc1", said, re.MULTILINE
        ), said


def test_the_sweep_afterwards_is_clean(circle: Circle) -> None:
    """All ten nodes were seen, and nothing is left: not a warning."""
    assert (circle.swept_after.code, circle.asked_after.code) == (0, 0), circle.swept_after.stdout
    assert re.search(r"^CLEAN ", circle.swept_after.stdout, re.MULTILINE)
    after = circle.lab.sweep()
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
    assert f"9 reached {KEEPER}" in circle.asked_after.stdout
    asked = circle.lab.run("ask", TRIPLE, "--all", "--format", "json").report["addresses"][0]["answers"]
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


def test_by_hand_in_the_shell_all_of_the_fleet_answer_at_their_addresses(circle: Circle) -> None:
    """By packets that know nothing of wgaudit."""
    asking = "; ".join(f"who-answers {address}" for address in (TRIPLE, *circle.moves.values()))
    (by_hand,) = typed(circle.lab, [asking])
    answered = Counter(re.findall(r"(\S+) answers$", by_hand.stdout, flags=re.MULTILINE))
    assert answered == dict.fromkeys((KEEPER, *MOVERS), 10)


def test_adopt_then_works_and_allocate_gives_an_address_that_nobody_holds(circle: Circle) -> None:
    """The way back into this incident is closed. It is the last test: the new node has no server."""
    lab = circle.lab
    held = {address for node in lab.topology.nodes for address in lab.addresses(node.label)}
    routed = {
        prefix
        for node in lab.topology.nodes
        for prefixes in lab.allowed_ips(node.label).values()
        for prefix in prefixes
    }

    adopted, allocated = typed(lab, documented()[-2:])

    assert (adopted.code, allocated.code) == (0, 0), adopted.stdout + allocated.stdout
    (address,) = re.findall(r"^10\.\d+\.\d+\.\d+$", allocated.stdout, flags=re.MULTILINE)
    assert host(address) not in held | routed | {host(PAIR)}
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
