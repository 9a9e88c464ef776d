"""Files of SQLite: one that is ours, whole and closed to others is opened, any other is refused and left as it is."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from auditor.disk.ownership import close_to_others, give_like
from auditor.errors import StateError
from auditor.state.refusals import refuse_others_hand, unusable
from auditor.state.schema_age import SchemaAge, schema_age

BUSY_TIMEOUT = 10.0
"""Seconds that a statement waits for another process's transaction."""


def make_file(path: Path) -> None:
    """Make an empty database with mode 0600 where there is none. Raises `StateError` and `OSError`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    close_file(path)
    if not path.exists():
        # Exclusive: where others can write the folder, no link that was put there meanwhile is followed.
        there = path.resolve() if path.is_symlink() else path
        with contextlib.suppress(FileExistsError):
            os.close(os.open(there, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o600))
            give_like(there, there.parent)


def close_file(path: Path) -> None:
    """Refuse a database in others' hands, and what SQLite keeps beside it. Raises `StateError` and `OSError`."""
    for file in (path, *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm", "-journal"))):
        refuse_others_hand(file)
        close_to_others(file)


def is_writable(path: Path) -> bool:
    """Tell whether a database can be written; one that cannot be read is tried, so that the error is told."""
    return os.access(path, os.W_OK) or not os.access(path, os.R_OK)


def connected(path: Path, *, writable: bool) -> sqlite3.Connection:
    """Connect to a database. Raises SQLite's errors."""
    mode = "rw"
    if not writable:
        log = path.with_name(f"{path.name}-wal")
        # SQLite makes a file beside a database with a log, which cannot be made here. Without a log nothing is missed.
        mode = "ro" if log.exists() and log.stat().st_size else "ro&immutable=1"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )


def checked(connection: sqlite3.Connection, path: Path) -> SchemaAge:
    """Refuse a database that is damaged or not ours. Raises `StateError` and SQLite's errors."""
    damage = " ".join(connection.execute("PRAGMA quick_check(1)").fetchone()[0].split())
    if damage != "ok":
        raise StateError(f"{path}: the state database is damaged ({damage}); move it away and keep it")
    return schema_age(connection, str(path))


def age_of_file(path: Path, *, writable: bool) -> SchemaAge:
    """Look at a database that is there, and change nothing. Raises `StateError`."""
    try:
        close_file(path)
        with contextlib.closing(connected(path, writable=writable)) as connection:
            return checked(connection, path)
    except (OSError, sqlite3.Error) as error:
        raise unusable(str(path), error) from None
