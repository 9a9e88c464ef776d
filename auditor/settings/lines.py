"""PURE: the lines of keys in a TOML file, which Python's reader does not tell."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator

Path = tuple[int | str, ...]
"""Keys and numbers of entries (from zero) that lead to a value in a document."""


def key_lines(text: str, paths: Iterable[Path]) -> dict[Path, int]:
    """The line of each path's key, table header or list entry, counted from one.

    For a path that is not there, such as a missing key's, the line of the table that it should stand in. `text`
    is valid TOML. Each statement is read by `tomllib` alone, so that what a key is stays in one place.
    """
    wanted = tuple(paths)
    known: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, lines in _statements(text):
        statement = tomllib.loads("\n".join(lines))
        if lines[0].lstrip(" \t").startswith("["):
            table = _entered(statement, counts)
            found: Iterable[Path] = (table[:length] for length in range(1, len(table) + 1))
        else:
            found = [table + path for path in _below(statement)]
        for path in found:
            known.setdefault(path, number)
        if len(lines) > 1:
            listed = table + _value(statement)[0]
            asked = {path: path[len(listed)] for path in wanted if path[: len(listed)] == listed != path}
            offsets = _entry_offsets(lines) if asked else []
            for path, entry in asked.items():
                if isinstance(entry, int) and entry < len(offsets):
                    known[path] = number + offsets[entry]
    return {path: line for path in wanted if (line := _nearest_line(known, path)) is not None}


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each header, key with its value, and line without either: its first line's number, and its lines."""
    first, lines = 1, list[str]()
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        lines.append(line)
        # A statement goes on over lines within a list or a long text, and ends in a line with their end.
        if len(lines) > 1 and not any(end in line for end in ("]", "}", '"""', "'''")):
            continue
        try:
            tomllib.loads("\n".join(lines))
        except tomllib.TOMLDecodeError:
            continue
        yield first, lines
        first, lines = number + 1, []


def _entered(header: dict[str, object], counts: dict[Path, int]) -> Path:
    """The table that a header opens, with the number of each list's last entry. `counts`: entries by list."""
    path: Path = ()
    inner: object = header
    while isinstance(inner, dict) and inner:
        ((key, inner),) = inner.items()
        path += (key,)
        if isinstance(inner, list):
            counts[path] = counts.get(path, 0) + 1
            (inner,) = inner
        if path in counts:
            path += (counts[path] - 1,)
    return path


def _below(value: object) -> Iterator[Path]:
    """Every path in a value."""
    inside: Iterable[tuple[int | str, object]] = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for part, inner in inside:
        yield (part,)
        yield from ((part, *path) for path in _below(inner))


def _value(statement: dict[str, object]) -> tuple[Path, object]:
    """A statement's key, parted at its dots, and its value."""
    path: Path = ()
    value: object = statement
    while isinstance(value, dict) and len(value) == 1:
        ((key, value),) = value.items()
        path += (key,)
    return path, value


def _entry_offsets(lines: list[str]) -> list[int]:
    """How many lines below its first one each entry of a statement's list ends, as far as that can be told."""
    offsets: list[int] = []
    waiting = lines[:1]
    for offset in range(len(lines)):
        # Cut where an entry ends: what stands before is a list by itself once it is closed.
        closed = [*waiting, *("]" for _ in lines[offset + 1 : offset + 2])]
        try:
            _, value = _value(tomllib.loads("\n".join(closed)))
        except tomllib.TOMLDecodeError:
            pass  # within an entry: the next line goes on with it
        else:
            offsets += [offset] * (len(value) if isinstance(value, list) else 0)
            waiting = ["_ = ["]
        waiting += lines[offset + 1 : offset + 2]
    return offsets


def _nearest_line(known: dict[Path, int], path: Path) -> int | None:
    return next((known[path[:length]] for length in range(len(path), 0, -1) if path[:length] in known), None)
