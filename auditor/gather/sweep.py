"""One sweep: gather from registry and nodes, look twice at suspects, freeze it all into a snapshot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from auditor.errors import GapReason, ProbeError
from auditor.fleet.fleet import Fleet
from auditor.gather.fanout import Fanout
from auditor.gather.pace import Pace
from auditor.judge import find, suspects
from auditor.nodes.interface import NodeSource, TableStore
from auditor.registry.interface import Registry
from auditor.values.models import (
    AuditPolicy,
    Gap,
    NodeId,
    Observation,
    Registration,
    RegistryReading,
    RouteTable,
    SecondLook,
    Snapshot,
)

T = TypeVar("T")

log = logging.getLogger(__name__)

INTERRUPTED = "interrupted"
DEADLINE = "deadline"


class SweepObserver(Protocol):
    """Somebody who watches a sweep: a progress bar, or nobody."""

    def phase(self, name: str) -> None:
        """A new part of the sweep begins."""

    def registered(self, count: int) -> None:
        """So many nodes are going to be asked in this phase."""

    def node_done(self, seen: bool) -> None:
        """One more node answered (`seen`) or became a gap."""


class Unwatched:
    """Nobody watches."""

    def phase(self, name: str) -> None:
        """Does nothing."""

    def registered(self, count: int) -> None:
        """Does nothing."""

    def node_done(self, seen: bool) -> None:
        """Does nothing."""


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """Bounds of one sweep."""

    concurrency: int = 100
    """The most nodes asked at the same time; how many it is, the pace finds. Slow ones are waited for beside."""
    deadline: float | None = None
    """Seconds after which the sweep stops and reports what it has."""
    confirm_after: float | None = 3.0
    """Seconds before suspects are looked at once more. None: they are not."""
    room: Callable[[int], int] | None = None
    """Called once with the number of nodes: how many may be under way, those that are waited for included.
    None: no bound."""


@dataclass(slots=True)
class _Gathered:
    """What came of one look, in the order of nodes: who answered first must not show."""

    observations: list[Observation] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


class _Stop:
    """The one place that knows whether, and why, the sweep must end early."""

    def __init__(self, deadline: float | None, interrupt: asyncio.Event | None) -> None:
        self._event = interrupt or asyncio.Event()
        self.reason: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_later(deadline, self._expire)

    def _expire(self) -> None:
        self.reason = self.reason or DEADLINE
        self._event.set()

    def now(self) -> bool:
        if self._event.is_set() and self.reason is None:
            self.reason = INTERRUPTED
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


async def sweep(
    registry: Registry,
    nodes: NodeSource,
    policy: AuditPolicy,
    options: SweepOptions,
    observer: SweepObserver | None = None,
    interrupt: asyncio.Event | None = None,
) -> Snapshot:
    """Looks at the whole fleet once. Whatever fails is a gap in the snapshot; it does not raise for I/O.

    Setting `interrupt` ends it early, with what was seen so far.
    """
    watcher: SweepObserver = observer or Unwatched()
    started_at = _now()
    stop = _Stop(options.deadline, interrupt)
    try:
        watcher.phase("registry")
        first = await _until(stop, registry.read()) or _unread(
            "the sweep was cut short before the registry was read"
        )
        log.info("registry: %s", _counted(first))
        # Before whatever the source starts for them: it inherits the limits that this raises.
        room = options.room(len(first.registrations)) if options.room is not None else None
        nodes.expect(first.registrations)
        tables = TableStore()
        pace = Pace(options.concurrency, room)
        watcher.phase("nodes")
        seen = await _look(first.registrations, nodes, tables, pace, watcher, stop)
        last: RegistryReading | None = None
        if not stop.now():
            watcher.phase("registry again")
            last = await _until(stop, registry.read())
            log.info("registry again: %s", _counted(last) if last else "not read")
        snapshot = _freeze(started_at, policy, first, last, seen, tables)
        if options.confirm_after is not None and not stop.now():
            # The second look goes on at the pace that the first one found.
            second = await _second_look(snapshot, nodes, tables, pace, options.confirm_after, watcher, stop)
            snapshot = replace(snapshot, second_look=second, tables=_sorted(tables))
        return replace(snapshot, finished_at=_now(), cut_short=stop.reason if stop.now() else None)
    finally:
        stop.close()


def _freeze(
    started_at: datetime,
    policy: AuditPolicy,
    first: RegistryReading,
    last: RegistryReading | None,
    seen: _Gathered,
    tables: TableStore,
) -> Snapshot:
    # What changed between the readings is in flight. Where either could not be read whole in a way that
    # the other could, a difference proves nothing: the better reading stands, and nobody is in flight.
    settled, in_flight = first, tuple[Registration, ...]()
    if last is not None and not set(last.gaps) - set(first.gaps):
        settled = last
        if not first.gaps or set(first.gaps) == set(last.gaps):
            in_flight = _changed(first.registrations, last.registrations)
    return Snapshot(
        started_at=started_at,
        finished_at=_now(),
        policy=policy,
        registrations=settled.registrations,
        invalid=settled.invalid,
        observations=tuple(seen.observations),
        tables=_sorted(tables),
        gaps=tuple(dict.fromkeys((*first.gaps, *(last.gaps if last else ()), *seen.gaps))),
        in_flight=in_flight,
    )


def _changed(before: tuple[Registration, ...], after: tuple[Registration, ...]) -> tuple[Registration, ...]:
    """Registrations that differ between two readings, in both forms. Consul's indexes alone do not count."""

    def content(item: Registration) -> Registration:
        return replace(item, create_index=None, modify_index=None)

    old, new = ({item.node: content(item) for item in reading} for reading in (before, after))
    nodes = {node for node in old.keys() | new.keys() if old.get(node) != new.get(node)}
    return tuple(item for item in (*before, *after) if item.node in nodes)


