"""Two auditors on one PostgreSQL, whose leader meets one fault after the other, and what their people were told."""

from __future__ import annotations

import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from alerts.memory.notices import Row
from alerts.models import Status
from auditor.service.alert_state import opened_state
from auditor.values.findings import fingerprint
from tests.doubles.pagerduty import ROUTING_KEY, PagerDutyDouble
from tests.doubles.server import Call, Reply
from tests.doubles.slack import SECRET_PATH, SlackDouble
from tests.parts.cut_socket import CutSocket, Way
from tests.parts.postgresql import PostgresqlServer

LEASE = 3.0
"""Seconds."""
TOLD_WITHIN = LEASE + 10.0
A_DAY = 86_400.0
GONE_AWAY, BACK = "goes on from memory", "holds what was told meanwhile"
GONE = (ProcessLookupError, ConnectionError)
"""What is met where an auditor is no more."""


class Fault(Enum):
    """What befalls the leader."""

    KILLED = "killed"
    FROZEN = "frozen"
    CUT_OFF = "cut off"
    OFF_CLOCK = "clock off by a day"


class ForkServer:
    """Process that forks the auditors."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.service.telling_process"], stdin=subprocess.PIPE, bufsize=0
        )
        self._turn = threading.Lock()

    def life(self, path: Path, config: Path, off: float) -> None:
        """Begin a life that connects to the socket."""
        assert self._process.stdin is not None
        with self._turn:
            self._process.stdin.write(f"life {path} {config} {off}\n".encode())

    def close(self) -> None:
        """End it; those that it forked end with their connections."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Auditor:
    """One of the two, as its test sees it."""

    def __init__(self, forks: ForkServer, folder: Path, config: Path, off: float) -> None:
        path = folder / f"{config.stem}.steps"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen()
            listening.settimeout(60.0)
            forks.life(path, config, off)
            self._socket, _ = listening.accept()
        self._kept = b""
        self.heard: list[str] = []
        self.roles: list[str] = []
        self.away = False
        """True: it goes on from memory, and has not brought that back."""
        self.pid = int(self.line().split()[1])

    def look(self, number: int, contested: list[str], *, whole: bool) -> None:
        """Let it look once. It does not wait for the outcome."""
        look = {"number": number, "round": whole, "contested": contested}
        self._socket.sendall(f"{json.dumps(look)}\n".encode())

    def line(self, within: float = 60.0) -> str:
        """The next line; "" where none comes in so many seconds."""
        until = time.monotonic() + within
        while b"\n" not in self._kept:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                return ""
            if not (more := self._socket.recv(65536)):
                raise EOFError
            self._kept += more
        line, _, self._kept = self._kept.partition(b"\n")
        text = line.decode()
        self.heard.append(f"{time.monotonic():.3f} {text}")
        if text.startswith("role "):
            self.roles.append(text.split()[1])
        if text.startswith("said alerts: "):
            self.away = (self.away or GONE_AWAY in text) and BACK not in text
        return text

    def wait_for(self, wanted: str, within: float = 60.0) -> None:
        """Wait for a line that begins so."""
        until = time.monotonic() + within
        while (line := self.line(max(until - time.monotonic(), 0.0))) and not line.startswith(wanted):
            pass
        assert line, f"no {wanted!r} within {within:g} s; {self.heard[-12:]}"

    def wait_for_role(self, *roles: str, within: float = 60.0) -> None:
        """Wait until it has one of these roles."""
        while self.line(0.0):
            pass
        while not self.roles or self.roles[-1] not in roles:
            self.wait_for("role ", within)

    def close(self) -> None:
        """End it in an orderly way."""
        self._socket.close()


class SlackOfTwo(SlackDouble):
    """Slack, that knows who of the two speaks."""

    def answer(self, call: Call) -> Reply:
        path, _, who = call.path.partition("?")
        reply = super().answer(Call(path, call.headers, call.body, call.at, call.method))
        if reply.status < 300:
            self.speakers.append(who)
        return reply

    @property
    def speakers(self) -> list[str]:
        """Who sent each message."""
        return self.__dict__.setdefault("_speakers", [])


@dataclass
class Outcome:
    """What runs came to."""

    seconds: list[float] = field(default_factory=list)
    """From each incident's look to its page."""
    again: Counter[str] = field(default_factory=Counter)
    """Words that somebody got once more, by notifier."""
    takeovers: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.seconds + other.seconds, self.again + other.again, self.takeovers + other.takeovers
        )


