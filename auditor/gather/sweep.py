"""One sweep: gather from registry and nodes, look twice at suspects, freeze it all into a snapshot."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from auditor.errors import GapReason, ProbeError
from auditor.fleet.fleet import Fleet
from auditor.gather.collector import Assignment, Collector, gap_of, node_of
from auditor.gather.progress_events import SweepObserver, Unwatched
from auditor.gather.stop import Stop
from auditor.judge import find, suspects
from auditor.nodes.interface import TableStore
from auditor.registry.interface import Registry
from auditor.values.models import (
    AuditPolicy,
    Gap,
    Observation,
    Registration,
    RegistryReading,
    RouteTable,
    SecondLook,
    Snapshot,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """Bounds of one sweep."""

    deadline: float | None = None
    """Seconds after which the sweep stops and reports what it has."""
    confirm_after: float | None = 3.0
    """Seconds before suspects are looked at once more. None: they are not."""


@dataclass(slots=True)
class _Gathered:
    """Results of one look, in the order of nodes: the order of answers must not show."""

    observations: list[Observation] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def add(self, other: _Gathered) -> None:
        """Take in a look at other nodes."""
        self.observations = sorted((*self.observations, *other.observations), key=lambda item: item.node)
        self.gaps = sorted((*self.gaps, *other.gaps), key=_place)


async def sweep(
    registry: Registry,
    collector: Collector,
    policy: AuditPolicy,
    options: SweepOptions,
    observer: SweepObserver | None = None,
    interrupt: asyncio.Event | None = None,
) -> Snapshot:
    """Look at the whole fleet once. Failures are gaps in the snapshot; it does not raise for I/O.

    Setting `interrupt` ends it early, with what was seen so far.
    """
    watcher: SweepObserver = observer or Unwatched()
    started_at = _now()
    stop = Stop(options.deadline, interrupt)
    try:
        watcher.phase("registry")
        first = await stop.bound(registry.read()) or _unread(
            "the sweep was cut short before the registry was read"
        )
        log.info("registry: %s", _counted(first))
        if _unread_datacenters(first) and not stop.is_set():
            # Whoever is not in this reading is not asked: a second try costs less than a fleet unseen.
            first = _better(first, await stop.bound(registry.read()))
            log.info("registry, tried again: %s", _counted(first))
        tables = TableStore()
        watcher.phase("nodes")
        asked = tuple(item for item in first.registrations if not item.retired)
        everyone = Assignment(asked, first.registrations)
        seen = await _look(everyone, collector, tables, watcher, stop)
        last: RegistryReading | None = None
        if not stop.is_set():
            watcher.phase("registry again")
            last = await stop.bound(registry.read())
            log.info("registry again: %s", _counted(last) if last else "not read")
        if last is not None and (late := _late(first, last)):
            watcher.phase("nodes read late")
            seen.add(await _look(Assignment(late, last.registrations), collector, tables, watcher, stop))
        snapshot = _freeze(started_at, policy, first, last, seen, tables)
        if options.confirm_after is not None and not stop.is_set():
            known = first.registrations if last is None or not _late(first, last) else last.registrations
            second = await _second_look(
                snapshot, known, collector, tables, options.confirm_after, watcher, stop
            )
            snapshot = replace(snapshot, second_look=second, tables=_sorted(tables))
        return replace(snapshot, finished_at=_now(), cut_short=stop.reason)
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
        others=settled.others,
    )


def _unread_datacenters(reading: RegistryReading) -> frozenset[str]:
    """Name the datacenters of which nothing was read; "" is the agent's own, or all of them."""
    read = {item.node.datacenter for item in reading.registrations}
    read |= {item.node.datacenter for item in reading.invalid}
    unread = {gap.datacenter or "" for gap in reading.gaps} - read
    return frozenset(unread - {""} if read else unread)


def _better(reading: RegistryReading, again: RegistryReading | None) -> RegistryReading:
    """Choose the later reading if it misses less."""
    if again is None or not _unread_datacenters(again) < _unread_datacenters(reading):
        return reading
    return again


