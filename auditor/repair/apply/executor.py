"""Carry out a plan, one move and one step at a time: journaled before, checked after, each with its undo."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial

from auditor.errors import (
    DrainFailed,
    JournalError,
    LedgerSurprise,
    ProbeError,
    Stopped,
    StoreError,
    Surprise,
)
from auditor.nodes.change.changes import NodeChanger
from auditor.nodes.interface import NodeSource
from auditor.repair.apply.answering import MoveAnswers
from auditor.repair.apply.drain_steps import DrainSteps
from auditor.repair.apply.journal import Journal
from auditor.repair.apply.ledger import Ledger
from auditor.repair.apply.observers import PeerRoutes
from auditor.repair.apply.outcome import facts_in_words
from auditor.repair.apply.stages import INDEX, Event, Progress
from auditor.repair.apply.steps import ApplyOptions, Facts, Steps, Task
from auditor.repair.apply.waiting import PeerWait
from auditor.repair.drain.interface import Drainer
from auditor.repair.moves import Kind, Move, RepairPlan, Step, steps_of
from auditor.values.addresses import format_prefix
from auditor.values.models import NodeId, Registration

FAILURES = (ProbeError, StoreError, LedgerSurprise, DrainFailed, Surprise)
"""Errors of the parts, each of which ends an apply as a `Surprise`."""


class Executor:
    """Carry out the moves of one plan against one fleet."""

    def __init__(
        self,
        plan: RepairPlan,
        journal: Journal,
        ledger: Ledger,
        changer: NodeChanger,
        nodes: NodeSource,
        registrations: Mapping[NodeId, Registration],
        options: ApplyOptions,
        say: Callable[[str], None],
        waiting: Callable[[PeerWait], None] | None = None,
        drainer: Drainer | None = None,
        answers: MoveAnswers | None = None,
    ) -> None:
        """`registrations`: the registry as it is now, for the way to each node and for the observers.

        say: receives a line for each step. waiting: receives the counts while observers are waited for.
        drainer: takes nodes out of production, where the plan says so. answers: asks who answers at a new address.
        """
        self._plan = plan
        self._journal = journal
        self._say = say
        self._stopping = asyncio.Event()
        known = dict(registrations)
        observers = PeerRoutes(nodes, changer, known, say)
        self._steps = Steps(
            ledger,
            changer,
            observers,
            known,
            options,
            self._stopping,
            waiting or (lambda _: None),
            DrainSteps(drainer, plan.ident, left_out=options.no_drain),
            answers,
        )
        self._keepers = {
            move.ident: contested.keeper for contested in plan.contested for move in contested.moves
        }

    def stop(self) -> None:
        """End before the next step, or in the middle of a wait, with `Stopped`. To be called in the event loop."""
        self._stopping.set()

    def progress(self, move: Move) -> Progress:
        """Return the move's progress by the journal."""
        return self._journal.progress(move.ident)

    async def forward(self, move: Move) -> None:
        """Make the steps of a move that are not done yet. Raises `Surprise`, `Stopped` and `JournalError`."""
        state = self.progress(move)
        self._halt()
        others = (other for other in self._plan.moves if other.old == move.old and other.ident != move.ident)
        others_moved = any(self.progress(other).complete for other in others)
        try:
            if not state.changed:
                await self._steps.check(
                    self._current(move), self._keepers[move.ident], others_moved=others_moved
                )
            else:
                await self._steps.check_begun(self._current(move), state.done)
        except FAILURES as error:
            when = "before it goes on" if state.begun else "before the first step"
            raise Surprise(f"{move.node}: {when}: {error}") from None
        for step in steps_of(move, self._plan.drain):
            if step not in state.done:
                await self._journaled(move, step, Event.BEGIN, Event.DONE, self._steps.do)

    async def back(self, move: Move) -> None:
        """Take back the steps that were done or begun, the last one first. Raises as `forward` does."""
        state = self.progress(move)
        self._halt()
        try:
            await self._steps.check_begun(self._current(move), state.done)
        except FAILURES as error:
            raise Surprise(f"{move.node}: before it goes back: {error}") from None
        steps = [
            step for step in steps_of(move, self._plan.drain) if step in state.done or step is state.open
        ]
        for step in reversed(steps):
            await self._journaled(move, step, Event.UNDOING, Event.UNDONE, self._steps.undo)

    async def again(self, move: Move) -> None:
        """Look again at a move that is done, and journal what is verified by now. Raises as `forward` does.

        A node that is still to be put back into production is put back then.
        """
        self._halt()
        current = self._current(move)
        facts = self.progress(move).facts
        task = Task(current, self._keepers[move.ident], facts, lambda _: None)
        try:
            found = await self._steps.again(task)
        except FAILURES as error:
            raise Surprise(f"{move.node}: looked at again: {error}") from None
        self._journal.write(move.ident, Step.VERIFY, Event.CHECKED, found)
        self._say(f"{move.node}: looked at again ({facts_in_words(found)})")
        if self.progress(move).kept_out:
            await self._journaled(move, Step.UNDRAIN, Event.BEGIN, Event.DONE, self._steps.do)

    async def _journaled(
        self,
        move: Move,
        step: Step,
        before: Event,
        after: Event,
        act: Callable[[Step, Task], Awaitable[Facts]],
    ) -> None:
        self._halt()
        current = self._current(move)
        self._journal.write(move.ident, step, before)
        note = partial(self._journal.write, move.ident, step, before)
        task = Task(current, self._keepers[move.ident], self.progress(move).facts, note)
        try:
            facts = await act(step, task)
        except FAILURES as error:
            text = f"{move.node}: {step.value}: {error}"
            try:
                self._journal.write(move.ident, step, Event.SURPRISE, {"what": str(error)})
            except JournalError as unwritten:
                text += f"; {unwritten}"
            raise Surprise(text) from None
        self._journal.write(move.ident, step, after, facts)
        shown = facts_in_words(facts)
        self._say(f"{move.node}: {step.value} {after.value}{f' ({shown})' if shown else ''}")

    def _halt(self) -> None:
        if self._stopping.is_set():
            raise Stopped("stopped as asked")

    def _current(self, move: Move) -> Move:
        """The move with the registration that it meets now, after earlier moves of the same node."""
        same = {other.ident: other for other in self._plan.moves if other.node == move.node}
        index, addresses = move.modify_index, move.addresses
        for entry in self._journal.entries:
            if entry.move in same and INDEX in entry.facts:
                text = entry.facts[INDEX]
                if not (text.isascii() and text.isdigit()):
                    raise JournalError(
                        f"{self._journal.path}: {INDEX} of {move.node} is no number; was it edited?"
                    )
                index = int(text)
        for other in same.values():
            if other.ident != move.ident and Step.REGISTER in self.progress(other).done:
                addresses = tuple(other.new if prefix == other.old else prefix for prefix in addresses)
        return replace(move, modify_index=index, addresses=addresses)


def in_words(move: Move, state: Progress) -> str:
    """State of a move by the journal, in one line, for a person who must continue by hand."""
    old, new = format_prefix(move.old), format_prefix(move.new)
    done = set(state.done)
    if not state.begun:
        return f"{move.node}: not begun; it is as the plan found it, at {old}"
    out = "; IT IS STILL OUT OF PRODUCTION" if state.kept_out else ""
    if state.complete:
        return f"{move.node}: done; it holds {new}{out}"
    holds = new if Step.REMOVE in done else f"{old} and {new}" if Step.ADD in done else old
    says = f"its registration says {new if Step.REGISTER in done or move.kind is Kind.RESTORE else old}"
    unsure = f"; `{state.open.value}` was begun and may have happened, or not" if state.open else ""
    way = "going back" if state.going_back else "on the way"
    return f"{move.node}: {way}: its device holds {holds}, {says}{unsure}{out}"
