"""The state: opened whole or refused in one line, brought to the newest schema, never made anew over an old one."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Column, MetaData, Table, Text, insert, inspect, select, text

from auditor.errors import StateError
from auditor.service.alert_state import state_tables
from auditor.state import history
from auditor.state.audit_tables import PARTS, VERSIONS
from auditor.state.finding_changes import read_changes
from auditor.state.lock import exclusive
from auditor.state.migrating import REVISIONS
from auditor.state.opening import (
    StateCondition,
    copied_to_memory,
    inspect_store,
    open_existing_store,
    open_store,
    store_in_memory,
    written_back,
)
from auditor.state.places import StatePlace
from auditor.state.schema_age import LAST_PARTS, NEWEST
from auditor.state.state_store import StateStore
from auditor.values.past_sweeps import FindingChange
from tests.parts.mounts import run_on_own_disk
from tests.parts.postgresql import PostgresqlServer
from tests.state.older_files import older_file
from tests.state.processes import process

TABLES = MetaData()
WORDS = Table("words", TABLES, Column("word", Text, primary_key=True), sqlite_strict=True)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is to be, in a folder that is not there yet."""
    return tmp_path / "state" / "wgaudit.db"


@pytest.fixture
def url(postgresql: PostgresqlServer) -> Iterator[SecretStr]:
    """Where a database of PostgreSQL is that nobody has used yet."""
    database = postgresql.fresh()
    yield postgresql.url(database)
    postgresql.drop(database)


def opened(place: StatePlace) -> StateStore:
    """A store of words."""
    return open_store(place, (TABLES,))


def add(store: StateStore, *new: str) -> None:
    """Puts words into it."""
    store.execute(insert(WORDS), [{"word": word} for word in new])


def made(path: Path, rows: int = 0) -> Path:
    """A database with so many words in it, closed."""
    with closing(opened(path)) as store:
        add(store, *(f"word {n:06}" * 9 for n in range(rows)))
    return path


def words(store: StateStore) -> list[str]:
    """What is in it."""
    return [row["word"] for row in store.rows(select(WORDS).order_by(WORDS.c.word))]


def refusal(path: Path) -> str:
    """The one line that opening it ends with; the file is left as it was."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StateError) as caught:
        opened(path)
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
    with closing(opened(path)) as store:
        add(store, "hello")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"wgaudit.db": 0o600, "wgaudit.db-wal": 0o600, "wgaudit.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_was_committed_is_there_when_it_is_opened_again(place: StatePlace) -> None:
    with closing(open_store(place, state_tables())) as store:
        number = store.add(insert(history.SWEEPS).values(SWEEP))
    with closing(open_store(place, state_tables())) as store:
        assert [item.number for item in history.sweeps(store)] == [number]


def test_a_commit_has_reached_the_disk(path: Path) -> None:
    """Full synchronous writes: else a crash of the machine forgets what was sent."""
    with closing(opened(path)) as store:
        pragmas = [store.rows(text(f"PRAGMA {name}"))[0] for name in ("synchronous", "journal_mode")]
    assert [tuple(row.values()) for row in pragmas] == [(2,), ("wal",)]


def test_a_transaction_that_fails_leaves_nothing_and_the_next_one_is_whole(store: StateStore) -> None:
    def keep_and_fail() -> None:
        with store.transaction():
            store.execute(insert(history.SWEEPS).values(SWEEP))
            store.execute(insert(history.SWEEPS).values({**SWEEP, "verdict": None}))

    with pytest.raises(StateError, match="cannot use the state database"):
        keep_and_fail()
    assert store.rows(select(history.SWEEPS)) == ()
    with store.transaction(), store.transaction():
        number = store.add(insert(history.SWEEPS).values(SWEEP))
    assert [row["number"] for row in store.rows_of("history_sweeps")] == [number]


def test_a_read_of_several_statements_is_of_one_moment(store: StateStore, place: StatePlace) -> None:
    with closing(open_store(place, state_tables())) as other, store.reading():
        before = store.rows(select(history.SWEEPS))
        other.execute(insert(history.SWEEPS).values(SWEEP))
        assert store.rows(select(history.SWEEPS)) == before == ()
    assert len(store.rows(select(history.SWEEPS))) == 1


def test_text_that_a_database_cannot_hold_is_kept_as_visible_escapes_by_postgresql(url: SecretStr) -> None:
    """A node's name may have a NUL in it, and the sweep that saw it must be remembered all the same."""
    with closing(opened(url)) as store:
        add(store, "a\0b", "c\udc80")
        assert words(store) == ["a\\x00b", "c\\udc80"]


