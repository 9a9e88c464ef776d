"""`wgaudit apply`: carry out a plan, one move at a time, with a journal to resume or undo by."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click

from auditor.cli import running, settings
from auditor.cli.apply_screen import Answer, Screen, Work, until_signalled
from auditor.cli.complaints import complain
from auditor.errors import JournalError, Stopped, Surprise, UsageError
from auditor.repair.apply.executor import Executor, in_words
from auditor.repair.apply.journal import Journal
from auditor.repair.apply.outcome import BY_HAND, in_groups, read_table, sampled, unverified
from auditor.repair.apply.stages import BEFORE, OUT, Event
from auditor.repair.apply.steps import ApplyOptions
from auditor.repair.claims.registration import AllocatorPolicy
from auditor.repair.moves import Move, RepairPlan, Step
from auditor.repair.plan_file import read_plan
from auditor.service import threads
from auditor.service.apply_run import (
    build_executor,
    claim_settings,
    moves_to_look_at_again,
    moves_to_make,
    moves_to_take_back,
)
from auditor.service.draining import NotedDrainer
from auditor.service.operation_notes import noted_apply
from auditor.settings.file import Config
from auditor.values.addresses import format_prefix
from auditor.values.guide import INSTALLED, Guide
from auditor.values.models import NodeId
from auditor.values.text import listed

EXIT_STOPPED = 1
EXIT_UNVERIFIED = 3
_OUTCOMES = {0: "done", EXIT_STOPPED: "stopped", EXIT_UNVERIFIED: "done, and not all verified"}
MOST_IN_ONE_LINE = 4
"""Things that the last line says were not verified; all are told above it where there are more."""


@click.command("apply")
@click.argument("plan_path", metavar="PLAN.json", type=click.Path(path_type=Path))
@settings.config_option
@click.option("--yes", is_flag=True, help="Make every move without asking.")
@click.option("--dry-run", is_flag=True, help="Print what would be run, and touch nothing.")
@click.option(
    "--resume", is_flag=True, help="Go on where the journal ends, and look again at what was not verified."
)
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
    "--no-drain", is_flag=True, help="Take nobody out of production, though the plan and repair.drain say so."
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
    no_drain: bool,
    journal_path: Path | None,
) -> int:
    """Carry out a plan, one move at a time.

    The first surprise stops it. Exit codes: 0 all is done and verified (or taken back); 1 stopped: stderr says
    how each node stands, and how to go on or back; 2 usage, configuration, or a journal that stands in the way;
    3 all is done, and not all of it was verified: the last line says what (an observer that was not seen, a boot
    file that was not found or not rewritten). --resume looks at that again, and with --push-peers sets the peers
    that could not be set.

    With repair.drain, each node is taken out of production before its move, and put back once that was verified
    or taken back. A node that was out before stays so. A drain that fails stops before the move; where a node could
    not be put back, the move stays as it is, and stderr has the command that puts it back.
    """
    call = _Call(
        plan_path,
        config_path,
        yes,
        resume,
        rollback,
        everything,
        wait,
        push_peers,
        sample,
        no_drain,
        journal_path,
    )
    call.check()
    plan = read_plan(plan_path)
    config, _ = settings.read_config(config_path)
    call = replace(call, guide=settings.guide(config, config_path))
    options = ApplyOptions(
        push_peers,
        config.repair.wait if wait is None else wait,
        config.repair.sample if sample is None else sample,
        no_drain=no_drain,
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
    claims = claim_settings(config, plan, no_drain=no_drain)
    if not plan.moves:
        screen_.say("the plan moves nobody")
        return 0
    if not yes and not (sys.stdin is not None and sys.stdin.isatty()):
        raise UsageError("apply: there is no terminal to ask at; --yes makes every move without asking")
    call.check_journal_file()
    with Journal(call.journal, plan.ident) as journal:
        call.check_journal(plan, journal)
        with noted_apply(config, plan, call.journal, running.person(), complain, rollback=rollback) as noted:
            code = _ApplyDialogue(call, plan, journal, screen_).run(config, claims, options)
            noted.outcome = _OUTCOMES[code]
            return code


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
    no_drain: bool
    journal_path: Path | None
    guide: Guide = INSTALLED

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
        words: list[str] = [*self.guide.program, "apply", str(self.plan), how]
        for option, value in (
            ("--config", self.guide.config),
            ("--journal", self.journal_path),
            ("--wait", self.wait),
            ("--sample", self.sample),
        ):
            if value is not None:
                words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
        if self.push_peers:
            words.append("--push-peers")
        if self.no_drain:
            words.append("--no-drain")
        return shlex.join(words)

    def undrain_line(self, node: NodeId) -> str:
        """Spell the command line that puts a node back into production."""
        words: list[str] = [*self.guide.program, "undrain", str(node)]
        if self.guide.config is not None:
            words += ["--config", str(self.guide.config)]
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
        self._asks = not call.yes
        self._again: set[str] = set()
        """Moves that are done, and are only looked at again."""

    def run(self, config: Config, claims: AllocatorPolicy, options: ApplyOptions) -> int:
        """Make the moves, or take them back; return the exit code."""
        with threads.open_runner() as runner:
            try:
                moves = self._moves()
                self._executor = runner.run(
                    build_executor(
                        config,
                        self._plan,
                        self._journal,
                        claims,
                        options,
                        self._say,
                        self._screen.waiting,
                        partial(
                            NotedDrainer,
                            config=config,
                            by=running.person(),
                            complain=complain,
                            plan=self._plan.ident,
                        ),
                    )
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
            again = moves_to_look_at_again(self._plan, self._journal)
            self._again = {move.ident for move in again}
            return [*again, *moves_to_make(self._plan, self._journal)]
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
        work = self._work(move)
        if work is not Work.AGAIN:
            self._screen.show(self._plan.moves.index(move) + 1, move, back=work is Work.BACK)
        if self._asks:
            with running.ended_by_signals():
                answer = self._screen.ask(move, work)
            if answer is Answer.QUIT:
                return False
            if answer is Answer.NO:
                self._skipped = True
                # Nothing is begun beside a move that is half made, nor taken back from under one that came later.
                return work is Work.AGAIN or not (work is Work.BACK or executor.progress(move).unfinished)
            self._asks = answer is not Answer.ALL
        act = {Work.MOVE: executor.forward, Work.BACK: executor.back, Work.AGAIN: executor.again}[work]
        runner.run(until_signalled(executor, act(move), self._screen))
        return True

    def _work(self, move: Move) -> Work:
        if self._call.rollback:
            return Work.BACK
        return Work.AGAIN if move.ident in self._again else Work.MOVE

    def _tell_drained(self) -> None:
        """Say who is out of production now, and the command that puts each back."""
        for move in self._plan.moves:
            state = self._journal.progress(move.ident)
            back = self._call.undrain_line(move.node)
            if state.kept_out:
                self._screen.tell(f"{move.node} IS STILL OUT OF PRODUCTION; put it back: {back}")
            elif state.complete and state.facts.get(OUT) == BEFORE:
                self._screen.tell(
                    f"{move.node} was out of production before, and is left so; put it back: {back}"
                )

    def _finished(self) -> int:
        self._tell_drained()
        states = {move.ident: self._journal.progress(move.ident) for move in self._plan.moves}
        if self._call.rollback:
            for move in self._plan.moves:
                self._screen.say(in_words(move, states[move.ident]))
            return self._verified("taken back", self._left_in_files())
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
        left = [item for move in self._plan.moves if (item := unverified(move, states[move.ident]))]
        what = f"all {done} moves are done" if done > 1 else "the move is done"
        if not left:
            asked = sampled(states)
            self._screen.say(f"{what} and verified{f' ({asked})' if asked else ''}")
            return 0
        return self._verified(what, in_groups(left))

    def _verified(self, what: str, left: Sequence[str]) -> int:
        """Say in the last line what was not verified. Returns the exit code."""
        if not left:
            return 0
        if not self._call.rollback:
            self._screen.tell(f"look again, once that is mended: {self._call.line('--resume')}")
        if len(left) > MOST_IN_ONE_LINE:
            for item in left:
                self._screen.tell(f"not verified: {item}")
        more = f". {len(left) - MOST_IN_ONE_LINE} more above" if len(left) > MOST_IN_ONE_LINE else ""
        shown = ". ".join(left[:MOST_IN_ONE_LINE]) + more
        self._screen.tell(f"{what}, but not verified: {shown}; exit code {EXIT_UNVERIFIED}")
        return EXIT_UNVERIFIED

    def _left_in_files(self) -> list[str]:
        """Name what the way back had to leave in files, of each move that was taken back now."""
        left = {}
        for entry in self._journal.entries:
            if entry.step is Step.PERSIST and entry.event is Event.UNDONE:
                left[entry.move] = read_table(entry.facts, BY_HAND) or {}
        return [
            f"{move.node}: not given back, do it by hand: "
            f"{listed([f'{place} ({why})' for place, why in left[move.ident].items()], last=', ')}"
            for move in self._plan.moves
            if left.get(move.ident)
        ]

    def _stopped(self, why: str) -> int:
        """Report why it stopped, each node's state by the journal, and how to resume or undo."""
        tell = self._screen.tell
        tell(why)
        states = {move.ident: self._journal.progress(move.ident) for move in self._plan.moves}
        for move in self._plan.moves:
            tell(in_words(move, states[move.ident]))
            if states[move.ident].complete and (left := unverified(move, states[move.ident])):
                tell(f"not verified: {move.node}: {left.in_words()}")
        if not self._journal.entries:
            tell("nothing was changed")
            return EXIT_STOPPED
        self._tell_drained()
        tell(f"go on: {self._call.line('--resume')}")
        if any(state.unfinished for state in states.values()):
            tell(f"back, the unfinished move alone: {self._call.line('--rollback')}")
        if any(state.complete for state in states.values()):
            tell(f"back, every move: {self._call.line('--rollback')} --all")
        return EXIT_STOPPED
