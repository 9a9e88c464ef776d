"""State database and its lock: opened whole or refused in one clear line, never made anew over an old one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from auditor.disk.ownership import close_to_others, give_like, not_to_be_used
from auditor.errors import StateBusy, StateError

Connection = sqlite3.Connection
"""An opened state database, for those who hold one and speak no SQL."""

LOCK_PAUSE = 0.1
"""Seconds between two tries for a lock that another process holds."""

Migrations = Mapping[str, Sequence[str]]
"""Migrations by part (`history`, `alerts`): SQL scripts, the n-th of which takes the part from version n-1 to n."""


def open_state(path: Path, migrations: Migrations) -> sqlite3.Connection:
    """Open the database, mode 0600, and brings each part to its newest version.

    Raises `StateError` with file and reason: unreadable, read-only, in others' hands, no database, damaged, another
    program's, or written by a newer version of this program. Such a file is left as it is.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close_to_others(path)
        if not path.exists():
            # Exclusive: where others can write the folder, no link that was put there meanwhile is followed.
            there = path.resolve() if path.is_symlink() else path
            with contextlib.suppress(FileExistsError):
                os.close(os.open(there, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o600))
                give_like(there, there.parent)
        connection = sqlite3.connect(path, timeout=10.0)
    except (OSError, sqlite3.Error) as error:
        raise _state_error(path, error) from None
    try:
        _check(connection, path, migrations)
        # A commit must have reached the disk before a notification is reported as sent.
        connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
        )
        _migrate(connection, path, migrations)
    except sqlite3.Error as error:
        connection.close()
        raise _state_error(path, error) from None
    except BaseException:
        connection.close()
        raise
    return connection


def open_existing_state(path: Path, migrations: Migrations) -> sqlite3.Connection | None:
    """Open the database where there is one, as `open_state` does; else None, and nothing is created.

    Where nothing can be written, on a read-only mount for one, it is opened to be read. Raises `StateError`.
    """
    try:
        if not path.exists():
            return None
        readable, writable = os.access(path, os.R_OK), os.access(path, os.W_OK)
        if writable or not readable:
            return open_state(path, migrations)
        _close_to_others(path)
        return _opened_to_read(path, migrations)
    except (OSError, sqlite3.Error) as error:
        raise _state_error(path, error) from None


def connected_to_look(path: Path) -> Connection:
    """Connect to a database that this process holds opened and checked, to read it in another thread.

    Raises `StateError`.
    """
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
        connection.row_factory = sqlite3.Row
    except sqlite3.Error as error:
        raise _state_error(path, error) from None
    return connection


def state_in_memory(migrations: Migrations) -> Connection:
    """Make an empty state that no disk holds, and that ends with its connection."""
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    _migrate(connection, Path("memory"), migrations)
    return connection


def copied_to_memory(connection: Connection) -> Connection:
    """Copy a state into memory, without what a transaction under way has written. Raises `StateError`."""
    copy = sqlite3.connect(":memory:")
    copy.row_factory = sqlite3.Row
    try:
        with reported(connection):
            connection.rollback()
            connection.backup(copy)
    except BaseException:
        copy.close()
        raise
    return copy


def written_back(copy: Connection, connection: Connection) -> None:
    """Write a state in memory over an opened database, whole or not at all. Raises `StateError`."""
    with reported(connection):
        copy.backup(connection)


@dataclass(frozen=True, slots=True)
class StateCondition:
    """Condition of a state database, as far as a look tells that changes nothing."""

    writable: bool
    outdated: tuple[str, ...]
    """Parts that an older version wrote; the next one that writes brings them up to date."""


def inspect_state(path: Path, migrations: Migrations) -> StateCondition | None:
    """Look at the database without migrating it: whole, ours, and to be written; None where there is none.

    Raises `StateError` as `open_state` does, also where another process holds it for longer than a few seconds.
    """
    try:
        if not path.exists():
            return None
        _close_to_others(path)
        writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{_how(path, writable=writable)}", uri=True, timeout=5.0
        )
    except (OSError, sqlite3.Error) as error:
        raise _state_error(path, error) from None
    with contextlib.closing(connection):
        try:
            _check(connection, path, migrations)
            found = _versions(connection) if _tables(connection) else {}
            if writable:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise _state_error(path, error) from None
    outdated = (part for part, scripts in migrations.items() if found.get(part, 0) < len(scripts))
    return StateCondition(writable, tuple(outdated))


