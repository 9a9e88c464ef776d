"""`wgaudit doctor`: try each part, and report for each the trial, its outcome and advice."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from auditor.cli import settings
from auditor.cli.advice import ADVICE, advice
from auditor.cli.exposure import exposed
from auditor.errors import ConfigError, GapReason, ProbeError, UsageError
from auditor.nodes.interface import TableStore
from auditor.service import open_files, parts, threads
from auditor.service.outbox import try_heartbeat
from auditor.settings.file import Config
from auditor.values.models import Gap, Registration, RegistryReading
from auditor.values.text import for_terminal

_ON_NODE = {
    GapReason.SUDO,
    GapReason.NO_WG,
    GapReason.NO_DEVICE,
    GapReason.PROBE_NOT_BEGUN,
    GapReason.COMMAND_TIMEOUT,
    GapReason.OUTPUT_TOO_LARGE,
    GapReason.UNREADABLE_OUTPUT,
}


_SILENT = {
    GapReason.CONSUL_UNREACHABLE,
    GapReason.CONSUL_TIMEOUT,
    GapReason.CONSUL_TLS,
    GapReason.CONSUL_UNREADABLE,  # something else answers in its place
}


@dataclass(frozen=True, slots=True)
class Trial:
    """Trial of one part, with its outcome."""

    part: str
    tried: str
    got: str
    works: bool | None
    """None: could not be tried, because an earlier part does not work."""
    advice: str = ""
    reason: GapReason | None = None
    """Reason why it does not work, where that has a name."""
    warns: bool = False
    """True: it works, but not as it should."""

    @property
    def silent(self) -> bool:
        """Tell whether no Consul answered: then what asks the same server need not be tried."""
        return self.reason in _SILENT


@click.command("doctor")
@settings.config_option
@click.option(
    "--node", "node_name", help="The node to try by SSH. Default: the first one that is registered."
)
def command(config_path: Path | None, node_name: str | None) -> int:
    """Try each part: configuration, Consul, registrations, one node by SSH, wg, the heartbeat, the state folder.

    Says for each what it tried, what it got and what to do. Exit code 0 if all of it works, else 1.
    """
    config, path = settings.read_config(config_path, warn=False)
    trials = [
        Trial("configuration", str(path or "no file found"), "read" if path else "the defaults apply", True),
        *_secrets(config, path),
        *threads.run(_everything(config, node_name)),
        _state(config.state.path),
    ]
    for trial in trials:
        _tell(trial)
    failing = [trial.part for trial in trials if trial.works is False]
    untried = [trial.part for trial in trials if trial.works is None]
    click.echo()
    if failing:
        click.echo(f"{len(failing)} of {len(trials)} parts {_do(failing)} not work: {', '.join(failing)}")
    if untried:
        click.echo(f"{len(untried)} could not be tried because of that: {', '.join(untried)}")
    if not failing and not untried:
        click.echo("All works.")
    return 1 if failing or untried else 0


def _do(parts: Sequence[str]) -> str:
    return "does" if len(parts) == 1 else "do"


def _tell(trial: Trial) -> None:
    mark, colour = {True: ("ok  ", "green"), False: ("FAIL", "red"), None: ("-   ", "yellow")}[trial.works]
    if trial.warns:
        mark, colour = "warn", "yellow"
    click.echo(f"{click.style(mark, fg=colour)}  {trial.part}")
    click.echo(f"      tried  {for_terminal(trial.tried)}")
    click.echo(f"      got    {for_terminal(trial.got)}")
    if trial.advice:
        click.echo(f"      do     {for_terminal(trial.advice)}")


def _secrets(config: Config, path: Path | None) -> Iterator[Trial]:
    for line in exposed(config, path):
        got, _, todo = line.rpartition("; ")
        yield Trial("secrets", "who may read the files", got, True, todo, warns=True)


async def _everything(config: Config, node_name: str | None) -> list[Trial]:
    try:
        registry = parts.build_registry(config)
    except ConfigError as error:
        return [Trial("Consul", config.consul.url, str(error), False, "correct the configuration")]
    trials = await _consul(config) if config.consul.file is None else []
    if trials and trials[0].silent:
        # Nothing of Consul answers: another request would wait again, and get the same.
        why = "not tried: Consul does not answer"
        trials.append(Trial("registrations", "read and parse every one", why, None))
        reading = RegistryReading()
    else:
        reading = await registry.read()
        trials += _registrations(reading, {trial.reason for trial in trials if trial.works is False})
    trials += await _node(config, reading, node_name)
    trials += _open_files(len(reading.registrations))
    trials += await _heartbeat(config)
    return trials


async def _heartbeat(config: Config) -> list[Trial]:
    """Call the heartbeat, where one is set."""
    part, tried = "heartbeat", "one call, as after a sweep"
    todo = "correct alerts.heartbeat_url, or whether it takes POST (heartbeat_method)"
    try:
        receipt = await try_heartbeat(config, "wgaudit doctor")
    except ConfigError as error:
        return [Trial(part, tried, str(error), False, "correct the configuration")]
    if receipt is None:
        return []
    return [Trial(part, tried, receipt.detail, receipt.accepted, "" if receipt.accepted else todo)]


def _open_files(nodes: int) -> Iterator[Trial]:
    """Report the limit on open files, where it would slow down a sweep of so many nodes."""
    made = open_files.limit_now(nodes)
    if made.short:
        tried = f"the hard limit, for {nodes:,} nodes"
        yield Trial(
            "open files", tried, open_files.limit_words(made), True, open_files.remedy(made), warns=True
        )


async def _consul(config: Config) -> list[Trial]:
    """Try Consul: its leader, and the number of keys that the token may list."""
    consul = parts.build_consul(config)
    leader = await consul.leader()
    trials = [_trial("Consul and its leader", config.consul.url, leader, f"leader at {leader}")]
    catalog = config.consul.layout == "catalog"
    part = f"{'the catalog' if catalog else 'the prefix'} can be listed"
    what = "/v1/catalog/nodes" if catalog else config.consul.prefix
    if trials[0].silent:
        trials.append(Trial(part, what, "not tried: Consul does not answer", None))
        return trials
    listed = await consul.listed()
    if isinstance(listed, Gap) and listed.reason is trials[0].reason:
        trials.append(Trial(part, what, f"{listed.reason}, as above", None))
    else:
        trials.append(_trial(part, what, listed, f"{listed} entries"))
    return trials


def _trial(part: str, tried: str, outcome: object, got: str) -> Trial:
    if isinstance(outcome, Gap):
        reason, detail = outcome.reason, outcome.detail
        return Trial(part, tried, f"{reason}: {detail}", False, advice(reason, detail), reason)
    return Trial(part, tried, got, True)


def _registrations(reading: RegistryReading, known: Collection[GapReason | None]) -> Iterator[Trial]:
    """Report the registrations that could be read, and the registry's gaps that no earlier part has shown."""
    for gap in reading.gaps:
        where = f"datacenter {gap.datacenter}" if gap.datacenter else "the registry"
        if gap.reason not in known:
            yield _trial("registry is whole", where, gap, "")
    part, tried = "registrations", "read and parse every one"
    count = len(reading.registrations)
    total = count + len(reading.invalid)
    got = f"{count} of {total} registrations can be read"
    if reading.invalid:
        first = reading.invalid[0]
        got += f"; {first.where}: {first.reason}"
        todo = "correct these registrations, or consul.fields if all are refused alike"
        yield Trial(part, tried, got, False, todo)
    elif reading.gaps:
        why = f"{got}, and there may be more" if count else "none was read"
        yield Trial(part, tried, f"{why}: see above", None)
    else:
        yield Trial(part, tried, got, bool(count), "" if count else ADVICE[GapReason.REGISTRY_EMPTY])


async def _node(config: Config, reading: RegistryReading, node_name: str | None) -> list[Trial]:
    ssh, wg = "one node by SSH", f"wg show {config.mesh.device}"
    registration = _chosen(reading, node_name)
    if registration is None:
        why = "no registration to take a node from"
        return [Trial(ssh, "-", why, None), Trial(wg, "-", why, None)]
    name = str(registration.node)
    try:
        nodes = parts.build_nodes(config)
        nodes.expect(reading.registrations)
        tables = TableStore()
        observation = await nodes.observe(registration, tables)
    except ConfigError as error:
        why = "SSH is not set up"
        return [Trial(ssh, name, str(error), False, "correct the configuration"), Trial(wg, name, why, None)]
    except ProbeError as error:
        failed = Trial(wg, name, f"{error.reason}: {error.detail}", False, advice(error.reason, error.detail))
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
    if node_name is None or not reading.registrations:
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
