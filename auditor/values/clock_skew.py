"""PURE: by how much two clocks are apart, told by one reading of the other one between two of our own.

It decides nothing: it is a warning for people, whose times of messages, silences and history are wrong by it.
"""

from __future__ import annotations

from datetime import datetime

from auditor.values.text import duration

APART = 5.0
"""Seconds from which two clocks count as apart."""
KEEP_RIGHT = "keep both clocks right by NTP; `timedatectl` says whether a machine does"


def seconds_ahead(before: datetime, other: datetime, after: datetime) -> float:
    """Return the seconds by which our clock is ahead, for certain; negative: behind; 0: it cannot be told.

    before, after: our clock right before and right after the other one was read.
    """
    if before > other:
        return (before - other).total_seconds()
    return min(0.0, (after - other).total_seconds())


def are_apart(ahead: float) -> bool:
    """Tell whether clocks that are so many seconds apart are to be warned of."""
    return abs(ahead) >= APART


def skew_words(ahead: float) -> str:
    """Say how our clock stands to the other one: `34 s ahead of`, `2.0 h behind`, `within 5 s of`."""
    if not are_apart(ahead):
        return f"within {APART:.0f} s of"
    return f"{duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'}"
