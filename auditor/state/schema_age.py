"""Age of a database's schema, and whether the database is one of ours, found without the library for the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Protocol

from auditor.errors import StateError

NEWEST = "0001"
"""Revision of the schema that this version writes: the last of `revisions/`."""
VERSION_TABLE = "wgaudit_version"
"""Table that holds the revision of a database; a name of ours, for a database may have others' migrations in it."""
LAST_PARTS: Mapping[str, int] = {"history": 5, "alerts": 4}
"""Last versions of the parts, in the table `parts`, before revisions counted."""


class SchemaAge(Enum):
    """Age of a schema."""

    NOTHING_YET = auto()
    OLDER = auto()
    NEWEST = auto()


class DriverConnection(Protocol):
    """Connection of a database's driver, of sqlite3 or psycopg."""

    def execute(self, query: str, /) -> Any:
        """Execute a statement; what it returns can be fetched from."""
        ...


_TABLES = {
    "sqlite3": "SELECT name FROM sqlite_schema",
    "psycopg": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
}


def schema_age(connection: DriverConnection, name: str) -> SchemaAge:
    """Find the age of a database's schema. name: its place, for messages.

    Raises `StateError` for a newer version's database and for another program's, and the driver's errors.
    """
    driver = "sqlite3" if type(connection).__module__ == "sqlite3" else "psycopg"
    tables = {row[0] for row in connection.execute(_TABLES[driver]).fetchall()}
    if VERSION_TABLE in tables:
        written = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608
        versions = [row[0] for row in written.fetchall()]
        if len(versions) != 1 or not _is_revision(version := versions[0]):
            raise _foreign(name)
        if version > NEWEST:
            raise _newer(name, f"schema {version}, known is {NEWEST}")
        return SchemaAge.NEWEST if version == NEWEST else SchemaAge.OLDER
    if "parts" in tables and driver == "sqlite3":  # a server has had revisions from the first
        for part, version in connection.execute("SELECT part, version FROM parts").fetchall():
            if not isinstance(version, int):
                raise _foreign(name)
            if version > (known := LAST_PARTS.get(part, version)):
                raise _newer(name, f"{part} version {version}, known are {known}")
        return SchemaAge.OLDER
    if tables:
        raise _foreign(name)
    return SchemaAge.NOTHING_YET


def _is_revision(version: object) -> bool:
    return isinstance(version, str) and re.fullmatch(r"(?!0000)[0-9]{4}", version) is not None


def _foreign(name: str) -> StateError:
    return StateError(
        f"{name}: a database of another program; point state.path or state.url at one of its own"
    )


def _newer(name: str, which: str) -> StateError:
    return StateError(
        f"{name}: written by a newer wgaudit ({which}); install that one, or point state.path or state.url elsewhere"
    )
