"""`wgaudit drain`: take nodes out of production, beside any plan."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli import completing, settings
from auditor.cli.drain_dialogue import DrainWish, refused
from auditor.values.text import for_detail


@click.command("drain")
@click.argument("nodes", metavar="NODE…", nargs=-1, shell_complete=completing.node_targets)
@settings.config_option
@click.option("--reason", default="", help="Why, in one line: Consul, reports and the timeline show it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done to each node, and do nothing.")
def command(nodes: tuple[str, ...], config_path: Path | None, reason: str, yes: bool, dry_run: bool) -> int:
    """Take nodes out of production, as repair.drain says.

    NODE is a node's name, `name@datacenter`, an address (all that are registered with it), or the beginning of a
    finding's fingerprint (all its nodes, by the state). One after the other; a failure keeps back none of the others.
    Where there is a state database, reports and alerts say that a node is drained, until `wgaudit undrain`. Exit code:
    0 all are out of production; 1 some are not, as far as is known, or nothing was done; 2 usage or configuration.
    """
    return refused(DrainWish(nodes, yes=yes, dry_run=dry_run, reason=for_detail(reason)[:300]), config_path)
