"""Lock beside the state: one process at a time tells people, and who holds it is told to the others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

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
        raise unusable(str(path), error) from None
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
