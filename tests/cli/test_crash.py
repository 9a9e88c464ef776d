"""`wgaudit sweep --alert`, killed between any two of its effects, again and again, while the fleet changes.

Whatever a run was doing: nothing that was found is lost, nothing is told under another name, nothing is
over before it began, and the next run finds its database and its lock in order.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from auditor.demo.servers import ServedFleet
from auditor.state.lock import exclusive
from tests.cli.command import wgaudit
from tests.cli.conftest import SIGNING_SECRET, to_pagerduty, to_receiver
from tests.cli.fleet import HEALTHY, PAIR, TRIPLE, Fleet, alert_lines, contested, mark
from tests.cli.warm_start import DIES_AT, EFFECTS_TOLD_TO
from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.receiver import Receiver
from tests.doubles.server import Call, Reply

KILLS = int(os.environ.get("SWEEP_KILLS", "12"))
"""Of each chain; runs that ended by themselves do not count. `make sweep-kills` has forty."""
SEEDS = (1, 2)
"""One chain each, at the same time, in folders of their own."""
STATES = (
    HEALTHY,
    contested(PAIR),
    contested(TRIPLE),
    contested(PAIR, TRIPLE),
    contested(PAIR, TRIPLE) | {"spare-ams-1": PAIR},
)

Told = tuple[str, tuple[str, ...]]
"""firing or resolved, and the claimants: what somebody heard of one incident at one time."""


class Listener(Receiver):
    """Counts all that comes, what comes twice too, by incident and in order."""

    def __init__(self) -> None:
        super().__init__(secret=SIGNING_SECRET)
        self.heard: dict[str, list[Told]] = {}

    def answer(self, call: Call) -> Reply:
        reply = super().answer(call)
        assert reply.status == 200, reply
        for item in json.loads(call.body)["notifications"]:
            incident = item["incident"]
            told = item["status"], tuple(incident["nodes"])
            self.heard.setdefault(incident["fingerprint"], []).append(told)
        return reply


class Pager(PagerDutyDouble):
    """The same for PagerDuty."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[str, list[Told]] = {}

    def answer(self, call: Call) -> Reply:
        before = len(self.events)
        reply = super().answer(call)
        assert reply.status == 202, reply
        (event,) = self.events[before:]
        status = {"trigger": "firing", "resolve": "resolved"}[event["event_action"]]
        nodes = tuple(event["payload"]["custom_details"]["nodes"])
        self.heard.setdefault(event["dedup_key"], []).append((status, nodes))
        return reply


