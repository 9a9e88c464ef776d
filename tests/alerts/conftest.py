"""The state as the next process finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from auditor.state.places import StatePlace
from auditor.state.state_store import StateStore
from tests.alerts.fakes import opened

Reopen = Callable[[StateStore], StateStore]


@pytest.fixture
def database(place: StatePlace) -> Iterator[StateStore]:
    """A fresh state database."""
    with closing(opened(place)) as fresh:
        yield fresh


@pytest.fixture
def reopened(place: StatePlace) -> Iterator[Reopen]:
    """Ends a store and opens its database anew: what was not committed is gone."""
    with ExitStack() as stack:

        def again(database: StateStore) -> StateStore:
            database.close()
            return stack.enter_context(closing(opened(place)))

        yield again
