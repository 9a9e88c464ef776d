"""Lock beside the state: one process at a time tells people, and who holds it is told to the others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel

from auditor.disk.ownership import close_to_others, give_like
from auditor.errors import StateBusy
from auditor.state.refusals import refuse_others_hand, unusable

LOCK_PAUSE = 0.1
"""Seconds between two tries for a lock that another process holds."""


class LockHolder(StrEnum):
    """Kind of a holder of the state's lock."""

    COMMAND = "command"
    """It ends soon: a sweep with alerts, for one."""
    WATCH = "watch"
    """It holds the lock for as long as it runs: nobody waits for it."""


class _HolderNote(BaseModel):
    kind: str = LockHolder.COMMAND
    """Not in notes of older versions."""
    pid: int
    host: str
    since: str


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
            if wait <= 0 or _held(holder)[0]:
                raise
            held.acquire(timeout=wait)
        give_like(lock, lock.parent)
    except Timeout:
        raise _busy(path, holder) from None
    except OSError as error:
        raise unusable(str(path), error) from None
    try:
        since = datetime.now(UTC).isoformat("T", "seconds")
        note = _HolderNote(kind=kind, pid=os.getpid(), host=socket.gethostname(), since=since)
        with contextlib.suppress(OSError):  # only a courtesy to those that wait
            flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
            with os.fdopen(os.open(holder, flags, 0o600), "w") as stream:
                stream.write(note.model_dump_json())
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
    by_watch, who = _held(holder)
    if by_watch:
        return StateBusy(
            f"{path}: a watch is at work here{who}, and tells of what it finds by itself; a sweep without "
            "--alert runs beside it; for anything else, stop the watch first",
            by_watch=True,
        )
    return StateBusy(f"{path}: another wgaudit is at work here{who}; --lock-wait SECONDS waits for it")


def _held(holder: Path) -> tuple[bool, str]:
    """Tell whether a watch holds the lock (a note of one that died is not the holder's), and who does, in words."""
    try:
        with holder.open("rb") as stream:
            note = _HolderNote.model_validate_json(stream.read(4096))
    except (OSError, ValueError):
        return False, ""  # the courtesy note is not there; the lock itself is what counts
    by_watch = note.kind == LockHolder.WATCH and (note.host != socket.gethostname() or _lives(note.pid))
    return by_watch, f" (process {note.pid} on {note.host[:64]}, since {note.since[:32]})"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # another user's
    return True
