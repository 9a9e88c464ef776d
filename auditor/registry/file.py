"""Reads registrations from a file in the form that `consul kv export` writes, and writes that form."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from typing import TYPE_CHECKING, Literal

from auditor.errors import ConfigError, GapReason, RegistryError
from auditor.registry.records import KvItem, invalid, read_kv
from auditor.values.models import Gap, InvalidRegistration, NodeId, RegistryReading

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from auditor.settings.consul import ConsulSettings

MAX_FILE = 256 * 1024 * 1024
"""Bytes of a file that is read at all."""


class FileRegistry:
    """A registry in a file: a list of `{"key", "flags", "value"}`, the value in base64.

    It holds one datacenter and no indexes. Its nodes stand in the configured datacenter where that is
    exactly one, so that they are the same nodes as the server's; else in none.
    """

    def __init__(self, path: Path, settings: ConsulSettings) -> None:
        """Reads nothing yet. Raises `ConfigError` for a layout that such a file cannot have."""
        if settings.layout == "catalog":
            raise ConfigError(
                "consul.layout: a kv export has no catalog; use kv-json or kv-fields with a file"
            )
        self._path = path
        self._layout: Literal["kv-json", "kv-fields"] = settings.layout
        self._settings = settings
        named = settings.datacenters
        self._datacenter = named[0] if len(named) == 1 and named[0] != "*" else ""

    def expecting(self, datacenters: Collection[str]) -> FileRegistry:  # noqa: ARG002  (the protocol's)
        """See `interface.Registry`: a file knows of one datacenter, and expects no other."""
        return self

    async def read(self) -> RegistryReading:
        """Reads the file once. A file that cannot be read whole is a gap, never an empty registry."""
        try:
            return await asyncio.to_thread(self._read)
        except RegistryError as error:
            gap = Gap("file", error.reason, error.detail, datacenter=self._datacenter or None)
            return RegistryReading(gaps=(gap,))

    def _read(self) -> RegistryReading:
        settings = self._settings
        entries = _entries(self._path)
        if not entries:
            raise RegistryError(
                GapReason.REGISTRY_EMPTY, f"{self._path}: an empty list; export the prefix again"
            )
        items, odd = _items(entries, settings.prefix, self._datacenter)
        if not items and not odd:
            detail = f"{self._path}: none of its {len(entries)} keys begins with {settings.prefix}"
            raise RegistryError(GapReason.PREFIX_NOT_FOUND, f"{detail}; check consul.prefix")
        reading = read_kv(self._layout, self._datacenter, settings.prefix, items, settings.fields)
        if not reading.registrations and not reading.invalid and not odd:
            detail = f"{self._path}: no registration under {settings.prefix}, empty folders only"
            raise RegistryError(GapReason.REGISTRY_EMPTY, detail)
        return RegistryReading(reading.registrations, (*reading.invalid, *odd))


def export_text(records: Mapping[str, bytes]) -> str:
    """The text that `consul kv export` would write for these keys; `consul kv import` takes it."""
    entries = [
        {"key": key, "flags": 0, "value": base64.b64encode(value).decode()}
        for key, value in sorted(records.items())
    ]
    return json.dumps(entries, indent="\t", ensure_ascii=False) + "\n"


def _entries(path: Path) -> list[tuple[str, str]]:
    """Key and base64 value of each entry. Raises `RegistryError` where the file is no such export."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE + 1)
    except OSError as error:
        raise RegistryError(GapReason.REGISTRY_UNREADABLE, f"{path}: cannot read: {error.strerror}") from None
    if len(raw) > MAX_FILE:
        raise RegistryError(GapReason.REGISTRY_UNREADABLE, f"{path}: larger than {MAX_FILE} bytes")
    try:
        document = json.loads(raw.decode())
    except (ValueError, RecursionError):
        detail = f"{path}: not JSON; write it with `consul kv export`"
        raise RegistryError(GapReason.REGISTRY_UNREADABLE, detail) from None
    if not isinstance(document, list):
        detail = f"{path}: not the list that `consul kv export` writes"
        raise RegistryError(GapReason.REGISTRY_UNREADABLE, detail)
    entries: list[tuple[str, str]] = []
    for entry in document:
        key = entry.get("key") if isinstance(entry, dict) else None
        value = entry.get("value") if isinstance(entry, dict) else None
        if not isinstance(key, str) or not isinstance(value, str | None):
            detail = f"{path}: entry {len(entries)} has no key, or a value that is no text"
            raise RegistryError(GapReason.REGISTRY_UNREADABLE, detail)
        entries.append((key, value or ""))
    return entries


def _items(
    entries: list[tuple[str, str]], prefix: str, datacenter: str
) -> tuple[list[KvItem], list[InvalidRegistration]]:
    """The keys under the prefix, and those whose entry itself is off: a file may be edited by hand."""
    items: dict[str, KvItem] = {}
    odd: list[InvalidRegistration] = []
    for key, text in entries:
        if not key.startswith(prefix):
            continue
        node = NodeId(datacenter, key[len(prefix) :])
        if key in items:
            odd.append(invalid(node, key, "the key stands twice in the file", text.encode(errors="replace")))
            continue
        try:
            items[key] = KvItem(key, base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            odd.append(invalid(node, key, "the value is not base64", text.encode(errors="replace")))
    return list(items.values()), odd
