"""Trials of the registry: Consul and its leader, the listing, each registration, the sources of regions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from auditor.errors import ConfigError, GapReason
from auditor.fleet.region_coverage import region_coverage
from auditor.fleet.region_sources import RegionWitness
from auditor.fleet.registered import Registered
from auditor.reports.region_words import unchecked_region_words
from auditor.service import parts
from auditor.service.advice import ADVICE, advice
from auditor.settings.file import Config
from auditor.values.models import Gap, Observation, RegistryReading, Snapshot
from auditor.values.text import count
from auditor.values.trials import Trial, TrialOutcome

_SILENT = {
    GapReason.CONSUL_UNREACHABLE,
    GapReason.CONSUL_TIMEOUT,
    GapReason.CONSUL_TLS,
    GapReason.CONSUL_UNREADABLE,  # something else answers in its place
}
CORRECT = "correct the configuration"


@dataclass(frozen=True, slots=True)
class TriedRegistry:
    """Trials of the registry, and what was read of it."""

    trials: tuple[Trial, ...]
    reading: RegistryReading


async def try_registry(config: Config) -> TriedRegistry:
    """Try the registry, from the server to each registration."""
    try:
        registry = parts.build_registry(config)
    except ConfigError as error:
        trial = Trial("Consul", config.consul.url, str(error), TrialOutcome.FAILS, CORRECT)
        return TriedRegistry((trial,), RegistryReading())
    trials = await _consul(config) if config.consul.file is None else []
    if trials and trials[0].reason in _SILENT:
        # Nothing of Consul answers: another request would wait again, and get the same.
        why = "not tried: Consul does not answer"
        trials.append(Trial("registrations", "read and parse every one", why, TrialOutcome.UNTRIED))
        return TriedRegistry(tuple(trials), RegistryReading())
    reading = await registry.read()
    known = {trial.reason for trial in trials if trial.outcome is TrialOutcome.FAILS}
    return TriedRegistry((*trials, *_registrations(reading, known)), reading)


async def _consul(config: Config) -> list[Trial]:
    """Try Consul: its leader, and the number of keys that the token may list."""
    consul = parts.build_consul(config)
    leader = await consul.leader()
    trials = [_trial("Consul and its leader", config.consul.url, leader, f"leader at {leader}")]
    catalog = config.consul.layout == "catalog"
    part = f"{'the catalog' if catalog else 'the prefix'} can be listed"
    what = "/v1/catalog/nodes" if catalog else config.consul.prefix
    if trials[0].reason in _SILENT:
        trials.append(Trial(part, what, "not tried: Consul does not answer", TrialOutcome.UNTRIED))
        return trials
    listed = await consul.listed()
    if isinstance(listed, Gap) and listed.reason is trials[0].reason:
        trials.append(Trial(part, what, f"{listed.reason}, as above", TrialOutcome.UNTRIED))
    else:
        trials.append(_trial(part, what, listed, f"{listed} entries"))
    return trials


def _trial(part: str, tried: str, outcome: object, got: str) -> Trial:
    if isinstance(outcome, Gap):
        reason, detail = outcome.reason, outcome.detail
        return Trial(part, tried, f"{reason}: {detail}", TrialOutcome.FAILS, advice(reason, detail), reason)
    return Trial(part, tried, got, TrialOutcome.WORKS)


def _registrations(reading: RegistryReading, known: Collection[GapReason | None]) -> Iterator[Trial]:
    """Report the registrations that could be read, and the registry's gaps that no earlier part has shown."""
    for gap in reading.gaps:
        where = f"datacenter {gap.datacenter}" if gap.datacenter else "the registry"
        if gap.reason not in known:
            yield _trial("registry is whole", where, gap, "")
    part, tried = "registrations", "read and parse every one"
    # What is wrong in one field alone stands among the invalid and among the readable.
    faulty = {item.node for item in reading.invalid}
    registered = faulty | {item.node for item in reading.registrations}
    readable = len(registered - faulty)
    got = f"{readable} of {len(registered)} registrations can be read"
    if retired := sum(item.retired for item in reading.registrations):
        got += f", {retired:,} of them retired"
    if reading.invalid:
        first = reading.invalid[0]
        got += f"; {first.where}: {first.reason}"
        todo = "correct these registrations, or consul.fields if all are refused alike"
        yield Trial(part, tried, got, TrialOutcome.FAILS, todo)
    elif reading.gaps:
        why = f"{got}, and there may be more" if readable else "none was read"
        yield Trial(part, tried, f"{why}: see above", TrialOutcome.UNTRIED)
    elif readable:
        yield Trial(part, tried, got, TrialOutcome.WORKS)
    else:
        yield Trial(part, tried, got, TrialOutcome.FAILS, ADVICE[GapReason.REGISTRY_EMPTY])


def region_trials(
    config: Config, registered: Registered, observations: Iterable[Observation]
) -> Iterator[Trial]:
    """Report for how many nodes one source alone names the region, so that nothing can mismatch."""
    asked = {item.node: item.region for item in observations}
    # A node that was not asked now answers in a sweep.
    unasked = "of a sweep" if config.regions.command else None
    words = [(*registered.region_words(node), *_own(asked.get(node, unasked))) for node in registered.by_node]
    if not words:
        return
    part, tried = "regions", "count the sources that name each node's region"
    if alone := unchecked_region_words(region_coverage(words)):
        todo = "set regions.name_pattern, [regions.pools] or regions.command: one source alone can't be wrong"
        yield Trial(part, tried, "; ".join(alone), TrialOutcome.WARNS, todo)
    else:
        got = f"each of {count(len(words), 'node')} has two sources or more"
        yield Trial(part, tried, got, TrialOutcome.WORKS)


def _own(region: str | None) -> tuple[RegionWitness, ...]:
    return (RegionWitness("node itself", region),) if region else ()


def registered_in(config: Config, reading: RegistryReading) -> Registered:
    """Index a reading by the configuration's rules."""
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    return Registered(Snapshot(now, now, config.policy(), reading.registrations, reading.invalid))
