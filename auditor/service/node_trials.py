"""Trials of nodes by SSH: a sample that is spread over the regions, or all of them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest

from auditor.errors import ConfigError, GapReason, UsageError
from auditor.fleet.registered import Registered
from auditor.gather.collector import Assignment, node_of
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.service import parts
from auditor.service.advice import advice
from auditor.service.collecting import CollectorsElsewhere
from auditor.service.consul_trials import CORRECT
from auditor.settings.file import Config
from auditor.values.guide import INSTALLED, Guide
from auditor.values.models import Gap, NodeId, Observation, Registration
from auditor.values.text import count, listed
from auditor.values.trials import NodeTrial, Trial, TrialOutcome

SAMPLE = 5
"""Nodes that are tried where nothing else is asked for."""
_NAMED = 5
_ON_NODE = {
    GapReason.SUDO,
    GapReason.NO_WG,
    GapReason.NO_DEVICE,
    GapReason.PROBE_NOT_BEGUN,
    GapReason.COMMAND_TIMEOUT,
    GapReason.OUTPUT_TOO_LARGE,
    GapReason.UNREADABLE_OUTPUT,
}
"""Reasons that are met after a login."""


@dataclass(frozen=True, slots=True)
class TriedNodes:
    """Trials of nodes, and what was seen of them."""

    trials: tuple[Trial, ...]
    nodes: tuple[NodeTrial, ...] = ()
    observations: tuple[Observation, ...] = ()


def spread_sample(
    registrations: Sequence[Registration], region_of: Callable[[NodeId], str], number: int | None
) -> tuple[Registration, ...]:
    """Choose so many nodes, in turn from each region; None: all. Retired ones are left out.

    The same registry gives the same sample; within a region its order is by a hash, so that neighbours in name, which
    often stand in one rack, are not tried together.
    """
    live = [item for item in registrations if not item.retired]
    if number is None or number >= len(live):
        return tuple(live)
    by_region: dict[str, list[Registration]] = defaultdict(list)
    for item in sorted(
        live, key=lambda item: hashlib.sha256(str(item.node).encode(errors="replace")).digest()
    ):
        by_region[region_of(item.node)].append(item)
    rounds = zip_longest(*(by_region[region] for region in sorted(by_region)))
    return tuple([item for item in chain.from_iterable(rounds) if item is not None][:number])


def named_nodes(registrations: Sequence[Registration], names: Sequence[str]) -> tuple[Registration, ...]:
    """Find registrations by name, or by name and datacenter. Raises `UsageError` for one that is not there."""
    found: dict[NodeId, Registration] = {}
    for name in names:
        fitting = [item for item in registrations if name in (item.node.name, str(item.node))]
        if not fitting:
            raise UsageError(
                f"--node: {name} is not among the {len(registrations)} registrations that can be read"
            )
        found.setdefault(fitting[0].node, fitting[0])
    return tuple(found.values())


async def try_nodes(
    config: Config,
    registered: Registered,
    every: Sequence[Registration],
    sample: Sequence[Registration],
    guide: Guide = INSTALLED,
) -> TriedNodes:
    """Log in to each node of the sample, and look at its device.

    every: the whole registry, whose mesh addresses are not used to reach a node. guide: makes proposed commands.
    """
    ssh, wg = "nodes by SSH", f"wg show {config.mesh.device}"
    if not sample:
        why = "no registration to take a node from"
        return TriedNodes(tuple(Trial(part, "-", why, TrialOutcome.UNTRIED) for part in (ssh, wg)))
    names = _names(sample, len([item for item in every if not item.retired]))
    tables = TableStore()
    observations: dict[NodeId, Observation] = {}
    gaps: dict[NodeId, Gap] = {}
    try:
        nodes_from_here = partial(parts.build_nodes, config)
        async with CollectorsElsewhere(config).beside(nodes_from_here, _silent) as collector:
            async for seen in collector.collect(Assignment(tuple(sample), tuple(every)), tables, Stop()):
                if isinstance(seen, Observation):
                    observations[seen.node] = seen
                else:
                    gaps[node_of(seen)] = seen
    except ConfigError as error:
        failed = Trial(ssh, names, str(error), TrialOutcome.FAILS, CORRECT)
        return TriedNodes((failed, Trial(wg, names, "SSH is not set up", TrialOutcome.UNTRIED)))
    nodes = tuple(_node(item, registered, observations, gaps) for item in sample)
    trials = (*_logins(ssh, names, nodes), *_devices(wg, nodes, len(tables.tables), guide))
    return TriedNodes(trials, nodes, tuple(observations.values()))


def _silent(_line: str) -> None:
    """Drop the line: the limit on open files, and the NATS server, have trials of their own."""


def _node(
    item: Registration,
    registered: Registered,
    observations: Mapping[NodeId, Observation],
    gaps: Mapping[NodeId, Gap],
) -> NodeTrial:
    region = registered.region(item.node)
    seen = observations.get(item.node)
    if seen is not None:
        return NodeTrial(str(item.node), region, None, "", seen.device.public_key == item.public_key)
    gap = gaps.get(item.node)
    reason, detail = (gap.reason, gap.detail) if gap else (GapReason.INTERNAL, "there was no answer at all")
    return NodeTrial(str(item.node), region, reason, detail, None)


def _names(sample: Sequence[Registration], total: int) -> str:
    names = listed((str(item.node) for item in sample), most=_NAMED, last=", ")
    return names if len(sample) == total else f"{names}: {len(sample):,} of {count(total, 'node')}"


def _logins(part: str, names: str, nodes: Sequence[NodeTrial]) -> Iterator[Trial]:
    """Report the logins: those that worked, and each reason why others did not."""
    refused = [item for item in nodes if item.reason is not None and item.reason not in _ON_NODE]
    if len(refused) < len(nodes):
        got = f"{len(nodes) - len(refused):,} of {len(nodes):,} logged in"
        yield Trial(part, names, got, TrialOutcome.WORKS)
    yield from _by_reason(part, refused, alone=len(refused) == len(nodes))


def _devices(part: str, nodes: Sequence[NodeTrial], tables: int, guide: Guide) -> Iterator[Trial]:
    """Report the devices: those that were read, and each reason why others were not."""
    seen = [item for item in nodes if item.reason is None]
    broken = [item for item in nodes if item.reason in _ON_NODE]
    if not seen and not broken:
        yield Trial(part, "-", "no node could be reached", TrialOutcome.UNTRIED)
    other = [item for item in seen if not item.same_key]
    if len(other) < len(seen):
        got = (
            f"{count(tables, 'distinct route table')}; the device's key is the registered one on "
            f"{len(seen) - len(other):,} of {len(seen):,}"
        )
        tried = listed((item.node for item in seen if item.same_key), most=_NAMED, last=", ")
        yield Trial(part, tried, got, TrialOutcome.WORKS)
    for item in other[:_NAMED]:
        got = "the device's key is not the registered one"
        yield Trial(part, item.node, got, TrialOutcome.FAILS, guide.mention("explain", target=item.node))
    yield from _by_reason(part, broken, alone=not seen)


def _by_reason(part: str, nodes: Sequence[NodeTrial], *, alone: bool) -> Iterator[Trial]:
    """Report one trial for each reason. alone: nothing worked, so the first one has the part's plain name."""
    reasons: dict[GapReason, list[NodeTrial]] = defaultdict(list)
    for item in nodes:
        if item.reason is not None:
            reasons[item.reason].append(item)
    for number, (reason, items) in enumerate(reasons.items()):
        name = part if alone and not number else f"{part}: {reason}"
        more = f" (and {len(items) - 1:,} more)" if len(items) > 1 else ""
        tried = listed((item.node for item in items), most=_NAMED, last=", ")
        got = f"{reason}: {items[0].detail}{more}"
        yield Trial(name, tried, got, TrialOutcome.FAILS, advice(reason, items[0].detail), reason)
