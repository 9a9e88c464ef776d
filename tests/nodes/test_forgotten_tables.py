"""The store of route tables over weeks: it holds what nodes show, and not what they showed."""

from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.nodes.probe import probe
from auditor.nodes.table_store import TableStore
from auditor.nodes.varying import FEW
from auditor.values.route_table import RouteTable
from tests.nodes.test_varying import KEYS, PLAIN, FakeNode, Prefixes, ask_all, table_of


def forget(store: TableStore, *digests: str) -> None:
    """Until it is done: what was asked for lately outlives two times."""
    for _ in range(3):
        store.keep_only(digests)


async def kept(store: TableStore, table: RouteTable) -> str:
    async def fetch() -> RouteTable:
        return table

    return await store.obtain(table.digest, fetch)


def changed(prefixes: Prefixes, number: int) -> dict[str, tuple[str, ...]]:
    return {
        **prefixes,
        KEYS[number % len(KEYS)]: (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/32",),
    }


async def test_a_table_that_no_node_shows_any_more_is_forgotten_and_can_be_had_anew() -> None:
    store, old, new = TableStore(), table_of(PLAIN), table_of(changed(PLAIN, 1001))
    await kept(store, old)
    await kept(store, new)
    forget(store, new.digest)
    assert list(store.tables) == [new.digest]
    assert store.tables[new.digest] == new
    assert await kept(store, old) == old.digest
    assert store.tables[old.digest] == old


async def test_what_was_asked_for_lately_is_kept_for_it_may_be_on_its_way() -> None:
    """Whoever forgets has not seen it yet."""
    store, table = TableStore(), table_of(PLAIN)
    await kept(store, table)
    store.keep_only(())
    assert table.digest in store.tables
    await kept(store, table)
    store.keep_only(())
    store.keep_only(())
    assert table.digest in store.tables
    store.keep_only(())
    assert store.tables == {}


async def test_a_storm_that_is_over_leaves_no_questions_for_bases() -> None:
    store = TableStore()
    nodes = [FakeNode(changed(PLAIN, 1000 + number % 10 + 100 * (number % 2))) for number in range(3 * FEW)]
    await ask_all(nodes, store)
    assert store.varying is not None
    calm = FakeNode(PLAIN)
    (digest,) = await ask_all([calm], store)
    forget(store, digest)
    assert store.varying is None
    assert list(store.tables) == [digest]


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_however_much_is_forgotten_each_node_gets_the_table_that_it_has(dice: random.Random) -> None:
    async def weeks() -> None:
        store = TableStore()
        fleet: list[Prefixes] = [PLAIN] * 14
        for number in range(6):
            shared = changed(fleet[0], dice.randrange(1000))
            storm = dice.random() < 0.7
            fleet = [
                changed(shared, 1000 + dice.randrange(5) + 100 * dice.randrange(40)) if storm else shared
                for _ in fleet
            ]
            nodes = [FakeNode(prefixes) for prefixes in fleet]
            found = await ask_all(nodes, store)
            assert [store.tables[digest] for digest in found] == [node.table for node in nodes]
            if number % 2:
                store.keep_only(found)

    asyncio.run(weeks())


async def test_what_the_store_holds_does_not_grow_with_changes() -> None:
    """Every prefix changes many times over, and each hundredth time there is a storm of distinct tables."""
    store, prefixes, sizes = TableStore(), dict(PLAIN), list[int]()
    tracemalloc.start()
    try:
        for number in range(1001, 1701):
            prefixes = changed(prefixes, number)
            digests = [await kept(store, table_of(prefixes))]
            if number % 100 == 50:
                storm = [FakeNode(changed(prefixes, other % 7 + 5000 * other)) for other in range(2 * FEW)]
                digests += await ask_all(storm, store)
                del storm
            if number % 10 == 0:
                store.keep_only(digests)
            if number % 70 == 0:
                probe._prefixes.cache_clear()
                probe._canonical_prefix.cache_clear()
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(sizes[5:]) < 1.1 * max(sizes[:5])
    assert len(store.tables) <= 40
