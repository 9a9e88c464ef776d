"""Lets children be interrupted, begins with the longest files, and shows at the end what tests measured.

A test measures with `record_property("measured", TEXT)`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import hypothesis
import pytest

from auditor.service.alert_state import state_tables
from auditor.state.opening import open_store
from auditor.state.places import StatePlace
from auditor.state.state_store import StateStore
from tests.parts.postgresql import PostgresqlServer

LONGEST_FIRST = (
    "tests/lab/test_interrupted.py",
    "tests/lab/test_repair.py",
    "tests/lab/",
    "tests/repair/",
    "tests/ways/",
    "tests/demo/test_command.py",
    "tests/nodes/",
    "tests/cli/test_crash.py",
    "tests/test_packages.py",
    "tests/test_fixtures.py",
)
"""One of these that came last would leave the other core idle, some of them for minutes."""

# A shell without job control starts what it puts into the background with SIGINT ignored, and so would be every
# program that a test starts and then interrupts. A signal with a handler is reset in a child; an ignored one is not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Where a test does not say how many examples it needs. What CI changes (hypothesis knows it) stays as it is.
hypothesis.settings.register_profile("wgaudit", hypothesis.settings(), max_examples=40, deadline=None)
hypothesis.settings.load_profile("wgaudit")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give tests within this process another cache folder than that of the person who runs them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """Start a PostgreSQL, with a database `prepared` that has the state's tables."""
    with PostgresqlServer() as server:
        server.sql("CREATE DATABASE prepared TEMPLATE template0")
        open_store(server.url("prepared"), state_tables()).close()
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StatePlace]:
    """Name a place of a state, on each kind of database in turn; what is there is gone after the test."""
    if request.param == "sqlite":
        yield tmp_path / "state" / "wgaudit.db"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    yield server.url("prepared")
    server.empty("prepared")


@pytest.fixture
def store(place: StatePlace) -> Iterator[StateStore]:
    """Open an empty state, on each kind of database in turn."""
    with closing(open_store(place, state_tables())) as opened:
        yield opened


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order within a file stays."""

    def rank(item: pytest.Item) -> int:
        return next(
            (place for place, start in enumerate(LONGEST_FIRST) if item.nodeid.startswith(start)),
            len(LONGEST_FIRST),
        )

    items.sort(key=rank)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line and more for each test that measured something; also under xdist, whose workers print nothing."""
    measured = [
        (report.nodeid, text)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, text in report.user_properties
        if name == "measured"
    ]
    if measured:
        terminalreporter.section("measured")
    for test, text in sorted(measured):
        terminalreporter.write_line(f"{test.rpartition('::')[2]}:\n  {text}")
