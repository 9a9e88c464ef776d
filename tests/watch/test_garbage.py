"""What stays is kept out of garbage collection once the fleet was seen whole, and not before."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from auditor.watch.garbage import THRESHOLDS, collect_rarely
from auditor.watch.newest_view import NewestView
from tests.fleets import FINISHED, trio
from tests.watch.views import view_of


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Whatever a test sets, others have Python's own."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_the_first_round_begins_it() -> None:
    async def run() -> None:
        views = NewestView()
        collecting = asyncio.create_task(collect_rarely(views))
        views.show(view_of(trio()))
        await asyncio.sleep(0)
        assert gc.get_threshold() == THRESHOLDS
        assert gc.get_freeze_count() == 0
        views.show(replace(view_of(trio(), 2), round_at=FINISHED))
        async with asyncio.timeout(10):
            while not gc.get_freeze_count():  # noqa: ASYNC110  (nothing tells of it)
                await asyncio.sleep(0.01)
        collecting.cancel()
        with suppress(asyncio.CancelledError):
            await collecting

    asyncio.run(run())


def test_a_watch_that_ends_before_needs_none() -> None:
    async def run() -> None:
        views = NewestView()
        views.end()
        await collect_rarely(views)

    asyncio.run(run())
    assert gc.get_freeze_count() == 0
