"""What is costly is made once, in a thread, for all who ask meanwhile."""

from __future__ import annotations

import asyncio
import threading

import pytest

from auditor.watch.web.once_each import OnceEach


async def test_all_who_ask_for_one_key_share_one_making() -> None:
    made: list[int] = []
    values: OnceEach[str, int] = OnceEach(2)

    def make() -> int:
        made.append(threading.get_ident())
        return 7

    assert await asyncio.gather(*(values.get("view", make) for _ in range(20))) == [7] * 20
    assert len(made) == 1
    assert made != [threading.get_ident()]


async def test_who_goes_away_leaves_the_others_their_value() -> None:
    release = threading.Event()
    values: OnceEach[str, int] = OnceEach(2)

    def make() -> int:
        release.wait(20)
        return 7

    first, second = (asyncio.create_task(values.get("view", make)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    release.set()
    assert await second == 7


async def test_a_failure_is_told_and_not_kept() -> None:
    values: OnceEach[str, int] = OnceEach(2)
    with pytest.raises(ZeroDivisionError):
        await values.get("view", lambda: 1 // 0)
    assert await values.get("view", lambda: 7) == 7


async def test_the_newest_are_kept() -> None:
    values: OnceEach[int, int] = OnceEach(2)
    for number in range(3):
        await values.get(number, lambda number=number: number)  # type: ignore[misc]
    assert await values.get(2, lambda: -1) == 2
    assert await values.get(0, lambda: -1) == -1
