"""Verification of nodes: each node itself, a sample of observers or all of them, and who answers at its addresses."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial

from auditor.errors import GapReason, ProbeError, UsageError
from auditor.fleet.registered import Registered
from auditor.gather.collector import Assignment, Collector, gap_of, node_of
from auditor.gather.local import spread
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.repair.peer_view import PeerView
from auditor.repair.verification import (
    NodeVerification,
    SeenOfNode,
    VerificationOutcome,
    VerifiedSubject,
    VerifiedThing,
    View,
    verified,
    worst,
)
from auditor.service.collecting import CollectorsElsewhere
from auditor.service.parts import build_nodes, build_registry, build_witnesses
from auditor.service.registration_past import past_changes
from auditor.settings.file import Config
from auditor.values.addresses import Prefix, PublicKey, is_host
from auditor.values.models import Gap, NodeId, Registration, RegistryReading, Snapshot
from auditor.values.text import count, for_log
from auditor.values.witness_answers import WitnessAnswer
from auditor.witnesses.interface import Question
from auditor.witnesses.sampling import questions_for


@dataclass(frozen=True, slots=True)
class Verification:
    """Verification of some nodes, and what of the registry could not be read for it."""

    at: datetime
    nodes: tuple[NodeVerification, ...]
    gaps: tuple[Gap, ...]
    """Of the registry."""
    observers: int
    """Observers that were asked."""
    fleet: int
    """Nodes that could be asked."""

    @property
    def outcome(self) -> VerificationOutcome:
        """The worst of all nodes; nothing is verified by a registry that was not read whole."""
        unread = (VerificationOutcome.UNKNOWN,) if self.gaps else ()
        return worst((*unread, *(item.outcome for item in self.nodes)))


async def verify(
    config: Config,
    names: Sequence[str],
    complain: Callable[[str], None],
    *,
    sample: int | None,
    interrupt: asyncio.Event | None = None,
) -> Verification:
    """Verify nodes, each `name` or `name@datacenter`. Only looks. Failures are gaps in the result.

    sample: observers that are asked; None: all. complain: receives one line for what could not be used. Raises
    `UsageError` where the registry was read whole and does not list a node, and `ConfigError`.
    """
    registry, witnesses = build_registry(config), build_witnesses(config)
    nodes = cache(partial(build_nodes, config))
    if not config.collectors.regions:
        nodes()
    elsewhere = CollectorsElsewhere(config)
    now = datetime.now(UTC)
    reading = await registry.read()
    registered = Registered(Snapshot(now, now, config.policy(), reading.registrations, reading.invalid))
    targets = _targets(names, reading)
    missing = [name for name in names if not any(_is_named(item.node, name) for item in targets)]
    observers = observers_of(registered, {item.node for item in targets}, sample)
    stop = Stop(None, interrupt)
    try:
        async with elsewhere.beside(nodes, complain) as collector:
            views = await _look(
                collector, Assignment((*targets, *observers), reading.registrations), registered, stop
            )
        answers: list[WitnessAnswer] = []
        if witnesses is not None:
            questions = _questions(
                config, registered, targets, [item for item in observers if _seen(views, item)]
            )
            async with aclosing(witnesses.ask(questions, reading.registrations, stop)) as stream:
                answers = [answer async for answer in stream]
    finally:
        stop.close()
    changes = await asyncio.to_thread(past_changes, config, [str(item.node) for item in targets], complain)
    found = []
    for item in targets:
        before = {
            prefix
            for change in changes.get(str(item.node), ())
            if change.before is not None
            for prefix in change.before.addresses
        }
        seen = SeenOfNode(
            item,
            views[item.node],
            {other.node: views[other.node] for other in (*observers, *targets) if other.node != item.node},
            [answer for answer in answers if answer.address in item.addresses]
            if witnesses is not None
            else None,
            tuple(sorted(before)),
        )
        found.append(
            verified(
                seen,
                minimum=config.coverage.minimum,
                partial=config.mesh.topology == "partial",
                is_route=registered.is_route,
                holder_of=partial(_holder, registered),
            )
        )
    found += [_unlisted(name) for name in missing]
    return Verification(now, tuple(found), reading.gaps, len(observers), len(registered.registrations))


def _targets(names: Sequence[str], reading: RegistryReading) -> tuple[Registration, ...]:
    """Find the registrations of these names. Raises `UsageError`."""
    found: dict[NodeId, Registration] = {}
    for name in names:
        named = [item for item in reading.registrations if _is_named(item.node, name)]
        if not named and not reading.gaps:
            raise UsageError(f"verify: no node is registered as {for_log(name, most=80)}")
        if len({item.node for item in named}) > 1:
            places = ", ".join(sorted(str(item.node) for item in named))
            raise UsageError(
                f"verify: {for_log(name, most=80)} is in several datacenters: {places}; name one"
            )
        for item in named:
            if item.retired:
                raise UsageError(f"verify: {item.node} is retired: the mesh has no place for it")
            if item.public_key is None or not item.addresses:
                raise UsageError(
                    f"verify: the registration of {item.node} has no key or no address that can be read"
                )
            found[item.node] = item
    return tuple(found.values())


def _is_named(node: NodeId, name: str) -> bool:
    return name in (node.name, str(node))


def observers_of(
    registered: Registered, targets: Collection[NodeId], sample: int | None
) -> tuple[Registration, ...]:
    """Choose observers, one region after the other, without the nodes themselves. None: everybody. PURE."""
    by_region: dict[str, list[Registration]] = defaultdict(list)
    for item in sorted(registered.registrations, key=lambda item: (spread(item.node), item.node)):
        if item.node not in targets:
            by_region[registered.region(item.node)].append(item)
    regions = [by_region[region] for region in sorted(by_region)]
    turns = max(map(len, regions), default=0)
    ordered = [nodes[turn] for turn in range(turns) for nodes in regions if turn < len(nodes)]
    return tuple(ordered if sample is None else ordered[:sample])


async def _look(
    collector: Collector, assignment: Assignment, registered: Registered, stop: Stop
) -> dict[NodeId, View]:
    tables = TableStore()
    not_asked = ProbeError(GapReason.CUT_SHORT, "not asked or not answered in time")
    views: dict[NodeId, View] = {item.node: gap_of(item.node, not_asked) for item in assignment.nodes}
    async with aclosing(collector.collect(assignment, tables, stop)) as results:
        async for seen in results:
            node = node_of(seen)
            if isinstance(seen, Gap):
                views[node] = seen
                continue
            others = registered.by_key.get(seen.device.public_key, ())
            if others and all(other.node != node for other in others):
                error = ProbeError(GapReason.WRONG_HOST, f"{others[0].node} answered in its place")
                views[node] = gap_of(node, error)
            else:
                views[node] = PeerView(seen, tables.tables[seen.table].text)
    return views


def _seen(views: Mapping[NodeId, View], item: Registration) -> bool:
    return isinstance(views[item.node], PeerView)


def _questions(
    config: Config,
    registered: Registered,
    targets: Iterable[Registration],
    observers: Iterable[Registration],
) -> tuple[Question, ...]:
    by_region: dict[str, list[Registration]] = defaultdict(list)
    for item in observers:
        by_region[registered.region(item.node)].append(item)
    claimants: dict[Prefix, list[NodeId]] = defaultdict(list)
    for target in targets:
        for prefix in filter(is_host, target.addresses):
            claimants[prefix].append(target.node)
    return tuple(
        question
        for witness in config.witnesses
        for question in questions_for(
            claimants,
            by_region,
            witness.source,
            claimants=claimants,
            each_region=witness.observers,
            seed="verify",
        )
    )


def _holder(registered: Registered, key: PublicKey) -> str:
    owners = registered.by_key.get(key)
    return str(owners[0].node) if owners else f"unregistered key {key[:8]}…"


def _unlisted(name: str) -> NodeVerification:
    thing = VerifiedThing(
        VerifiedSubject.REGISTRATION,
        VerificationOutcome.UNKNOWN,
        "it is not in what could be read of the registry",
    )
    return NodeVerification(NodeId("", name), (), (thing,))


def lines_of(verification: Verification) -> list[str]:
    """Word a verification: one line for each thing that was verified, and one for each kind of gap."""
    lines = [f"registry  can't tell: {gap.reason.value}: {gap.detail}" for gap in verification.gaps]
    words = {
        VerificationOutcome.VERIFIED: "verified",
        VerificationOutcome.NOT_VERIFIED: "NOT verified",
        VerificationOutcome.UNKNOWN: "can't tell",
    }
    for node in verification.nodes:
        for thing in node.things:
            shown = [f"{name}: {what}" for name, what in thing.wrong[:_MOST]]
            more = len(thing.wrong) - _MOST
            shown += [f"and {more:,} more"] if more > 0 else []
            about_observers = thing.subject not in (VerifiedSubject.DEVICE, VerifiedSubject.REGISTRATION)
            instead = f" ({'; '.join(shown)})" if shown and about_observers else ""
            lines.append(
                f"{node.node}  {words[thing.outcome]}: {thing.subject.value.replace('-', ' ')}: "
                f"{thing.statement}{instead}"
            )
        unseen = dict(pair for thing in node.things for pair in thing.unseen)
        by_reason: dict[str, list[str]] = defaultdict(list)
        for name, why in unseen.items():
            by_reason[why].append(name)
        for why, names in sorted(by_reason.items()):
            others = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
            lines.append(
                f"{node.node}  gap: {count(len(names), 'node')} not seen, {why}: {', '.join(names[:_MOST])}{others}"
            )
    if verification.observers < verification.fleet - len(verification.nodes):
        lines.append(
            f"{verification.observers:,} of {verification.fleet - len(verification.nodes):,} observers were asked; "
            "--all asks every one"
        )
    return [for_log(line) for line in lines]


_MOST = 5
