"""Lines that plans and applies leave in the state, where there is one: what a timeline tells of them later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from auditor.errors import StateError
from auditor.repair.moves import RepairPlan
from auditor.service.alert_state import existing_state, state_place
from auditor.settings.file import Config
from auditor.state.operations import begin_operation, end_operation
from auditor.values.models import NodeId
from auditor.values.past_sweeps import OperationKind, PastOperation

Complain = Callable[[str], None]
INTERRUPTED = "interrupted"


def note_plan(config: Config, plan: RepairPlan, path: Path, by: str, complain: Complain) -> None:
    """Note that a plan was written to a file. A state that cannot be written is a complaint.

    by: login name. Nothing is created where there is no state.
    """
    _begin(config, _operation(OperationKind.PLAN, plan, path, by), complain)


@dataclass
class NotedApply:
    """Apply that is under way."""

    outcome: str = INTERRUPTED
    """Outcome in a few words, set by who carries it out."""


@contextmanager
def noted_apply(
    config: Config, plan: RepairPlan, journal: Path, by: str, complain: Complain, *, rollback: bool
) -> Iterator[NotedApply]:
    """Note the begin of an apply or rollback, and its end with the outcome; one that is killed has no end.

    A state that cannot be written is a complaint: repair goes on without it.
    """
    kind = OperationKind.ROLLBACK if rollback else OperationKind.APPLY
    number = _begin(config, _operation(kind, plan, journal, by), complain)
    noted = NotedApply()
    try:
        yield noted
    finally:
        if number is not None:
            _end(config, number, noted.outcome, complain)


@contextmanager
def noted_drain(
    config: Config, nodes: Iterable[NodeId], by: str, complain: Complain, *, back: bool
) -> Iterator[NotedApply]:
    """Note the begin of a drain or undrain by hand, and its end with the outcome; as `noted_apply` does."""
    kind = OperationKind.UNDRAIN if back else OperationKind.DRAIN
    names = tuple(map(str, nodes))
    number = _begin(config, PastOperation(kind, datetime.now(UTC), by, nodes=names), complain)
    noted = NotedApply()
    try:
        yield noted
    finally:
        if number is not None:
            _end(config, number, noted.outcome, complain)


def _operation(kind: OperationKind, plan: RepairPlan, path: Path, by: str) -> PastOperation:
    return PastOperation(
        kind=kind,
        at=datetime.now(UTC),
        by=by,
        reference=plan.ident,
        path=str(path.absolute()),
        addresses=tuple(item.address for item in plan.contested),
        nodes=tuple(str(move.node) for move in plan.moves),
    )


def _begin(config: Config, operation: PastOperation, complain: Complain) -> int | None:
    try:
        with existing_state(state_place(config)) as state:
            return None if state is None else begin_operation(state.store, operation)
    except StateError as error:
        complain(f"{error}; `wgaudit timeline` will not know of this {operation.kind.value}")
        return None


def _end(config: Config, number: int, outcome: str, complain: Complain) -> None:
    try:
        with existing_state(state_place(config)) as state:
            if state is not None:
                end_operation(state.store, number, datetime.now(UTC), outcome)
    except StateError as error:
        complain(f"{error}; `wgaudit timeline` will not know how this ended")
