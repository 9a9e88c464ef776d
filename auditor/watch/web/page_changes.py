"""PURE: what changed last on the page: findings that came, changed or went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from auditor.reports.html.templating import listed_names
from auditor.values.findings import Finding
from auditor.values.report import Report
from auditor.values.text import count
from auditor.watch.view import WatchView

TOGETHER = timedelta(seconds=5)
"""What follows so soon is one change: a new address reaches the registry, its device and the routes one by one."""
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class LastChange:
    """The last change of what stands, and what stood before the next."""

    at: datetime | None = None
    """None: nothing has changed since the page was first made."""
    came: frozenset[str] = frozenset()
    """Fingerprints of findings that are new."""
    changed: frozenset[str] = frozenset()
    """Fingerprints of findings that are not as they were."""
    went: Mapping[str, str] = field(default_factory=dict)
    """Subjects of findings that are gone, by fingerprint."""
    standing: Mapping[str, str] | None = None
    """Subjects of the findings that stand, by fingerprint; None: no view was seen yet."""

    def after(self, view: WatchView) -> LastChange:
        """Return the last change once this view, too, was seen."""
        found = {finding.fingerprint: finding for finding in _leading(view.report)}
        standing = {mark: finding.subject for mark, finding in found.items()}
        if self.standing is None:
            return LastChange(standing=standing)
        came = standing.keys() - self.standing.keys()
        went = {mark: subject for mark, subject in self.standing.items() if mark not in standing}
        changed = (view.changed & standing.keys()) - came
        if not (came or went or changed):
            return self
        if self.at is None or view.taken_at - self.at > TOGETHER:
            return LastChange(view.taken_at, frozenset(came), changed, went, standing)
        all_new = (self.came | came) & standing.keys()
        return replace(
            self,
            at=view.taken_at,
            came=frozenset(all_new),
            changed=((self.changed | changed) & standing.keys()) - all_new,
            went={mark: subject for mark, subject in {**self.went, **went}.items() if mark not in standing},
            standing=standing,
        )

    def marks(self) -> dict[str, str]:
        """Word what is marked on the page, by fingerprint."""
        if self.at is None:
            return {}
        at = f"{self.at:%H:%M:%S} UTC"
        return dict.fromkeys(self.came, f"new at {at}") | dict.fromkeys(self.changed, f"changed at {at}")

    def words(self) -> str:
        """Word the change: `1 new finding (10.0.0.9), 1 gone (10.0.0.1)`; "" where there was none."""
        parts = []
        for marks, one, several in (
            (self.came, "new finding", ""),
            (self.changed, "finding changed", "findings changed"),
            (self.went, "finding gone", "findings gone"),
        ):
            if marks:
                subjects = sorted(
                    {self.went.get(mark) or (self.standing or {}).get(mark, "") for mark in marks}
                )
                parts.append(f"{count(len(marks), one, several)} ({listed_names(subjects, _MOST_NAMED)})")
        return ", ".join(parts)


def _leading(report: Report) -> list[Finding]:
    """List the findings that stand for themselves: what follows from one changes with it."""
    marks = {finding.fingerprint for finding in report.standing}
    return [finding for finding in report.standing if finding.caused_by not in marks]
