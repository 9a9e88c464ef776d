"""What a check is: an ident, a severity, a sentence, and a pure function from fleet to findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from auditor.fleet.fleet import Fleet
from auditor.values.models import Finding, Severity


@dataclass(frozen=True, slots=True)
class Check:
    """One rule. Its ident is also its anchor in docs/findings.md and part of each finding's fingerprint."""

    ident: str
    """Kebab-case; never changes once released."""
    severity: Severity
    says: str
    """What a finding of it says, in one sentence."""
    run: Callable[[Fleet], Iterable[Finding]]
    """Reads the fleet and nothing else; the order of what it yields does not matter."""