SWEEP = {
    "started_at": NOON.isoformat(),
    "finished_at": NOON.isoformat(),
    "verdict": "clean",
    "registered": 9,
    "observed": 9,
    "findings": "{}",
    "gaps": 0,
}


# -- the newest schema


def shape(store: StateStore) -> dict[str, object]:
    """Tables, columns and indexes of a database, as it tells them; whatever order they were made in."""
    found = inspect(store.engine)
    return {
        table: (
            [(item["name"], str(item["type"]), item["default"]) for item in found.get_columns(table)],
            found.get_pk_constraint(table)["constrained_columns"],
            sorted((str(item["name"]), item["column_names"]) for item in found.get_indexes(table)),
        )
        for table in found.get_table_names()
    }


@pytest.mark.parametrize(("parts"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 4)])
def test_a_file_of_any_older_version_comes_to_the_schema_that_new_ones_have(
    path: Path, parts: tuple[int, int]
) -> None:
    with (
        closing(open_store(older_file(path, *parts), state_tables())) as taken_over,
        closing(store_in_memory(state_tables())) as new,
    ):
        assert shape(taken_over) == shape(new)
        strict = select(text("name"), text("strict")).select_from(text("pragma_table_list"))
        assert sorted(map(str, taken_over.rows(strict))) == sorted(map(str, new.rows(strict)))


def test_the_numbers_of_an_older_file_go_on_from_where_they_were(path: Path) -> None:
    rows = "INSERT INTO history_sweeps VALUES (7, '{0}', '{0}', 'clean', 9, 9, '{{}}', 0, NULL)"
    with closing(open_store(older_file(path, 1, 1, rows.format(NOON.isoformat())), state_tables())) as store:
        assert [item.number for item in history.sweeps(store)] == [7]
        assert store.add(insert(history.SWEEPS).values(SWEEP)) == 8


def test_an_older_file_tells_what_it_knows_of_findings(path: Path) -> None:
    finding = (
        "INSERT INTO history_findings VALUES ('ab', 'key-drift', 'error', 'c', 'c differs', '[]', NULL, {})"
    )
    times = ", ".join(f"'{NOON.replace(minute=minute).isoformat()}'" for minute in (0, 5, 10))
    with closing(open_store(older_file(path, 2, 1, finding.format(times)), state_tables())) as store:
        assert [(item.change, item.at.minute, item.sweep) for item in read_changes(store)] == [
            (FindingChange.FIRST_SEEN, 0, None),
            (FindingChange.RESOLVED, 10, None),
        ]


def test_a_migration_that_fails_leaves_the_older_file_whole(path: Path) -> None:
    older_file(path, 3, 3, "CREATE TABLE history_drained (word TEXT)")
    with pytest.raises(StateError, match="already exists"):
        open_store(path, state_tables())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM parts ORDER BY part").fetchall() == [
            ("alerts", 3),
            ("history", 3),
        ]
        columns = [row[1] for row in connection.execute("PRAGMA table_info(alerts_notices)")]
        assert "arrived_at" not in columns


def test_the_newest_schema_is_the_end_of_the_chain_of_revisions() -> None:
    chain = ScriptDirectory(str(REVISIONS), version_locations=[str(REVISIONS)])
    assert chain.get_heads() == [NEWEST]
    assert {revision.path for revision in chain.walk_revisions()} == {
        str(path) for path in REVISIONS.glob("r*.py")
    }


