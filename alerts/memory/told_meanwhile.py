"""PURE: what was told from memory while the database was away, as changes to what it holds when it is back.

Another auditor may have told of the same incidents meanwhile. What it wrote stays: a waiting notification that was
taken here leaves the outbox, what it knows nothing of is added, and what both told is counted as two calls.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from alerts.memory.notices import State
from alerts.memory.state_access import StoredRow


class KnownCalls(NamedTuple):
    """Calls of a notification that the database knew of when it was last read."""

    attempts: int
    declined: int


@dataclass(frozen=True, slots=True)
class ToldMeanwhile:
    """Changes to the table of notifications."""

    moved: list[dict[str, Any]] = field(default_factory=list)
    """Waiting ones that left the outbox here."""
    counted: list[dict[str, Any]] = field(default_factory=list)
    """Ones that were called for here, too."""
    added: list[dict[str, Any]] = field(default_factory=list)
    """New ones, in their order."""


def told_meanwhile(
    known: Mapping[int, KnownCalls],
    mine: Iterable[StoredRow],
    theirs: Sequence[StoredRow],
    *,
    led: bool,
) -> ToldMeanwhile:
    """Compare the rows of the memory with those of the database.

    known: calls of each notification that was copied from the database. mine: rows of the memory, oldest first.
    theirs: rows of the database, oldest first: those that are in `mine`, and all that it had not when it was copied.
    led: whether nobody else led meanwhile: then this auditor's plans count, and what waits here is to be sent.
    """
    changes = ToldMeanwhile()
    there = {row["id"]: row for row in theirs}
    of_pair: dict[tuple[str, str], list[StoredRow]] = defaultdict(list)
    for row in theirs:
        if row["id"] not in known:
            of_pair[row["notifier"], row["fingerprint"]].append(row)
    for row in mine:
        if (before := known.get(row["id"])) is not None:
            if row["id"] in there:
                _compare(row, before, there[row["id"]], changes)
            continue
        others = of_pair[row["notifier"], row["fingerprint"]]
        same = next((other for other in others if other["status"] == row["status"]), None)
        if same is not None:
            others.remove(same)
            _compare(row, KnownCalls(0, 0), same, changes)
        # Where another one's word is on record, and not this one, the incident's life goes by that.
        elif led or (not others and _may_have_arrived(row)):
            changes.added.append({name: value for name, value in row.items() if name != "id"})
    return changes


def _may_have_arrived(row: StoredRow) -> bool:
    return row["state"] == State.ACCEPTED or bool(row["attempts"] > row["declined"])


def _compare(row: StoredRow, before: KnownCalls, other: StoredRow, changes: ToldMeanwhile) -> None:
    """Add what becomes of a notification that is on record in both."""
    calls, noes = row["attempts"] - before.attempts, row["declined"] - before.declined
    count = {"this": other["id"], "calls": calls, "noes": noes}
    if other["state"] == State.PENDING and row["state"] != State.PENDING:
        changes.moved.append(count | {"becomes": row["state"], "said": row["detail"], "now": row["at"]})
    elif calls or noes:
        changes.counted.append(count)