@dataclass
class Chain:
    """Runs of one fault, one after the other, on one database."""

    fault: Fault
    runs: int
    seed: int
    server: PostgresqlServer
    forks: ForkServer
    folder: Path

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311  (chance, not secrecy)
        self.slack, self.pager = SlackOfTwo(), PagerDutyDouble()
        self.names = ("a", "b")
        self.auditors: dict[str, Auditor] = {}
        self.ways: dict[str, CutSocket] = {}
        self.number = 0
        self.contested: list[str] = []
        self.outcome = Outcome()
        self.struck: list[str] = []
        self.database = ""

    def run(self) -> Outcome:
        """Do all runs, and hold what was told against what is on record."""
        self.database = self.server.fresh("prepared")
        with self._running():
            for number in range(self.runs):
                self.one(f"10.{self.seed % 200}.{number // 200}.{number % 200 + 1}")
            self.bring_back()
            self.settle()
        self.check()
        self.server.drop(self.database)
        return self.outcome

    @contextmanager
    def _running(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self.slack)
            stack.enter_context(self.pager)
            for name in self.names:
                sockets = self.folder / name
                sockets.mkdir()
                real = self.server.folder / ".s.PGSQL.5432"
                way = CutSocket(sockets / real.name, real)
                self.ways[name] = stack.enter_context(way)
                self.config(name).write_text(f"""
state = {{ url = "postgresql+psycopg://wgaudit@/{self.database}?host={sockets}", lease = {LEASE} }}
notifiers = [
    {{ name = "chat", type = "slack", url = "{self.slack.url}{SECRET_PATH}?{name}" }},
    {{ name = "oncall", type = "pagerduty", routing_key = "{ROUTING_KEY}", api = "{self.pager.url}" }},
]
""")
            for name in self.names:
                self.begin(name)
            try:
                yield
            finally:
                for auditor in self.auditors.values():
                    with suppress(*GONE):
                        os.kill(auditor.pid, signal.SIGCONT)
                        os.kill(auditor.pid, signal.SIGKILL)
                    auditor.close()

    def config(self, name: str) -> Path:
        """The configuration of one of the two."""
        return self.folder / f"{name}.toml"

    def begin(self, name: str) -> None:
        """Begin an auditor, and wait for its role."""
        off = 0.0
        if self.fault is Fault.OFF_CLOCK:
            off = self.chance.choice((-A_DAY, 0.0, A_DAY))
        self.auditors[name] = Auditor(self.forks, self.folder, self.config(name), off)
        self.auditors[name].wait_for_role("leads", "follows")

    def settle(self) -> None:
        """Wait until nothing waits to be sent."""
        until = time.monotonic() + 30.0
        while self.server.sql("SELECT 1 FROM alerts_notices WHERE state = 'pending'", self.database):
            assert time.monotonic() < until, "something waits that nobody sends"
            time.sleep(0.05)

    def bring_back(self) -> None:
        """Wait until all that was told from memory is on record."""
        until = time.monotonic() + 60.0
        for name, auditor in self.auditors.items():
            while auditor.line(0.05) or auditor.away:
                assert time.monotonic() < until, f"{name} does not come back: {auditor.heard[-12:]}"

    # -- one run

    def one(self, address: str) -> None:
        """An incident comes about shortly before or after the fault; it is told, and the fault is over."""
        leader = self.leader()
        other = next(name for name in self.names if name != leader)
        if self.contested and self.chance.random() < 0.5:
            self.contested.remove(self.chance.choice(self.contested))
        first_look = self.chance.random() < 0.5
        if first_look:
            self.contested.append(address)
            began = self.look(wait=False)
            time.sleep(self.chance.uniform(0.0, 0.06))
        self.strike(leader)
        if not first_look:
            time.sleep(self.chance.uniform(0.0, LEASE))
            self.contested.append(address)
            began = self.look(wait=False)
        mark = fingerprint("duplicate-address", address)
        told = lambda: any(event["dedup_key"] == mark for event in self.pager.events)  # noqa: E731
        try:
            self.pager.wait_until(told, f"{address} told after {self.fault.value}", TOLD_WITHIN + 20.0)
        except AssertionError as error:
            for auditor in self.auditors.values():
                while auditor.line(0.0):
                    pass
            raise AssertionError(f"{error}\n{self.told_at(address)}") from None
        self.outcome.seconds.append(time.monotonic() - began)
        self.auditors[other].wait_for_role("leads")
        self.undo(leader)
        self.look(whole=True)
        self.settle()

    def leader(self) -> str:
        """Wait until one of the two leads, and the other follows; return the leader."""
        until = time.monotonic() + 60.0
        while time.monotonic() < until:
            roles = {}
            for name, auditor in self.auditors.items():
                auditor.line(0.05)
                roles[name] = auditor.roles[-1]
            if sorted(roles.values()) == ["follows", "leads"]:
                return next(name for name, role in roles.items() if role == "leads")
        raise AssertionError(f"nobody leads: {roles}")

    def look(self, *, whole: bool = False, wait: bool = True) -> float:
        """Let both look; return when. wait: for both of them to have told what they have to."""
        self.number += 1
        at = time.monotonic()
        for auditor in self.auditors.values():
            with suppress(*GONE):
                auditor.look(self.number, self.contested, whole=whole)
        if wait:
            for auditor in self.auditors.values():
                auditor.wait_for(f"done {self.number}")
        return at

    def strike(self, name: str) -> None:
        """Let the fault befall an auditor."""
        pid = self.auditors[name].pid
        self.struck.append(f"{time.monotonic():.3f} struck {name}, {self.contested[-1:]}")
        match self.fault:
            case Fault.KILLED | Fault.OFF_CLOCK:
                os.kill(pid, signal.SIGKILL)
            case Fault.FROZEN:
                os.kill(pid, signal.SIGSTOP)
            case Fault.CUT_OFF:
                self.ways[name].set(self.chance.choice((Way.CLOSED, Way.DARK)))

    def undo(self, name: str) -> None:
        """End the fault, when it has lasted longer than the lease."""
        match self.fault:
            case Fault.KILLED | Fault.OFF_CLOCK:
                self.auditors[name].close()
                self.begin(name)
            case Fault.FROZEN:
                os.kill(self.auditors[name].pid, signal.SIGCONT)
            case Fault.CUT_OFF:
                if self.chance.random() < 0.5:
                    self.auditors[name].wait_for_role("alone")
                self.ways[name].set(Way.OPEN)
        # On a busy machine the other one may have lost the lease by now.
        self.auditors[name].wait_for_role("follows", "leads")

    def told_at(self, address: str) -> str:
        """What is known of an incident that was told too often."""
        calls = [
            f"{call.at:.3f} {call.path[-1]} {call.body.decode()[:60]}"
            for call in self.slack.taken
            if f"`{address}`" in call.body.decode()
        ]
        heard = [line for auditor in self.auditors.values() for line in auditor.heard[-400:]]
        return "\n".join([*calls, *self.struck, *heard])

    # -- afterwards

    def check(self) -> None:
        """Hold what people got against what is on record: nothing lost, and what came twice is counted."""
        with opened_state(self.server.url(self.database)) as state:
            rows = state.notifications.every()
        ((epoch,),) = self.server.sql("SELECT epoch FROM state_lease", self.database)
        self.outcome.takeovers = int(str(epoch)) - 1
        assert rows
        calls = {
            (row.notification.notifier, row.notification.incident.subject, row.notification.status): row
            for row in rows
        }
        assert len(calls) == len(rows), "no word is on record twice"
        self.check_pages(calls)
        self.check_chat(calls)

    def check_pages(self, calls: dict[tuple[str, str, Status], Row]) -> None:
        """What is open at the pager is what stands; what was opened was opened under its one key."""
        standing = {fingerprint("duplicate-address", address) for address in self.contested}
        assert self.pager.open.keys() == standing
        came = Counter((event["dedup_key"], event["event_action"]) for event in self.pager.events)
        for row in calls.values():
            note = row.notification
            if note.notifier == "oncall":
                action = "trigger" if note.status is Status.FIRING else "resolve"
                times = came.pop((note.incident.fingerprint, action))
                assert 1 <= times <= row.attempts, (note.incident.subject, times, row)
                self.outcome.again["oncall"] += times - 1
        assert not came, "nothing was told that is not on record"

    def check_chat(self, calls: dict[tuple[str, str, Status], Row]) -> None:
        """Each word came once, or once more, which is counted; the same auditor never says it twice."""
        said: dict[tuple[str, Status], list[str]] = {}
        for message, who in zip(self.slack.messages, self.slack.speakers, strict=True):
            for block in message["blocks"]:
                text = block.get("text", {}).get("text", "")
                if found := re.search(r"duplicate-address `([0-9.]+)`", text):
                    status = Status.RESOLVED if "*RESOLVED*" in text else Status.FIRING
                    said.setdefault((found[1], status), []).append(who)
        for (notifier, address, status), row in calls.items():
            if notifier == "chat":
                speakers = said.pop((address, status))
                assert len(speakers) <= 2, (address, status, speakers, row, self.told_at(address))
                assert len(speakers) <= row.attempts, (address, status, speakers, row)
                self.outcome.again["chat"] += len(speakers) - 1
        assert not said, "nothing was said that is not on record"
