"""`wgaudit undrain`: put nodes back into production."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli import completing, settings
from auditor.cli.drain_dialogue import DrainWish, refused


@click.command("undrain")
@click.argument("nodes", metavar="[NODE…]", nargs=-1, shell_complete=completing.node_targets)
@settings.config_option
@click.option("--all", "every", is_flag=True, help="All nodes that the state remembers as drained.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done to each node, and do nothing.")
def command(nodes: tuple[str, ...], config_path: Path | None, every: bool, yes: bool, dry_run: bool) -> int:
    """Put nodes back into production, as repair.undrain says, whoever took them out.

    NODE is as with `wgaudit drain`. Exit code: 0 all are back in production; 1 some are not, as far as is known, or
    nothing was done; 2 usage or configuration.
    """
    return refused(DrainWish(nodes, every=every, back=True, yes=yes, dry_run=dry_run), config_path)
