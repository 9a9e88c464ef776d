"""Words in which a state that cannot be used is refused."""

from __future__ import annotations

from auditor.errors import StateError
from auditor.values.text import one_line

LONGEST_REASON = 500
"""Characters of a database's own words."""


def unusable(name: str, error: BaseException) -> StateError:
    """Make the error that says where a database cannot be used, and why. name: file, or URL without its password."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    words = one_line(reason, most=LONGEST_REASON)
    return StateError(f"{name}: cannot use the state database: {words}; see docs/alerts.md#the-state-database")
