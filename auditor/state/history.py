"""History in the state: earlier sweeps, and the life of each finding."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import bindparam, case, delete, insert, select, update

from auditor.errors import UsageError
from auditor.state.audit_tables import FINDINGS, SWEEPS
from auditor.state.finding_changes import FindingsBefore, forget_changes, keep_changes
from auditor.state.known_findings import finding_of
from auditor.state.operations import forget_operations
from auditor.state.registration_journal import forget_registrations, keep_registrations
from auditor.state.state_store import StateStore
from auditor.state.sweep_contents import forget_unused_contents, keep_content
from auditor.values.findings import Finding, Severity
from auditor.values.models import Snapshot
from auditor.values.past_sweeps import PastFinding, PastSweep, content_of
from auditor.values.report import Report, Verdict
from auditor.values.stored_values import row_reader

_SWEEP = row_reader(PastSweep, "findings")
_SEVERITIES = {item.value: place for place, item in enumerate(Severity)}


def record(
    store: StateStore,
    report: Report,
    *,
    standing: Collection[str],
    resolved: Collection[str],
    beside: Sequence[Finding] = (),
    snapshot: Snapshot | None = None,
) -> None:
    """Record one sweep; whole or not at all. Raises `StateError`.

    `standing` are the fingerprints of all incidents that stand after it, those that a gap hides included;
    `resolved` those that ended with it. A finding that follows from another ends when it is not there
    and its cause does not stand any more. `beside` stand without being findings of the report: blindness.
    `snapshot` is what the report was made of: its registrations are compared with those of the sweep before.
    """
    finished = report.finished_at
    counted = {finding.fingerprint: finding for finding in report.standing}
    severities = Counter(finding.severity for finding in counted.values())
    counted |= {finding.fingerprint: finding for finding in beside}
    with store.transaction():
        number = store.add(
            insert(SWEEPS).values(
                started_at=report.started_at,
                finished_at=finished,
                verdict=report.verdict,
                registered=report.coverage.registered,
                observed=report.coverage.observed,
                findings={item.value: severities[item] for item in Severity if severities[item]},
                gaps=len(report.gaps),
                cut_short=report.cut_short,
                content=keep_content(store, content_of(report)),
            )
        )
        if snapshot is not None:
            keep_registrations(store, snapshot, report, number)
        before = FindingsBefore(store, counted)
        over = _over(before, counted, standing, resolved)
        shown = {mark: (item.severity, _names(report, item)) for mark, item in counted.items()}
        keep_changes(store, before.changes_by_sweep(report.finished_at, number, shown, over))
        _keep_findings(store, report, counted.values())
        ended = update(FINDINGS).where(FINDINGS.c.fingerprint == bindparam("mark"))
        store.execute(ended.values(resolved_at=finished), [{"mark": mark} for mark in over])


def record_news(store: StateStore, report: Report, news: Collection[str]) -> None:
    """Record what is told between two rounds; whole or not at all. Raises `StateError`.

    `news`: fingerprints of the incidents; the findings that follow from them are recorded too. They are found, or have
    changed, from now on; whether they are over is for a round to say.
    """
    counted = {
        finding.fingerprint: finding
        for finding in report.standing
        if finding.fingerprint in news or finding.caused_by in news
    }
    shown = {mark: (item.severity, _names(report, item)) for mark, item in counted.items()}
    with store.transaction():
        keep_changes(store, FindingsBefore(store, shown).changes_of_shown(report.finished_at, None, shown))
        _keep_findings(store, report, counted.values())


def _keep_findings(store: StateStore, report: Report, findings: Iterable[Finding]) -> None:
    seen = store.insert(FINDINGS)
    # When it was first seen stays, and of which check it is; that it was over does not.
    stay = {"fingerprint", "check_ident", "first_seen"}
    newer = {column.name: column for column in seen.excluded if column.name not in stay}
    rows = [_row(report, finding) for finding in findings]
    store.execute(seen.on_conflict_do_update(index_elements=["fingerprint"], set_=newer), rows)


def _over(
    before: FindingsBefore, counted: Collection[str], standing: Collection[str], resolved: Collection[str]
) -> frozenset[str]:
    """Select the open findings that ended: by themselves, or with what they followed from."""
    causes = {mark: item.caused_by for mark, item in before.standing.items() if mark not in counted}
    return frozenset(
        mark
        for mark, cause in causes.items()
        if mark in resolved
        or (cause is not None and mark not in standing and cause not in standing and cause not in counted)
    )


def sweeps(store: StateStore, most: int | None = None) -> tuple[PastSweep, ...]:
    """Read the last sweeps, newest first; at most so many, None for all. Raises `StateError`."""
    return tuple(map(_SWEEP, store.rows_of(SWEEPS.name, order=("-number",), most=most)))


def sweep(store: StateStore, number: int) -> PastSweep | None:
    """Read one sweep by its number; None where there is none. Raises `StateError`."""
    return next(map(_SWEEP, store.rows_of(SWEEPS.name, {"number": number})), None)


def sweeps_since(store: StateStore, since: datetime) -> Iterator[PastSweep]:
    """Read the sweeps that ended since then, one at a time. Raises `StateError`."""
    return map(_SWEEP, store.each(select(SWEEPS).where(SWEEPS.c.finished_at >= since)))


def last_clean(store: StateStore) -> datetime | None:
    """Read the end of the last clean sweep; None where none is remembered. Raises `StateError`."""
    clean = store.rows_of(SWEEPS.name, {"verdict": Verdict.CLEAN.value}, order=("-number",), most=1)
    return next((item.finished_at for item in map(_SWEEP, clean)), None)


def findings(
    store: StateStore, most: int | None = None, *, leading_only: bool = False
) -> tuple[PastFinding, ...]:
    """Read findings, those that stand first, then the last seen, then the worst; at most so many, None for all.

    `leading_only` leaves out those that follow from another. Raises `StateError`.
    """
    columns = FINDINGS.c
    wanted = select(FINDINGS).order_by(
        columns.resolved_at.is_not(None),
        columns.last_seen.desc(),
        case(_SEVERITIES, value=columns.severity),
        columns.fingerprint,
    )
    if leading_only:
        wanted = wanted.where(columns.caused_by.is_(None))
    return tuple(map(finding_of, store.rows(wanted.limit(most))))


def finding(store: StateStore, fingerprint_prefix: str) -> PastFinding | None:
    """Read the one finding whose fingerprint begins so; None where there is none.

    Raises `UsageError` if it is no beginning of a fingerprint or fits several, and `StateError`.
    """
    prefix = fingerprint_prefix.strip().lower()
    if re.fullmatch(r"[0-9a-f]{1,20}", prefix) is None:
        raise UsageError(
            f"{fingerprint_prefix[:40]!r} is no fingerprint: those are up to 20 digits, 0-9 and a-f"
        )
    column = FINDINGS.c.fingerprint
    rows = store.rows(select(FINDINGS).where(column.startswith(prefix)).order_by(column))
    found = tuple(map(finding_of, rows))
    if len(found) > 1:
        raise UsageError(f"{len(found)} findings begin with {prefix}; give more digits")
    return found[0] if found else None


def prune(store: StateStore, before: datetime) -> None:
    """Forget sweeps, resolved findings, operations and changes of registrations older than that; never what stands.

    Raises `StateError`.
    """
    with store.transaction():
        store.execute(delete(SWEEPS).where(SWEEPS.c.finished_at < before))
        store.execute(delete(FINDINGS).where(FINDINGS.c.resolved_at < before))
        forget_unused_contents(store)
        forget_changes(store, before)
        forget_operations(store, before)
        forget_registrations(store, before)


def _row(report: Report, finding: Finding) -> dict[str, object]:
    return {
        "fingerprint": finding.fingerprint,
        "check_ident": finding.check,
        "severity": finding.severity,
        "subject": finding.subject,
        "summary": finding.summary,
        "nodes": _names(report, finding),
        "caused_by": finding.caused_by,
        "first_seen": report.finished_at,
        "last_seen": report.finished_at,
        "resolved_at": None,
        "address": finding.address or "",
        "regions": sorted(finding.regions),
    }


def _names(report: Report, finding: Finding) -> tuple[str, ...]:
    return tuple(sorted(report.name(node) for node in finding.nodes))
