"""`wgaudit collector`: look at the nodes of one region for auditors elsewhere, until it is told to end."""

from __future__ import annotations

import os
from pathlib import Path

import click

from auditor.cli import running, settings
from auditor.cli.region_type import RegionType
from auditor.cli.stderr_log import StderrLog


@click.command("collector")
@settings.config_option
@click.option(
    "--region",
    type=RegionType(),
    metavar="REGION",
    required=True,
    help="Region whose nodes it looks at, as the auditors' collectors.regions spells it.",
)
@click.option("-q", "--quiet", is_flag=True, help="Write only complaints to stderr.")
def command(config_path: Path | None, region: str, quiet: bool) -> int:
    """Look at the nodes of one region for auditors elsewhere, asked over NATS.

    It runs until SIGTERM or Ctrl-C, and then ends within five seconds. Several may share a region. It has its own
    configuration: how nodes are reached ([ssh], host keys, jump hosts), mesh.device, regions.command, and in
    [collectors] the NATS server and its nkey. What an auditor asks for is looked at, and nothing else is run.
    docs/collectors.md has the set-up.

    Exit codes: 0 it was told to end, and did; 2 usage or configuration; 3 an internal error.
    """
    from auditor.service.collectors_there import check_packages

    check_packages()
    from auditor.service.collector_run import RunningCollector

    config, path = settings.read_config(config_path)

    async def collect() -> None:
        await RunningCollector(config, path, region, StderrLog(quiet=quiet), os.environ).run()

    running.run(collect())
    return running.EXIT_CLEAN
