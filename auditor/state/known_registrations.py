"""Reading of the journal of registrations: changes, newest forms, and what earlier sweeps read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from pydantic import TypeAdapter

from auditor.errors import StateError
from auditor.values.addresses import Prefix
from auditor.values.models import AddressWrite, LostRegistration, NodeId, Registration
from auditor.values.registration_changes import (
    ChangeSource,
    KnownRegistration,
    RegistrationChange,
    RegistrationChangeKind,
)

# Not `values`: they may hold anything that the registry's owners put there, secrets included.
_KEPT = (
    "public_key",
    "region",
    "endpoint",
    "ssh_host",
    "where",
    "create_index",
    "modify_index",
    "state",
    "retired",
    "all_addresses_read",
)
_REGISTRATION = TypeAdapter(Registration)


def body_of(registration: Registration) -> str:
    """Write a registration as the text that the journal keeps: the same text for the same registration."""
    body = {name: getattr(registration, name) for name in _KEPT}
    # ASCII, so that any name that Consul came up with can be stored.
    return json.dumps({"addresses": registration.addresses, **body})


def read_body(node: NodeId, body: str) -> Registration:
    """Read the text of `body_of`. Raises `StateError` for what none of ours wrote."""
    try:
        return _REGISTRATION.validate_python({**json.loads(body), "node": node})
    except (ValueError, TypeError):
        raise StateError(f"the history holds a registration of {node} that cannot be read") from None


def read_registration_changes(connection: sqlite3.Connection) -> Iterator[RegistrationChange]:
    """Read every change that is kept, oldest first, one at a time. Raises `StateError` for what none of ours wrote."""
    for row in connection.execute("SELECT * FROM history_registration_changes ORDER BY not_after, id"):
        yield _change(row)


def read_known_registrations(connection: sqlite3.Connection) -> Iterator[KnownRegistration]:
    """Read the newest form of each registration, by node, one at a time. Raises `StateError`."""
    rows = connection.execute(
        """
        SELECT known.datacenter, known.node, known.body, known.gone, change.*
        FROM history_registrations AS known
        LEFT JOIN history_registration_changes AS change ON change.id = known.gone
        ORDER BY known.datacenter, known.node
        """
    )
    for row in rows:
        node = NodeId(row[0], row[1])
        yield KnownRegistration(read_body(node, row[2]), None if row["id"] is None else _change_at(row, 4))


class RememberedRegistrations:
    """Registrations that earlier sweeps read, as texts: of thousands, only the lost ones are made values again."""

    def __init__(self, stored: Mapping[NodeId, tuple[str, str]]) -> None:
        """stored: text of each registration, and the time at which it was last read."""
        self._stored = stored

    def lost(self, present: Collection[NodeId], datacenters: Collection[str]) -> tuple[LostRegistration, ...]:
        """List those of nodes that are not present, in these datacenters, by node. Raises `StateError`."""
        return tuple(
            LostRegistration(read_body(node, body), datetime.fromisoformat(last_read))
            for node, (body, last_read) in sorted(self._stored.items())
            if node not in present and node.datacenter in datacenters
        )


def read_remembered_registrations(connection: sqlite3.Connection) -> RememberedRegistrations:
    """Read the newest form of each registration, of those that are gone too."""
    rows = connection.execute(
        """
        SELECT known.datacenter, node, body, coalesce(missing_not_before, last_began_at) AS last_read
        FROM history_registrations AS known JOIN history_registry_reads USING (datacenter)
        """
    )
    return RememberedRegistrations(
        {NodeId(row["datacenter"], row["node"]): (row["body"], row["last_read"]) for row in rows}
    )


def read_address_writes(
    connection: sqlite3.Connection, wanted: Mapping[NodeId, Collection[Prefix]]
) -> Iterator[AddressWrite]:
    """Read by which write each of these nodes got each of these addresses, as far as it is known. Raises `StateError`.

    One that was registered before the journal began got its addresses then, or before.
    """
    for node, prefixes in wanted.items():
        left = set(prefixes)
        place = (node.datacenter, fit_name(node.name))
        for row in connection.execute(
            "SELECT * FROM history_registration_changes WHERE datacenter = ? AND node = ? ORDER BY id DESC",
            place,
        ):
            change = _change(row)
            before = set(change.before.addresses) if change.before is not None else set()
            after = set(change.after.addresses) if change.after is not None else set()
            watched = change.seen_by is ChangeSource.WATCH
            for prefix in sorted(left & (after - before)):
                yield AddressWrite(node, prefix, change.not_after, watched, change.index if watched else None)
            # An address that this change took, or that it did not give, says nothing of an older one.
            left -= after ^ before
            if not left:
                break
        if left and (began := _registered_since(connection, place)) is not None:
            for prefix in sorted(left & set(began[0].addresses)):
                yield AddressWrite(node, prefix, began[1], to_the_moment=False)


def read_latest_writes(connection: sqlite3.Connection, most: int) -> Iterator[AddressWrite]:
    """Read the latest writes, at most so many changes back, by which nodes got addresses that they still hold.

    Only those that are known to the moment. Raises `StateError`.
    """
    passed: set[tuple[NodeId, Prefix]] = set()
    for row in connection.execute(
        "SELECT * FROM history_registration_changes ORDER BY id DESC LIMIT ?", (most,)
    ):
        change = _change(row)
        before = set(change.before.addresses) if change.before is not None else set()
        after = set(change.after.addresses) if change.after is not None else set()
        for prefix in sorted(after ^ before):
            if (change.node, prefix) in passed:
                continue
            passed.add((change.node, prefix))
            if prefix in after and change.seen_by is ChangeSource.WATCH:
                yield AddressWrite(change.node, prefix, change.not_after, True, change.index)


def _registered_since(
    connection: sqlite3.Connection, place: tuple[str, str]
) -> tuple[Registration, datetime] | None:
    """Read the newest form of a registration, and the first reading of its datacenter; None: it is not known."""
    row = connection.execute(
        """
        SELECT known.datacenter, node, body, first_at
        FROM history_registrations AS known JOIN history_registry_reads USING (datacenter)
        WHERE known.datacenter = ? AND node = ? AND gone IS NULL
        """,
        place,
    ).fetchone()
    if row is None:
        return None
    return read_body(NodeId(*place), row["body"]), datetime.fromisoformat(row["first_at"])


def fit_name(name: str) -> str:
    """Return a name as SQLite can store it: a lone surrogate is none of its characters."""
    return name.encode("utf-8", "backslashreplace").decode()


def read_journal_begin(connection: sqlite3.Connection) -> datetime | None:
    """Read the time of the first reading that is remembered; None: there is none."""
    found = connection.execute("SELECT min(first_at) FROM history_registry_reads").fetchone()[0]
    return None if found is None else datetime.fromisoformat(found)


def _change(row: sqlite3.Row) -> RegistrationChange:
    return _change_at(row, 0)


def _change_at(row: sqlite3.Row, first: int) -> RegistrationChange:
    """Make a change of the columns of its table, which begin at the `first`."""
    _, datacenter, name, kind, before, after, not_before, not_after, seen_by, index, sweep = tuple(row)[
        first : first + 11
    ]
    node = NodeId(datacenter, name)
    return RegistrationChange(
        node=node,
        kind=RegistrationChangeKind(kind),
        before=None if before is None else read_body(node, before),
        after=None if after is None else read_body(node, after),
        not_before=datetime.fromisoformat(not_before),
        not_after=datetime.fromisoformat(not_after),
        seen_by=ChangeSource(seen_by),
        index=index,
        sweep=sweep,
    )
