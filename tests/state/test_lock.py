"""The lock beside the state: one at a time, told who holds it, and free once its holder is gone."""

from __future__ import annotations

import os
import signal
import stat
import threading
from pathlib import Path

import pytest

from auditor.errors import StateBusy, StateError, UsageError
from auditor.state.lock import exclusive
from tests.state.processes import process

HOLDING = """
import signal, sys
from pathlib import Path
from auditor.state.lock import exclusive
with exclusive(Path(sys.argv[1]), 0):
    print("ready", flush=True)
    signal.pause()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is to be, in a folder that is not there yet."""
    return tmp_path / "state" / "wgaudit.db"


def test_a_second_one_is_told_who_holds_the_lock(path: Path) -> None:
    with process(HOLDING, path) as holder, pytest.raises(StateBusy) as caught, exclusive(path, 0):
        pass
    line = str(caught.value)
    assert f"process {holder.pid} on {os.uname().nodename}, since 20" in line
    assert line.startswith(f"{path}: another wgaudit is at work here")
    assert not isinstance(caught.value, UsageError | StateError), "neither the call nor the state is at fault"


def test_a_holder_that_is_killed_frees_the_lock(path: Path) -> None:
    with process(HOLDING, path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with exclusive(path, 0):
            pass


def test_one_who_waits_gets_the_lock_when_it_is_free(path: Path) -> None:
    entered = threading.Event()

    def wait() -> None:
        with exclusive(path, 60):
            entered.set()

    with process(HOLDING, path) as holder:
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not entered.is_set()
        holder.kill()
        waiting.join()
    assert entered.is_set()


def test_the_lock_can_be_held_again_after_it_was_let_go(path: Path) -> None:
    for _ in range(2):
        with exclusive(path, 0):
            pass


def test_the_lock_is_let_go_when_its_holder_fails(path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), exclusive(path, 0):
        raise ValueError("inside")
    with exclusive(path, 0):
        pass


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff\xfe"])
def test_a_holders_note_that_cannot_be_read_does_not_hide_that_the_lock_is_held(
    path: Path, note: bytes
) -> None:
    with exclusive(path, 0):
        path.with_name("wgaudit.db.holder").write_bytes(note)
        with pytest.raises(StateBusy, match="another wgaudit is at work here;"), exclusive(path, 0):
            pass


def test_the_lock_can_be_taken_by_its_owner_alone(path: Path) -> None:
    with exclusive(path, 0):
        mode = stat.S_IMODE(path.with_name("wgaudit.db.lock").stat().st_mode)
    assert mode == 0o600
