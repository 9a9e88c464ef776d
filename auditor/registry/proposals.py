"""PURE: reader of records that are to be written: one by itself, or the entries of an export."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from auditor.registry.file import ExportEntry, export_items, read_export
from auditor.registry.records import KvItem, ReadingRules, read_kv
from auditor.settings.consul import ConsulSettings
from auditor.values.models import InvalidRegistration, NodeId, Registration, RegistryReading

MOST_OF_ONE_KEY = 2
"""Entries of one key that are read: the second one says that it stands there twice."""


class ProposedRecord(NamedTuple):
    """Record of one node: what can be read of it, and what cannot."""

    node: NodeId
    where: str
    registration: Registration | None
    unreadable: tuple[InvalidRegistration, ...] = ()


class ProposedRecords(NamedTuple):
    """Records of one input, and the number of its keys that are none."""

    records: tuple[ProposedRecord, ...]
    passed_over: int = 0
    """Keys outside the prefix, and those that are no registration: locks, folders, ignored ones."""


def proposed_record(
    raw: bytes, key: str, settings: ConsulSettings, rules: ReadingRules, datacenter: str
) -> ProposedRecords:
    """Read one record's JSON as it would stand at `key`, which begins with the prefix."""
    reading = read_kv("kv-json", datacenter, settings.prefix, [KvItem(key, raw)], settings.fields, rules)
    return ProposedRecords(tuple(_paired(reading)), reading.others.total)


def proposed_entries(
    raw: bytes, name: str, settings: ConsulSettings, rules: ReadingRules, datacenter: str
) -> tuple[ProposedRecords, int]:
    """Read the entries of `consul kv export`, or of the HTTP API; return also the number of those that are none.

    name: of the input, for a message. A key that stands there twice gives two records. Raises `RegistryError`.
    """
    export = read_export(raw, name)
    seen: Counter[str] = Counter()
    batches: list[list[ExportEntry]] = [[] for _ in range(MOST_OF_ONE_KEY)]
    elsewhere = 0
    for entry in export.entries:
        if not entry.key.startswith(settings.prefix):
            elsewhere += 1
        elif seen[entry.key] < MOST_OF_ONE_KEY:
            batches[seen[entry.key]].append(entry)
            seen[entry.key] += 1
    layout: Literal["kv-json", "kv-fields"] = "kv-fields" if settings.layout == "kv-fields" else "kv-json"
    records: list[ProposedRecord] = []
    for batch in batches:
        items, odd = export_items(batch, settings.prefix, datacenter)
        reading = read_kv(layout, datacenter, settings.prefix, items, settings.fields, rules)
        records += _paired(reading, odd)
        elsewhere += reading.others.total
    return ProposedRecords(tuple(records), elsewhere), export.odd


def _paired(reading: RegistryReading, odd: Sequence[InvalidRegistration] = ()) -> Iterable[ProposedRecord]:
    """Put each registration together with what could not be read of it."""
    unreadable: dict[tuple[NodeId, str], list[InvalidRegistration]] = defaultdict(list)
    for item in (*reading.invalid, *odd):
        unreadable[item.node, item.where].append(item)
    for registration in reading.registrations:
        found = unreadable.pop((registration.node, registration.where), [])
        yield ProposedRecord(registration.node, registration.where, registration, tuple(found))
    for (node, where), found in unreadable.items():
        yield ProposedRecord(node, where, None, tuple(found))
