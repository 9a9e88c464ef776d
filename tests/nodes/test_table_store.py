"""The store of route tables: each distinct table is fetched once, and a failed fetch is made up for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from auditor.errors import GapReason, ProbeError
from auditor.nodes.table_store import PATIENCE, TableStore
from auditor.values.route_table import RouteTable
from tests import virtual_time


async def test_a_fetch_that_fails_is_made_up_for_by_the_next_node() -> None:
    """One failure, one table."""
    store, table = TableStore(), RouteTable(b"x\n")
    fetched = 0

    async def fetch() -> RouteTable:
        nonlocal fetched
        fetched += 1
        await asyncio.sleep(0)
        if fetched == 1:
            raise ProbeError(GapReason.CONNECTION_LOST, "planted")
        return table

    results = await asyncio.gather(
        *(store.obtain(table.digest, fetch) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [ProbeError, str, str]
    assert fetched == 2
    assert store.tables == {table.digest: table}


async def test_those_who_wait_for_a_table_do_not_fetch_it() -> None:
    """The first one is still fetching when the others come."""
    store, table, gate = TableStore(), RouteTable(b"x\n"), asyncio.Event()
    fetched = 0

    async def fetch() -> RouteTable:
        nonlocal fetched
        fetched += 1
        await gate.wait()
        return table

    waiting = [asyncio.create_task(store.obtain(table.digest, fetch)) for _ in range(10)]
    await asyncio.sleep(0)
    gate.set()
    assert set(await asyncio.gather(*waiting)) == {table.digest}
    assert fetched == 1


async def test_a_table_that_changed_before_it_was_fetched_counts_under_its_own_digest() -> None:
    """What was promised is not stored under what came."""
    store, table = TableStore(), RouteTable(b"new\n")

    async def fetch() -> RouteTable:
        return table

    assert await store.obtain("0" * 64, fetch) == table.digest
    assert store.tables == {table.digest: table}


async def test_every_fetch_that_fails_is_its_own_nodes_failure() -> None:
    """Nobody waits for ever, and nothing is stored."""
    store = TableStore()

    async def fetch() -> RouteTable:
        raise ProbeError(GapReason.CONNECTION_LOST, "planted")

    results = await asyncio.gather(*(store.obtain("0" * 64, fetch) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, ProbeError) for result in results)
    assert store.tables == {}


def test_a_node_that_stalls_on_its_table_holds_nobody_who_shares_its_digest() -> None:
    """One more asks after some seconds; the first answer counts for all, the one that stalls too."""
    table = RouteTable(b"x\n")
    asked: list[int] = []

    async def main() -> list[str]:
        store = TableStore()

        def fetch_of(number: int) -> Callable[[], Awaitable[RouteTable]]:
            async def fetch() -> RouteTable:
                asked.append(number)
                if number < 2:
                    await asyncio.sleep(3600)
                await asyncio.sleep(0.5)
                return table

            return fetch

        return await asyncio.gather(*(store.obtain(table.digest, fetch_of(number)) for number in range(50)))

    digests, seconds = virtual_time.run(main())
    assert set(digests) == {table.digest}
    assert asked == [0, 1, 2]
    assert seconds == pytest.approx(2 * PATIENCE + 0.5)


def test_a_sweep_that_is_cancelled_leaves_no_fetch_behind() -> None:
    """Nor one whose turn was over."""
    ended: list[str] = []

    async def fetch() -> RouteTable:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("ended")
        raise AssertionError

    async def main() -> None:
        store = TableStore()
        waiting = [asyncio.create_task(store.obtain("0" * 64, fetch)) for _ in range(2)]
        await asyncio.sleep(PATIENCE * 1.5)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(0)

    virtual_time.run(main())
    assert ended == ["ended", "ended"]
