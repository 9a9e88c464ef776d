"""What a watch's state remembers, for its page: who was told what and when, and the last days in spans."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from auditor.service.alert_state import AlertState, state_to_look_at
from auditor.service.past import past_notice
from auditor.service.shared_state import SharedState
from auditor.service.watch_state import WatchState
from auditor.state import history
from auditor.state.places import StatePlace
from auditor.values.past_sweeps import PastNotice, PastSpan
from auditor.values.report import Coverage

T = TypeVar("T")

LONGEST_TURN = 10.0
"""Seconds to wait for the watch's loop, where the state is in its memory."""


class WatchPast:
    """Memory of a watch, read beside its loop: each call blocks, and is made in a thread."""

    def __init__(self, state: WatchState | SharedState, place: StatePlace) -> None:
        """state: used in the running event loop. place: where it is."""
        self._state, self._place = state, place
        self._loop = asyncio.get_running_loop()

    def notices(self, most: int) -> tuple[PastNotice, ...]:
        """Read the newest notifications, newest first. Raises `StateError`."""
        return self._read(lambda state: tuple(map(past_notice, state.notifications.newest(most))))

    def spans(self, since: datetime, step: timedelta) -> tuple[PastSpan, ...]:
        """Read what rounds since then came to, oldest first, one value for each step. Raises `StateError`."""
        return self._read(lambda state: spans_in(state, since, step))

    def page_seconds(self, since: datetime) -> tuple[float, ...]:
        """Read the seconds from each news since then to its first acceptance. Raises `StateError`."""
        return self._read(
            lambda state: tuple(word.seconds for word in state.notifications.first_words(since))
        )

    def _read(self, work: Callable[[AlertState], T]) -> T:
        if not self._state.in_memory:
            with state_to_look_at(self._place) as state:
                return work(state)

        async def turn() -> T:
            return work(self._state.current)

        return asyncio.run_coroutine_threadsafe(turn(), self._loop).result(LONGEST_TURN)


def spans_in(state: AlertState, since: datetime, step: timedelta) -> tuple[PastSpan, ...]:
    """Read the spans from an opened state; those without a round are left out. Raises `StateError`."""
    longest: dict[int, float] = {}
    for word in state.notifications.first_words(since):
        number = (word.arrived_at - since) // step
        longest[number] = max(word.seconds, longest.get(number, 0.0))
    spans: dict[int, PastSpan] = {}
    for sweep in history.sweeps_since(state.store, since):
        number = (sweep.finished_at - since) // step
        share = Coverage(sweep.registered, sweep.observed).share
        before = spans.get(number) or PastSpan(since + number * step, 0, share, longest.get(number))
        most = max(sweep.found, before.most_findings)
        spans[number] = replace(before, most_findings=most, least_share=min(share, before.least_share))
    return tuple(span for _, span in sorted(spans.items()))
