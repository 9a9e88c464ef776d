"""Screen of an apply: its output and questions, and its end after the current step on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

import click

from auditor.cli import screen
from auditor.cli.apply_wait import WaitLine, WaitLines, open_counts
from auditor.cli.complaints import complain, folded
from auditor.errors import Stopped
from auditor.repair.apply.executor import Executor
from auditor.repair.apply.steps import ApplyOptions
from auditor.repair.apply.waiting import PeerWait
from auditor.repair.moves import Kind, Move, RepairPlan, Step, steps_of
from auditor.repair.plan.step_text import Wording
from auditor.reports.terminal.page import Page
from auditor.values.addresses import format_prefix
from auditor.values.text import for_terminal

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Answer(Enum):
    """Answer to the question for one move."""

    YES = "yes"
    NO = "no"
    ALL = "all"
    QUIT = "quit"


class Work(Enum):
    """Work that is asked for at one move."""

    MOVE = "move"
    BACK = "back"
    AGAIN = "again"


_ANSWERS = {
    "": Answer.NO,
    **dict.fromkeys(("y", "yes"), Answer.YES),
    **dict.fromkeys(("n", "no"), Answer.NO),
    **dict.fromkeys(("a", "all"), Answer.ALL),
    **dict.fromkeys(("q", "quit"), Answer.QUIT),
}
_KEYS = "y: yes; n or Enter: leave it out; a: yes, and yes to all the rest; q: stop here; ?: what y does"
SHORTEST_NAME = 8
"""Characters of a node's name in a question that has no room for it."""


def _step_words(move: Move, device: str, options: ApplyOptions, *, back: bool) -> Mapping[Step, str]:
    """Word each step of a move, or its undo."""
    old, new, node = format_prefix(move.old), format_prefix(move.new), move.node
    if back:
        return {
            Step.DRAIN: "it is put back into production, if this plan took it out",
            Step.RESERVE: f"the claim to {new} is removed",
            Step.ADD: f"{device} no longer holds {new}",
            Step.REGISTER: f"{move.where} says {old} again, if nobody wrote it since",
            Step.PEERS: "peers that were set over SSH are set back; others are left to the fleet's agent",
            Step.PERSIST: f"the files that {device} comes up from are as before",
            Step.REMOVE: f"{device} holds {old} again",
            Step.VERIFY: "nothing: it only looked",
            Step.UNDRAIN: "it is taken out of production again, if this plan took it out",
        }
    peers = "the peers of every node are set over SSH; then" if options.push_peers else "nothing is set:"
    return {
        Step.DRAIN: f"{node} is taken out of production, unless it is so already",
        Step.RESERVE: f"{new} is claimed in Consul for {node}",
        Step.ADD: f"{device} holds {new} beside {old}",
        Step.REGISTER: f"{move.where} says {new} for {old}, if nobody wrote it since the plan",
        Step.PEERS: f"{peers} up to {options.sample} observers are looked at, for {options.wait:g} s at most, "
        f"until they route {new} to {node}",
        Step.PERSIST: f"the files that {device} comes up from say {new} for {old}; a copy stays beside each",
        Step.REMOVE: f"{device} no longer holds {old}",
        Step.VERIFY: "device, registry and observers are looked at once more; with a witness, who answers",
        Step.UNDRAIN: f"{node} is put back into production, if this plan took it out",
    }


@dataclass
class Screen:
    """Output and questions of an apply. Text of the plan and of nodes is foreign, so it is escaped."""

    plan: RepairPlan
    options: ApplyOptions
    gone: bool = field(default=False, init=False)
    """Nobody reads stdout any more."""

    def __post_init__(self) -> None:
        self._counts: WaitLines | WaitLine = open_counts(self._line)
        self._terminal = sys.stdout is not None and sys.stdout.isatty()
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
        page.labelled("steps", ", ".join(step.value for step in steps_of(move, self.plan.drain)), indent=2)
        self._out(page.text())

    def say(self, text: str) -> None:
        """Print one line of progress."""
        self._counts.close()
        self._line(text)

    def tell(self, text: str) -> None:
        """Print one line on stderr."""
        self._counts.close()
        with contextlib.suppress(OSError):  # there is no third place to tell it
            complain(self.clean(text))

    def waiting(self, wait: PeerWait) -> None:
        """Show the counts of a wait: redrawn on a terminal, as a line now and then anywhere else."""
        self._counts.show(wait)

    def _line(self, text: str) -> None:
        line = self.clean(text)
        rows = folded(line, self._layout.columns) if self._terminal else [line]
        self._out("\n".join(rows) + "\n")

    def clean(self, text: str) -> str:
        """Escape a text for the terminal."""
        return for_terminal(text, ascii_only=self._layout.ascii_only, most=2000)

    def ask(self, move: Move, work: Work) -> Answer:
        """Ask for one move, by a line that names node and addresses. `?` explains, and asks again.

        Raises `Stopped` where nobody can answer: the input has ended.
        """
        while True:
            self._out(self.question(move, work))
            line = b"" if self.gone else sys.stdin.buffer.readline(1000)
            if not line:
                self._out("\n")
                raise Stopped(
                    f"the input ended at the question for {move.node}; answer at a terminal, "
                    "or give --yes to make every move without asking"
                )
            word = line.decode("utf-8", "replace").strip().lower()
            if word == "?":
                self._explain(move, work)
            elif (answer := _ANSWERS.get(word)) is not None:
                return answer
            else:
                self.say(_KEYS)

    def question(self, move: Move, work: Work) -> str:
        """The question as the last line of the screen: it fits the width, whatever has scrolled away."""
        old, new = format_prefix(move.old), format_prefix(move.new)
        before, after = {
            Work.MOVE: ("Move ", f" from {old} to {new}? [y/N/a/q/?] "),
            Work.BACK: ("Take ", f" back from {new} to {old}? [y/N/a/q/?] "),
            Work.AGAIN: ("Look again at ", f", moved to {new}? [y/N/a/q/?] "),
        }[work]
        room = max(SHORTEST_NAME, self._layout.columns - len(before) - len(after))
        name = self._wording.name(move.node)
        return before + for_terminal(name, ascii_only=self._layout.ascii_only, most=room) + after

    def _explain(self, move: Move, work: Work) -> None:
        """Print what a yes does, step by step, and what each answer means."""
        page = Page(self._layout)
        steps = () if work is Work.AGAIN else steps_of(move, self.plan.drain)
        words = _step_words(move, self.plan.device, self.options, back=work is Work.BACK)
        if work is Work.AGAIN:
            page.line(
                "y looks at its files, its device, the registry and its observers again, and writes the new "
                "address into files that can be rewritten by now. Nothing else is changed."
            )
        else:
            first = "y takes back, the last step first:" if work is Work.BACK else "y makes these steps:"
            page.line(first)
        for number, step in enumerate(reversed(steps) if work is Work.BACK else steps, 1):
            page.labelled(f"{number} {step.value}", page.clean(words[step], 400), indent=2, label_width=10)
        page.line(
            "Each step is journaled before it is made, and the first surprise stops it. Ctrl-C stops after the "
            "step that is being made."
        )
        page.line(_KEYS)
        self._out(page.text())

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
