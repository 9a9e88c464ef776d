"""An event loop whose clock jumps to the next timer, so that hours of a sweep pass in seconds and exactly."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes only where everybody waits for it. Not for threads, sockets or processes."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self.now


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; nobody waits. Raises `RuntimeError` where nothing would ever happen again."""
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if timeout is None and not ready:
            raise RuntimeError("everybody waits for something that no timer will bring")
        if timeout is not None and timeout > 0 and not ready:
            self._loop.now += timeout
        return ready


def run(main: Coroutine[Any, Any, T]) -> tuple[T, float]:
    """What a coroutine gives, and the virtual seconds that it took. Raises what it raises."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        result = runner.run(main)
        return result, runner.get_loop().time()
