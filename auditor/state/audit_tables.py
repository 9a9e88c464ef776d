"""Tables of audit in the state: sweeps, findings, registrations, operations, drained nodes, and who may tell people."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

from auditor.state.schema_age import VERSION_TABLE

TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""Text in the order of its bytes on both databases."""
NUMBER = BigInteger().with_variant(Integer(), "sqlite")
TABLES = MetaData()


def _text(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, TEXT, primary_key=key, nullable=False)


def _table(name: str, *columns: Column[Any] | Index, numbered: bool = False) -> Table:
    """numbered: a number is never given twice, not even once its row is gone."""
    return Table(name, TABLES, *columns, sqlite_strict=True, sqlite_autoincrement=numbered)


def _number(name: str, *, key: bool = False, needed: bool = False) -> Column[int]:
    return Column(name, NUMBER, primary_key=key, nullable=not (key or needed))


SWEEPS = _table(
    "history_sweeps",
    _number("number", key=True),
    _text("started_at"),
    _text("finished_at"),
    _text("verdict"),
    _number("registered", needed=True),
    _number("observed", needed=True),
    _text("findings"),
    _number("gaps", needed=True),
    Column("cut_short", TEXT),
    Column("content", TEXT),
    Index("history_sweeps_by_time", "finished_at"),
    numbered=True,
)
CONTENTS = _table("history_contents", _text("digest", key=True), Column("body", LargeBinary, nullable=False))
FINDINGS = _table(
    "history_findings",
    _text("fingerprint", key=True),
    _text("check_ident"),
    _text("severity"),
    _text("subject"),
    _text("summary"),
    _text("nodes"),
    Column("caused_by", TEXT),
    _text("first_seen"),
    _text("last_seen"),
    Column("resolved_at", TEXT),
    Column("address", TEXT, nullable=False, server_default=""),
    Column("regions", TEXT, nullable=False, server_default="[]"),
    Index("history_findings_by_time", "last_seen"),
)
CHANGES = _table(
    "history_changes",
    _number("id", key=True),
    _text("at"),
    _number("sweep"),
    _text("fingerprint"),
    _text("change"),
    _text("severity"),
    _text("nodes"),
    Index("history_changes_by_finding", "fingerprint", "id"),
    Index("history_changes_by_time", "at"),
    numbered=True,
)
OPERATIONS = _table(
    "history_operations",
    _number("id", key=True),
    _text("kind"),
    _text("at"),
    _text("made_by"),
    _text("reference"),
    _text("path"),
    _text("addresses"),
    _text("nodes"),
    Column("ended_at", TEXT),
    _text("outcome"),
    Index("history_operations_by_time", "at"),
    numbered=True,
)
REGISTRATIONS = _table(
    "history_registrations",
    _text("datacenter", key=True),
    _text("node", key=True),
    _text("body"),
    Column("missing_not_before", TEXT),
    Column("missing_not_after", TEXT),
    _number("gone"),
)
REGISTRY_READS = _table(
    "history_registry_reads", _text("datacenter", key=True), _text("first_at"), _text("last_began_at")
)
REGISTRATION_CHANGES = _table(
    "history_registration_changes",
    _number("id", key=True),
    _text("datacenter"),
    _text("node"),
    _text("kind"),
    Column("before", TEXT),
    Column("after", TEXT),
    _text("not_before"),
    _text("not_after"),
    _text("seen_by"),
    _number("consul_index"),
    _number("sweep"),
    Index("history_registration_changes_by_node", "datacenter", "node", "id"),
    Index("history_registration_changes_by_time", "not_after"),
    numbered=True,
)
DRAINED = _table(
    "history_drained",
    _text("datacenter", key=True),
    _text("name", key=True),
    _text("since"),
    _text("made_by"),
    _text("how"),
    _text("reason"),
    _text("plan"),
)
LEASE = _table(
    "state_lease",
    _text("name", key=True),
    _text("holder"),
    _number("epoch", needed=True),
    Column("until", DateTime(timezone=True).with_variant(Text(), "sqlite"), nullable=False),
)
"""Who of several auditors tells people, in which epoch, and until when; one row a name."""
AGE = MetaData()
VERSIONS = Table(VERSION_TABLE, AGE, Column("version_num", String(32), primary_key=True))
"""Revision of the schema, as alembic keeps it."""
PARTS = Table("parts", AGE, _text("part", key=True), _number("version", needed=True), sqlite_strict=True)
"""Versions by part, beyond the last ones: by these, programs from before the revisions refuse a file as newer."""