def _how(path: Path, *, writable: bool) -> str:
    """Return the mode in which SQLite opens an existing database."""
    if writable:
        return "mode=rw"
    log = path.with_name(f"{path.name}-wal")
    # SQLite makes a file beside a database with a log, which cannot be made here. Without a log nothing is missed.
    return "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"


def _tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is not None


def _opened_to_read(path: Path, migrations: Migrations) -> sqlite3.Connection:
    how = _how(path, writable=False)
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=10.0)
    try:
        _check(connection, path, migrations)
        found = _versions(connection)
        if any(found.get(part, 0) < len(scripts) for part, scripts in migrations.items()):
            raise StateError(
                f"{path}: written by an older wgaudit, and cannot be brought up to date: it is read-only here"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path, migrations: Migrations) -> None:
    """Refuse a database that is damaged or not ours. Raises `StateError` and SQLite's errors."""
    connection.row_factory = sqlite3.Row
    damage = " ".join(connection.execute("PRAGMA quick_check(1)").fetchone()[0].split())
    if damage != "ok":
        raise StateError(f"{path}: the state database is damaged ({damage}); move it away and keep it")
    _refuse_what_is_not_ours(connection, path, migrations)


def _close_to_others(path: Path) -> None:
    """Refuse a database in others' hands, and what SQLite keeps beside it. Raises `StateError` and `OSError`."""
    for file in (path, *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm", "-journal"))):
        refuse_others_hand(file)
        close_to_others(file)


def refuse_others_hand(path: Path) -> None:
    """Refuse a file of the state that others may have put there or can write. Raises `StateError` and `OSError`."""
    if reason := not_to_be_used(path):
        raise StateError(
            f"{path}: not used: {reason}; give state.path a folder of your own (mode 0700), or take that file away"
        )


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold one transaction, kept whole or not at all. Raises `StateError`, for a full disk too."""
    with reported(connection), connection:
        yield


@contextlib.contextmanager
def reported(connection: sqlite3.Connection) -> Iterator[None]:
    """Turn SQLite's errors into `StateError`s that name the file."""
    try:
        yield
    except sqlite3.Error as error:
        raise _state_error(_file_of(connection), error) from None


def _file_of(connection: sqlite3.Connection) -> Path:
    try:
        return Path(connection.execute("PRAGMA database_list").fetchone()[2])
    except sqlite3.Error:
        return Path("the state database")  # closed, or so broken that it cannot tell


def _refuse_what_is_not_ours(connection: sqlite3.Connection, path: Path, migrations: Migrations) -> None:
    """Raise `StateError` for another program's database and for a newer version's, before anything is written."""
    tables = {row["name"] for row in connection.execute("SELECT name FROM sqlite_schema")}
    if not tables:
        return
    if "parts" not in tables:
        raise StateError(f"{path}: a database of another program; point state.path at a file of its own")
    for part, version in connection.execute("SELECT part, version FROM parts"):
        known = len(migrations[part]) if part in migrations else version
        if version > known:
            whose = f"{part} version {version}, known are {known}"
            raise StateError(
                f"{path}: written by a newer wgaudit ({whose}); install that one, or point state.path elsewhere"
            )


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Migrations) -> None:
    # Python begins no transaction for the statements that make tables.
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        # Looked at again: another process may have been here since.
        _refuse_what_is_not_ours(connection, path, migrations)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS parts (part TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT"
        )
        found = _versions(connection)
        for part, scripts in migrations.items():
            for script in scripts[found.get(part, 0) :]:
                for statement in filter(None, map(str.strip, script.split(";"))):
                    connection.execute(statement)
            connection.execute("INSERT OR REPLACE INTO parts VALUES (?, ?)", (part, len(scripts)))