@dataclass
class Chain:
    """One folder, in which run after run is killed."""

    fleet: Fleet
    doubles: Mapping[str, Listener | Pager]
    chance: random.Random
    state: Mapping[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    """Of each of the two incidents, the address that is contested now."""
    grown: set[str] = field(default_factory=set)
    """Addresses whose claimants changed while they were contested: they do so once, or it were flapping."""
    marks: dict[str, str] = field(default_factory=dict)
    """By each address that was ever contested, the fingerprint of its incident."""
    effects: int = 0
    """How many the last run had that told somebody and ended by itself; 0: there was none yet."""
    parts: list[int] = field(default_factory=lambda: list(range(KILLS)))
    """The parts of a run's life, all equally long, in which none was killed yet."""
    kills: int = 0
    least_over: int = max(1, KILLS // 7)
    """Incidents that must have come to their end."""
    mid_delivery: int = 0
    """Kills of runs that had told somebody something."""

    def change(self, chosen: Mapping[str, str] | None = None) -> None:
        """Breaks or repairs the fleet, as chance has it where nothing is chosen."""
        chosen = chosen or self.chance.choice(STATES)
        now = {}
        for incident in (PAIR, TRIPLE):
            before, after = self.holders(self.addresses.get(incident, "")), _holders(chosen, incident)
            if after and after != before:
                self.move(incident, keep=bool(before))
            now[incident] = self.addresses.get(incident, incident)
        self.state = {node: now.get(address, address) for node, address in chosen.items()}
        self.fleet.register(self.state)

    def move(self, incident: str, *, keep: bool) -> None:
        """Contests an address that was free: what comes back at once would be flapping, which waits its hour.

        `keep`: it is contested now; then its claimants may change once.
        """
        if keep and (address := self.addresses[incident]) not in self.grown:
            self.grown.add(address)
            return
        address = f"10.64.{len(self.marks) // 250}.{len(self.marks) % 250 + 1}"
        self.addresses[incident] = address
        self.marks[address] = mark(address)

    def holders(self, address: str) -> tuple[str, ...]:
        """The nodes that are registered with the address now, if they are several."""
        return _holders(self.state, address)

    def undisturbed(self) -> None:
        """A run to its end."""
        done = self.fleet.sweep()
        self.ended(done.returncode, done.stderr)

    def disturbed(self) -> None:
        """A run that is killed before or after one of its effects, which chance chooses in a part of its life."""
        before = self.count()
        told = self.fleet.folder / "effects"
        part = self.chance.choice(self.parts)
        moment = int((part + self.chance.random()) / KILLS * self.effects)
        done = wgaudit(
            *("sweep", "--alert", "--no-progress"),
            folder=self.fleet.folder,
            environment={DIES_AT: str(moment), EFFECTS_TOLD_TO: str(told)},
        )
        if done.returncode < 0:
            self.kills += 1
            self.parts.remove(part)
            self.mid_delivery += self.count() > before
        else:  # it had fewer effects, or is the first one
            if self.count() > before:
                self.effects = int(told.read_text())
            self.ended(done.returncode, done.stderr)

    def ended(self, code: int, stderr: str) -> None:
        """What must hold after each run that ended by itself: everybody knows the fleet's state."""
        assert alert_lines(stderr) == []
        assert code == (0 if self.state == HEALTHY else 1), stderr
        for double in self.doubles.values():
            for address, found in self.marks.items():
                holders = self.holders(address)
                heard = double.heard.get(found, [("resolved", ())])
                assert heard[-1][0] == ("firing" if holders else "resolved")
                assert heard[-1][1] == holders or heard[-1][0] == "resolved"

    def count(self) -> int:
        """How much was told, to all of them."""
        return sum(len(told) for double in self.doubles.values() for told in double.heard.values())

    def run(self) -> None:
        """The whole chain, until it is quiet."""
        self.change()
        while self.parts:
            if self.chance.random() < 0.5:
                self.change()
            self.disturbed()
        self.undisturbed()
        count = self.count()
        self.undisturbed()
        assert self.count() == count  # quiet: nothing is told twice by those who live
        self.change(HEALTHY)
        self.undisturbed()

    def check(self) -> None:
        """What must hold at the end."""
        with exclusive(self.fleet.database, 0):
            assert self.fleet.query("PRAGMA quick_check") == [("ok",)]
            rows = self.fleet.query(
                "SELECT notifier, fingerprint, state, status, json_extract(body, '$.nodes') "
                "FROM alerts_notices ORDER BY id"
            )
        assert {row[2] for row in rows} == {"accepted"}
        for name, double in self.doubles.items():
            # One name for each incident, whatever happened.
            assert set(double.heard) <= set(self.marks.values())
            for found, heard in double.heard.items():
                # Who dies before he wrote down the answer tells it once more; that is all that may happen.
                once = [told for told, _ in groupby(heard)]
                planned = [(row[3], row[4]) for row in rows if row[:2] == (name, found)]
                assert [(status, list(nodes)) for status, nodes in once] == [
                    (status, json_list(nodes)) for status, nodes in planned
                ]
                statuses = [status for status, _ in groupby(status for status, _ in once)]
                assert statuses[::2] == ["firing"] * len(statuses[::2])
                assert statuses[1::2] == ["resolved"] * len(statuses[1::2])
                assert len(statuses) <= 2
            over = [heard for heard in double.heard.values() if heard[-1][0] == "resolved"]
            assert len(over) >= self.least_over  # else this proved little


def _holders(state: Mapping[str, str], address: str) -> tuple[str, ...]:
    holders = tuple(sorted(node for node, held in state.items() if held == address))
    return holders if len(holders) > 1 else ()


def json_list(text: str) -> list[str]:
    """The names in a record of the database."""
    return list(json.loads(text))


def chain(seed: int, folder: Path, served: ServedFleet) -> Chain:
    """One chain from its beginning to its end."""
    with Listener() as receiver, Pager() as pagerduty:
        # Half of them send each incident by itself.
        most = 20 if seed % 2 else 1
        fleet = Fleet(
            folder, served, notifiers=[to_receiver(receiver, max_per_message=most), to_pagerduty(pagerduty)]
        )
        made = Chain(fleet, {"inventory": receiver, "oncall": pagerduty}, random.Random(seed))  # noqa: S311
        made.run()
        made.check()
    return made


def test_killed_at_any_moment_it_loses_nothing_and_says_nothing_wrong(
    tmp_path: Path, served: ServedFleet
) -> None:
    """In each part of a run's life; what is killed is a process."""
    with ThreadPoolExecutor(len(SEEDS)) as pool:
        chains = list(pool.map(lambda seed: chain(seed, tmp_path / str(seed), served), SEEDS))
    # Where moments are chosen so that nobody is ever killed while he tells something, this proves nothing.
    assert sum(made.mid_delivery for made in chains) >= KILLS // 5
