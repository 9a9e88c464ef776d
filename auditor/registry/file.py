"""Registry in a file, in the form that `consul kv export` writes; reader and writer of that form."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from auditor.disk.bounded import read_bounded
from auditor.errors import ConfigError, GapReason, InvalidValue, RegistryError
from auditor.registry.records import KvItem, invalid, read_kv, reading_rules
from auditor.values.json_bounds import check_count, short_integer
from auditor.values.models import Gap, InvalidRegistration, NodeId, RegistryReading
from auditor.values.text import count

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from auditor.settings.consul import ConsulSettings

MAX_FILE = 64 * 1024 * 1024
"""Bytes of a file that is read at all: some 100,000 registrations."""


class FileRegistry:
    """Registry in a file: a list of `{"key", "flags", "value"}`, the value in base64.

    Also one entry after the other, as `jq '.[]'` prints them, and what `/v1/kv/PREFIX?recurse` answers: names with
    capitals, and with indexes. It holds one datacenter. Its nodes stand in the configured datacenter where that is
    exactly one, so that they are the same nodes as the server's; else in none.
    """

    def __init__(self, path: Path, settings: ConsulSettings, device: str = "wg0") -> None:
        """Check the layout; read nothing yet. Raises `ConfigError` for a layout that such a file cannot have.

        `device`: the audited device, whose record is read where a node has one for each of its devices.
        """
        if settings.layout == "catalog":
            raise ConfigError(
                "consul.layout: a kv export has no catalog; use kv-json or kv-fields with a file"
            )
        self._path = path
        self._layout: Literal["kv-json", "kv-fields"] = settings.layout
        self._settings = settings
        self._rules = reading_rules(settings, device)
        named = settings.datacenters
        self.datacenter = named[0] if len(named) == 1 and named[0] != "*" else ""
        """That of its nodes; "" where none or several are configured."""

    def expecting(self, datacenters: Collection[str]) -> FileRegistry:  # noqa: ARG002  (the protocol's)
        """Expect datacenters; see `interface.Registry`. A file knows of one datacenter, and expects no other."""
        return self

    async def read(self) -> RegistryReading:
        """Read the file once. A file that cannot be read whole is a gap, never an empty registry."""
        try:
            return await asyncio.to_thread(self._read)
        except RegistryError as error:
            gap = Gap("file", error.reason, error.detail, datacenter=self.datacenter or None)
            return RegistryReading(gaps=(gap,))

    def _read(self) -> RegistryReading:
        settings = self._settings
        entries, without_key = _export(self._path)
        if not entries:
            raise RegistryError(
                GapReason.REGISTRY_EMPTY, f"{self._path}: an empty list; export the prefix again"
            )
        items, odd = export_items(entries, settings.prefix, self.datacenter)
        if not items and not odd:
            detail = f"{self._path}: none of its {len(entries)} keys begins with {settings.prefix}"
            raise RegistryError(GapReason.PREFIX_NOT_FOUND, f"{detail}; check consul.prefix")
        reading = read_kv(self._layout, self.datacenter, settings.prefix, items, settings.fields, self._rules)
        if not reading.registrations and not reading.invalid and not odd:
            detail = f"{self._path}: no registration under {settings.prefix}; {reading.others.sentence}"
            raise RegistryError(GapReason.REGISTRY_EMPTY, detail)
        gaps: tuple[Gap, ...] = ()
        if without_key:
            entries_words = count(without_key, "entry", "entries")
            detail = f"{self._path}: {entries_words} without a key, or with a value that is no text"
            gap = Gap("file", GapReason.REGISTRY_UNREADABLE, detail, datacenter=self.datacenter or None)
            gaps = (gap,)
        return RegistryReading(reading.registrations, (*reading.invalid, *odd), gaps, reading.others)


def file_items(path: Path) -> list[KvItem]:
    """Read every key of an export with its value, whatever the prefix. Raises `RegistryError`."""
    return export_items(_export(path).entries, "", "")[0]


def export_text(records: Mapping[str, bytes]) -> str:
    """Write the text of `consul kv export` for these keys; `consul kv import` takes it."""
    entries = [
        {"key": key, "flags": 0, "value": base64.b64encode(value).decode()}
        for key, value in sorted(records.items())
    ]
    return json.dumps(entries, indent="\t", ensure_ascii=False) + "\n"


class ExportEntry(NamedTuple):
    """One entry of an export: a key and its value in base64."""

    key: str
    value: str
    flags: int
    session: bool
    create_index: int | None
    modify_index: int | None


class Export(NamedTuple):
    """Entries of a file, and the number of items that are none."""

    entries: list[ExportEntry]
    odd: int


def _export(path: Path) -> Export:
    """Read the entries of a `consul kv export` in any of its forms. Raises `RegistryError` where it is none."""
    return read_export(_raw(path), str(path))


def read_export(raw: bytes, name: str) -> Export:
    """Read the entries of an export's bytes. name: of its place, for a message. Raises `RegistryError`."""
    text = _text(raw, name)
    try:
        check_count(text.encode(errors="replace"))
    except InvalidValue as error:
        raise _no_export(name, str(error)) from None
    rows = _rows(text, name)
    entries = [entry for row in rows if (entry := _entry(row)) is not None]
    odd = len(rows) - len(entries)
    if odd and not entries:
        raise _no_export(name, _what_else(rows))
    return Export(entries, odd)


