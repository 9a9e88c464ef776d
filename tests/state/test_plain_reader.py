"""The plain reader: the same rows as the store's, by the driver alone, for a sweep that tells nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import insert

from auditor.errors import StateError
from auditor.service.alert_state import state_tables
from auditor.state.audit_tables import DRAINED, REGISTRATIONS
from auditor.state.opening import open_store
from auditor.state.places import StatePlace
from auditor.state.plain_reader import existing_reader
from auditor.values.stored_values import TableReader
from tests.state.older_files import older_file

ROOT = Path(__file__).parents[2]
INCIDENT = ROOT / "fixtures" / "incident" / "snapshot.json.gz"


@contextmanager
def never() -> Iterator[TableReader | None]:
    """Stands for the way that is taken only where an older version wrote the state."""
    pytest.fail("the state was opened in full")
    yield None


ROWS = [
    {"datacenter": datacenter, "node": node, "body": "{}", "gone": gone}
    for datacenter, node, gone in (("dc2", "a", 1), ("dc1", "B", None), ("dc1", "a", None), ("dc1", "ä", 3))
]


@pytest.mark.parametrize(
    "asked",
    [
        {"order": ("datacenter", "node")},
        {"where": {"datacenter": "dc1", "gone": None}, "order": ("-node",)},
        {"order": ("-datacenter", "node"), "most": 2},
        {"where": {"node": "' OR TRUE --"}},
    ],
)
def test_it_reads_what_the_store_reads_in_the_same_order(place: StatePlace, asked: dict[str, object]) -> None:
    with closing(open_store(place, state_tables())) as store, existing_reader(place, never) as reader:
        store.execute(insert(REGISTRATIONS), ROWS)
        assert reader is not None
        found = list(reader.rows_of("history_registrations", **asked))  # type: ignore[arg-type]
        assert found == [dict(row) for row in store.rows_of("history_registrations", **asked)]  # type: ignore[arg-type]


def test_where_there_is_no_state_there_is_nothing_to_read_and_nothing_is_made(tmp_path: Path) -> None:
    with existing_reader(tmp_path / "none" / "wgaudit.db", never) as reader:
        assert reader is None
    assert list(tmp_path.iterdir()) == []


def test_a_state_of_an_older_version_is_opened_in_full(tmp_path: Path) -> None:
    path = older_file(tmp_path / "wgaudit.db", 4, 2)

    @contextmanager
    def in_full() -> Iterator[TableReader | None]:
        with closing(open_store(path, state_tables())) as store:
            yield store

    with existing_reader(path, in_full) as reader:
        assert reader is not None
        assert list(reader.rows_of(DRAINED.name)) == []
    with existing_reader(path, never) as reader:
        assert reader is not None


def test_what_the_store_refuses_it_refuses_in_the_same_words(tmp_path: Path) -> None:
    path = tmp_path / "wgaudit.db"
    path.write_bytes(b"no database, and longer than the header of one is " * 40)
    away = SecretStr(f"postgresql+psycopg://wgaudit:hunter2@/audit?host={tmp_path}")
    for place in (path, away):
        with pytest.raises(StateError) as full:
            open_store(place, state_tables())
        with pytest.raises(StateError) as plain, existing_reader(place, never):
            pass
        assert str(plain.value) == str(full.value)


def test_it_loads_no_sqlalchemy(place: StatePlace) -> None:
    open_store(place, state_tables()).close()
    written = repr(place) if isinstance(place, Path) else f"SecretStr({place.get_secret_value()!r})"
    program = f"""
import sys
from pathlib import Path, PosixPath
from pydantic import SecretStr
from auditor.service.remembered import remembered
remembered({written}, sys.exit)
print([name for name in ("sqlalchemy", "alembic") if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    "words",
    [["--help"], ["sweep", "--replay", str(INCIDENT)], ["demo", "--nodes", "20"]],
    ids=lambda words: words[0],
)
def test_what_needs_no_state_loads_no_library_of_databases(words: list[str], tmp_path: Path) -> None:
    """They take 0.2 s of CPU and more."""
    program = """
import atexit, sys
from auditor.cli.main import run
libraries = ("sqlalchemy", "alembic", "psycopg")
atexit.register(lambda: print("LOADED", *[name for name in libraries if name in sys.modules]))
run()
"""
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.splitlines()[-1:] == ["LOADED"], ran.stderr
