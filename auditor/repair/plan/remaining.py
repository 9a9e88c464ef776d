"""PURE: the findings that stand after a plan was carried out, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from auditor.checks.idents import Ident
from auditor.repair.moves import Because, Contested, Kind, LeftOut, Remaining
from auditor.values.addresses import Prefix
from auditor.values.findings import Finding
from auditor.values.models import NodeId
from auditor.values.report import Report

# They do not go with their cause alone.
_BY_THEMSELVES = frozenset({Ident.DUPLICATE_ADDRESS, Ident.FALLBACK_ADDRESS})


def remaining(
    report: Report, contested: Sequence[Contested], left_out: Sequence[LeftOut]
) -> tuple[Remaining, ...]:
    """Select the findings that no move of the plan ends, in the report's order; what follows from one is counted."""
    judged = _Afterwards(contested, left_out)
    causes = {finding.fingerprint: finding.caused_by for finding in report.standing}
    leading: list[tuple[Finding, Because | None]] = []
    followers: Counter[str] = Counter()
    for finding in report.standing:
        if finding.caused_by not in causes or finding.check in _BY_THEMSELVES:
            leading.append((finding, judged.because(finding)))
        else:
            followers[_root(finding.fingerprint, causes)] += 1
    return tuple(
        Remaining(
            finding.check.value,
            finding.severity,
            finding.subject,
            finding.fingerprint,
            because,
            followers[finding.fingerprint],
        )
        for finding, because in leading
        if because is not None
    )


def _root(fingerprint: str, causes: Mapping[str, str | None]) -> str:
    for _ in range(len(causes)):
        cause = causes[fingerprint]
        if cause is None or cause not in causes:
            break
        fingerprint = cause
    return fingerprint


class _Afterwards:
    """The plan's outcome by address and node."""

    def __init__(self, contested: Sequence[Contested], left_out: Sequence[LeftOut]) -> None:
        self._planned = {item.address for item in contested} | {item.address for item in left_out}
        self._solved: dict[Prefix, Contested] = {
            item.address: item for item in contested if item.moves and not item.left_out
        }
        self._restored: set[NodeId] = {
            move.node for item in contested for move in item.moves if move.kind is Kind.RESTORE
        }

    def because(self, finding: Finding) -> Because | None:
        """Tell why the finding stands afterwards; None: it does not."""
        solved = self._solved.get(finding.address) if finding.address is not None else None
        match finding.check:
            case Ident.DUPLICATE_ADDRESS:
                if solved is not None:
                    return None
                return Because.LEFT_OUT if finding.address in self._planned else Because.NOT_ASKED
            case Ident.FALLBACK_ADDRESS if solved is not None:
                return Because.KEEPER_HOLDS if solved.keeper.node is not None else None
            case Ident.ADDRESS_DRIFT if self._restored.issuperset(finding.nodes) and finding.nodes:
                return None
        return Because.NO_MOVE
