"""Reading of the journal of registrations: changes, newest forms, and what earlier sweeps read."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime

from pydantic import TypeAdapter

from auditor.errors import StateError
from auditor.values.addresses import Prefix
from auditor.values.models import AddressWrite, LostRegistration, NodeId, Registration
from auditor.values.registration_changes import ChangeSource, KnownRegistration, RegistrationChange
from auditor.values.stored_values import StoredRow, TableReader, read_time, row_reader
from auditor.values.text import for_json

# `values` may hold anything that the registry's owners put there, secrets included; the node has columns of its own.
_NOT_KEPT = ("node", "values")
_REGISTRATION, _CHANGE = TypeAdapter(Registration), row_reader(RegistrationChange, index="consul_index")


@dataclass(frozen=True, slots=True)
class RegistryReads:
    """Readings of one datacenter's registry that are taken down: begin of the first and of the last."""

    first_at: datetime
    last_began_at: datetime


reads_of = row_reader(RegistryReads)
REGISTRATIONS = "history_registrations"
READS = "history_registry_reads"
CHANGES = "history_registration_changes"


def body_of(registration: Registration) -> str:
    """Write a registration as the text that the journal keeps: the same text for the same registration."""
    body = {item.name: getattr(registration, item.name) for item in fields(Registration)}
    for name in _NOT_KEPT:
        del body[name]
    # ASCII, so that any name that Consul came up with can be stored.
    return json.dumps({"addresses": registration.addresses, **body})


def read_body(node: NodeId, body: str) -> Registration:
    """Read the text of `body_of`. Raises `StateError` for what none of ours wrote."""
    try:
        return _REGISTRATION.validate_python({**json.loads(body), "node": node})
    except (ValueError, TypeError):
        raise StateError(f"the history holds a registration of {node} that cannot be read") from None


def read_registration_changes(reader: TableReader) -> Iterator[RegistrationChange]:
    """Read every change of a registration, oldest first, one at a time. Raises `StateError`."""
    yield from map(_change, reader.rows_of(CHANGES, order=("not_after", "id")))


def read_known_registrations(reader: TableReader) -> Iterator[KnownRegistration]:
    """Read the newest form of each registration, by node, lost ones included, one at a time. Raises `StateError`."""
    for row in reader.rows_of(REGISTRATIONS, order=("datacenter", "node")):
        gone = reader.rows_of(CHANGES, {"id": row["gone"]}) if row["gone"] is not None else ()
        node = NodeId(row["datacenter"], row["node"])
        yield KnownRegistration(read_body(node, row["body"]), next(map(_change, gone), None))


class RememberedRegistrations:
    """Registrations that earlier sweeps read, as texts: of thousands, only the lost ones are made values again."""

    def __init__(self, stored: Mapping[NodeId, tuple[str, str]]) -> None:
        """stored: text of each registration, and the time at which it was last read."""
        self._stored = stored

    def lost(self, present: Collection[NodeId], datacenters: Collection[str]) -> tuple[LostRegistration, ...]:
        """List those of nodes that are not present, in these datacenters, by node. Raises `StateError`."""
        return tuple(
            LostRegistration(read_body(node, body), read_time(last_read))
            for node, (body, last_read) in sorted(self._stored.items())
            if node not in present and node.datacenter in datacenters
        )


def read_remembered_registrations(reader: TableReader) -> RememberedRegistrations:
    """Read what the registry said when it was last read, of those that are gone too. Raises `StateError`."""
    began = {row["datacenter"]: row["last_began_at"] for row in reader.rows_of(READS)}
    return RememberedRegistrations(
        {
            NodeId(row["datacenter"], row["node"]): (
                row["body"],
                row["missing_not_before"] or began[row["datacenter"]],
            )
            for row in reader.rows_of(REGISTRATIONS)
            if row["datacenter"] in began
        }
    )


def read_address_writes(
    reader: TableReader, wanted: Mapping[NodeId, Collection[Prefix]]
) -> tuple[AddressWrite, ...]:
    """Read by which write each of these nodes got each of these addresses, as far as it is known. Raises `StateError`.

    One that was registered before the journal began got its addresses then, or before.
    """
    return tuple(item for node, prefixes in wanted.items() for item in _writes_of(reader, node, prefixes))


def _writes_of(reader: TableReader, node: NodeId, prefixes: Collection[Prefix]) -> Iterator[AddressWrite]:
    left = set(prefixes)
    place = {"datacenter": node.datacenter, "node": for_json(node.name)}
    for row in reader.rows_of(CHANGES, place, order=("-id",)):
        change = _change(row)
        before, after = _addresses(change.before), _addresses(change.after)
        watched = change.seen_by is ChangeSource.WATCH
        for prefix in sorted(left & (after - before)):
            yield AddressWrite(node, prefix, change.not_after, watched, change.index if watched else None)
        # An address that this change took, or that it did not give, says nothing of an older one.
        left -= after ^ before
        if not left:
            return
    began = read_journal_begin(reader, node.datacenter)
    known = next(reader.rows_of(REGISTRATIONS, {**place, "gone": None}), None)
    if began is not None and known is not None:
        for prefix in sorted(left & _addresses(read_body(node, known["body"]))):
            yield AddressWrite(node, prefix, began, to_the_moment=False)


def read_latest_writes(reader: TableReader, most: int) -> tuple[AddressWrite, ...]:
    """Read the latest writes, at most so many changes back, by which nodes got addresses that they still hold.

    Only those that are known to the moment. Raises `StateError`.
    """
    passed: set[tuple[NodeId, Prefix]] = set()
    found: list[AddressWrite] = []
    for change in map(_change, reader.rows_of(CHANGES, order=("-id",), most=most)):
        after = _addresses(change.after)
        for prefix in sorted(after ^ _addresses(change.before)):
            if (change.node, prefix) in passed:
                continue
            passed.add((change.node, prefix))
            if prefix in after and change.seen_by is ChangeSource.WATCH:
                found.append(AddressWrite(change.node, prefix, change.not_after, True, change.index))
    return tuple(found)


def _addresses(registration: Registration | None) -> set[Prefix]:
    return set() if registration is None else set(registration.addresses)


def read_journal_begin(reader: TableReader, datacenter: str | None = None) -> datetime | None:
    """Read when registrations were first taken down, everywhere or in one datacenter; None: not yet.

    Raises `StateError`.
    """
    where = None if datacenter is None else {"datacenter": datacenter}
    return min((reads_of(row).first_at for row in reader.rows_of(READS, where)), default=None)


def _change(row: StoredRow) -> RegistrationChange:
    node = NodeId(row["datacenter"], row["node"])
    forms = {
        name: read_body(node, row[name]) if row[name] is not None else None for name in ("before", "after")
    }
    return _CHANGE({**row, **forms, "node": node})
