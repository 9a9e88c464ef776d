"""The early end of a sweep: why it came, and what becomes of work that it cuts off."""

from __future__ import annotations

import asyncio

from auditor.nodes.stop import Stop


async def test_of_interrupt_and_deadline_the_first_one_is_the_reason() -> None:
    interrupt = asyncio.Event()
    both = Stop(deadline=0.0, interrupt=interrupt)
    assert both.reason is None
    interrupt.set()
    expired = Stop(deadline=0.0)
    await expired.wait()
    assert both.reason == "interrupted"
    assert expired.reason == "deadline"


async def test_work_that_ends_first_gives_its_result_and_work_that_is_cut_off_is_cancelled() -> None:
    interrupt, cancelled = asyncio.Event(), asyncio.Event()
    stop = Stop(interrupt=interrupt)

    async def at_hand() -> int:
        return 7

    async def never() -> None:
        try:
            interrupt.set()
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    assert await stop.bound(at_hand()) == 7
    assert await stop.bound(never()) is None
    assert cancelled.is_set()
