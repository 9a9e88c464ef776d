"""`wgaudit apply`: carry out a plan, one move at a time, with a journal to resume or undo by."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from auditor.cli import running, settings
from auditor.cli.apply_screen import Screen, until_signalled
from auditor.errors import JournalError, Stopped, Surprise, UsageError
from auditor.repair.apply.executor import Executor, in_words
from auditor.repair.apply.journal import Journal
from auditor.repair.apply.steps import ApplyOptions
from auditor.repair.claims.registration import AllocatorPolicy
from auditor.repair.moves import Move, RepairPlan
from auditor.repair.plan_file import read_plan
from auditor.service import threads
from auditor.service.apply_run import build_executor, claim_settings, moves_to_make, moves_to_take_back
from auditor.settings.file import Config
from auditor.values.addresses import format_prefix

EXIT_STOPPED = 1


@click.command("apply")
@click.argument("plan_path", metavar="PLAN.json", type=click.Path(path_type=Path))
@settings.config_option
@click.option("--yes", is_flag=True, help="Make every move without asking.")
@click.option("--dry-run", is_flag=True, help="Print what would be run, and touch nothing.")
@click.option("--resume", is_flag=True, help="Go on where the journal ends.")
@click.option("--rollback", is_flag=True, help="Take back the move that is unfinished.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="With --rollback: every move of the journal, the last one first.",
)
@click.option(
    "--wait",
    type=settings.Seconds(min=0),
    help="Seconds that observers may take to route a new address. Default: repair.wait.",
)
@click.option(
    "--push-peers", is_flag=True, help="Set the peers' allowed-ips over SSH, in place of the fleet's agent."
)
@click.option(
    "--sample", type=click.IntRange(1, 10_000), help="Observers that are asked. Default: repair.sample."
)
@click.option(
    "--journal",
    "journal_path",
    type=click.Path(path_type=Path),
    help="File that records what was done. Default: PLAN.json.journal.",
)
def command(
    plan_path: Path,
    config_path: Path | None,
    yes: bool,
    dry_run: bool,
    resume: bool,
    rollback: bool,
    everything: bool,
    wait: float | None,
    push_peers: bool,
    sample: int | None,
    journal_path: Path | None,
) -> int:
    """Carry out a plan, one move at a time.

    The first surprise stops it. Exit codes: 0 all is done and verified (or taken back); 1 stopped: stderr says
    how each node stands, and how to go on or back; 2 usage, configuration, or a journal that stands in the way.
    """
    call = _Call(
        plan_path, config_path, yes, resume, rollback, everything, wait, push_peers, sample, journal_path
    )
    call.check()
    plan = read_plan(plan_path)
    config, _ = settings.read_config(config_path)
    options = ApplyOptions(
        push_peers,
        config.repair.wait if wait is None else wait,
        config.repair.sample if sample is None else sample,
    )
    screen_ = Screen(plan, options)
    if dry_run:
        if resume or rollback:
            raise UsageError("apply: --dry-run prints the whole plan; leave --resume and --rollback away")
        for number, move in enumerate(plan.moves, 1):
            screen_.show(number, move)
        screen_.say(
            f"{len(plan.moves)} moves; nothing was changed" if plan.moves else "the plan moves nobody"
        )
        return 0
    claims = claim_settings(config, plan)
    if not plan.moves:
        screen_.say("the plan moves nobody")
        return 0
    if not yes and not (sys.stdin is not None and sys.stdin.isatty()):
        raise UsageError("apply: there is no terminal to ask at; --yes makes every move without asking")
    call.check_journal_file()
    with Journal(call.journal, plan.ident) as journal:
        call.check_journal(plan, journal)
        return _ApplyDialogue(call, plan, journal, screen_).run(config, claims, options)


@dataclass(frozen=True)
class _Call:
    """Arguments of one call."""

    plan: Path
    config: Path | None
    yes: bool
    resume: bool
    rollback: bool
    everything: bool
    wait: float | None
    push_peers: bool
    sample: int | None
    journal_path: Path | None

    @property
    def journal(self) -> Path:
        return self.journal_path or self.plan.with_name(f"{self.plan.name}.journal")

    def check(self) -> None:
        if self.resume and self.rollback:
            raise UsageError("apply: --resume goes on and --rollback goes back; give one of them")
        if self.everything and not self.rollback:
            raise UsageError("apply: --all goes with --rollback")

    def check_journal_file(self) -> None:
        running.check_folders(journal=self.journal)
        if (self.resume or self.rollback) and not self.journal.exists():
            raise UsageError(f"apply: there is no journal {self.journal}, so nothing to go on or back from")

    def check_journal(self, plan: RepairPlan, journal: Journal) -> None:
        """Refuse to begin over a journal that is not empty. Raises `UsageError`."""
        states = {move.ident: journal.progress(move.ident) for move in plan.moves}
        known = {entry.move for entry in journal.entries}
        if unknown := sorted(known - states.keys()):
            raise JournalError(
                f"{self.journal}: speaks of a move that the plan does not have: {unknown[0][:100]}"
            )
        if self.resume or self.rollback or not known:
            return
        done = sum(state.complete for state in states.values())
        unfinished = [
            in_words(move, states[move.ident]) for move in plan.moves if states[move.ident].unfinished
        ]
        shows = "; ".join([f"{done} of {len(plan.moves)} moves done", *unfinished])
        raise UsageError(
            f"apply: {self.journal} shows an apply of this plan: {shows}. "
            f"Go on with `{self.line('--resume')}`, or back with `{self.line('--rollback')}`"
        )

    def line(self, how: str) -> str:
        """Spell the command line that resumes from here, with the options of this one."""
        words: list[str] = ["wgaudit", "apply", str(self.plan), how]
        for option, value in (
            ("--config", self.config),
            ("--journal", self.journal_path),
            ("--wait", self.wait),
            ("--sample", self.sample),
        ):
            if value is not None:
                words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
        if self.push_peers:
            words.append("--push-peers")
        return shlex.join(words)


class _ApplyDialogue:
    """Dialogue of one apply on the screen: asks before each move, and reports each node's state at the end."""

    def __init__(self, call: _Call, plan: RepairPlan, journal: Journal, screen_: Screen) -> None:
        self._call = call
        self._plan = plan
        self._journal = journal
        self._screen = screen_
        self._executor: Executor | None = None
        self._skipped = False

    def run(self, config: Config, claims: AllocatorPolicy, options: ApplyOptions) -> int:
        """Make the moves, or take them back; return the exit code."""
        with threads.open_runner() as runner:
            try:
                moves = self._moves()
                self._executor = runner.run(
                    build_executor(config, self._plan, self._journal, claims, options, self._say)
                )
                for move in moves:
                    if not self._one(runner, self._executor, move):
                        return self._stopped("stopped as asked")
            except (Surprise, Stopped, JournalError) as error:
                return self._stopped(str(error))
            except (KeyboardInterrupt, click.Abort, asyncio.CancelledError):
                return self._stopped("interrupted")
        return self._finished()

    def _moves(self) -> Sequence[Move]:
        """List the moves to make or take back, in order. Raises `UsageError`."""
        if not self._call.rollback:
            return moves_to_make(self._plan, self._journal)
        begun = moves_to_take_back(self._plan, self._journal)
        if self._call.everything:
            return begun
        unfinished = [move for move in begun if self._journal.progress(move.ident).unfinished]
        if not unfinished and begun:
            raise UsageError(
                f"apply: no move is unfinished; `{self._call.line('--rollback')} --all` takes back all"
            )
        return unfinished

    def _say(self, text: str) -> None:
        self._screen.say(text)
        if self._screen.gone and self._executor is not None:
            self._executor.stop()

    def _one(self, runner: asyncio.Runner, executor: Executor, move: Move) -> bool:
        """Ask, and make one move or take it back. False: no more after it."""
        back = self._call.rollback
        self._screen.show(self._plan.moves.index(move) + 1, move, back=back)
        if not self._call.yes:
            with running.ended_by_signals():
                answer = self._screen.ask(back)
            if answer == "q":
                return False
            if answer != "y":
                self._skipped = True
                # Nothing is begun beside a move that is half made, nor taken back from under one that came later.
                return not (back or executor.progress(move).unfinished)
        runner.run(
            until_signalled(executor, executor.back(move) if back else executor.forward(move), self._screen)
        )
        return True

    def _finished(self) -> int:
        if self._call.rollback:
            for move in self._plan.moves:
                self._screen.say(in_words(move, self._journal.progress(move.ident)))
            return 0
        states = {move.ident: self._journal.progress(move.ident) for move in self._plan.moves}
        for move in self._plan.moves:
            facts = states[move.ident].facts
            shows = [
                f"{address}: {facts[address]}"
                for address in (format_prefix(move.new), format_prefix(move.old))
                if address in facts
            ]
            if states[move.ident].complete:
                self._screen.say(f"{move.node}: {'; '.join(shows)}")
        done = sum(state.complete for state in states.values())
        if done < len(states):
            return self._stopped(f"{len(states) - done} of {len(states)} moves were left out")
        self._screen.say(
            f"all {done} moves are done and verified" if done > 1 else "the move is done and verified"
        )
        return 0

    def _stopped(self, why: str) -> int:
        """Report why it stopped, each node's state by the journal, and how to resume or undo."""
        tell = self._screen.tell
        tell(why)
        states = {move.ident: self._journal.progress(move.ident) for move in self._plan.moves}
        for move in self._plan.moves:
            tell(in_words(move, states[move.ident]))
        if not self._journal.entries:
            tell("nothing was changed")
            return EXIT_STOPPED
        tell(f"go on: {self._call.line('--resume')}")
        if any(state.unfinished for state in states.values()):
            tell(f"back, the unfinished move alone: {self._call.line('--rollback')}")
        if any(state.complete for state in states.values()):
            tell(f"back, every move: {self._call.line('--rollback')} --all")
        return EXIT_STOPPED
