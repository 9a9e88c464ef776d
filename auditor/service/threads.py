"""Event loops that end without waiting for blocking calls: a dead resolver or server must not delay the end."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

MOST_THREADS = 32
"""Lookups and registry reads at the same time; the others wait their turn."""

P = ParamSpec("P")
T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as `asyncio.run` does, but end when it does, whatever calls are still under way in threads.

    `getaddrinfo` and a read of the registry cannot be cancelled: `asyncio.run` waits until each has had
    its own timeout, and so the program would outlive a deadline or a Ctrl-C by a resolver's timeout.
    """
    kept: list[T] = []

    async def keep() -> None:
        # What a runner's coroutine returns is written out as text, twice, when its signal handler is taken
        # back (enum tries to name the handler); for a snapshot of a large fleet that is a tenth of a second.
        kept.append(await main)

    with open_runner() as runner:
        runner.run(keep())
    return kept[0]


@contextmanager
def open_runner() -> Iterator[asyncio.Runner]:
    """Open a runner for several coroutines in turn, whose end waits for no blocking call."""
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(DaemonThreads())
        yield runner


class DaemonThreads(ThreadPoolExecutor):
    """An executor whose threads end with the program, and whose shutdown does not wait for them.

    A `ThreadPoolExecutor` by name only, for asyncio takes nothing else: that one's threads are joined by
    its shutdown, and once more when the interpreter ends.
    """

    def __init__(self, most: int = MOST_THREADS) -> None:
        super().__init__(most)
        self._most = most
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Future[Any], Callable[[], None]]] = deque()
        self._running = self._idle = 0
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit a call, and return its future, as the base class does. Raises `RuntimeError` after a shutdown."""
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  (the future's reader gets it)
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._changed:
            if self._closed:
                raise RuntimeError("cannot start anything after a shutdown")
            self._waiting.append((future, call))
            if len(self._waiting) > self._idle and self._running < self._most:
                self._running += 1
                threading.Thread(target=self._work, daemon=True, name="wgaudit-blocking").start()
            else:
                self._changed.notify()
        return future

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._waiting or self._closed)
                self._idle -= 1
                if not self._waiting:
                    return
                future, call = self._waiting.popleft()
            call()
            del future, call  # nothing of the last call is kept while the thread is idle

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002  (see above)
        """Take no more calls and cancel those that have not begun; running ones are left behind."""
        with self._changed:
            self._closed = True
            while self._waiting:
                self._waiting.popleft()[0].cancel()
            self._changed.notify_all()
