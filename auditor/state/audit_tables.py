"""Tables of audit in the state: sweeps, findings, registrations, operations, drained nodes, and who may tell people."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

from auditor.state.schema_age import VERSION_TABLE
from auditor.values.text import for_json, stored_time


class StoredText(TypeDecorator[object]):
    """Text in the order of its bytes on both databases: of a time as `stored_time` writes it, of a list its JSON.

    It is read as it is stored: what makes values of rows, `row_reader`, does so without this library, too.
    """

    impl = Text().with_variant(Text(collation="C"), "postgresql")
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Write a value."""
        match value:
            case None:
                return None
            case str():
                return for_json(value)
            case datetime():
                return stored_time(value)
        return json.dumps(value)


TEXT = StoredText()
NUMBER = BigInteger().with_variant(Integer(), "sqlite")
TABLES = MetaData()


def _keys(*names: str) -> list[Column[object]]:
    return [Column(name, TEXT, primary_key=True) for name in names]


def _texts(*names: str) -> list[Column[object]]:
    return [Column(name, TEXT, nullable=False) for name in names]


def _table(name: str, *columns: Column[Any] | Index, group: MetaData = TABLES) -> Table:
    """Describe a table. A number that is its key is never given twice, not even once its row is gone."""
    numbered = isinstance(columns[0], Column) and columns[0].type is NUMBER
    return Table(name, group, *columns, sqlite_strict=True, sqlite_autoincrement=numbered)


SWEEPS = _table(
    "history_sweeps",
    Column("number", NUMBER, primary_key=True),
    *_texts("started_at", "finished_at", "verdict"),
    Column("registered", NUMBER, nullable=False),
    Column("observed", NUMBER, nullable=False),
    *_texts("findings"),
    Column("gaps", NUMBER, nullable=False),
    Column("cut_short", TEXT),
    Column("content", TEXT),
    Index("history_sweeps_by_time", "finished_at"),
)
CONTENTS = _table("history_contents", *_keys("digest"), Column("body", LargeBinary, nullable=False))
FINDINGS = _table(
    "history_findings",
    *_keys("fingerprint"),
    *_texts("check_ident", "severity", "subject", "summary", "nodes"),
    Column("caused_by", TEXT),
    *_texts("first_seen", "last_seen"),
    Column("resolved_at", TEXT),
    Column("address", TEXT, nullable=False, server_default=""),
    Column("regions", TEXT, nullable=False, server_default="[]"),
    Index("history_findings_by_time", "last_seen"),
)
CHANGES = _table(
    "history_changes",
    Column("id", NUMBER, primary_key=True),
    *_texts("at"),
    Column("sweep", NUMBER),
    *_texts("fingerprint", "change", "severity", "nodes"),
    Index("history_changes_by_finding", "fingerprint", "id"),
    Index("history_changes_by_time", "at"),
)
OPERATIONS = _table(
    "history_operations",
    Column("id", NUMBER, primary_key=True),
    *_texts("kind", "at", "made_by", "reference", "path", "addresses", "nodes"),
    Column("ended_at", TEXT),
    *_texts("outcome"),
    Index("history_operations_by_time", "at"),
)
REGISTRATIONS = _table(
    "history_registrations",
    *_keys("datacenter", "node"),
    *_texts("body"),
    Column("missing_not_before", TEXT),
    Column("missing_not_after", TEXT),
    Column("gone", NUMBER),
)
REGISTRY_READS = _table("history_registry_reads", *_keys("datacenter"), *_texts("first_at", "last_began_at"))
REGISTRATION_CHANGES = _table(
    "history_registration_changes",
    Column("id", NUMBER, primary_key=True),
    *_texts("datacenter", "node", "kind"),
    Column("before", TEXT),
    Column("after", TEXT),
    *_texts("not_before", "not_after", "seen_by"),
    Column("consul_index", NUMBER),
    Column("sweep", NUMBER),
    Index("history_registration_changes_by_node", "datacenter", "node", "id"),
    Index("history_registration_changes_by_time", "not_after"),
)
DRAINED = _table(
    "history_drained", *_keys("datacenter", "name"), *_texts("since", "made_by", "how", "reason", "plan")
)
LEASE = _table(
    "state_lease",
    *_keys("name"),
    *_texts("holder"),
    Column("epoch", NUMBER, nullable=False),
    Column("until", DateTime(timezone=True).with_variant(Text(), "sqlite"), nullable=False),
)
"""Who of several auditors tells people, in which epoch, and until when; one row a name."""

AGE = MetaData()
VERSIONS = Table(VERSION_TABLE, AGE, Column("version_num", String(32), primary_key=True))
"""Revision of the schema, as alembic keeps it."""
PARTS = _table("parts", *_keys("part"), Column("version", NUMBER, nullable=False), group=AGE)
"""Versions by part, beyond the last ones: by these, programs from before the revisions refuse a file as newer."""
