"""Refusals of a state that cannot be used, each in one line that names the place and what to do."""

from __future__ import annotations

from pathlib import Path

from auditor.disk.ownership import not_to_be_used
from auditor.errors import StateError
from auditor.values.text import one_line

LONGEST_REASON = 500
"""Characters of a database's own words."""


def unusable(name: str, error: BaseException) -> StateError:
    """Make the error that says where a database cannot be used, and why. name: file, or URL without its password."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    words = one_line(reason, most=LONGEST_REASON)
    return StateError(
        f"{name}: cannot use the state database: {words}; see docs/alerts.md#the-state-database"
    )


def refuse_others_hand(path: Path) -> None:
    """Refuse a file of the state that others may have put there or can write. Raises `StateError` and `OSError`."""
    if reason := not_to_be_used(path):
        raise StateError(
            f"{path}: not used: {reason}; give state.path a folder of your own (mode 0700), or take that file away"
        )
