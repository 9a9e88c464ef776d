"""PURE: keys whose prefixes vary between tables, and tables put together from a known base and such a key's prefixes.

The base of a table is its text with the lines of each varying key as one line, the key alone. It is known by its
sha256. A base is believed only where it was made here, of a text that came whole: a node that says another one is
asked for its text.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby

from auditor.values.route_table import RouteTable

FEW = 8
"""Distinct tables that come whole. Once these are there, nodes are asked for the base and the difference."""
IN_VAIN = 32
"""Unknown bases after which no more are asked for, if they are more than the known ones."""
MOST_VARYING = 1000
"""Keys that vary, at most; with more, every distinct table comes whole."""
MOST_CHANGES = 20_000
"""Prefixes of varying keys whose lines are kept at hand."""
LEAST_COMMON = 4
"""At most one key of so many may vary."""
_Change = tuple[tuple[bytes, ...], tuple[bytes, ...]] | tuple[()]
"""Lines that a table lacks of its base's text, and lines that it has beyond it; empty: neither."""
_get: Callable[[dict[tuple[bytes, ...], _Change], tuple[bytes, ...]], _Change | None] = dict.get
_KEY = slice(0, 44)
_END = slice(39, 43)
"""Last characters of a key before its `=`. Keys that end alike vary together, which does no harm. Not the first ones:
many keys were chosen for how they begin."""


class Varying:
    """Keys that vary, by their ends, and the bases of the tables that came whole. Grows by tables, never by keys."""

    def __init__(self, ends: Collection[str], tables: Iterable[RouteTable]) -> None:
        self.ends: tuple[str, ...] = tuple(sorted(ends))
        self._ends = frozenset(end.encode() for end in ends)
        self._unread = list(tables)
        self.number = len(self._unread)
        """Tables that were taken in."""
        self._bases: dict[str, _Base] = {}
        self._shapes: set[object] = set()

    def add(self, table: RouteTable) -> None:
        """Take in a table that came whole. Its base is made once somebody asks for one that is not known."""
        self._unread.append(table)
        self.number += 1

    def table(self, base: str, prefixes: Sequence[tuple[bytes, ...]]) -> RouteTable | None:
        """Put a table together, from the digest of its base and the prefixes of its varying keys, in order.

        None: no table that came whole has this base.
        """
        while base not in self._bases and self._unread:
            self._read(self._unread.pop())
        known = self._bases.get(base)
        return None if known is None or len(known.keys) != len(prefixes) else known.table(prefixes)

    def _read(self, table: RouteTable) -> None:
        shape = (
            id(table.base),
            tuple(line for line in table.without if line[_END] not in self._ends),
            tuple(line for line in table.plus if line[_END] not in self._ends),
        )
        lines = table.lines()
        keys = tuple(key for key, _ in groupby(line[_KEY] for line in lines if line[_END] in self._ends))
        if (shape, keys) not in self._shapes:
            self._shapes.add((shape, keys))
            digest = hashlib.sha256(_blanked(lines, self._ends)).hexdigest()
            self._bases[digest] = _Base(table, keys)


