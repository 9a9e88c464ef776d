"""The second half of `wgaudit demo`: sweep, plan, apply and sweep again, by the real commands on the embedded fleet."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from auditor.checks.idents import Ident
from auditor.cli import screen
from auditor.cli.demo_command import first_of, run_command
from auditor.demo.demo_fleet import DemoFleet
from auditor.judge import judge
from auditor.repair.moves import Step
from auditor.state.recording import replay
from auditor.values.addresses import format_prefix
from auditor.values.text import listed

EXIT_REPAIRED = 0
EXIT_NOT_REPAIRED = 1

_AFTER = "after.json.gz"

_WIDEST_STEP = max(len(step.value) for step in Step)
_STEPS = {
    Step.RESERVE: "the new address is claimed in the registry: nobody else gets it",
    Step.ADD: "the server holds it beside the old one",
    Step.REGISTER: "the registration says it; not if somebody wrote there meanwhile",
    Step.PEERS: "every other server sends it here, and the old one to its keeper",
    Step.PERSIST: "the file that the device comes up from says it",
    Step.REMOVE: "the server drops the old one",
    Step.VERIFY: "server, registry and other servers are looked at once more",
}


@dataclass(frozen=True)
class _Stage:
    """One command of the circle, with what a newcomer should know before it."""

    title: str
    words: tuple[str, ...]
    why: str
    steps: Mapping[Step, str] = field(default_factory=dict)


def stages(*, asking: bool, progress: bool) -> Sequence[_Stage]:
    """List the commands of the circle. `asking`: apply asks before each move."""
    quiet = () if progress else ("--no-progress",)
    sure = () if asking else ("--yes",)
    return (
        _Stage(
            "LOOK",
            ("sweep", *quiet),
            "A sweep reads the registry, asks every server over SSH what it is and where it sends each address, and "
            "compares. Two addresses have several holders here; the bars say how many servers send each to whom.",
        ),
        _Stage(
            "PLAN",
            ("plan", "--output", "plan.json", *quiet),
            "A plan says who keeps each contested address, who moves, and where to. It changes nothing. The registry's "
            "indexes say who was registered first: the oldest keeps its address, if no other rule decides. `now` is "
            "where the others send it, `then` how many of them reach another server afterwards.",
        ),
        _Stage(
            "APPLY",
            ("apply", "plan.json", "--push-peers", *sure),
            "Only apply changes anything, one move at a time. Each step stands in a journal before it is made, so that "
            "an apply that was killed goes on (--resume) or back (--rollback). This fleet has no agent that sets "
            "peers, so apply does it (--push-peers). "
            + (
                "It asks before each move: y makes it, a makes all." if asking else "Nobody is asked (--yes)."
            ),
            _STEPS,
        ),
        _Stage(
            "LOOK AGAIN",
            ("sweep", "--record", _AFTER, *quiet),
            "A plan that was carried out proves nothing; a sweep that no longer finds the fault does.",
        ),
    )


class Circle:
    """Runs the commands in the demo's folder, one after another, while the fleet answers in this process."""

    def __init__(
        self, fleet: DemoFleet, folder: Path, interrupt: asyncio.Event, *, asking: bool, progress: bool
    ) -> None:
        """`asking`: a person sits at a terminal, and is asked. `interrupt`: set by Ctrl-C; ends it after a command."""
        self._fleet = fleet
        self._folder = folder
        self._interrupt = interrupt
        self._asking = asking
        self._progress = progress

    async def run(self) -> int:
        """Go the whole circle; return the exit code."""
        self._paragraph(
            f"{len(self._fleet.nodes)} servers on this machine's loopback, and a registry. Each command below is "
            "wgaudit's own, run as you would run it.",
        )
        every = stages(asking=self._asking, progress=self._progress)
        for number, stage in enumerate(every, 1):
            click.secho(f"\n{number} of {len(every)}  {stage.title}", bold=True)
            self._paragraph(stage.why)
            for step, text in stage.steps.items():
                click.echo(f"  {step.value:<{_WIDEST_STEP}}  {text}")
            shown = " ".join(("wgaudit", *stage.words))
            click.secho(f"\n$ {shown}", bold=True)
            if self._asking and not await self._go_on():
                return self._ended()
            code = await run_command(stage.words, self._folder, self._interrupt, at_terminal=self._asking)
            click.echo(f"(exit code {code})")
            if self._interrupt.is_set() or code < 0 or code == 2:
                return self._ended()
        return self._outcome()

    async def _go_on(self) -> bool:
        """Ask whether to run the command; False: no, or Ctrl-C."""
        click.echo("Enter runs it, q ends the demo: ", nl=False)
        loop, typed = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), typed.set)
        try:
            await first_of(typed.wait, self._interrupt.wait)
        finally:
            loop.remove_reader(sys.stdin.fileno())
        if self._interrupt.is_set():
            return False
        line = sys.stdin.readline()
        return bool(line) and line.strip().lower() not in ("q", "quit")

    def _ended(self) -> int:
        click.echo("\nEnded before the circle was closed; fleet and registry are gone with the demo.")
        return EXIT_NOT_REPAIRED

    def _outcome(self) -> int:
        """Judge the last sweep once more: whether a contested address is left, and what else is."""
        report = judge(replay(self._folder / _AFTER))
        left = [item.subject for item in report.standing if item.check is Ident.DUPLICATE_ADDRESS]
        addresses = [format_prefix(contest.address) for contest in self._fleet.contests]
        click.secho("\nWHAT CAME OF IT", bold=True)
        if left:
            self._paragraph(f"Still contested: {listed(left)}. A move was left out, or could not be made.")
            return EXIT_NOT_REPAIRED
        self._paragraph(f"{listed(addresses)} have one holder each now: their duplicates are gone.")
        others = sorted({str(item.check) for item in report.standing if item.caused_by is None})
        unseen = sorted({gap.node for gap in report.not_seen if gap.node is not None})
        if others:
            self._paragraph(
                f"What is no matter of moves stays, and the sweep goes on to say so: {listed(others)}."
            )
        if unseen:
            self._paragraph(
                f"{listed(unseen)} refuses SSH, so nobody knows its peers: apply says that it is not verified (exit "
                "code 3), and the sweep that it was not seen. Not seeing is not clean."
            )
        self._paragraph("On your own fleet: wgaudit init, then the same four commands.")
        return EXIT_REPAIRED

    def _paragraph(self, text: str) -> None:
        click.echo(textwrap.fill(text, screen.PLAIN_WIDTH, break_long_words=False, break_on_hyphens=False))
