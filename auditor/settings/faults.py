"""The faults of a configuration file, in the words of TOML, each with its line."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from auditor.errors import ConfigFault
from auditor.settings.base import nearest_key
from auditor.settings.lines import Path, key_lines
from auditor.settings.secret import may_be_secret

_WORDS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "model_type": "must be a table",
    "path_type": "must be a path in quotes",
    "string_too_short": "must not be empty",
    "string_type": "must be text in quotes",
}
"""Kinds of pydantic's errors in the words of TOML; its own words are Python's."""
_FORMS = {
    "api": "must be an http or https URL without user, query and #",
    "device": "must be a device's name: 1 to 15 letters, digits and any of _ = + . -",
    "docs_url": "must be an http or https URL without a #",
    "mesh": "must begin with a letter or digit, and have at most 63 letters, digits and any of _ . -",
    "name": "must begin with a letter or digit, and have at most 63 letters, digits and any of _ . -",
    "workload_field": "must be the name of a value: a letter or _, then letters, digits, _ and -, 64 at most",
}
"""The form that a key's pattern asks for, by key."""


_AT = re.compile(r" \(at line (\d+), column (\d+)\)$| \(at end of document\)$")
"""Position in the text of tomllib's error, which has fields for it from Python 3.14 on."""


def syntax_fault(error: tomllib.TOMLDecodeError, text: str, file: str) -> ConfigFault:
    """The fault of text that is not TOML."""
    words = str(error)
    at = _AT.search(words)
    line = int(at[1]) if at and at[1] else text.count("\n") + 1
    column = int(at[2]) if at and at[2] else len(text) - text.rfind("\n")
    return ConfigFault(file, "", f"not valid TOML: {_AT.sub('', words)}", line, column)


def faults_of(error: ValidationError, root: type[BaseModel], file: str, text: str) -> tuple[ConfigFault, ...]:
    """All faults of a document, in the order of the file.

    `root`: the type that it should have. `text`: what it was read from, for the lines; empty: no lines.
    """
    found = error.errors(include_input=False, include_url=False, include_context=False)
    placed = [_place(item["loc"], root) for item in found]
    lines = key_lines(text, [place.path for place in placed]) if text else {}
    faults = [
        ConfigFault(file, dotted(place.path), _reason(item, place, root), lines.get(place.path))
        for item, place in zip(found, placed, strict=True)
    ]
    return tuple(sorted(dict.fromkeys(faults), key=lambda fault: fault.line or 0))


def known_keys(root: type[BaseModel]) -> tuple[str, ...]:
    """Every dotted key that a document may hold."""

    def walk(table: type[BaseModel], path: str) -> Iterator[str]:
        for name in table.model_fields:
            inner = tables_under(table, name)
            if not inner:
                yield f"{path}{name}"
            for found in inner:
                yield from walk(found, f"{path}{name}.")

    return tuple(dict.fromkeys(walk(root, "")))


def tables_under(table: type[BaseModel], key: str) -> list[type[BaseModel]]:
    """The tables that may stand under a key: one, the variants of a list's entries, or none."""
    field = table.model_fields.get(key)
    found: list[type[BaseModel]] = []
    pending: list[Any] = [field.annotation] if field is not None else []
    while pending:
        annotation = pending.pop(0)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        else:
            pending += get_args(annotation)
    return found


class _KeyPath(NamedTuple):
    path: Path
    tables: tuple[type[BaseModel], ...]
    """The table that the last key stands in; several, if it is an entry of which the kind is not known."""


def _place(location: Path, root: type[BaseModel]) -> _KeyPath:
    """Place of an error, without the variant of a notifier, which pydantic names and the file does not."""
    tables: list[type[BaseModel]] = [root]
    holders = tables
    path: list[int | str] = []
    for part in location:
        if isinstance(part, str):
            variants = [table for table in tables if _kind(table) == part]
            if variants and len(tables) > 1:
                tables = holders = variants
                continue
            holders = tables
            tables = [found for table in tables for found in tables_under(table, part)] or tables
        path.append(part)
    return _KeyPath(tuple(path), tuple(holders))


def _kind(table: type[BaseModel]) -> str | None:
    field = table.model_fields.get("type")
    return get_args(field.annotation)[0] if field is not None else None


def dotted(path: Path) -> str:
    """The path as TOML writes it, entries counted from one, as people do."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
            continue
        name = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part)
        text += f"{'.' if text else ''}{'…' if may_be_secret(part) else name}"
    return text


def _reason(error: ErrorDetails, place: _KeyPath, root: type[BaseModel]) -> str:
    """Reason of an error in the words of TOML, without the value."""
    last = place.path[-1] if place.path else ""
    match error["type"]:
        case "extra_forbidden":
            return f"unknown key{_nearest(str(last), place, root)}"
        case "union_tag_not_found" | "union_tag_invalid":
            kinds = ", ".join(str(_kind(table)) for table in tables_under(root, "notifiers"))
            return f"its type must be one of {kinds}"
        case "missing":
            return "is missing"
        case "tuple_type" if last in ("notifiers", "shared", "roaming", "witnesses"):
            return f"must be a list: write [[{last}]] above each entry"
        case "tuple_type":
            return "must be a list in [ ]"
        case "string_pattern_mismatch":
            return _FORMS.get(str(last), "is not in the form that docs/configuration.md gives")
        case kind if kind in _WORDS:
            return _WORDS[kind]
    return error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")


def _nearest(key: str, place: _KeyPath, root: type[BaseModel]) -> str:
    """The known name that was meant: one like it in the same table, or the same one in another."""
    (table, *_) = place.tables
    if close := nearest_key(key, table):
        return f"; did you mean {close}?"
    elsewhere = [
        known
        for known in known_keys(root)
        if known.rpartition(".")[2] == key and known.partition(".")[0] != place.path[0]
    ]
    if len(elsewhere) == 1:
        return f"; did you mean {elsewhere[0]}?"
    return f"; known here: {', '.join(sorted(table.model_fields))}"
