"""Trials of the means out of production: programs, Nomad, a node's agent. Nothing is drained."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence

from auditor.errors import ConfigError, DrainFailed, InvalidValue
from auditor.service.draining import build_drainer
from auditor.service.parts import ENVIRONMENT
from auditor.settings.file import Config
from auditor.values.addresses import format_prefix, is_host
from auditor.values.drains import DrainMeans, DrainPolicy, command_words
from auditor.values.models import NodeId, Registration
from auditor.values.text import count, listed
from auditor.values.trials import Trial, TrialOutcome

PART = "out of production"


async def drain_trials(
    config: Config,
    registrations: Sequence[Registration],
    seen: Sequence[Registration],
    region_of: Callable[[NodeId], str],
) -> tuple[Trial, ...]:
    """Try what `repair.drain` needs, as far as that changes nothing; none where it is not set.

    registrations: the live ones. seen: of these, nodes that answered by SSH.
    """
    policy = config.repair.drain_policy()
    if policy is None:
        return ()
    match policy.means:
        case DrainMeans.COMMAND:
            return (*_program_trials(policy), *_name_trials(policy, registrations, region_of))
        case DrainMeans.NOMAD_ELIGIBILITY:
            return (await _nomad_trial(config, registrations),)
        case DrainMeans.CONSUL_MAINTENANCE:
            return (await _maintenance_trial(config, registrations, seen),)


def _program_trials(policy: DrainPolicy) -> list[Trial]:
    """Look for each program where a command would be looked for."""
    trials = []
    for key, program in (("drain", policy.drain[0]), ("undrain", policy.undrain[0])):
        found = shutil.which(program, os.X_OK, ENVIRONMENT.get("PATH", os.defpath))
        if found is None:
            trials.append(
                Trial(
                    PART,
                    f"repair.{key}: {program}",
                    "there is no such program",
                    TrialOutcome.FAILS,
                    "install it",
                )
            )
        else:
            trials.append(
                Trial(PART, f"repair.{key}: {found}", "is there; it was not run", TrialOutcome.WORKS)
            )
    return trials


def _name_trials(
    policy: DrainPolicy, registrations: Sequence[Registration], region_of: Callable[[NodeId], str]
) -> list[Trial]:
    """Report the nodes that could not be named to the commands."""
    wrong: dict[str, str] = {}
    for item in registrations:
        address = next(map(format_prefix, filter(is_host, item.addresses)), None)
        try:
            for words in (policy.drain, policy.undrain):
                command_words(words, node=item.node.name, region=region_of(item.node), address=address)
        except InvalidValue as error:
            wrong[str(item.node)] = str(error)
    if not wrong:
        return []
    names = listed(list(wrong), total=len(wrong))
    said = f"{count(len(wrong), 'node')} cannot be named to them: {names}: {next(iter(wrong.values()))}"
    return [
        Trial(PART, "repair.drain, repair.undrain", said, TrialOutcome.WARNS, "those are left out of plans")
    ]


async def _nomad_trial(config: Config, registrations: Sequence[Registration]) -> Trial:
    from auditor.repair.drain.eligibility import NomadDrainer

    tried = f"{config.nomad.url}: the list of nodes"
    try:
        names = await NomadDrainer(config.nomad, config.nomad.resolved_token(ENVIRONMENT)).names()
    except (DrainFailed, ConfigError) as error:
        return Trial(PART, tried, str(error), TrialOutcome.FAILS, "see [nomad] in docs/configuration.md")
    missing = [item.node.name for item in registrations if item.node.name not in names]
    got = f"{count(len(names), 'node')}; whether the token may write them was not tried"
    if missing:
        them = listed(missing, total=len(missing))
        lacks = f"{count(len(missing), 'registered node')} not among {len(names):,}: {them}"
        return Trial(PART, tried, lacks, TrialOutcome.WARNS, "those cannot be drained by Nomad")
    return Trial(PART, tried, got, TrialOutcome.WORKS)


async def _maintenance_trial(
    config: Config, registrations: Sequence[Registration], seen: Sequence[Registration]
) -> Trial:
    from auditor.repair.drain.interface import DrainTarget

    if not seen:
        return Trial(PART, "`consul maint` on a node", "no node answered by SSH", TrialOutcome.UNTRIED)
    tried = f"`consul maint` on {seen[0].node}"
    try:
        drainer = build_drainer(config, registrations)
        out = await drainer.is_drained(DrainTarget(seen[0])) if drainer is not None else None
    except (DrainFailed, ConfigError) as error:
        advice = (
            "see repair.maintenance_token_file in docs/configuration.md, or use a command for repair.drain"
        )
        return Trial(PART, tried, str(error), TrialOutcome.FAILS, advice)
    got = f"its agent answers: {'in' if out else 'not in'} maintenance; whether it may be switched was not tried"
    return Trial(PART, tried, got, TrialOutcome.WORKS)