def test_a_newer_version_is_refused_and_left_byte_for_byte_as_it_was(path: Path) -> None:
    with closing(opened(path)) as store:
        store.execute(VERSIONS.update().values(version_num="0999"))
    line = refusal(path)
    assert f"written by a newer wgaudit (schema 0999, known is {NEWEST})" in line
    assert [file.name for file in path.parent.iterdir()] == ["wgaudit.db"]


def test_a_program_from_before_the_revisions_takes_a_file_of_ours_for_a_newer_one(path: Path) -> None:
    """It looks at the versions of parts, and refuses what is beyond those that it knows."""
    for file in (older_file(path), path.with_name("new.db")):
        with closing(open_store(file, state_tables())) as store:
            versions = {row["part"]: row["version"] for row in store.rows(select(PARTS))}
        assert versions == {part: last + 1 for part, last in LAST_PARTS.items()}


def test_a_newer_version_of_a_part_is_refused(path: Path) -> None:
    older_file(path, rows="UPDATE parts SET version = 9 WHERE part = 'alerts'")
    assert "written by a newer wgaudit (alerts version 9, known are 4)" in refusal(path)


def test_a_newer_version_on_a_server_is_refused_without_its_password(url: SecretStr) -> None:
    with closing(opened(url)) as store:
        store.execute(VERSIONS.update().values(version_num="0999"))
    login = SecretStr(url.get_secret_value().replace("wgaudit@", "wgaudit:hunter2@"))
    for look in (opened, inspect_store, lambda place: open_existing_store(place, (TABLES,))):
        with pytest.raises(
            StateError, match=r"^postgresql://wgaudit:\*\*\*@.*: written by a newer wgaudit"
        ) as told:
            look(login)
        assert "hunter2" not in str(told.value)


def test_another_programs_database_is_refused_and_left_as_it_was(path: Path) -> None:
    """A mistyped state.path must not put our tables into somebody's bookmarks."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    assert "another program" in refusal(path)


def test_another_programs_database_on_a_server_is_refused(
    postgresql: PostgresqlServer, url: SecretStr
) -> None:
    postgresql.sql("CREATE TABLE bookmarks (url TEXT)", urlsplit(url.get_secret_value()).path.lstrip("/"))
    with pytest.raises(StateError, match="another program"):
        opened(url)


@pytest.mark.parametrize(
    "statements",
    [
        "CREATE TABLE wgaudit_version (version_num INTEGER); INSERT INTO wgaudit_version VALUES (7)",
        "CREATE TABLE wgaudit_version (version_num TEXT)",
        "CREATE TABLE wgaudit_version (version_num TEXT); INSERT INTO wgaudit_version VALUES (NULL)",
        "CREATE TABLE wgaudit_version (version_num TEXT); INSERT INTO wgaudit_version VALUES ('0000')",
        "CREATE TABLE wgaudit_version (version_num TEXT); INSERT INTO wgaudit_version VALUES ('0001'), ('9999')",
        "CREATE TABLE wgaudit_version (version_num TEXT); INSERT INTO wgaudit_version VALUES ('9\n9')",
        "CREATE TABLE parts (part TEXT, version TEXT); INSERT INTO parts VALUES ('history', '1.2')",
        "CREATE TABLE parts (part TEXT, version INTEGER); INSERT INTO parts VALUES ('history', NULL)",
    ],
)
def test_tables_of_our_names_that_another_program_made_are_refused(
    postgresql: PostgresqlServer, url: SecretStr, path: Path, statements: str
) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other, other:
        other.executescript(statements)
    assert "another program" in refusal(path)
    postgresql.sql(statements, urlsplit(url.get_secret_value()).path.lstrip("/"))
    for look in (opened, inspect_store, lambda place: open_existing_store(place, (TABLES,))):
        with pytest.raises(StateError, match="another program"):
            look(url)


def test_a_server_that_is_not_there_is_told_with_its_place_and_why(tmp_path: Path) -> None:
    away = SecretStr(f"postgresql+psycopg://wgaudit:hunter2@/audit?host={tmp_path}&password=hunter3")
    with pytest.raises(StateError) as told:
        opened(away)
    line = str(told.value)
    assert line.startswith(f"postgresql://wgaudit:***@{tmp_path}/audit: cannot use the state database: ")
    assert "No such file or directory" in line
    assert "hunter" not in line
    assert "\n" not in line


def test_two_that_make_the_tables_of_one_database_at_once_both_have_them(url: SecretStr) -> None:
    program = f"""