def _versions(connection: sqlite3.Connection) -> dict[str, int]:
    return {row["part"]: row["version"] for row in connection.execute("SELECT part, version FROM parts")}


def _state_error(path: Path, error: OSError | sqlite3.Error) -> StateError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return StateError(
        f"{path}: cannot use the state database: {reason}; see docs/alerts.md#the-state-database"
    )


class LockHolder(StrEnum):
    """Kind of a holder of the state's lock."""

    COMMAND = "command"
    """It ends soon: a sweep with alerts, for one."""
    WATCH = "watch"
    """It holds the lock for as long as it runs: nobody waits for it."""


@contextlib.contextmanager
def exclusive(path: Path, wait: float, kind: LockHolder = LockHolder.COMMAND) -> Iterator[None]:
    """Hold the lock beside the database, which ends with the process whatever becomes of it.

    Raises `StateBusy` after `wait` seconds, saying who holds it, or at once where a watch holds it; `StateError` if it
    cannot be made. kind: what others are told of this holder.
    """
    lock, holder = path.with_name(f"{path.name}.lock"), path.with_name(f"{path.name}.holder")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in (lock, holder):
            refuse_others_hand(file)
            close_to_others(file)
        held = FileLock(lock, mode=0o600)
        try:
            held.acquire(timeout=0)
        except Timeout:
            if wait <= 0 or _kind_of(holder) is LockHolder.WATCH:
                raise
            held.acquire(timeout=wait)
        give_like(lock, lock.parent)
    except Timeout:
        raise _busy(path, holder) from None
    except OSError as error:
        raise _state_error(path, error) from None
    try:
        who = {
            "kind": kind.value,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat("T", "seconds"),
        }
        with contextlib.suppress(OSError):  # only a courtesy to those that wait
            flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
            with os.fdopen(os.open(holder, flags, 0o600), "w") as stream:
                stream.write(json.dumps(who))
            give_like(holder, holder.parent)
        yield
    finally:
        held.release()


@contextlib.asynccontextmanager
async def exclusive_in_loop(
    path: Path, wait: float, kind: LockHolder = LockHolder.COMMAND
) -> AsyncIterator[None]:
    """Hold the lock as `exclusive` does, while the event loop goes on. Raises `StateBusy` and `StateError`.

    wait: seconds.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    with contextlib.ExitStack() as stack:
        while True:
            left = deadline - loop.time()
            try:
                stack.enter_context(exclusive(path, 0, kind))
            except StateBusy as busy:
                if left <= 0 or busy.by_watch:
                    raise
                await asyncio.sleep(min(LOCK_PAUSE, left))
            else:
                break
        yield


def _busy(path: Path, holder: Path) -> StateBusy:
    if _kind_of(holder) is LockHolder.WATCH:
        return StateBusy(
            f"{path}: a watch is at work here{_held_by(holder)}, and tells of what it finds by itself; a sweep without "
            "--alert runs beside it; for anything else, stop the watch first",
            by_watch=True,
        )
    return StateBusy(
        f"{path}: another wgaudit is at work here{_held_by(holder)}; --lock-wait SECONDS waits for it"
    )


def _held_by(holder: Path) -> str:
    try:
        who = _note(holder)
        return f" (process {int(who['pid'])} on {str(who['host'])[:64]}, since {str(who['since'])[:32]})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # the courtesy note is not there; the lock itself is what counts


def _kind_of(holder: Path) -> LockHolder:
    """Read what kind of holder the note names: a note of a watch that died is not the holder's."""
    try:
        who = _note(holder)
        if who["kind"] == LockHolder.WATCH and (
            who["host"] != socket.gethostname() or _lives(int(who["pid"]))
        ):
            return LockHolder.WATCH
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        pass  # as above; and the note of an older version names no kind
    return LockHolder.COMMAND


def _note(holder: Path) -> dict[str, Any]:
    with holder.open("rb") as stream:
        note: dict[str, Any] = json.loads(stream.read(4096))
    return note


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True
