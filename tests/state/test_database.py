"""The state database and its lock: opened whole or refused in one line, and never made anew over an old one."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from auditor.state.database import StateCondition, exclusive, inspect_state, open_state, transaction

from auditor.errors import StateBusy, StateError, UsageError
from tests.parts.mounts import run_on_own_disk

FIRST = "CREATE TABLE words (word TEXT PRIMARY KEY) STRICT; CREATE TABLE other (n INTEGER) STRICT;"
SECOND = "ALTER TABLE words ADD COLUMN count INTEGER NOT NULL DEFAULT 1"
PARTS = {"words": (FIRST,)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is to be, in a folder that is not there yet."""
    return tmp_path / "state" / "wgaudit.db"


def made(path: Path, rows: int = 0) -> Path:
    """A database with so many words in it, closed."""
    with closing(open_state(path, PARTS)) as connection, transaction(connection):
        connection.executemany("INSERT INTO words VALUES (?)", [(f"word {n:06}" * 9,) for n in range(rows)])
    return path


def words(connection: sqlite3.Connection) -> list[str]:
    """What is in it."""
    return [row["word"] for row in connection.execute("SELECT word FROM words ORDER BY word")]


def refusal(path: Path) -> str:
    """The one line that opening it ends with; the file is left as it was."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StateError) as caught:
        open_state(path, PARTS)
    assert (path.read_bytes() if path.is_file() else None) == before
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


def noise(size: int) -> bytes:
    """So many bytes that mean nothing, the same each time."""
    return hashlib.shake_128(b"noise").digest(size)


# -- opening


def test_a_fresh_database_is_readable_by_its_owner_alone(path: Path) -> None:
    """So are the two files that SQLite puts beside it."""
    with closing(open_state(path, PARTS)) as connection, transaction(connection):
        connection.execute("INSERT INTO words VALUES ('hello')")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"wgaudit.db": 0o600, "wgaudit.db-wal": 0o600, "wgaudit.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_was_committed_is_there_when_it_is_opened_again(path: Path) -> None:
    made(path, rows=3)
    with closing(open_state(path, PARTS)) as connection:
        assert len(words(connection)) == 3


def test_a_commit_has_reached_the_disk(path: Path) -> None:
    """Full synchronous writes: else a crash of the machine forgets what was sent."""
    with closing(open_state(path, PARTS)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_an_older_database_is_brought_up_to_date_and_keeps_what_it_holds(path: Path) -> None:
    made(path, rows=2)
    with closing(open_state(path, {"words": (FIRST, SECOND), "more": ("CREATE TABLE m (x TEXT)",)})) as newer:
        assert [row["count"] for row in newer.execute("SELECT count FROM words")] == [1, 1]
        versions = dict(newer.execute("SELECT part, version FROM parts").fetchall())
    assert versions == {"words": 2, "more": 1}


def test_a_migration_that_fails_leaves_the_old_version_whole(path: Path) -> None:
    made(path, rows=2)
    broken = {"words": (FIRST, f"{SECOND}; CREATE TABLE words (again TEXT)")}
    with pytest.raises(StateError, match="already exists"):
        open_state(path, broken)
    with closing(open_state(path, PARTS)) as connection:
        assert [row["name"] for row in connection.execute("PRAGMA table_info(words)")] == ["word"]
        assert len(words(connection)) == 2


def test_a_newer_version_is_refused_and_left_byte_for_byte_as_it_was(path: Path) -> None:
    with closing(open_state(path, {"words": (FIRST, SECOND)})):
        pass
    line = refusal(path)
    assert "written by a newer wgaudit (words version 2, known are 1)" in line
    assert [file.name for file in path.parent.iterdir()] == ["wgaudit.db"]


def test_another_programs_database_is_refused_and_left_as_it_was(path: Path) -> None:
    """A mistyped state.path must not put our tables into somebody's bookmarks."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    assert "another program" in refusal(path)


# -- files that are no database any more


