"""`wgaudit release`: free a node's addresses again, after their quarantine."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli import completing, settings
from auditor.errors import AllocationError
from auditor.service.provisioning import build_allocator
from auditor.values.addresses import format_prefix
from auditor.values.text import for_log


@click.command("release")
@click.option(
    "--node", required=True, shell_complete=completing.nodes, help="The node's name, as it was allocated."
)
@settings.config_option
def command(node: str, config_path: Path | None) -> int:
    """Remove a node's registration, and put its addresses into quarantine, in one transaction.

    Repeating it is no error. Exit code: 0 the node has no registration; 1 that is not known to be so;
    2 usage or configuration.
    """
    config, _ = settings.read_config(config_path)
    try:
        released = build_allocator(config).release(node)
    except AllocationError as error:
        return settings.refuse(error, 1)
    for prefix in released.addresses:
        until = f", for nobody before {released.until:%Y-%m-%d %H:%M} UTC" if released.until else ""
        click.echo(f"{format_prefix(prefix)}  released{until}")
    if not released.addresses:
        click.echo(f"{for_log(node)}  holds no address")
    return 0
