"""One sweep: registry and nodes gathered, suspects and moved nodes looked at again, all frozen in a snapshot."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from auditor.errors import GapReason, ProbeError
from auditor.gather.collector import Assignment, Collector, Seen, gap_of, node_of
from auditor.gather.progress_events import SweepObserver, Unwatched
from auditor.gather.questioning import Questioning
from auditor.gather.settling import Settling
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.registry.interface import Registry
from auditor.values.models import (
    AuditPolicy,
    Gap,
    NodeId,
    Observation,
    Registration,
    RegistryReading,
    Snapshot,
)
from auditor.values.witness_answers import WitnessAnswer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """Bounds of one sweep."""

    deadline: float | None = None
    """Seconds after which the sweep stops with the results so far."""
    confirm_after: float | None = 3.0
    """Seconds before each further look at suspects and at what moved. None: there is none."""


async def sweep(
    registry: Registry,
    collector: Collector,
    policy: AuditPolicy,
    options: SweepOptions,
    observer: SweepObserver | None = None,
    interrupt: asyncio.Event | None = None,
    questioning: Questioning | None = None,
) -> Snapshot:
    """Look at the whole fleet once. Failures are gaps in the snapshot; it does not raise for I/O.

    Setting `interrupt` ends it early, with what was seen so far. questioning: of active witnesses, after all looks;
    None: nobody is asked.
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
            # Nodes that are not in this reading are not asked: a second try costs less than a fleet unseen.
            first = _better(first, await stop.bound(registry.read()))
            log.info("registry, tried again: %s", _counted(first))
        tables = TableStore()
        settling = Settling(started_at, policy, first)
        watcher.phase("nodes")
        asked = tuple(item for item in first.registrations if not item.retired)
        settling.look(await _look(Assignment(asked, first.registrations), collector, tables, watcher, stop))
        last: RegistryReading | None = None
        if not stop.is_set():
            watcher.phase("registry again")
            last = await stop.bound(registry.read())
            log.info("registry again: %s", _counted(last) if last else "not read")
        if last is not None:
            settling.read(last)
            if late := _late(first, last):
                watcher.phase("nodes read late")
                settling.look(
                    await _look(Assignment(late, last.registrations), collector, tables, watcher, stop)
                )
        if options.confirm_after is not None:
            while not stop.is_set() and (targets := settling.wanted(tables.tables)) is not None:
                again = await _again(
                    settling, targets, registry, collector, tables, options.confirm_after, watcher, stop
                )
                if not again:
                    break
        # What ends the asking early hides no node and no registration: the sweep itself was whole.
        cut_short = stop.reason
        answers: tuple[WitnessAnswer, ...] = ()
        if questioning is not None and not stop.is_set():
            watcher.phase("asking who answers")
            fleet, findings = settling.judged(tables.tables)
            questions = questioning.plan(fleet, findings.values(), started_at.isoformat())
            answers = await questioning.ask(fleet, questions, stop)
        return replace(settling.snapshot(tables.tables, _now(), cut_short), answers=answers)
    finally:
        stop.close()


async def _again(
    settling: Settling,
    targets: tuple[Registration, ...],
    registry: Registry,
    collector: Collector,
    tables: TableStore,
    pause: float,
    watcher: SweepObserver,
    stop: Stop,
) -> bool:
    """Look at these nodes, and then at the registry, once more.

    False: the sweep was stopped meanwhile, and what this round saw is left out.
    """
    if targets and pause:
        watcher.phase("waiting for a second look")
        await stop.bound(asyncio.sleep(pause))
    if stop.is_set():
        return False
    watcher.phase("second look")
    seen = await _look(Assignment(targets, settling.registered), collector, tables, watcher, stop)
    if stop.is_set():
        return False
    watcher.phase("registry again")
    reading = await stop.bound(registry.read())
    if reading is None:
        return False
    log.info("registry again: %s", _counted(reading))
    settling.begin_round(targets)
    settling.look(seen)
    settling.read(reading)
    return True


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


async def _look(
    assignment: Assignment,
    collector: Collector,
    tables: TableStore,
    watcher: SweepObserver,
    stop: Stop,
) -> tuple[Seen, ...]:
    """Ask each node once; the results in the order of nodes, for the order of answers must not show."""
    watcher.registered(len(assignment.nodes))
    gathered: dict[NodeId, Seen] = {}
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
                else:
                    log.info("%s: seen, table %.12s", node, seen.table)
                gathered[node] = seen
                watcher.node_done(isinstance(seen, Observation))
    missing = (
        ProbeError(GapReason.CUT_SHORT, f"not asked or not answered yet: {stop.reason}")
        if stop.is_set()
        else ProbeError(GapReason.INTERNAL, "its collector ended without a result for it")
    )
    gathered |= {node: gap_of(node, missing) for node in left}
    return tuple(gathered[node] for node in sorted(gathered))


def _counted(reading: RegistryReading) -> str:
    return f"{len(reading.registrations)} registrations, {len(reading.invalid)} unreadable, {len(reading.gaps)} gaps"


def _unread(detail: str) -> RegistryReading:
    return RegistryReading(gaps=(Gap(source="sweep", reason=GapReason.CUT_SHORT, detail=detail),))


def _now() -> datetime:
    return datetime.now(UTC)
