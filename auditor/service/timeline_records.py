"""Records of a timeline: read from the state, from plans and from the journals of applies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from pathlib import Path

from alerts.models import Silence
from auditor.errors import JournalError, PlanError, UsageError
from auditor.explain.timeline import Records
from auditor.explain.timeline_events import JournalStep, PastSilence
from auditor.repair.apply.journal import read_journal
from auditor.repair.apply.stages import Entry
from auditor.repair.moves import Move, RepairPlan
from auditor.repair.plan_file import read_plan
from auditor.service.alert_state import AlertState, existing_state, no_state, state_place
from auditor.service.past import past_notice
from auditor.settings.file import Config
from auditor.state import history
from auditor.state.finding_changes import read_changes
from auditor.state.known_registrations import read_registration_changes
from auditor.state.operations import read_operations
from auditor.values.guide import INSTALLED, Guide
from auditor.values.past_sweeps import OperationKind, PastFinding, PastOperation

MOST_FINDINGS = 100_000
"""Number of findings that are read at most."""
_MOVES = frozenset({OperationKind.APPLY, OperationKind.ROLLBACK})


def read_records(config: Config, plans: Iterable[Path] = (), journals: Iterable[Path] = ()) -> Records:
    """Read all that is remembered, and what the given files hold.

    The plans and journals that the state names are read too, where they still are; one that is not there is a note.
    Raises `StateError`, and `PlanError` and `JournalError` of the given files.
    """
    with existing_state(state_place(config)) as state:
        records = Records(notes=(no_state(config),)) if state is None else _remembered(state)
    made = {path: read_plan(path) for path in plans}
    unremembered = tuple(_unremembered(made, records.operations))
    given = tuple(journals)
    notes = list(records.notes)
    for path in _paths(records.operations, {OperationKind.PLAN}) - made.keys():
        try:
            made[path] = read_plan(path)
        except PlanError:
            continue  # it only helps to name what the steps of a journal are about
    entries = [entry for path in given for entry in read_journal(path)]
    for path in sorted(_paths(records.operations, _MOVES) - set(map(Path.absolute, given))):
        try:
            entries += read_journal(path)
        except JournalError as error:
            notes.append(f"{error}; its steps are not told: --journal FILE names it elsewhere")
    if not records.operations and not made and not given:
        notes.append("no plan, apply or silence is remembered; --plan FILE and --journal FILE add theirs")
    moves = {(plan.ident, move.ident): move for plan in made.values() for move in plan.moves}
    return replace(
        records,
        operations=(*records.operations, *unremembered),
        steps=tuple(_step(entry, moves.get((entry.plan, entry.move))) for entry in entries),
        notes=tuple(notes),
    )


def find_target(config: Config, fingerprint: str, guide: Guide = INSTALLED) -> PastFinding:
    """Find the one finding whose fingerprint begins so. Raises `UsageError` and `StateError`."""
    with existing_state(state_place(config)) as state:
        found = None if state is None else history.finding(state.store, fingerprint)
    if found is None:
        raise UsageError(
            f"timeline: no finding has the fingerprint {fingerprint[:40]}; {guide.mention('history')} lists them"
        )
    return found


def _remembered(state: AlertState) -> Records:
    store, log = state
    return Records(
        sweeps=history.sweeps(store)[::-1],
        findings=history.findings(store, MOST_FINDINGS),
        changes=read_changes(store),
        notices=tuple(map(past_notice, log.every())),
        silences=tuple(map(_silence, log.silences())),
        operations=read_operations(store),
        registrations=tuple(read_registration_changes(store)),
    )


def _paths(operations: Iterable[PastOperation], kinds: Iterable[OperationKind]) -> set[Path]:
    wanted = frozenset(kinds)
    return {Path(item.path) for item in operations if item.kind in wanted and item.path}


def _unremembered(made: Mapping[Path, RepairPlan], known: Sequence[PastOperation]) -> Iterable[PastOperation]:
    """Make operations of plans that the state does not know, at the time of the sweep that they are made from."""
    idents = {item.reference for item in known if item.kind is OperationKind.PLAN}
    for path, plan in made.items():
        if plan.ident not in idents:
            yield PastOperation(
                OperationKind.PLAN,
                plan.snapshot_at,
                "",
                plan.ident,
                str(path),
                tuple(item.address for item in plan.contested),
                tuple(str(move.node) for move in plan.moves),
            )


def _silence(silence: Silence) -> PastSilence:
    matchers = (
        ("check", silence.checks),
        ("address", silence.addresses),
        ("node", silence.nodes),
        ("region", silence.regions),
    )
    return PastSilence(
        silence.ident,
        silence.starts_at,
        silence.ends_at,
        silence.created_by,
        silence.comment,
        {kind: tuple(sorted(values)) for kind, values in matchers if values},
    )


def _step(entry: Entry, move: Move | None) -> JournalStep:
    return JournalStep(
        at=entry.at.astimezone(UTC),
        plan=entry.plan,
        move=entry.move,
        step=entry.step.value,
        event=entry.event.value,
        what=entry.facts.get("what", ""),
        address=move.old if move is not None else "",
        node=str(move.node) if move is not None else "",
    )
