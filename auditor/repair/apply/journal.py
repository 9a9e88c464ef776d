"""Journal of an apply: each step on disk before it is made, so that a killed apply can be continued."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from auditor.disk.bounded import read_bounded
from auditor.disk.ownership import close_to_others, not_to_be_used
from auditor.errors import JournalError, StateBusy
from auditor.repair.apply.stages import INDEX, Entry, Event, Progress, after
from auditor.repair.moves import Step
from auditor.values.json_bounds import check_json
from auditor.values.text import for_detail

SCHEMA = "wgaudit.journal/1"
MAX_JOURNAL = 64 * 1024 * 1024
MAX_LINE = 4 * 1024 * 1024
_NUMBER = re.compile(r"[0-9]{1,20}")


class Journal:
    """A file of one JSON document a line, each flushed to the disk before the call returns.

    Holds the lock beside the file while it is open: two processes never carry out one plan at once.
    """

    def __init__(self, path: Path, plan: str) -> None:
        """Open or create the file (0600) and read its entries. Raises `JournalError` and `StateBusy`."""
        self.path = path
        self._plan = plan
        with contextlib.ExitStack() as stack:
            stack.enter_context(_locked(path))
            try:
                self._file = _opened(path)
                stack.callback(os.close, self._file)
                data = _content(self._file, path)
                self._entries, self._states = _read(data, path, plan)
                self._end = self._without_torn_line(data)
                _sync_folder(path.parent)
            except OSError as error:
                raise JournalError(f"cannot use the journal {path}: {error.strerror}") from None
            self._held = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @property
    def entries(self) -> Sequence[Entry]:
        """All entries, oldest first."""
        return self._entries

    def progress(self, move: str) -> Progress:
        """Return the progress of the move with this ident."""
        return self._states.get(move, Progress())

    def write(self, move: str, step: Step, event: Event, facts: Mapping[str, str] | None = None) -> None:
        """Add a line, and returns once it is on the disk. Raises `JournalError`; then the line is not there."""
        entry = Entry(self._plan, move, step, event, datetime.now(UTC), dict(facts or {}))
        state = after(self.progress(move), entry)
        line = _line(entry)
        try:
            try:
                written = os.write(self._file, line)
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, self._end)
                raise
            if written != len(line):
                os.ftruncate(self._file, self._end)
                raise JournalError(f"cannot write the journal {self.path}: the disk is full")
        except OSError as error:
            raise JournalError(f"cannot write the journal {self.path}: {error.strerror}") from None
        self._end += len(line)
        self._entries.append(entry)
        self._states[move] = state

    def _without_torn_line(self, data: bytes) -> int:
        """Cut off half a line that a kill left behind: its step has not happened. Returns the size."""
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.ftruncate(self._file, whole)
            os.fsync(self._file)
        return whole


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    beside = path.with_name(f"{path.name}.lock")
    lock = FileLock(beside, timeout=0, mode=0o600)
    try:
        _refuse_others_hand(beside)
        lock.acquire()
    except Timeout:
        raise StateBusy(f"{path}: another wgaudit carries out this plan; wait until it has ended") from None
    except OSError as error:
        raise JournalError(f"cannot lock the journal {path}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def _refuse_others_hand(path: Path) -> None:
    """Refuse what others may have put there, and take from others what a file of ours grants. Raises `OSError` too."""
    if reason := not_to_be_used(path):
        raise JournalError(
            f"{path}: not used: {reason}; nothing is changed on its word; keep plan and journal in a folder of your own"
        )
    close_to_others(path)


def _opened(path: Path) -> int:
    """Open the file for reading and appending. It is made 0600; a link, or no plain file, is refused."""
    _refuse_others_hand(path)
    handle = os.open(
        path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600
    )
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise JournalError(f"{path}: not a plain file")
    except BaseException:
        os.close(handle)
        raise
    return handle


def _content(handle: int, path: Path) -> bytes:
    size = os.fstat(handle).st_size
    if size > MAX_JOURNAL:
        raise JournalError(f"{path}: larger than {MAX_JOURNAL} bytes; is that a journal?")
    data = b""
    while len(data) < size:
        part = os.pread(handle, size - len(data), len(data))
        if not part:
            break
        data += part
    return data


def _read(data: bytes, path: Path, plan: str) -> tuple[list[Entry], dict[str, Progress]]:
    """The entries, and how far they say that each move has come. Raises `JournalError`."""
    *lines, torn = data.split(b"\n")
    opening = _opening(plan)
    if not torn.startswith(opening) and not opening.startswith(torn):
        raise JournalError(
            f"{path}: its end is no entry of this plan's journal; nothing is changed on its word"
        )
    entries: list[Entry] = []
    states: dict[str, Progress] = {}
    for number, line in enumerate(lines, 1):
        try:
            entry = _entry(line)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise JournalError(
                f"{path}: line {number} is no entry of a journal; nothing is changed on its word"
            ) from None
        if entry.plan != plan:
            raise JournalError(
                f"{path}: belongs to plan {for_detail(entry.plan[:40])}, not to {plan}; give each plan its own"
            )
        try:
            states[entry.move] = after(states.get(entry.move, Progress()), entry)
        except ValueError as error:
            raise JournalError(
                f"{path}: line {number} cannot follow those before it ({error}); was it edited?"
            ) from None
        entries.append(entry)
    return entries, states


def read_journal(path: Path) -> tuple[Entry, ...]:
    """Read the entries of any plan's journal, without its lock; a line that is just being written is left out.

    Raises `JournalError` with the file and the line that is no entry.
    """
    try:
        data = read_bounded(path, MAX_JOURNAL)
    except OSError as error:
        raise JournalError(f"cannot read the journal {path}: {error.strerror}") from None
    if len(data) > MAX_JOURNAL:
        raise JournalError(f"{path}: larger than {MAX_JOURNAL} bytes; is that a journal?")
    entries = []
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        try:
            entry = _entry(line)
            entries.append(replace(entry, at=entry.at.astimezone(UTC)))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise JournalError(f"{path}: line {number} is no entry of a journal") from None
    return tuple(entries)


def _opening(plan: str) -> bytes:
    """Beginning of each line in this plan's journal."""
    return json.dumps({"schema": SCHEMA, "plan": plan})[:-1].encode()


def _line(entry: Entry) -> bytes:
    document = {
        "schema": SCHEMA,
        "plan": entry.plan,
        "move": entry.move,
        "step": entry.step.value,
        "event": entry.event.value,
        "at": entry.at.isoformat(),
        "facts": dict(entry.facts),
    }
    return json.dumps(document).encode() + b"\n"


def _entry(line: bytes) -> Entry:
    if len(line) > MAX_LINE:
        raise ValueError("longer than any line of ours")
    check_json(line)
    document: Mapping[str, object] = json.loads(line)
    facts = document["facts"]
    at = document["at"]
    if document["schema"] != SCHEMA or not isinstance(facts, dict) or not isinstance(at, str):
        raise ValueError("another schema")
    index = facts.get(INDEX, "0")
    if not isinstance(index, str) or not _NUMBER.fullmatch(index):
        raise ValueError("an index that Consul does not have")
    return Entry(
        plan=str(document["plan"]),
        move=str(document["move"]),
        step=Step(str(document["step"])),
        event=Event(str(document["event"])),
        at=datetime.fromisoformat(at),
        facts={str(name): str(value) for name, value in facts.items()},
    )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
