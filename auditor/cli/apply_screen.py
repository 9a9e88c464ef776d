"""Screen of an apply: its output and questions, and its end after the current step on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field

import click

from auditor.cli import screen
from auditor.repair.apply.executor import Executor
from auditor.repair.apply.steps import ApplyOptions
from auditor.repair.moves import Kind, Move, RepairPlan, steps_of
from auditor.repair.plan.step_text import Wording
from auditor.reports.terminal.page import Page
from auditor.values.addresses import format_prefix
from auditor.values.text import for_terminal

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Screen:
    """Output and questions of an apply. Text of the plan and of nodes is foreign, so it is escaped."""

    plan: RepairPlan
    options: ApplyOptions
    gone: bool = field(default=False, init=False)
    """Nobody reads stdout any more."""

    def __post_init__(self) -> None:
        self._layout = screen.layout(None, "auto", 50)
        self._wording = Wording(self.plan)
        self._contested = {move.ident: item for item in self.plan.contested for move in item.moves}

    def show(self, number: int, move: Move, *, back: bool = False) -> None:
        """Print one move, with all that it changes."""
        page = Page(self._layout)
        what = "take back" if back else "restore" if move.kind is Kind.RESTORE else "renumber"
        page.line(
            page.clean(
                f"{number} of {len(self.plan.moves)}: {what} {self._wording.name(move.node)}: "
                f"{format_prefix(move.old)} to {format_prefix(move.new)}"
            )
        )
        page.line(page.clean(move.why, 400), indent=2)
        for label, text in self._wording.moves(self._contested[move.ident], move):
            page.labelled(label, page.clean(text, 1000), indent=2)
        how = "set over SSH, then looked at" if self.options.push_peers else "left to the fleet's agent"
        page.labelled("wait", f"peers: {how}, for {self.options.wait:g} s at most", indent=2)
        page.labelled("steps", ", ".join(step.value for step in steps_of(move)), indent=2)
        self._out(page.text())

    def say(self, text: str) -> None:
        """Print one line of progress."""
        self._out(self.clean(text) + "\n")

    def tell(self, text: str) -> None:
        """Print one line on stderr."""
        with contextlib.suppress(OSError):  # there is no third place to tell it
            click.echo(f"wgaudit: {self.clean(text)}", err=True)

    def clean(self, text: str) -> str:
        """Escape a text for the terminal."""
        return for_terminal(text, ascii_only=self._layout.ascii_only, most=2000)

    def ask(self, back: bool) -> str:
        """Ask a question, answered by `y`, `N` or `q`."""
        answer: str = click.prompt(
            "Take it back?" if back else "Make this move?",
            type=click.Choice(["y", "N", "q"], case_sensitive=False),
            default="N",
        )
        return answer

    def _out(self, text: str) -> None:
        if self.gone:
            return
        try:
            click.echo(text, nl=False)
        except OSError:
            # What is under way must not break off in the middle because a reader went away.
            self.gone = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def until_signalled(executor: Executor, work: Coroutine[object, object, None], screen_: Screen) -> None:
    """Run the work; the first signal ends it after the current step, the second one at once."""
    with _stopped_by_signals(executor, screen_):
        await work


@contextlib.contextmanager
def _stopped_by_signals(executor: Executor, screen_: Screen) -> Iterator[None]:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    asked = False

    def interrupted() -> None:
        nonlocal asked
        if asked and task is not None:
            task.cancel()
        asked = True
        executor.stop()
        screen_.tell("stopping after this step; once more stops at once")

    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupted)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