from pydantic import SecretStr
from auditor.service.alert_state import state_tables
from auditor.state.opening import open_store
print("ready", flush=True)
open_store(SecretStr({url.get_secret_value()!r}), state_tables()).close()
"""
    both = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [item.wait(60) for item in both] == [0, 0]
    with closing(open_store(url, state_tables())) as store:
        assert [row["version_num"] for row in store.rows(select(VERSIONS))] == [NEWEST]


# -- in memory


def test_a_copy_in_memory_has_what_was_committed_and_is_written_back_whole(path: Path) -> None:
    with closing(opened(made(path, rows=3))) as store:
        copy = copied_to_memory(store)
        add(copy, "more")
        assert len(words(store)) == 3
        written_back(copy, store)
        assert words(store) == words(copy)
        copy.close()


def test_a_copy_of_a_server_in_memory_goes_on_with_its_numbers(url: SecretStr) -> None:
    with closing(open_store(url, state_tables())) as store:
        store.add(insert(history.SWEEPS).values(SWEEP))
        with closing(copied_to_memory(store)) as copy:
            assert history.sweeps(copy) == history.sweeps(store)
            assert copy.add(insert(history.SWEEPS).values(SWEEP)) == 2


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
    with closing(opened(path)) as store:
        with path.open("r+b") as stream:
            stream.seek(4096)
            stream.write(b"\xff" * (path.stat().st_size - 4096))
        store.execute(text("PRAGMA shrink_memory"))  # what it read before is not to be trusted
        with pytest.raises(StateError, match=f"{path}: .*malformed"), store.transaction():
            words(store)


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
from sqlalchemy import Column, MetaData, Table, Text, func, insert, select
from auditor.errors import StateError
from auditor.state.lock import exclusive
from auditor.state.opening import open_store
PATH = DISK / "state" / "wgaudit.db"
TABLES = MetaData()
WORDS = Table("words", TABLES, Column("word", Text))
def attempt(act):
    try:
        act()
        print("done")
    except StateError as error:
        print(error)
def lock():
    with exclusive(PATH, 0):
        pass
def add(store, size):
    store.execute(insert(WORDS).values(word="x" * size))
def count(store):
    print("words", store.first(select(func.count().label("n")).select_from(WORDS))["n"])
"""


def test_a_read_only_folder_is_told_for_an_old_and_for_a_new_database(tmp_path: Path) -> None:
    program = """
attempt(lock)
connection = open_store(PATH, (TABLES,))
add(connection, 10)
connection.close()
before = PATH.read_bytes()
remount("ro")
attempt(lambda: open_store(PATH, (TABLES,)))
attempt(lambda: open_store(DISK / "new" / "wgaudit.db", (TABLES,)))
attempt(lock)
assert PATH.read_bytes() == before
remount("rw")
count(open_store(PATH, (TABLES,)))
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
attempt(lambda: open_store(PATH, (TABLES,)))
(DISK / "ballast").unlink()
count(open_store(PATH, (TABLES,)))
"""
    full, later = run_on_own_disk(tmp_path, "88k", PROGRAM + program).splitlines()
    assert full.startswith(f"{tmp_path}/state/wgaudit.db: cannot use the state database: ")
    assert later == "words 0"