def _sorted(tables: TableStore) -> dict[str, RouteTable]:
    return dict(sorted(tables.tables.items()))


async def _look(
    registrations: Iterable[Registration],
    nodes: NodeSource,
    tables: TableStore,
    pace: Pace,
    watcher: SweepObserver,
    stop: _Stop,
) -> _Gathered:
    todo = list(registrations)
    watcher.registered(len(todo))
    gathered = _Gathered()
    done: set[NodeId] = set()

    def told(registration: Registration, outcome: Observation | ProbeError) -> None:
        node = registration.node
        done.add(node)
        if isinstance(outcome, ProbeError):
            log.info("%s: %s: %s", node, outcome.reason.value, outcome.detail)
            gathered.gaps.append(_gap(node, outcome.reason, outcome.detail))
        else:
            log.info("%s: seen, table %.12s", node, outcome.table)
            gathered.observations.append(outcome)
        watcher.node_done(not isinstance(outcome, ProbeError))

    fanout = Fanout(lambda registration: nodes.observe(registration, tables), told, pace)

    async def everybody() -> bool:
        await fanout.run(todo)
        return True

    if not stop.now():
        await _until(stop, everybody())
    if stop.now():
        for node in (item.node for item in todo if item.node not in done):
            first = fanout.failed_once.get(node)
            gathered.gaps.append(
                _gap(node, first.reason, f"{first.detail} (no time for a second try: {stop.reason})")
                if first is not None
                else _gap(node, GapReason.CUT_SHORT, f"not asked or not answered yet: {stop.reason}")
            )
    gathered.observations.sort(key=lambda item: item.node)
    gathered.gaps.sort(key=lambda item: (item.datacenter or "", item.node or ""))
    return gathered


async def _second_look(
    snapshot: Snapshot,
    nodes: NodeSource,
    tables: TableStore,
    pace: Pace,
    pause: float,
    watcher: SweepObserver,
    stop: _Stop,
) -> SecondLook | None:
    findings = find(Fleet(snapshot))
    asked = suspects(findings, {item.node: item for item in snapshot.observations})
    if not findings:
        return None
    by_node = {item.node: item for item in snapshot.registrations}
    targets = [by_node[node] for node in asked if node in by_node]
    if targets and pause:
        watcher.phase("waiting for a second look")
        await _until(stop, asyncio.sleep(pause))
    if stop.now():
        return None
    watcher.phase("second look")
    again = await _look(targets, nodes, tables, pace, watcher, stop)
    if stop.now():
        return None
    return SecondLook(tuple(item.node for item in targets), tuple(again.observations), tuple(again.gaps))


async def _until(stop: _Stop, work: Coroutine[Any, Any, T]) -> T | None:
    """The work's result, or None if the sweep was stopped first; then the work is cancelled and awaited."""
    task = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        return None
    finally:
        for leftover in (task, stopping):
            leftover.cancel()
        await asyncio.gather(task, stopping, return_exceptions=True)


def _counted(reading: RegistryReading) -> str:
    return f"{len(reading.registrations)} registrations, {len(reading.invalid)} unreadable, {len(reading.gaps)} gaps"


def _unread(detail: str) -> RegistryReading:
    return RegistryReading(gaps=(Gap(source="sweep", reason=GapReason.CUT_SHORT, detail=detail),))


def _gap(node: NodeId, reason: GapReason, detail: str) -> Gap:
    return Gap(source="ssh", reason=reason, detail=detail, node=node.name, datacenter=node.datacenter or None)


def _now() -> datetime:
    return datetime.now(UTC)
