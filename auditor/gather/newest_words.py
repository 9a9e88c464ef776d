"""Words of followed nodes that nobody has taken yet, in a store that stays small however slowly they are taken."""

from __future__ import annotations

import asyncio

from auditor.gather.collector import Heard
from auditor.values.models import NodeId


class NewestWords:
    """What was heard and not yet taken: of each node its newest state, and whether it was confirmed since.

    So what is held is bounded by the nodes, however long nobody takes it.
    """

    def __init__(self) -> None:
        self._waiting: dict[NodeId, list[Heard]] = {}
        self._some = asyncio.Event()
        self._error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        """Let the next one who takes have this error: a fault of this program, never of a node."""
        self._error = error
        self._some.set()

    def put(self, heard: Heard) -> None:
        """Hold a word; a new state takes the place of what was held of its node."""
        waiting = self._waiting.setdefault(heard.node, [])
        if heard.seen is not None:
            waiting.clear()
        if not waiting or waiting[-1].seen is not None:
            waiting.append(heard)
        self._some.set()

    def forget(self, node: NodeId) -> None:
        """Hold nothing of a node any more."""
        self._waiting.pop(node, None)

    async def next(self) -> Heard:
        """Wait for a word, and take it. Raises what it was failed with."""
        while not self._waiting or self._error is not None:
            if self._error is not None:
                raise self._error
            self._some.clear()
            await self._some.wait()
        node = next(iter(self._waiting))
        waiting = self._waiting[node]
        heard = waiting.pop(0)
        if not waiting:
            del self._waiting[node]
        return heard