def _no_export(name: str, what: str) -> RegistryError:
    detail = f"{name}: {what}; write it with `consul kv export PREFIX`"
    return RegistryError(GapReason.REGISTRY_UNREADABLE, detail)


def _raw(path: Path) -> bytes:
    try:
        raw = read_bounded(path, MAX_FILE)
    except OSError as error:
        raise RegistryError(GapReason.REGISTRY_UNREADABLE, f"{path}: cannot read: {error.strerror}") from None
    return raw


def _text(raw: bytes, name: str) -> str:
    if len(raw) > MAX_FILE:
        raise RegistryError(GapReason.REGISTRY_UNREADABLE, f"{name}: larger than {MAX_FILE} bytes")
    if raw.startswith(b"\x1f\x8b"):
        raise _no_export(name, "gzip data, as `consul snapshot save` writes it, no export")
    try:
        # A Windows shell redirects into UTF-16, and puts a byte order mark before UTF-8.
        return raw.decode(json.detect_encoding(raw))  # with a mark or without, in UTF-8, UTF-16 or UTF-32
    except UnicodeDecodeError:
        raise _no_export(name, "not text in UTF-8, so not JSON") from None


def _rows(text: str, name: str) -> list[object]:
    """Read the entries of one list, of several, or one after the other as `jq '.[]'` prints them."""
    rows: list[object] = []
    place = _BLANKS.match(text).end()  # type: ignore[union-attr]  # it matches the empty text too
    try:
        while place < len(text):
            document, place = _DECODER.raw_decode(text, place)
            rows += document if isinstance(document, list) else [document]
            place = _BLANKS.match(text, place).end()  # type: ignore[union-attr]
    except json.JSONDecodeError as error:
        if not rows:
            what = "`consul kv get -recurse` prints that, not JSON" if _LISTING.match(text) else "not JSON"
            if text[error.pos :].strip() == "":
                what = "cut off, so not JSON"
            raise _no_export(name, what) from None
        raise _no_export(name, f"not JSON from character {error.pos} on: cut off, or edited") from None
    except InvalidValue as error:
        raise _no_export(name, f"not JSON that can be read: {error}") from None
    except (ValueError, RecursionError):
        raise _no_export(name, "not JSON that can be read: nested too deep") from None
    if not text.strip():
        raise _no_export(name, "empty, not JSON")
    return rows


_DECODER = json.JSONDecoder(parse_int=short_integer)
_BLANKS = re.compile(r"[\s,]*")
_LISTING = re.compile(r"\s*[^\s{}\[\]\":]+:")


def _entry(row: object) -> ExportEntry | None:
    """Read an entry with its parts named as by the command, or as by the HTTP API."""
    if not isinstance(row, dict):
        return None
    named = row if "key" in row else {_CAPITALS.get(name, name): value for name, value in row.items()}
    key, value = named.get("key"), named.get("value")
    if not isinstance(key, str) or not isinstance(value, str | None):
        return None
    indexes = (named.get(name) for name in ("create_index", "modify_index"))
    created, modified = (index if isinstance(index, int) else None for index in indexes)
    return ExportEntry(
        key, value or "", _flags(named.get("flags")), bool(named.get("session")), created, modified
    )


def _flags(value: object) -> int:
    """Read the flags of an entry, whatever a tool made of the number; 0 where they cannot be read.

    They only tell a lock from an invalid registration, so odd ones cost no registration.
    """
    try:
        return int(value) if isinstance(value, int | float | str) else 0
    except (ValueError, OverflowError):
        return 0


_CAPITALS = {
    "Key": "key",
    "Value": "value",
    "Flags": "flags",
    "Session": "session",
    "CreateIndex": "create_index",
    "ModifyIndex": "modify_index",
}


def _what_else(rows: Sequence[object]) -> str:
    """Name the kind of a JSON file that is no export."""
    first = rows[0]
    if isinstance(first, str):
        return "a list of texts, as `?keys` gives it, without values"
    if isinstance(first, dict) and {"Node", "Address"} <= first.keys():
        return "the catalog's nodes, no keys"
    if isinstance(first, dict) and not first.keys() & {"key", "Key", "value", "Value"}:
        return "an object without a key: a registration's value alone, perhaps"
    return (
        "not the list that `consul kv export` writes: an entry without a key, or with a value that is no text"
    )


def export_items(
    entries: Iterable[ExportEntry], prefix: str, datacenter: str
) -> tuple[list[KvItem], list[InvalidRegistration]]:
    """Read the keys under the prefix, and those whose entry is malformed: a file may be edited by hand."""
    items: dict[str, KvItem] = {}
    odd: list[InvalidRegistration] = []
    for entry in entries:
        key, raw = entry.key, entry.value.encode(errors="replace")
        if not key.startswith(prefix):
            continue
        node = NodeId(datacenter, key[len(prefix) :])
        try:
            value = base64.b64decode("".join(entry.value.split()), validate=True)  # tools wrap it
        except (binascii.Error, ValueError):
            odd.append(invalid(node, key, "the value is not base64", raw))
            continue
        if key not in items:
            items[key] = KvItem(
                key, value, entry.create_index, entry.modify_index, entry.flags, entry.session
            )
        elif items[key].value != value:
            odd.append(invalid(node, key, "the key stands twice in the file", raw))
    return list(items.values()), odd
