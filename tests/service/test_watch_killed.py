"""Telling of a watch, killed by SIGKILL at seeded random moments while hundreds of incidents come and go."""

from __future__ import annotations

import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from alerts.memory.notices import Row, State
from alerts.models import NotifyReason, Status
from auditor.service.alert_state import opened_state
from auditor.values.findings import fingerprint
from tests.doubles.pagerduty import ROUTING_KEY, PagerDutyDouble
from tests.doubles.receiver import Receiver
from tests.doubles.slack import SlackDouble

KILLS = 25
ADDRESSES = 240
STEPS = 220
LONGEST_LIFE = 0.25  # seconds
SEED = 13


@dataclass
class World:
    """A fleet whose addresses are contested for a while each, once: step after step."""

    chance: random.Random
    lives: dict[str, range] = field(default_factory=dict)
    step: int = 0
    told: set[str] = field(default_factory=set)
    """Addresses of steps that a watch said it had told."""

    def __post_init__(self) -> None:
        for number in range(ADDRESSES):
            begin = self.chance.randrange(STEPS)
            end = STEPS + 1 if self.chance.random() < 0.3 else begin + self.chance.randint(1, 60)
            self.lives[f"10.0.{number // 200}.{number % 200 + 1}"] = range(begin, end)

    def contested(self) -> list[str]:
        """What is contested now; from the last step on, nothing changes."""
        return [address for address, life in self.lives.items() if min(self.step, STEPS) in life]


class Lives:
    """The process that tells, as its test sees it."""

    def __init__(self, config: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.service.killed_watch", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in: IO[bytes] = self._process.stdin
        self._out: IO[bytes] = self._process.stdout

    def begin(self) -> int:
        """A new life; its pid."""
        self.send("life")
        return int(self.line().split()[1])

    def send(self, line: str) -> None:
        """One line."""
        self._in.write(f"{line}\n".encode())

    def line(self, within: float = 60.0) -> str:
        """The next line; "" where none comes in so many seconds."""
        if not select.select([self._out], [], [], within)[0]:
            return ""
        found = b""
        while not found.endswith(b"\n"):
            byte = self._out.read(1)
            assert byte, "the process that forks has ended"
            found += byte
        return found.decode().strip()

    def over(self) -> list[str]:
        """What is still said until this life is over."""
        lines = []
        while (line := self.line()) != "over":
            assert line, "a life does not end"
            lines.append(line)
        return lines

    def close(self) -> None:
        """Ends the process that forks."""
        self._in.close()
        self._out.close()
        self._process.wait()


def one_step(world: World, lives: Lives, within: float, *, whole: bool = False) -> None:
    """One step of the world, told unless the life ends before."""
    world.step += 1
    contested = world.contested()
    whole = whole or world.chance.random() < 0.2
    lives.send(json.dumps({"number": world.step, "round": whole, "contested": contested}))
    if lives.line(max(within, 0.0)) == f"done {world.step}":
        world.told |= set(contested)


def test_nothing_is_lost_and_nothing_told_twice_but_under_its_own_key(tmp_path: Path) -> None:
    world = World(random.Random(SEED))  # noqa: S311  (chance, not secrecy)
    with Receiver() as hook, SlackDouble() as slack, PagerDutyDouble() as pager:
        config = tmp_path / "wgaudit.toml"
        config.write_text(f"""
state.path = "{tmp_path / "state" / "wgaudit.db"}"
notifiers = [
    {{ name = "hook", type = "webhook", url = "{hook.url}" }},
    {{ name = "chat", type = "slack", url = "{slack.webhook}" }},
    {{ name = "oncall", type = "pagerduty", routing_key = "{ROUTING_KEY}", api = "{pager.url}" }},
]
""")
        with closing(Lives(config)) as lives:
            for _ in range(KILLS):
                pid = lives.begin()
                until = time.monotonic() + world.chance.uniform(0.0, LONGEST_LIFE)
                while (left := until - time.monotonic()) > 0:
                    one_step(world, lives, left)
                os.kill(pid, signal.SIGKILL)
                lives.over()
            world.step = max(world.step, STEPS)
            lives.begin()
            one_step(world, lives, 60.0, whole=True)
            lives.send("end")
            assert lives.over() == []
    with opened_state(tmp_path / "state" / "wgaudit.db") as state:
        rows, standing = state.notifications.every(), state.notifications.log().standing.keys()

    marks = {fingerprint("duplicate-address", address): address for address in world.lives}
    final = {mark for mark, address in marks.items() if address in world.contested()}
    assert standing == final
    check_rows(rows, {mark for mark, address in marks.items() if address in world.told}, final)
    by_name = {
        name: [row for row in rows if row.notification.notifier == name]
        for name in ("hook", "chat", "oncall")
    }
    # Somebody was told in most lives, or the kills would have proved nothing.
    assert len(rows) > 150
    check_hook(hook, by_name["hook"])
    check_pager(pager, by_name["oncall"], final)
    check_slack(slack, by_name["chat"])


def check_rows(rows: list[Row], told: set[str], final: set[str]) -> None:
    """Each incident that was told of stands in the memory: begun once, over once, and all of it taken."""
    assert {row.state for row in rows} == {State.ACCEPTED}
    lives: dict[tuple[str, str], list[NotifyReason]] = {}
    for row in rows:
        pair = row.notification.notifier, row.notification.incident.fingerprint
        lives.setdefault(pair, []).append(row.notification.reason)
    assert told <= {mark for _, mark in lives}
    for (_, mark), reasons in lives.items():
        over = [] if mark in final else [NotifyReason.RESOLVED]
        assert reasons == [NotifyReason.FIRST_NOTIFICATION, *over]


def telling(row: Row) -> tuple[str, str]:
    """What a vendor tells one telling from another by."""
    return row.notification.incident.fingerprint, row.notification.status.value


def check_hook(hook: Receiver, rows: list[Row]) -> None:
    """All that was planned came, in order; what came twice has the same fingerprint and time."""
    came: dict[tuple[str, str], set[str]] = {}
    for item in hook.notifications:
        came.setdefault((item["incident"]["fingerprint"], item["status"]), set()).add(item["at"])
    assert came.keys() == set(map(telling, rows))
    assert {len(times) for times in came.values()} == {1}


def check_pager(pager: PagerDutyDouble, rows: list[Row], final: set[str]) -> None:
    """What is open there is what stands; each was opened before it was resolved."""
    status = {"trigger": Status.FIRING.value, "resolve": Status.RESOLVED.value}
    came = [(event["dedup_key"], status[event["event_action"]]) for event in pager.events]
    assert set(came) == set(map(telling, rows))
    assert pager.open.keys() == final
    for mark in {mark for mark, _ in came}:
        life = [event for found, event in came if found == mark]
        assert life == sorted(life), "firing comes before resolved"
    assert len(came) - len(set(came)) <= KILLS


def check_slack(slack: SlackDouble, rows: list[Row]) -> None:
    """Nothing is missing, and at most one message a kill came twice: the one that was under way."""
    said = sum((counts(message) for message in slack.messages), Counter())
    planned = Counter(row.notification.status.value for row in rows)
    assert all(said[word] >= planned[word] for word in planned)
    recorded = {row.at for row in rows}
    assert len(slack.messages) - len(recorded) <= KILLS


def counts(message: dict[str, Any]) -> Counter[str]:
    """How many firing and resolved incidents a message says that it holds."""
    head = message["text"].split(".")[0]
    return Counter({word: int(number) for number, word in re.findall(r"(\d+) (firing|resolved)", head)})
