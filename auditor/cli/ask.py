"""`wgaudit ask ADDRESS`: who answers at a mesh address, from where, with the time it took."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import complaints, completing, formats, running, screen, settings
from auditor.values.asked_addresses import Asking, AskOutcome
from auditor.values.text import count

if TYPE_CHECKING:
    from auditor.service.who_answers import AskRequest
    from auditor.settings.file import Config

EXIT_CODES = {
    AskOutcome.REGISTERED: running.EXIT_CLEAN,
    AskOutcome.SOMEBODY_ELSE: running.EXIT_FINDINGS,
    AskOutcome.CONTESTED: running.EXIT_FINDINGS,
    AskOutcome.UNKNOWN: running.EXIT_INCONCLUSIVE,
}
_PAUSE = 5.0
"""Seconds between two lines of progress."""


@click.command("ask")
@click.argument("target", metavar="ADDRESS", shell_complete=completing.node_targets)
@settings.config_option
@click.option(
    "--from",
    "origins",
    multiple=True,
    metavar="NODE|REGION",
    shell_complete=completing.origins,
    help="Ask from this node, or from nodes of this region. May be repeated. Default: a few nodes of each region.",
)
@click.option(
    "--all",
    "everyone",
    is_flag=True,
    help="Ask NATS from every node, or with --from REGION from all of its nodes. SSH host keys stay a sample.",
)
@formats.format_option("table", "json")
@click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, help="Observers of a page."
)
@formats.screen_options
@click.option("--no-progress", is_flag=True, help="No progress on stderr.")
def command(
    target: str,
    config_path: Path | None,
    origins: tuple[str, ...],
    everyone: bool,
    format_name: str,
    limit: int,
    width: int | None,
    colour: screen.Colour,
    no_progress: bool,
) -> int:
    """Ask who answers at ADDRESS, from other nodes and over their mesh.

    ADDRESS is a mesh address, or a node's name (edge-sin-1, or edge-sin-1@dc1) for all of its addresses. Each kind of
    server of [[witnesses]] is asked, through the SSH connection to each observer, for what it says of itself before any
    login. Nothing runs on a node, and nothing is sent to the server. Nodes that are registered for the address are not
    asked about it, nor, without --from, those whose own address is contested.

    Exit codes: 0 all who answered are the node that is registered for it; 1 somebody else answered, or several nodes
    are registered for it; 2 usage or configuration; 3 cannot tell: nobody answered, only servers that are tied to no
    node, or the registry was not read whole.
    """
    from auditor.service.who_answers import AskRequest

    config, _ = settings.read_config(config_path)
    request = AskRequest(target, tuple(dict.fromkeys(origins)), everyone)
    asking = running.run(_asked(config, request, progress=not no_progress))
    if format_name == "json":
        from auditor.reports.json.ask_v1 import ask_document

        running.deliver(ask_document(asking).text(), None)
    else:
        from auditor.reports.terminal.ask_page import render_ask

        layout = screen.layout(width, colour, limit=limit, guide=settings.guide(config, config_path))
        running.deliver(render_ask(asking, layout), None)
    return EXIT_CODES[asking.outcome]


async def _asked(config: Config, request: AskRequest, *, progress: bool) -> Asking:
    """Ask, to the end or to the first Ctrl-C, which keeps what came until then."""
    from auditor.nodes.stop import Stop
    from auditor.service.who_answers import AskProgress, ask

    class Told(AskProgress):
        """Says on stderr how far it is, now and then."""

        def __init__(self) -> None:
            self._questions = self._done = 0
            self._said = time.monotonic()

        def begins(self, questions: int, observers: int) -> None:
            self._questions = questions
            complaints.say(f"wgaudit: asking {count(questions, 'question')} from {count(observers, 'node')}")

        def answered(self) -> None:
            self._done += 1
            if time.monotonic() - self._said >= _PAUSE and self._done < self._questions:
                self._said = time.monotonic()
                complaints.say(
                    f"wgaudit: {self._done:,} of {self._questions:,} questions answered or given up"
                )

    interrupt = asyncio.Event()
    with running.interrupted_by_signals(interrupt):
        stop = Stop(interrupt=interrupt)
        return await ask(config, request, stop, Told() if progress else AskProgress())
