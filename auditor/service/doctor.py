"""All trials of one configuration, in the order in which one part needs another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from auditor.service import open_files
from auditor.service.alert_trials import heartbeat_trials, notifier_trials, state_trials
from auditor.service.collector_trials import collector_trials, own_trials
from auditor.service.consul_trials import region_trials, registered_in, try_registry
from auditor.service.drain_trials import drain_trials
from auditor.service.node_trials import TriedNodes, named_nodes, spread_sample, try_nodes
from auditor.service.witness_trials import witness_trials
from auditor.settings.file import Config
from auditor.settings.secret import given
from auditor.values.guide import INSTALLED, Guide
from auditor.values.models import Registration
from auditor.values.text import count
from auditor.values.trials import Trial, TrialOutcome, Trials

WatchTrials = Callable[[Config, int, Sequence[Registration]], Awaitable[Sequence[Trial]]]
"""Tries what a watch needs: of the configuration, the number of its nodes, and those of the sample that answered."""


async def try_everything(
    config: Config,
    path: Path | None,
    *,
    names: Sequence[str],
    number: int | None,
    secrets: Sequence[Trial] = (),
    begin: Callable[[int], None] = lambda _nodes: None,
    guide: Guide = INSTALLED,
    watch: WatchTrials | None = None,
) -> Trials:
    """Try each part, and say for each what was tried and what came back. Changes nothing, and pages nobody.

    Args:
        config: The configuration.
        path: Its file; None: there is none.
        names: Nodes to try by SSH; empty: a sample.
        number: Size of the sample; None: every node.
        secrets: Trials of the files that hold secrets.
        begin: Called with the number of nodes before they are asked.
        guide: Makes the commands that are proposed.
        watch: Tries what a watch needs; None: that is not tried.

    Raises `UsageError` for a name that is not registered.
    """
    found = "read" if path else "the defaults apply"
    configuration = Trial("configuration", str(path or "no file found"), found, TrialOutcome.WORKS)
    registry = await try_registry(config)
    reading = registry.reading
    registered = registered_in(config, reading)
    live = [item for item in reading.registrations if not item.retired]
    # Without a registry nobody knows whether a name is right.
    if names and reading.registrations:
        sample = named_nodes(reading.registrations, names)
    else:
        sample = spread_sample(live, registered.region, number)
    begin(len(sample))
    asked = bool(names) or number != 0
    nodes = (
        await try_nodes(config, registered, reading.registrations, sample, guide) if asked else TriedNodes(())
    )
    answered = {item.node for item in nodes.observations}
    seen = [item for item in sample if item.node in answered]
    watched = await watch(config, len(live), seen) if watch is not None else ()
    trials = (
        configuration,
        *secrets,
        *registry.trials,
        *region_trials(config, registered, nodes.observations),
        *nodes.trials,
        *await witness_trials(config, reading.registrations, seen),
        *await collector_trials(config, guide),
        *await drain_trials(config, live, seen, registered.region),
        *_open_files(len(live)),
        *await notifier_trials(config),
        *await heartbeat_trials(config),
        *state_trials(config, guide),
        *watched,
    )
    beyond = list(_beyond(config, len(live) - len(sample), len(live), guide))
    if watch is None:
        beyond.append(f"what a watch needs ({guide.mention('doctor', '--watch')})")
    return Trials(trials, nodes.nodes, tuple(beyond))


async def try_collector(
    config: Config,
    path: Path | None,
    region: str,
    *,
    secrets: Sequence[Trial] = (),
    guide: Guide = INSTALLED,
) -> Trials:
    """Try what a collector needs by its own configuration. Takes no job, and logs in to no node.

    Args:
        config: The configuration, of which `is_of_collector` holds.
        path: Its file; None: there is none.
        region: The one that it is to serve; "": not known.
        secrets: Trials of the files that hold secrets.
        guide: Makes the commands that are proposed.
    """
    found = (
        "a collector's: it has a NATS server, no collectors.regions and no [consul], and reads no registry; "
        "an auditor's has collectors.regions"
    )
    configuration = Trial("configuration", str(path or "no file found"), found, TrialOutcome.WORKS)
    beyond = [
        "whether nodes let it in (`wgaudit doctor` of an auditor that has its region in collectors.regions)"
    ]
    if not region:
        beyond.append(f"its rights in its region ({guide.mention('doctor', '--region', 'REGION')})")
    return Trials((configuration, *secrets, *await own_trials(config, region)), (), tuple(beyond))


def _open_files(nodes: int) -> Iterator[Trial]:
    """Report the limit on open files, where it would slow down a sweep of so many nodes."""
    made = open_files.limit_now(nodes)
    if made.short:
        tried = f"the hard limit, for {nodes:,} nodes"
        words, todo = open_files.limit_words(made), open_files.remedy(made)
        yield Trial("open files", tried, words, TrialOutcome.WARNS, todo)


def _beyond(config: Config, untried: int, nodes: int, guide: Guide) -> Iterator[str]:
    """Say what was not tried, and which command does."""
    if untried > 0:
        yield f"{untried:,} of {count(nodes, 'node')} (--nodes all)"
    if config.notifiers:
        yield f"whether a page arrives ({guide.mention('alerts test')})"
    if given(config.alerts, "heartbeat_url"):
        yield f"a call of the heartbeat ({guide.mention('alerts test')})"