@pytest.mark.parametrize("size", [16, 100, 5000, 100_000])
def test_random_bytes_are_refused(path: Path, size: int) -> None:
    path.parent.mkdir()
    path.write_bytes(noise(size))
    assert "not a database" in refusal(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_database_that_was_cut_off_is_refused(path: Path, share: float) -> None:
    """As after a copy that ran out of space."""
    whole = made(path, rows=2000).read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    line = refusal(path)
    assert "malformed" in line or "damaged" in line or "not a database" in line


@pytest.mark.parametrize("page", [0, 1, 2, 5, 20])
def test_a_database_with_an_overwritten_page_is_refused(path: Path, page: int) -> None:
    content = bytearray(made(path, rows=2000).read_bytes())
    content[page * 4096 : (page + 1) * 4096] = noise(4096)
    path.write_bytes(content)
    line = refusal(path)
    assert "malformed" in line or "damaged" in line or "not a database" in line


def test_damage_between_two_openings_is_told_by_the_one_who_meets_it(path: Path) -> None:
    made(path, rows=2000)
    with closing(open_state(path, PARTS)) as connection:
        with path.open("r+b") as stream:
            stream.seek(4096)
            stream.write(b"\xff" * (path.stat().st_size - 4096))
        connection.execute("PRAGMA shrink_memory")  # what it read before is not to be trusted
        with pytest.raises(StateError, match=f"{path}: .*malformed"), transaction(connection):
            words(connection)


# -- places where no database can be


def test_a_folder_in_the_databases_place_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    assert "not used: it is no plain file" in refusal(path)


def test_a_file_in_the_folders_place_is_told(path: Path) -> None:
    path.parent.write_text("not a folder")
    refusal(path)
    with pytest.raises(StateError, match=str(path)), exclusive(path, 0):
        pass


PROGRAM = """
from auditor.errors import StateError
from auditor.state.database import exclusive, open_state, transaction
PATH = DISK / "state" / "wgaudit.db"
PARTS = {"words": ("CREATE TABLE words (word TEXT) STRICT",)}
def attempt(act):
    try:
        act()
        print("done")
    except StateError as error:
        print(error)
def lock():
    with exclusive(PATH, 0):
        pass
def add(connection, size):
    with transaction(connection):
        connection.execute("INSERT INTO words VALUES (?)", ("x" * size,))
def count(connection):
    print("words", connection.execute("SELECT count(*) FROM words").fetchone()[0])
"""


def test_a_read_only_folder_is_told_for_an_old_and_for_a_new_database(tmp_path: Path) -> None:
    program = """
attempt(lock)
connection = open_state(PATH, PARTS)
add(connection, 10)
connection.close()
before = PATH.read_bytes()
remount("ro")
attempt(lambda: open_state(PATH, PARTS))
attempt(lambda: open_state(DISK / "new" / "wgaudit.db", PARTS))
attempt(lock)
assert PATH.read_bytes() == before
remount("rw")
count(open_state(PATH, PARTS))
"""
    lines = run_on_own_disk(tmp_path, "1m", PROGRAM + program).splitlines()
    assert lines[0] == "done"
    assert lines[-1] == "words 1"
    assert len(lines) == 5
    old, new, lock = lines[1:4]
    path = tmp_path / "state" / "wgaudit.db"
    assert old.startswith(f"{path}: cannot use the state database: ")
    assert new.startswith(f"{tmp_path}/new/wgaudit.db: cannot use the state database: Read-only file system")
    assert lock.startswith(f"{path}: cannot use the state database: Read-only file system")


def test_a_disk_without_room_for_a_new_database_is_told_and_another_try_with_room_succeeds(
    tmp_path: Path,
) -> None:
    program = """
(DISK / "ballast").write_bytes(b"x" * 20 * 4096)
attempt(lambda: open_state(PATH, PARTS))
(DISK / "ballast").unlink()
count(open_state(PATH, PARTS))
"""
    full, later = run_on_own_disk(tmp_path, "88k", PROGRAM + program).splitlines()
    assert full.startswith(f"{tmp_path}/state/wgaudit.db: cannot use the state database: ")
    assert later == "words 0"


def test_a_disk_that_fills_up_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    """The transaction that found no room is undone whole; the database opens and works on."""
    program = """
connection = open_state(PATH, PARTS)
added = 0
try:
    while added < 100:
        add(connection, 30_000)
        added += 1
except StateError as error:
    print(error)
count(connection)
print("added", added)
connection.close()
remount("size=4m")
connection = open_state(PATH, PARTS)
count(connection)
add(connection, 30_000)
count(connection)
"""
    full, counted, added, reopened, more = run_on_own_disk(tmp_path, "1m", PROGRAM + program).splitlines()
    assert "disk is full" in full
    number = int(added.split()[1])
    assert 0 < number < 100
    assert counted == reopened == f"words {number}"
    assert more == f"words {number + 1}"


# -- in others' hands


def test_a_database_that_others_may_read_is_closed_to_them(path: Path) -> None:
    """With its log."""
    with closing(open_state(path, PARTS)):
        for file in path.parent.iterdir():
            file.chmod(0o666)
        with closing(open_state(path, PARTS)):
            assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("end", ["", "-wal"])
def test_a_database_or_log_of_somebody_else_is_refused(path: Path, end: str) -> None:
    made(path)
    planted = path.with_name(path.name + end)
    planted.touch()
    os.chown(planted, 65534, 65534)
    assert "belongs to nobody (uid 65534); give state.path a folder of your own" in refusal_of(planted, path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_opens_a_services_own_state_and_leaves_it_the_services(path: Path) -> None:
    """`silence list` beside the service: what it makes there, the service can open."""
    made(path)
    for file in (path.parent, path):
        os.chown(file, 65534, 65534)
    with exclusive(path, 0), closing(open_state(path, PARTS)):
        assert {file.stat().st_uid for file in path.parent.iterdir()} == {65534}


@pytest.mark.parametrize("end", ["", "-wal", ".lock", ".holder"])
def test_no_link_is_followed_where_others_can_write_the_folder(path: Path, end: str) -> None:
    """To a file of ours, that is: it would be written over. In a folder of our own, a link is ours."""
    made(path)
    other = path.parent / "precious"
    other.write_text("precious")
    link = path.with_name(path.name + end)
    link.unlink(missing_ok=True)
    link.symlink_to(other)
    path.parent.chmod(0o1777)
    with (
        pytest.raises(StateError, match="it is a link, in a folder that others can write"),
        exclusive(path, 0),
        closing(open_state(path, PARTS)),
    ):
        pass
    assert other.read_text() == "precious"


def test_a_link_in_a_folder_of_our_own_leads_to_the_database(path: Path) -> None:
    made(path)
    link = path.with_name("link.db")
    link.symlink_to(path.name)
    with closing(open_state(link, PARTS)) as connection:
        assert words(connection) == []


def refusal_of(planted: Path, path: Path) -> str:
    with pytest.raises(StateError) as caught:
        open_state(path, PARTS)
    line = str(caught.value)
    assert line.startswith(f"{planted}: ")
    assert "\n" not in line
    return line


def test_a_database_on_a_read_only_mount_can_be_read_and_nothing_is_made_there(tmp_path: Path) -> None:
    program = """
from auditor.state.database import open_existing_state
connection = open_state(PATH, PARTS)
add(connection, 10)
connection.close()
os.chmod(PATH, 0o644)
remount("ro")
before = sorted(os.listdir(PATH.parent))
connection = open_existing_state(PATH, PARTS)
count(connection)
attempt(lambda: add(connection, 10))
attempt(lambda: open_existing_state(PATH, {"words": (*PARTS["words"], "SELECT 1")}))
print(open_existing_state(DISK / "none" / "wgaudit.db", PARTS))
assert sorted(os.listdir(PATH.parent)) == before
"""
    counted, added, older, none = run_on_own_disk(tmp_path, "1m", PROGRAM + program).splitlines()
    assert counted == "words 1"
    assert "readonly database" in added
    assert "written by an older wgaudit" in older
    assert none == "None"


# -- killed in between


@contextmanager
def process(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python process that has printed its first line; killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            yield running
        finally:
            running.kill()


HALFWAY = """
import signal, sys
from pathlib import Path
from auditor.state.database import open_state, transaction
connection = open_state(Path(sys.argv[1]), PARTS)
with transaction(connection):
    connection.execute("INSERT INTO words VALUES ('committed')")
connection.execute("INSERT INTO words VALUES ('never committed')")
print("ready", flush=True)
signal.pause()
"""

HOLDING = """
import signal, sys
from pathlib import Path
from auditor.state.database import exclusive
with exclusive(Path(sys.argv[1]), 0):
    print("ready", flush=True)
    signal.pause()
"""


def test_a_process_killed_within_a_transaction_leaves_what_it_committed_and_no_more(path: Path) -> None:
    made(path)
    with process(f"PARTS = {PARTS!r}\n{HALFWAY}", path) as victim:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    with closing(open_state(path, PARTS)) as connection:
        assert words(connection) == ["committed"]


# -- the lock


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


def test_an_inspection_tells_what_an_older_version_wrote_and_changes_nothing(tmp_path: Path) -> None:
    """`open_state` would bring it up to date."""
    path = tmp_path / "wgaudit.db"
    assert inspect_state(path, {"part": ("CREATE TABLE a (x INTEGER) STRICT",)}) is None
    open_state(path, {"part": ("CREATE TABLE a (x INTEGER) STRICT",)}).close()
    newer = {"part": ("CREATE TABLE a (x INTEGER) STRICT", "CREATE TABLE b (x INTEGER) STRICT")}
    before = path.read_bytes()
    assert inspect_state(path, newer) == StateCondition(writable=True, outdated=("part",))
    assert path.read_bytes() == before
    open_state(path, newer).close()
    assert inspect_state(path, newer) == StateCondition(writable=True, outdated=())


def test_an_inspection_refuses_what_opening_refuses(tmp_path: Path) -> None:
    path = tmp_path / "wgaudit.db"
    path.write_bytes(b"no database, and longer than the header of one is " * 40)
    with pytest.raises(StateError, match="cannot use the state database"):
        inspect_state(path, {})
