"""PURE: what an apply could not verify, as facts of its journal and as words for its last line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from auditor.errors import JournalError
from auditor.nodes.change.changes import LeftWhy
from auditor.repair.apply.stages import Progress
from auditor.repair.moves import Move, Step
from auditor.values.addresses import format_prefix
from auditor.values.models import NodeId
from auditor.values.text import listed

BOOT_FILES = "boot files"
"""Fact: files that name the new address now, by path, with what became of each."""
BY_HAND = "by hand"
"""Fact: places in files that name the old address still, with why they were not rewritten."""
UNSEEN = "not seen"
"""Fact: observers that did not answer at the last look, with the reason."""
NOT_SET = "not set"
"""Fact: observers whose peers could not be set, with the reason."""
UNANSWERED = "no answer"
"""Fact: observers that met nobody who can be told at the new address, with why; empty where one met the node."""
ASKED, FLEET = "asked", "observers in all"
"""Facts: numbers of observers that were asked at the last look, and of those that could be."""

WHY_LEFT: Mapping[LeftWhy, str] = {
    LeftWhy.LINE: "names it in a form or a role that is not rewritten",
    LeftWhy.BOTH: "names both addresses",
    LeftWhy.WHOSE: "does not say plainly of which device it is",
    LeftWhy.MADE: "made anew at boot: change what makes it",
    LeftWhy.VENDOR: "a package's file: put a changed one of this name into /etc",
    LeftWhy.NAME: "a file in it has a name that cannot be printed",
    LeftWhy.MANY: "too many files to look at",
    LeftWhy.LARGE: "too large to look at",
}

_TABLES = (BOOT_FILES, BY_HAND, UNSEEN, NOT_SET, UNANSWERED)
_SHOWN = 5


def table(values: Mapping[str, str]) -> str:
    """Write names with their reasons as one fact of the journal."""
    return json.dumps(dict(values))


def read_table(facts: Mapping[str, str], name: str) -> Mapping[str, str] | None:
    """Read a fact that `table` wrote; None where the journal has none. Raises `JournalError`."""
    text = facts.get(name)
    if text is None:
        return None
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise JournalError(f"the journal's fact {name!r} is no table; was it edited?")
    return {str(key): str(value) for key, value in values.items()}


def facts_in_words(facts: Mapping[str, str]) -> str:
    """Word the facts of one step, for a line on the screen."""
    parts = []
    for name, text in facts.items():
        if name in (ASKED, FLEET):
            continue
        if name not in _TABLES:
            parts.append(f"{name} {text}")
            continue
        values = read_table(facts, name) or {}
        if values:
            parts.append(f"{name}: {', '.join(_places(name, values))}")
        elif name == BOOT_FILES:
            parts.append("no boot file found")
    return "; ".join(parts)


def _places(name: str, values: Mapping[str, str]) -> list[str]:
    if name == BOOT_FILES:
        return list(values)
    return [f"{key} ({why})" if why else key for key, why in values.items()]


@dataclass(frozen=True, slots=True)
class Unverified:
    """What is not known to be right about one move that was made."""

    node: NodeId
    address: str
    """The old address, which a restart could bring back."""
    no_boot_file: bool
    by_hand: tuple[str, ...]
    unseen: tuple[str, ...]
    not_set: tuple[str, ...]
    unanswered: tuple[str, ...] = ()
    kept_out: bool = False
    """It is still out of production, where this plan took it."""

    def __bool__(self) -> bool:
        """Tell whether there is anything."""
        left = self.by_hand or self.unseen or self.not_set or self.unanswered
        return self.no_boot_file or self.kept_out or bool(left)

    def in_words(self) -> str:
        """Return what is not known to be right, without the node's name."""
        parts = ["IT IS STILL OUT OF PRODUCTION"] if self.kept_out else []
        if self.no_boot_file:
            parts.append(f"no boot file found, a restart may bring {self.address} back")
        for label, items in (
            ("not rewritten, do it by hand", self.by_hand),
            ("observers not seen", self.unseen),
            ("peers not set on", self.not_set),
            ("nobody who can be told answered, asked from", self.unanswered),
        ):
            if items:
                parts.append(f"{label}: {listed(items, most=_SHOWN, total=len(items), last=', ')}")
        return "; ".join(parts)


def unverified(move: Move, state: Progress) -> Unverified:
    """List what the journal does not show to be right about a move. Raises `JournalError`."""
    facts = state.facts
    files, by_hand = read_table(facts, BOOT_FILES), read_table(facts, BY_HAND) or {}
    return Unverified(
        move.node,
        format_prefix(move.old),
        no_boot_file=Step.PERSIST in state.done and not files and not by_hand,
        by_hand=tuple(_places(BY_HAND, by_hand)),
        unseen=tuple(_places(UNSEEN, read_table(facts, UNSEEN) or {})),
        not_set=tuple(_places(NOT_SET, read_table(facts, NOT_SET) or {})),
        unanswered=tuple(_places(UNANSWERED, read_table(facts, UNANSWERED) or {})),
        kept_out=state.kept_out,
    )


def in_groups(items: Iterable[Unverified]) -> list[str]:
    """Return a sentence for each thing that is not verified, with all nodes of which it is said."""
    nodes: dict[str, list[str]] = {}
    for item in items:
        nodes.setdefault(item.in_words(), []).append(str(item.node))
    return [f"{listed(names, last=', ')}: {words}" for words, names in nodes.items()]


def sampled(states: Mapping[str, Progress]) -> str:
    """Return `20 of 4,999 observers were asked` for the move with the smallest share; "" where all were."""
    shares = [
        (int(asked), int(fleet))
        for state in states.values()
        for asked, fleet in [(state.facts.get(ASKED, ""), state.facts.get(FLEET, ""))]
        if asked.isdecimal() and fleet.isdecimal() and int(asked) < int(fleet)
    ]
    if not shares:
        return ""
    asked, fleet = min(shares, key=lambda share: share[0] / share[1])
    return f"{asked:,} of {fleet:,} observers were asked"
