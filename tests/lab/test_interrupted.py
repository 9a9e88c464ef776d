"""`wgaudit apply` killed at every entry of its journal, on a real mesh: resumed to the end, or rolled back."""

from __future__ import annotations

import base64
import itertools
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.lab.mesh import Lab
from tests.lab.sweeps import Sweep
from tests.lab.topology import Node, Topology, host, split

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]
KILLED = Path(__file__).with_name("killed.py")
CONTESTED = "10.20.0.7"
KEEPER, MOVER = "edge-fra-1", "worker-fra-1"
STEPS = ("reserve", "add", "register", "peers", "persist", "remove", "verify")

Moment = tuple[str, str, str]
"""Step, event, and whether the kill comes before or after the entry is written."""

FORWARDS: list[Moment] = [
    moment for step in STEPS for moment in ((step, "begin", "after"), (step, "done", "before"))
]
"""Nothing of the step has happened, or all of it and nobody was told."""
BACKWARDS: list[Moment] = [
    moment for step in reversed(STEPS) for moment in ((step, "undoing", "after"), (step, "undone", "before"))
]
ROLLED_BACK: list[Moment] = [
    ("add", "done", "before"),
    ("register", "begin", "after"),
    ("persist", "done", "before"),
    ("remove", "done", "before"),
]
"""One for each thing that has to be undone; tests/repair/apply/test_executor.py does it from every entry."""


def pair() -> Topology:
    """Two that share an address and two that disagree about it; the mover's is in a file too."""
    nodes = (
        Node(KEEPER, "fra", CONTESTED),
        Node(MOVER, "fra", CONTESTED, file="wg-quick"),
        Node("edge-sin-1", "sin", "10.20.0.21"),
        Node("edge-nrt-1", "nrt", "10.20.0.22"),
    )
    return Topology("pair", nodes, (split(nodes, CONTESTED, (KEEPER, MOVER)),))


@dataclass(frozen=True)
class Standing:
    """All that a move may change."""

    registry: dict[str, str]
    """Registrations and claims, by key."""
    addresses: dict[str, set[str]]
    tables: dict[str, dict[str, set[str]]]
    """By node and peer: allowed-ips."""
    files: dict[str, str]


@dataclass
class Pair:
    """The smallest fleet with a contested address, and runs of `wgaudit apply` in it."""

    lab: Lab
    start: Standing = field(init=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.start = self.standing()

    def standing(self) -> Standing:
        labels = [node.label for node in self.lab.topology.nodes]
        entries = json.loads(self.lab.consuls["dc1"].request("GET", "/v1/kv/wireguard/?recurse").body)
        return Standing(
            registry={entry["Key"]: base64.b64decode(entry["Value"]).decode() for entry in entries},
            addresses={label: self.lab.addresses(label) for label in labels},
            tables={label: self.lab.allowed_ips(label) for label in labels},
            files={path: text for path, text in self.lab.device_files().items() if path.endswith(".conf")},
        )

    def plan(self) -> Path:
        """A new plan in a file of its own."""
        path = self.lab.folder / f"plan-{next(self._numbers)}.json"
        planned = self.lab.run("plan", "--format", "json", "--output", str(path))
        assert path.exists(), planned.stderr
        return path

    def apply(self, plan: Path, *options: str) -> Sweep:
        """To its end."""
        return self.lab.run(*_apply(plan, *options))

    def killed(self, moment: Moment, plan: Path, *options: str) -> None:
        """Until its death at that entry of the journal; no node is without an address then."""
        journal = plan.with_name(f"{plan.name}.journal")
        run = self.lab.run(*_apply(plan, *options), first=(str(KILLED), str(journal), *moment))
        assert run.code == -signal.SIGKILL, f"{moment}: {run.stdout}{run.stderr}"
        for label, addresses in self.standing().addresses.items():
            assert addresses, f"{moment}: {label} holds no address"


def _apply(plan: Path, *options: str) -> tuple[str, ...]:
    return ("apply", str(plan), "--yes", "--push-peers", "--wait", "10", *options)


@pytest.fixture(scope="module")
def fleet(lab_parts: None) -> Iterator[Pair]:
    """One mesh for all: each test leaves it as it was at the start."""
    with Lab(pair()) as lab:
        yield Pair(lab)


@pytest.mark.parametrize("moment", ROLLED_BACK, ids=" ".join)
def test_an_apply_that_was_killed_is_rolled_back_to_the_start(fleet: Pair, moment: Moment) -> None:
    """Registry, claims, devices, files and peers are as before the apply."""
    plan = fleet.plan()
    fleet.killed(moment, plan)

    rolled_back = fleet.apply(plan, "--rollback")

    assert rolled_back.code == 0, rolled_back.stdout + rolled_back.stderr
    assert fleet.standing() == fleet.start


@pytest.mark.timeout(600)  # 31 runs of wgaudit
def test_an_apply_that_is_killed_at_every_step_comes_to_its_end_and_back_again(fleet: Pair) -> None:
    """Each run but the first is a `--resume` and dies one entry later; then each is a `--rollback`."""
    plan = fleet.plan()
    for number, moment in enumerate(FORWARDS):
        fleet.killed(moment, plan, *(["--resume"] if number else []))
    resumed = fleet.apply(plan, "--resume")

    assert resumed.code == 0, resumed.stdout + resumed.stderr
    sweep = fleet.lab.sweep()
    assert (sweep.code, sweep.report["findings"]) == (0, []), sweep.stdout
    moved = fleet.standing()
    assert moved.addresses[KEEPER] == {host(CONTESTED)}
    assert host(CONTESTED) not in moved.addresses[MOVER]

    for moment in BACKWARDS:
        fleet.killed(moment, plan, "--rollback", "--all")
    rolled_back = fleet.apply(plan, "--rollback", "--all")

    assert rolled_back.code == 0, rolled_back.stdout + rolled_back.stderr
    assert fleet.standing() == fleet.start
    assert fleet.lab.sweep().subjects("duplicate-address") == {CONTESTED}
