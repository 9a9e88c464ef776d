"""Checks that a route or a silence may name."""

from __future__ import annotations

from alerts.models import AlertIdent
from auditor.checks.catalogue import BY_IDENT

ALERTED_CHECKS = frozenset({*BY_IDENT, *AlertIdent})
"""Idents: those of the checks, and those of incidents that no finding leads, which are alerted like findings."""


def unknown_check(idents: tuple[str, ...]) -> str | None:
    """Name an ident that is no check, and the checks that there are; None where all are known."""
    unknown = sorted(set(idents) - ALERTED_CHECKS)
    return (
        f"no check is called {unknown[0]}; there are {', '.join(sorted(ALERTED_CHECKS))}" if unknown else None
    )