def _late(first: RegistryReading, last: RegistryReading) -> tuple[Registration, ...]:
    """Find registrations of datacenters that only the last reading could read: nobody has asked these nodes yet."""
    unread = _unread_datacenters(first)
    return tuple(
        item for item in last.registrations if unread & {item.node.datacenter, ""} and not item.retired
    )


def _changed(before: tuple[Registration, ...], after: tuple[Registration, ...]) -> tuple[Registration, ...]:
    """Find registrations that differ between two readings, in both forms. Consul's indexes alone do not count."""

    def content(item: Registration) -> Registration:
        return replace(item, create_index=None, modify_index=None)

    old, new = ({item.node: content(item) for item in reading} for reading in (before, after))
    nodes = {node for node in old.keys() | new.keys() if old.get(node) != new.get(node)}
    return tuple(item for item in (*before, *after) if item.node in nodes)


def _sorted(tables: TableStore) -> dict[str, RouteTable]:
    return dict(sorted(tables.tables.items()))


async def _look(
    assignment: Assignment,
    collector: Collector,
    tables: TableStore,
    watcher: SweepObserver,
    stop: Stop,
) -> _Gathered:
    watcher.registered(len(assignment.nodes))
    gathered = _Gathered()
    left = {item.node for item in assignment.nodes}
    if not stop.is_set():
        async with aclosing(collector.collect(assignment, tables, stop)) as results:
            async for seen in results:
                node = node_of(seen)
                if node not in left:
                    # From another process it may come twice; the first result of a node stands.
                    log.warning("%s: a result that was not asked for, or a second one; left out", node)
                    continue
                left.remove(node)
                if isinstance(seen, Gap):
                    log.info("%s: %s: %s", node, seen.reason.value, seen.detail)
                    gathered.gaps.append(seen)
                else:
                    log.info("%s: seen, table %.12s", node, seen.table)
                    gathered.observations.append(seen)
                watcher.node_done(isinstance(seen, Observation))
    missing = (
        ProbeError(GapReason.CUT_SHORT, f"not asked or not answered yet: {stop.reason}")
        if stop.is_set()
        else ProbeError(GapReason.INTERNAL, "its collector ended without a result for it")
    )
    gathered.gaps += [gap_of(node, missing) for node in left]
    gathered.observations.sort(key=lambda item: item.node)
    gathered.gaps.sort(key=_place)
    return gathered


async def _second_look(
    snapshot: Snapshot,
    known: tuple[Registration, ...],
    collector: Collector,
    tables: TableStore,
    pause: float,
    watcher: SweepObserver,
    stop: Stop,
) -> SecondLook | None:
    findings = find(Fleet(snapshot))
    asked = suspects(findings, {item.node: item for item in snapshot.observations})
    if not findings:
        return None
    by_node = {item.node: item for item in snapshot.registrations}
    targets = tuple(by_node[node] for node in asked if node in by_node)
    if targets and pause:
        watcher.phase("waiting for a second look")
        await stop.bound(asyncio.sleep(pause))
    if stop.is_set():
        return None
    watcher.phase("second look")
    again = await _look(Assignment(targets, known), collector, tables, watcher, stop)
    if stop.is_set():
        return None
    return SecondLook(tuple(item.node for item in targets), tuple(again.observations), tuple(again.gaps))


def _place(gap: Gap) -> tuple[str, str]:
    return gap.datacenter or "", gap.node or ""


def _counted(reading: RegistryReading) -> str:
    return f"{len(reading.registrations)} registrations, {len(reading.invalid)} unreadable, {len(reading.gaps)} gaps"


def _unread(detail: str) -> RegistryReading:
    return RegistryReading(gaps=(Gap(source="sweep", reason=GapReason.CUT_SHORT, detail=detail),))


def _now() -> datetime:
    return datetime.now(UTC)
