"""PURE: route table of a node as a value, and tables that differ in a few lines as one base and their differences."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from auditor.errors import InvalidValue
from auditor.values.addresses import is_mapped, parse_prefix

MOST_BASES = 4
"""Bases that tables are held as differences from."""
LEAST_SHARED = 2
"""A table that differs from a base in no more than one line of so many is held as the difference."""

_LINES = re.compile(rb"(?:[A-Za-z0-9+/]{43}=\t(?:[0-9a-f.:/]{1,50}|\(none\))\n)*+")
_PREFIX = re.compile(rb"\t([^\n]*)\n")


@dataclass(frozen=True, slots=True, eq=False)
class RouteTable:
    """Allowed-ips of a node as a value: the canonical text that all healthy nodes of a mesh share.

    One `key⇥prefix` (or `key⇥(none)`) a line, the device's own addresses included under its own key,
    sorted bytewise, no duplicates, each line ended by a newline.

    The text is held whole, or as the lines in which it differs from another one. Tables of the same text are
    equal, however they are held.
    """

    base: bytes
    """Text that may be shared with other tables."""
    without: tuple[bytes, ...] = ()
    """Lines of the base that this table has not, without newlines."""
    plus: tuple[bytes, ...] = ()
    """Lines that the base has not, without newlines."""

    @property
    def text(self) -> bytes:
        """Whole text. Made anew where the table is held as a difference."""
        if not self.without and not self.plus:
            return self.base
        return b"".join(line + b"\n" for line in self.lines())

    @property
    def digest(self) -> str:
        """Hash (sha256, hex) of the text, which a node sends in place of it."""
        return hashlib.sha256(self.text).hexdigest()

    def lines(self) -> list[bytes]:
        """Lines without their newlines, in order."""
        lines = self.base.splitlines()
        if not self.without and not self.plus:
            return lines
        left_out = frozenset(self.without)
        return sorted([*(line for line in lines if line not in left_out), *self.plus])

    def __eq__(self, other: object) -> bool:
        """Tell whether both have the same text."""
        if not isinstance(other, RouteTable):
            return NotImplemented
        if self.base == other.base:
            return set(self.without) == set(other.without) and set(self.plus) == set(other.plus)
        return self.text == other.text

    def __hash__(self) -> int:
        """Hash the text, as it is compared."""
        return hash(self.text)


class Bases:
    """Texts that other tables are held as differences from: the first one, and such as differ from it in much."""

    def __init__(self) -> None:
        self._lines: dict[bytes, frozenset[bytes]] = {}
        """By text of a base: its lines."""
        self._first: bytes | None = None
        self._spelled: dict[bytes, bytes] = {}

    def held(self, table: RouteTable) -> RouteTable:
        """Return the table as its difference from a base, or as it is where it has little in common with each."""
        if self._first is None:
            self._first = table.text
            return RouteTable(self._first)
        if table.base in self._lines:
            return table
        if not self._lines:
            self._lines[self._first] = frozenset(self._first.splitlines())
        lines = frozenset(table.lines())
        for base, known in self._lines.items():
            without, plus = known - lines, lines - known
            if (len(without) + len(plus)) * LEAST_SHARED <= len(known):
                return RouteTable(base, tuple(sorted(without)), self.shared(sorted(plus)))
        text = table.text
        if len(self._lines) < MOST_BASES:
            self._lines[text] = lines
        return RouteTable(text)

    def keep_only(self, tables: Iterable[RouteTable]) -> None:
        """Forget the bases and lines that none of these tables is held by."""
        kept = list(tables)
        used = {table.base for table in kept}
        self._lines = {base: lines for base, lines in self._lines.items() if base in used}
        if self._first not in used:
            self._first = kept[0].base if kept else None
        self._spelled = {line: line for table in kept for line in table.plus}

    def shared(self, lines: Iterable[bytes]) -> tuple[bytes, ...]:
        """Return the lines, each one object however many tables have it."""
        return tuple(self._spelled.setdefault(line, line) for line in lines)


def check_lines(texts: Iterable[bytes]) -> None:
    """Check that each line is one that a node's answer could have. Raises `InvalidValue`."""
    prefixes: set[bytes] = set()
    for text in texts:
        if not _LINES.fullmatch(text):
            raise InvalidValue("a route table has a line that no node sends")
        prefixes.update(_PREFIX.findall(text))
    for prefix in prefixes - {b"(none)"}:
        spelling = prefix.decode("ascii")
        if not is_mapped(spelling) and parse_prefix(spelling) != spelling:
            raise InvalidValue("a route table has a prefix that is not written canonically")