def test_a_disk_that_fills_up_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    """The transaction that found no room is undone whole; the database opens and works on."""
    program = """
connection = open_store(PATH, (TABLES,))
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
connection = open_store(PATH, (TABLES,))
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
    with closing(opened(path)):
        for file in path.parent.iterdir():
            file.chmod(0o666)
        with closing(opened(path)):
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
    with exclusive(path, 0), closing(opened(path)):
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
        closing(opened(path)),
    ):
        pass
    assert other.read_text() == "precious"


def test_a_link_in_a_folder_of_our_own_leads_to_the_database(path: Path) -> None:
    made(path)
    link = path.with_name("link.db")
    link.symlink_to(path.name)
    with closing(opened(link)) as store:
        assert words(store) == []


def refusal_of(planted: Path, path: Path) -> str:
    with pytest.raises(StateError) as caught:
        opened(path)
    line = str(caught.value)
    assert line.startswith(f"{planted}: ")
    assert "\n" not in line
    return line


def test_a_database_on_a_read_only_mount_can_be_read_and_nothing_is_made_there(tmp_path: Path) -> None:
    program = """
from auditor.state.opening import open_existing_store
connection = open_store(PATH, (TABLES,))
add(connection, 10)
connection.close()
os.chmod(PATH, 0o644)
import sqlite3
with sqlite3.connect(DISK / "old.db") as old:
    old.execute("CREATE TABLE parts (part TEXT, version INTEGER)")
old.close()
remount("ro")
before = sorted(os.listdir(PATH.parent))
connection = open_existing_store(PATH, (TABLES,))
count(connection)
attempt(lambda: add(connection, 10))
attempt(lambda: open_existing_store(DISK / "old.db", (TABLES,)))
print(open_existing_store(DISK / "none" / "wgaudit.db", (TABLES,)))
assert sorted(os.listdir(PATH.parent)) == before
"""
    counted, added, older, none = run_on_own_disk(tmp_path, "1m", PROGRAM + program).splitlines()
    assert counted == "words 1"
    assert "readonly database" in added
    assert "written by an older wgaudit" in older
    assert none == "None"


# -- killed in between


HALFWAY = """
import signal, sys
from pathlib import Path
from sqlalchemy import Column, MetaData, Table, Text, insert
from auditor.state.opening import open_store
TABLES = MetaData()
WORDS = Table("words", TABLES, Column("word", Text))
store = open_store(Path(sys.argv[1]), (TABLES,))
store.execute(insert(WORDS).values(word="committed"))
with store.transaction():
    store.execute(insert(WORDS).values(word="never committed"))
    print("ready", flush=True)
    signal.pause()
"""


def test_a_process_killed_within_a_transaction_leaves_what_it_committed_and_no_more(path: Path) -> None:
    made(path)
    with process(HALFWAY, path) as victim:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    with closing(opened(path)) as store:
        assert words(store) == ["committed"]


# -- an inspection


def test_an_inspection_tells_what_an_older_version_wrote_and_changes_nothing(path: Path) -> None:
    """Opening would bring it up to date."""
    assert inspect_store(path) is None
    before = older_file(path).read_bytes()
    assert inspect_store(path) == StateCondition(writable=True, outdated=True)
    assert path.read_bytes() == before
    open_store(path, state_tables()).close()
    assert inspect_store(path) == StateCondition(writable=True, outdated=False)


def test_an_inspection_of_a_server_makes_nothing_there(postgresql: PostgresqlServer, url: SecretStr) -> None:
    assert inspect_store(url) is None
    assert open_existing_store(url, (TABLES,)) is None
    opened(url).close()
    assert inspect_store(url) == StateCondition(writable=True, outdated=False)
    postgresql.sql(
        f"ALTER DATABASE {urlsplit(url.get_secret_value()).path[1:]} SET default_transaction_read_only = on"
    )
    assert inspect_store(url) == StateCondition(writable=False, outdated=False)


def test_an_inspection_refuses_what_opening_refuses(tmp_path: Path) -> None:
    path = tmp_path / "wgaudit.db"
    path.write_bytes(b"no database, and longer than the header of one is " * 40)
    with pytest.raises(StateError, match="cannot use the state database"):
        inspect_store(path)
