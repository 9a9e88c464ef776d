"""`wgaudit completion`: print the script by which a shell completes commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from auditor.cli import running

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, /, shell: str) -> int:
    """Print the script that completes commands, options and names in bash, zsh or fish.

    Nodes, addresses and regions are those of the last recording that was made or replayed.
    """
    program = context.find_root()
    made = get_completion_class(shell)
    if made is None:
        raise LookupError(f"click has no completion for {shell}")
    running.deliver(f"{made(program.command, {}, 'wgaudit', '_WGAUDIT_COMPLETE').source()}\n", None)
    return 0