class _Base:
    """Base of tables: what they have in common, as a difference from the text that they are held by."""

    def __init__(self, table: RouteTable, keys: tuple[bytes, ...]) -> None:
        self.keys = keys
        """Varying keys, in the table's order."""
        self._text = table.base
        varying = frozenset(keys)
        self._without = tuple(line for line in table.without if line[_KEY] not in varying)
        self._plus = tuple(line for line in table.plus if line[_KEY] not in varying)
        self._held: dict[bytes, set[bytes]] = {key: set() for key in keys}
        for line in table.base.splitlines():
            if line[_KEY] in varying:
                self._held[line[_KEY]].add(line)
        self._changes: list[dict[tuple[bytes, ...], _Change]] = [{} for _ in keys]
        """By varying key: what its prefixes change in the text."""
        self._known = 0

    def table(self, prefixes: Sequence[tuple[bytes, ...]]) -> RouteTable:
        changes = list(map(_get, self._changes, prefixes))
        if None in changes:
            changes = [self._change(number, texts) for number, texts in enumerate(prefixes)]
        made = list(filter(None, changes))
        # In the table's order, as the keys are; what is not of a varying key has to be sorted in.
        without = [line for lines, _ in made for line in lines]
        plus = [line for _, lines in made for line in lines]
        return RouteTable(
            self._text,
            tuple(sorted([*self._without, *without]) if self._without else without),
            tuple(sorted([*self._plus, *plus]) if self._plus else plus),
        )

    def _change(self, number: int, texts: tuple[bytes, ...]) -> _Change:
        """List the lines that these prefixes of a varying key take from the text, and add to it; kept at hand."""
        change = self._changes[number].get(texts)
        if change is None:
            if self._known >= MOST_CHANGES:
                self._known = 0
                for each in self._changes:
                    each.clear()
            self._known += 1
            key = self.keys[number]
            held, lines = self._held[key], {b"%b\t%b" % (key, text) for text in texts}
            without, plus = tuple(sorted(held - lines)), tuple(sorted(lines - held))
            change = self._changes[number][texts] = (without, plus) if without or plus else ()
        return change


class Learning:
    """What is known of the keys that vary, from the tables that came whole."""

    def __init__(self) -> None:
        self._tables: list[RouteTable] = []
        self._times: Counter[bytes] = Counter()
        """By key: tables that came whole after the first few, and differ in it."""
        self._varying: Varying | None = None
        self.known = 0
        """Tables of a known base."""
        self.unknown = 0
        """Tables that had to come whole although their base was asked for."""

    @property
    def varying(self) -> Varying | None:
        """Keys that vary. None: not known yet, too many, or asked for in vain."""
        return None if self.unknown > max(IN_VAIN, self.known) else self._varying

    @property
    def number(self) -> int:
        """Distinct tables that came whole."""
        return len(self._tables)

    def add(self, table: RouteTable) -> None:
        """Take in a distinct table that came whole."""
        self._tables.append(table)
        if len(self._tables) == FEW:
            self._vary(_differing(self._tables))
        elif self._varying is not None:
            # A key that one table alone has otherwise is that table's own matter.
            self._times.update(_differing([table]))
            known = frozenset(self._varying.ends)
            again = {key for key, times in self._times.items() if times > 1} if self._times else set()
            if {_end(key) for key in again} <= known:
                self._varying.add(table)
            else:
                self._vary(again, known)

    def keep_only(self, tables: Collection[RouteTable]) -> None:
        """Forget the tables that came whole and are not among these, with what was known by them alone.

        Where no more than a few are left, keys have to vary anew.
        """
        kept = {id(table) for table in tables}
        before, self._tables = len(self._tables), [table for table in self._tables if id(table) in kept]
        if len(self._tables) == before:
            return
        if len(self._tables) < FEW:
            self._varying = None
            self._times.clear()
            self.known = self.unknown = 0
        elif self._varying is not None and self._varying.number > 2 * len(self._tables):
            self._times = Counter(key for table in self._tables for key in _differing([table]))
            self._varying = None
            self._vary({key for key, times in self._times.items() if times > 1})

    def _vary(self, keys: Iterable[bytes], known: frozenset[str] = frozenset()) -> None:
        ends = known | {_end(key) for key in keys}
        most = min(MOST_VARYING, self._tables[0].base.count(b"\n") // LEAST_COMMON)
        if ends and len(ends) <= most:
            self._varying = Varying(ends, self._tables)
        elif self._varying is not None:
            self._varying.add(self._tables[-1])


def _differing(tables: Iterable[RouteTable]) -> set[bytes]:
    return {line[_KEY] for table in tables for part in (table.without, table.plus) for line in part}


def _end(key: bytes) -> str:
    return key[_END].decode("ascii")


def _blanked(lines: Iterable[bytes], ends: Collection[bytes]) -> bytes:
    """Make the base's text, as the probe makes it."""
    text = []
    last = b""
    for line in lines:
        if line[_END] not in ends:
            text.append(line)
        elif line[_KEY] != last:
            last = line[_KEY]
            text.append(last)
    return b"".join(line + b"\n" for line in text)
