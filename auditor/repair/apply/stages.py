"""PURE: entries of a journal as values, and the progress of a move that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from auditor.repair.moves import Step

INDEX = "ModifyIndex"
"""Fact: the registration's ModifyIndex after the step."""
OUT = "out of production"
"""Fact: who took the node out of production. Written before it happens."""
BY_US, BEFORE, LEFT_OUT = "by this apply", "before this apply", "not asked for"

_ORDER = {step: number for number, step in enumerate(Step)}


class Event(StrEnum):
    """Event of a step, as journaled."""

    BEGIN = "begin"
    """Step that is about to be made: from here on it may have happened. Repeated where facts are added to it."""
    DONE = "done"
    UNDOING = "undoing"
    """Step that is about to be taken back."""
    UNDONE = "undone"
    CHECKED = "checked"
    """Move that is done, looked at again: its facts replace those of the same names."""
    SURPRISE = "surprise"
    """Something was not as planned; `facts["what"]` says it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal."""

    plan: str
    """The plan's ident."""
    move: str
    """`Move.ident`."""
    step: Step
    event: Event
    at: datetime
    facts: Mapping[str, str] = field(default_factory=dict)
    """Facts that undo needs and that cannot be read again, and results of a step. Never a secret."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of one move by its journal."""

    done: tuple[Step, ...] = ()
    """Done, in order, and not taken back."""
    open: Step | None = None
    """Begun, and not known to have ended, forwards or backwards."""
    going_back: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)
    """All facts of the move since it was last begun, the later ones over the earlier."""

    @property
    def begun(self) -> bool:
        """Tell whether anything of it may have happened."""
        return bool(self.done) or self.open is not None

    @property
    def complete(self) -> bool:
        """Tell whether it was verified, and is not on its way back."""
        return Step.VERIFY in self.done and not self.going_back

    @property
    def changed(self) -> bool:
        """Tell whether anything of it may have happened but that its node is out of production."""
        return not {*self.done, *((self.open,) if self.open else ())} <= {Step.DRAIN}

    @property
    def kept_out(self) -> bool:
        """Tell whether the move took its node out of production, or may have, and did not put it back."""
        return self.facts.get(OUT) == BY_US and (
            Step.UNDRAIN not in self.done and (Step.DRAIN in self.done or self.open is Step.DRAIN)
        )

    @property
    def unfinished(self) -> bool:
        """Tell whether it was begun, and neither completed nor taken back whole."""
        return self.begun and not self.complete


def after(state: Progress, entry: Entry) -> Progress:
    """The state once this entry is written. Raises `ValueError` if it cannot follow: then somebody edited it."""
    step, done = entry.step, state.done
    if entry.event in (Event.SURPRISE, Event.CHECKED):
        return _remarked(state, entry)
    facts = {**state.facts, **entry.facts}
    match entry.event:
        case Event.BEGIN:
            if (
                state.open not in (None, step)
                or step in done
                or any(_ORDER[step] < _ORDER[made] for made in done)
            ):
                raise ValueError(f"{step.value} cannot begin here")
            if not state.begun:
                facts = dict(entry.facts)  # those of an earlier go that was taken back say nothing any more
            return Progress(done, step, False, facts)
        case Event.DONE:
            if state.open is not step or state.going_back:
                raise ValueError(f"{step.value} was not begun")
            return Progress((*done, step), None, False, facts)
        case Event.UNDOING:
            last = state.open or (done[-1] if done else None)
            if step is not last:
                raise ValueError(f"{step.value} is not the last step, so it cannot be taken back")
            return Progress(tuple(made for made in done if made is not step), step, True, facts)
        case _:
            if state.open is not step or not state.going_back:
                raise ValueError(f"{step.value} was not being taken back")
            return Progress(done, None, bool(done), facts if done else {})


def _remarked(state: Progress, entry: Entry) -> Progress:
    """The state after an entry that makes no step and takes none back."""
    if entry.event is Event.SURPRISE:
        return state
    if not state.complete:
        raise ValueError("a move that is not done cannot have been looked at again")
    return replace(state, facts={**state.facts, **entry.facts})
