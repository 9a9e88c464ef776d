"""`wgaudit doctor`: try each part, and say for each what was tried, what came back, and what to do."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from auditor.cli import settings
from auditor.cli.advice import ADVICE
from auditor.config import Config
from auditor.errors import ConfigError, GapReason, ProbeError, UsageError
from auditor.models import Gap, Registration, RegistryReading
from auditor.nodes.interface import TableStore
from auditor.reports.terminal import visible

_ON_NODE = {
    GapReason.SUDO,
    GapReason.NO_WG,
    GapReason.NO_DEVICE,
    GapReason.COMMAND_TIMEOUT,
    GapReason.OUTPUT_TOO_LARGE,
    GapReason.UNREADABLE_OUTPUT,
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One part that was tried."""

    part: str
    tried: str
    got: str
    works: bool | None
    """None: could not be tried, because an earlier part does not work."""
    advice: str = ""


@click.command("doctor")
@settings.config_option
@click.option(
    "--node", "node_name", help="The node to try by SSH. Default: the first one that is registered."
)
def command(config_path: Path | None, node_name: str | None) -> int:
    """Try each part: configuration, Consul, registrations, one node by SSH, wg, the state folder.

    Says for each what it tried, what it got and what to do. Exit code 0 if all of it works, else 1.
    """
    config, path = settings.read_config(config_path)
    trials = [
        Trial("configuration", str(path or "no file found"), "read" if path else "the defaults apply", True)
    ]
    trials += asyncio.run(_everything(config, node_name))
    trials.append(_state(config.state.path))
    for trial in trials:
        mark, colour = {True: ("ok  ", "green"), False: ("FAIL", "red"), None: ("-   ", "yellow")}[
            trial.works
        ]
        click.echo(f"{click.style(mark, fg=colour)}  {trial.part}")
        click.echo(f"      tried  {visible(trial.tried)}")
        click.echo(f"      got    {visible(trial.got)}")
        if trial.advice:
            click.echo(f"      do     {visible(trial.advice)}")
    broken = [trial.part for trial in trials if not trial.works]
    click.echo(
        f"\n{len(broken)} of {len(trials)} parts do not work: {', '.join(broken)}"
        if broken
        else "\nAll works."
    )
    return 1 if broken else 0


async def _everything(config: Config, node_name: str | None) -> list[Trial]:
    trials: list[Trial] = []
    try:
        registry = settings.build_registry(config)
    except ConfigError as error:
        return [Trial("Consul", config.consul.url, str(error), False, "correct the configuration")]
    if config.consul.file is None:
        from auditor.registry.consul import ConsulRegistry

        consul = ConsulRegistry(config.consul, config.consul.resolved_token(os.environ))
        leader = await consul.leader()
        trials.append(_trial("Consul and its leader", config.consul.url, leader, f"leader at {leader}"))
        listed = await consul.listed()
        what = "the catalog" if config.consul.layout == "catalog" else f"prefix {config.consul.prefix}"
        trials.append(_trial("the token may list it", what, listed, f"{listed} entries"))
    reading = await registry.read()
    trials += _registrations(reading)
    trials += await _node(config, reading, node_name)
    return trials


def _trial(part: str, tried: str, outcome: object, got: str) -> Trial:
    if isinstance(outcome, Gap):
        return Trial(part, tried, f"{outcome.reason}: {outcome.detail}", False, ADVICE[outcome.reason])
    return Trial(part, tried, got, True)


def _registrations(reading: RegistryReading) -> Iterator[Trial]:
    count = len(reading.registrations)
    total = count + len(reading.invalid)
    got = f"{count} of {total} registrations can be read"
    advice = ""
    if reading.invalid:
        first = reading.invalid[0]
        got += f"; {first.where}: {first.reason}"
        advice = "correct these registrations, or consul.fields if all are refused alike"
    yield Trial("registrations", "read and parse every one", got, bool(count) and not reading.invalid, advice)
    for gap in reading.gaps:
        where = f"datacenter {gap.datacenter}" if gap.datacenter else "the registry"
        yield Trial("registry is whole", where, f"{gap.reason}: {gap.detail}", False, ADVICE[gap.reason])


async def _node(config: Config, reading: RegistryReading, node_name: str | None) -> list[Trial]:
    ssh, wg = "one node by SSH", f"wg show {config.mesh.device}"
    registration = _chosen(reading, node_name)
    if registration is None:
        why = "no registration to take a node from"
        return [Trial(ssh, "-", why, None), Trial(wg, "-", why, None)]
    name = str(registration.node)
    try:
        nodes = settings.build_nodes(config)
        nodes.expect(reading.registrations)
        tables = TableStore()
        observation = await nodes.observe(registration, tables)
    except ConfigError as error:
        why = "SSH is not set up"
        return [Trial(ssh, name, str(error), False, "correct the configuration"), Trial(wg, name, why, None)]
    except ProbeError as error:
        failed = Trial(wg, name, f"{error.reason}: {error.detail}", False, ADVICE[error.reason])
        if error.reason in _ON_NODE:
            return [Trial(ssh, name, "logged in", True), failed]
        return [
            Trial(ssh, name, failed.got, False, failed.advice),
            Trial(wg, name, "the node could not be reached", None),
        ]
    own = observation.device.public_key
    lines = len(tables.tables[observation.table].lines())
    same = own == registration.public_key
    return [
        Trial(ssh, name, f"logged in; host key {observation.host_key}", True),
        Trial(
            wg,
            name,
            f"{lines} allowed-ips; the device's key is {'' if same else 'not '}the registered one",
            same,
            "" if same else f"wgaudit explain {registration.node.name}",
        ),
    ]


def _chosen(reading: RegistryReading, node_name: str | None) -> Registration | None:
    if node_name is None:
        return next(iter(reading.registrations), None)
    for registration in reading.registrations:
        if node_name in (registration.node.name, str(registration.node)):
            return registration
    raise UsageError(
        f"--node: {node_name} is not among the {len(reading.registrations)} registrations that can be read"
    )


def _state(path: Path) -> Trial:
    part, folder = "state folder", path.parent
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        advice = "set state.path to a folder that this user may write to"
        return Trial(part, str(folder), f"cannot write to {existing}: {error.strerror}", False, advice)
    return Trial(
        part, str(folder), "writable" if existing == folder else "not there yet; it can be made", True
    )
