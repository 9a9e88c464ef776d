"""`wgaudit doctor`: try each part, and report for each the trial, its outcome and advice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import complaints, formats, running, screen, settings
from auditor.cli.region_type import RegionType
from auditor.errors import UsageError

if TYPE_CHECKING:
    from auditor.service.doctor import WatchTrials
    from auditor.settings.file import Config
    from auditor.values.trials import Trial

_MANY = 20
"""Nodes from which on it is said that they are being asked."""


class _Nodes(click.ParamType["int | None"]):
    """Option type of a number of nodes, or all: None."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Read the number. Fails as a usage error."""
        if value == "all":
            return None
        if not (str(value).isascii() and str(value).isdecimal()):
            self.fail(f"{value} is neither a number nor all", param, ctx)
        return int(value)


@click.command("doctor")
@settings.config_option
@formats.format_option("table", "json")
@click.option(
    "--node", "names", multiple=True, help="A node to try by SSH; may be given again. Default: a sample."
)
@click.option(
    "--nodes",
    "number",
    type=_Nodes(),
    metavar="N|all",
    default="5",
    show_default=True,
    help="Size of the sample, which is spread over the regions; all: every node.",
)
@click.option(
    "--watch",
    is_flag=True,
    help="Try what a watch needs, too, and whether one runs. Without being asked, where [watch] is configured.",
)
@click.option(
    "--region",
    type=RegionType(),
    metavar="REGION",
    help="With a collector's configuration: the region that it is to serve, to try its rights there.",
)
def command(
    config_path: Path | None,
    format_name: str,
    names: tuple[str, ...],
    number: int | None,
    watch: bool,
    region: str | None,
) -> int:
    """Try each part: configuration, Consul, registrations, nodes by SSH, wg, notifiers, heartbeat, state, outbox.

    Says for each what it tried, what it got and what to do, and at the end what it did not try. It changes nothing and
    pages nobody: a notifier's settings and secret are read, and its host is connected to (an Alertmanager is asked for
    its /-/ready); the heartbeat is not called. `wgaudit alerts test` sends.

    With a collector's configuration, which has a NATS server, no collectors.regions and no [consul], it tries what
    `wgaudit collector` needs: the server, its rights there, its SSH identities.

    Exit code 0 if all that was to be tried could be and works, warnings or not; 1 if a part does not work or could not
    be tried because of another; 2 for a configuration that cannot be read.
    """
    from auditor.reports.json.doctor_v1 import doctor_document
    from auditor.reports.terminal.doctor_page import doctor_page
    from auditor.service.collector_trials import is_of_collector
    from auditor.service.doctor import try_collector, try_everything

    config, path = settings.read_config(config_path, warn=False)

    def begin(nodes: int) -> None:
        if nodes >= _MANY:
            complaints.complain(f"asking {nodes:,} nodes …")

    secrets = tuple(_secrets(config, path))
    guide = settings.guide(config, config_path)
    if is_of_collector(config):
        if names or watch:
            raise UsageError(
                "--node, --watch: this is a collector's configuration; an auditor's has nodes to try"
            )
        trials = running.run(try_collector(config, path, region or "", secrets=secrets, guide=guide))
    elif region:
        raise UsageError("--region: this is no collector's configuration, but an auditor's")
    else:
        watch = watch or "watch" in config.model_fields_set
        trials = running.run(
            try_everything(
                config,
                path,
                names=names,
                number=number,
                secrets=secrets,
                begin=begin,
                guide=guide,
                watch=_watch_trials() if watch else None,
            )
        )
    if format_name == "json":
        running.deliver(doctor_document(trials).text(), None)
    else:
        running.deliver(doctor_page(trials, screen.layout(None, "auto", len(trials.trials))), None)
    return 0 if trials.whole else 1


def _watch_trials() -> WatchTrials:
    from auditor.watch.watch_trials import watch_trials

    return watch_trials


def _secrets(config: Config, path: Path | None) -> Iterator[Trial]:
    from auditor.cli.exposure import exposed
    from auditor.values.trials import Trial, TrialOutcome

    for line in exposed(config, path):
        got, _, todo = line.rpartition("; ")
        yield Trial("secrets", "who may read the files", got, TrialOutcome.WARNS, todo)
