"""Trials of single parts, as `wgaudit doctor` makes them: what was tried, what came back, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from auditor.errors import GapReason


class TrialOutcome(StrEnum):
    """Outcome of a trial."""

    WORKS = "works"
    WARNS = "warns"
    """It works, but not as it should."""
    FAILS = "fails"
    UNTRIED = "untried"
    """It could not be tried, because an earlier part does not work."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Trial of one part."""

    part: str
    tried: str
    got: str
    outcome: TrialOutcome
    advice: str = ""
    """What to do, or which command says more; empty: nothing."""
    reason: GapReason | None = None
    """Reason why it does not work, where that has a name."""


@dataclass(frozen=True, slots=True)
class NodeTrial:
    """Trial of one node by SSH."""

    node: str
    region: str
    """"" where none is known."""
    reason: GapReason | None
    """Reason why it could not be seen; None: it was seen."""
    detail: str
    """What came back in place of an answer."""
    same_key: bool | None
    """Whether the device's key is the registered one; None: the node was not seen."""


@dataclass(frozen=True, slots=True)
class Trials:
    """All trials of one run, and what it did not try."""

    trials: tuple[Trial, ...]
    nodes: tuple[NodeTrial, ...] = ()
    """Each node that was tried."""
    beyond: tuple[str, ...] = ()
    """What was left out on purpose, each with the command that tries it."""

    def parts(self, outcome: TrialOutcome) -> Sequence[str]:
        """List the parts with this outcome, in their order."""
        return [trial.part for trial in self.trials if trial.outcome is outcome]

    @property
    def whole(self) -> bool:
        """Tell whether all parts were tried, and all of them work."""
        return not self.parts(TrialOutcome.FAILS) and not self.parts(TrialOutcome.UNTRIED)
