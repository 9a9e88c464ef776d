"""PURE: one address in a registration's JSON replaced by another; every other byte of the record stays as it is."""

from __future__ import annotations

import json
import re

from auditor.errors import InvalidValue
from auditor.values.addresses import Prefix, format_prefix, parse_prefix

_BLANKS = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def replace_address(record: bytes, path: str, old: Prefix, new: Prefix) -> bytes:
    """The record with `new` where `old` stands at the dotted `path`: as text, or as items of a list of texts.

    The form that stood there is kept, with its length or without. Raises `InvalidValue` where it does not stand.
    """
    try:
        text = record.decode()
        start, end = _span(text, path.split("."))
        changed = _changed(text, start, end, old, new)
    except (UnicodeDecodeError, ValueError, IndexError, RecursionError):
        raise InvalidValue(f"{format_prefix(old)} does not stand in {path}") from None
    return changed.encode()


def _changed(text: str, start: int, end: int, old: Prefix, new: Prefix) -> str:
    spans = _items(text, start) if text[start] == "[" else [(start, end)]
    found = [span for span in spans if _is(text[slice(*span)], old)]
    if not found:
        raise ValueError("not there")
    for first, last in reversed(found):
        form = new if "/" in json.loads(text[first:last]) else format_prefix(new)
        text = text[:first] + json.dumps(form) + text[last:]
    return text


def _is(value: str, prefix: Prefix) -> bool:
    address = json.loads(value)
    try:
        return isinstance(address, str) and parse_prefix(address) == prefix
    except InvalidValue:
        return False


def _span(text: str, path: list[str]) -> tuple[int, int]:
    """Find beginning and end of the value at a path of names. Raises `ValueError`."""
    at = _skip(text, 0)
    for name in path:
        at = _value_of(text, at, name)
    return at, _DECODER.raw_decode(text, at)[1]


def _value_of(text: str, at: int, wanted: str) -> int:
    """Find the beginning of a name's value, in the object that begins at `at`. Raises `ValueError`."""
    if text[at] != "{":
        raise ValueError("no object")
    at = _skip(text, at + 1)
    while text[at] == '"':
        name, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)  # past the colon
        if name == wanted:
            return at
        at = _skip(text, _DECODER.raw_decode(text, at)[1])
        at = _skip(text, at + 1)  # past the comma, or the end
    raise ValueError("no such name")


def _items(text: str, at: int) -> list[tuple[int, int]]:
    """Find the place of each item of the list that begins at `at`."""
    spans: list[tuple[int, int]] = []
    at = _skip(text, at + 1)
    while text[at] != "]":
        end = _DECODER.raw_decode(text, at)[1]
        spans.append((at, end))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return spans


def _skip(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at
