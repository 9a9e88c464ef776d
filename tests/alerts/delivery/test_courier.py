"""The courier of a watch: storms are one message for people, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from alerts.between_rounds import News
from alerts.delivery.courier import Courier, CourierEvents, StormTimes
from alerts.memory.notification_log import NotificationLog
from alerts.models import Receipt
from alerts.notifiers.interface import Notifier
from auditor.errors import StateError
from auditor.state.state_store import StateStore
from tests import virtual_time
from tests.alerts.fakes import NOON, ScriptedNotifier, accept, busy, firing, incident, limited

STORM = StormTimes()


@pytest.fixture
def store(database: StateStore) -> NotificationLog:
    """A fresh memory."""
    return NotificationLog(database)


class Heard:
    """What a courier told of."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.troubles: list[tuple[str, str]] = []
        self.faults: list[StateError] = []
        self.events = CourierEvents(
            self.receipts.append, lambda *trouble: self.troubles.append(trouble), self.faults.append
        )


class Timed(ScriptedNotifier):
    """Notes when each message came, in seconds of the loop."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.times: list[float] = []

    async def send(self, payload: bytes) -> str:
        """Answers as the script says."""
        self.times.append(asyncio.get_running_loop().time())
        return await super().send(payload)


def put(store: NotificationLog, subject: str, *names: str) -> None:
    """One more incident in the outbox of these notifiers, committed."""
    notifications = tuple(firing(name, incident(subject)) for name in names)
    store.keep_news(News(notifications), NOON)


async def storm(
    store: NotificationLog, courier: Courier, count: int, *names: str, apart: float, first: int = 0
) -> None:
    """So many incidents, one after the other."""
    for number in range(first, first + count):
        put(store, f"10.0.{number // 250}.{number % 250}", *names)
        courier.wake()
        await asyncio.sleep(apart)


def lived(main: Coroutine[Any, Any, None]) -> None:
    """Runs it in virtual time."""
    virtual_time.run(main)


def chat(**more: Any) -> Timed:
    """A notifier that sums up."""
    return Timed(name="chat", max_per_message=10, sums_up=True, pause=1.0, **more)


def oncall(**more: Any) -> Timed:
    """A notifier that takes one at a time."""
    return Timed(name="oncall", pause=0.5, **more)


def test_a_storm_over_several_seconds_is_one_message_for_people_and_an_event_each_for_the_pager(
    store: NotificationLog,
) -> None:
    async def main() -> None:
        slack, pager, heard = chat(), oncall(), Heard()
        courier = Courier(store, [slack, pager], heard.events)
        await storm(store, courier, 500, "chat", "oncall", apart=0.01)
        await asyncio.sleep(300)
        await courier.close(1)
        assert [len(message) for message in slack.taken] == [500]
        assert len(pager.taken) == 500
        assert pager.times[0] == 0.0, "the first one waits for nobody"
        distances = {round(b - a, 6) for a, b in zip(pager.times, pager.times[1:], strict=False)}
        assert distances == {0.5}
        assert store.waiting() == {}

    lived(main())


def test_the_first_incident_goes_to_people_within_a_second_where_no_second_one_comes(
    store: NotificationLog,
) -> None:
    async def main() -> None:
        slack, heard = chat(), Heard()
        courier = Courier(store, [slack], heard.events)
        await asyncio.sleep(60)
        put(store, "10.0.0.1", "chat")
        courier.wake()
        await asyncio.sleep(10)
        assert slack.times == [60 + STORM.first]
        await courier.close(1)

    lived(main())


def test_a_storm_that_does_not_end_is_told_of_all_the_same(store: NotificationLog) -> None:
    async def main() -> None:
        slack, heard = chat(), Heard()
        courier = Courier(store, [slack], heard.events)
        await storm(store, courier, 200, "chat", apart=0.5)
        await asyncio.sleep(STORM.quiet + 1)
        assert slack.times[0] == STORM.longest
        assert sum(map(len, slack.taken)) == 200
        assert len(slack.taken) <= 100 / STORM.longest + 2
        await courier.close(1)

    lived(main())


def test_the_end_does_not_wait_for_a_storm(store: NotificationLog) -> None:
    async def main() -> None:
        slack, heard = chat(), Heard()
        courier = Courier(store, [slack], heard.events)
        await storm(store, courier, 3, "chat", apart=0.1)
        assert slack.taken == []
        began = asyncio.get_running_loop().time()
        await courier.close(5)
        assert asyncio.get_running_loop().time() == began
        assert [len(message) for message in slack.taken] == [3]

    lived(main())


def test_at_the_end_what_fits_into_the_time_goes_and_the_rest_stays(store: NotificationLog) -> None:
    async def main() -> None:
        pager, heard = oncall(), Heard()
        courier = Courier(store, [pager], heard.events)
        await storm(store, courier, 40, "oncall", apart=0.0)
        await asyncio.sleep(0.1)
        await courier.close(5)
        assert asyncio.get_running_loop().time() <= 5.2
        assert 10 <= len(pager.taken) <= 12
        assert store.waiting() == {"oncall": 40 - len(pager.taken)}

    lived(main())


@pytest.mark.parametrize("kind", [limited(3000), busy])
def test_the_end_does_not_wait_for_somebody_who_is_away(store: NotificationLog, kind: Any) -> None:
    async def main() -> None:
        pager, heard = oncall(script=(kind,)), Heard()
        put(store, "10.0.0.1", "oncall")
        courier = Courier(store, [pager], heard.events)
        await asyncio.sleep(100)
        began = asyncio.get_running_loop().time()
        await courier.close(5)
        assert asyncio.get_running_loop().time() - began <= 5
        assert store.waiting() == {"oncall": 1}
        assert heard.troubles[0][0] == "oncall"

    lived(main())


def test_who_asks_to_be_left_alone_is_left_alone_and_then_gets_all(store: NotificationLog) -> None:
    async def main() -> None:
        pager, heard = oncall(script=(limited(60), accept)), Heard()
        courier = Courier(store, [pager], heard.events)
        await storm(store, courier, 3, "oncall", apart=1.0)
        await asyncio.sleep(100)
        assert pager.times == [0.0, 60.0, 60.5, 61.0]
        await courier.close(1)

    lived(main())


def test_a_notifier_that_is_away_holds_up_no_other(store: NotificationLog) -> None:
    async def main() -> None:
        pager, other, heard = oncall(script=(busy,)), Timed(name="hook"), Heard()
        notifiers: list[Notifier] = [pager, other]
        courier = Courier(store, notifiers, heard.events)
        await storm(store, courier, 3, "oncall", "hook", apart=10.0)
        assert other.times == [0.0, 10.0, 20.0]
        await courier.close(0)

    lived(main())
