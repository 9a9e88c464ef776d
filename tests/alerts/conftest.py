"""The state as the next process finds it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.alerts.fakes import opened

Reopen = Callable[[sqlite3.Connection], sqlite3.Connection]


@pytest.fixture
def reopened() -> Iterator[Reopen]:
    """Ends a connection and opens its database anew: what was not committed is gone."""
    with ExitStack() as stack:

        def again(connection: sqlite3.Connection) -> sqlite3.Connection:
            path = Path(connection.execute("PRAGMA database_list").fetchone()["file"])
            with closing(connection):
                connection.rollback()
            return stack.enter_context(closing(opened(path)))

        yield again
