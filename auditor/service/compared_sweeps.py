"""Sides of a comparison: recordings, judged anew, and sweeps of the history."""

from __future__ import annotations

import re
from pathlib import Path

from auditor.errors import UsageError
from auditor.explain.comparison import ComparedSweep
from auditor.service.alert_state import existing_state, no_state, state_place
from auditor.service.audit import audit_recording
from auditor.settings.file import Config
from auditor.state import history
from auditor.state.state_store import StateStore
from auditor.state.sweep_contents import read_content
from auditor.values.past_sweeps import PastSweep, content_of

_REFERENCE = re.compile(r"(?P<number>[0-9]{1,12})|last(?:-(?P<before>[0-9]{1,6}))?")


def names_history(text: str) -> bool:
    """Tell whether a text names a sweep of the history: a number, `last`, `last-1`."""
    return _REFERENCE.fullmatch(text) is not None


async def recorded_sweep(path: Path) -> ComparedSweep:
    """Judge a recording. Raises `SnapshotError`."""
    audit = await audit_recording(path)
    report = audit.report
    return ComparedSweep(
        name=str(path),
        number=None,
        started_at=report.started_at,
        finished_at=report.finished_at,
        verdict=report.verdict,
        registered=report.coverage.registered,
        observed=report.coverage.observed,
        content=content_of(report),
        registrations=audit.snapshot.registrations,
    )


def remembered_sweep(config: Config, text: str) -> ComparedSweep:
    """Read a sweep of the history. Raises `UsageError` where there is none of that name, and `StateError`."""
    with existing_state(state_place(config)) as state:
        if state is None:
            raise UsageError(f"{text}: {no_state(config)}")
        sweep = _find(state.store, text)
        if sweep is None:
            raise UsageError(f"the history has no sweep {text}; `wgaudit history` shows their numbers")
        content = read_content(state.store, sweep.number)
    if content is None:
        raise UsageError(
            f"sweep {sweep.number} was recorded before the history kept what a sweep saw; take a later one"
        )
    return ComparedSweep(
        name=text,
        number=sweep.number,
        started_at=sweep.started_at,
        finished_at=sweep.finished_at,
        verdict=sweep.verdict,
        registered=sweep.registered,
        observed=sweep.observed,
        content=content,
    )


def _find(store: StateStore, text: str) -> PastSweep | None:
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return None
    if match["number"] is not None:
        return history.sweep(store, int(match["number"]))
    before = int(match["before"] or 0)
    latest = history.sweeps(store, before + 1)
    return latest[before] if len(latest) > before else None
