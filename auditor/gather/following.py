"""Follower in this process: one open session a node, opened at the pace of a sweep, and anew when it ends."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Hashable, Iterable
from contextlib import aclosing

from auditor.errors import GapReason, ProbeError
from auditor.gather.collector import Assignment, Follower, Heard, gap_of
from auditor.gather.local import LOST_PAUSE, NO_ANSWER, TRANSIENT, spread, tried_twice
from auditor.gather.newest_words import NewestWords
from auditor.gather.pace import Pace, Turn
from auditor.nodes.interface import FollowedNodes, unforeseen
from auditor.nodes.table_store import TableStore
from auditor.values.meetings import PeersMet
from auditor.values.models import NodeId, Observation, Registration

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between two tries of a node that cannot be reached: twice as many each time, up to the longest."""
SECOND_LOOK = 1.0
"""Seconds after which a node that is only looked at, and has changed, is looked at once more."""
MEET_AT_ONCE = 8
"""Nodes that are asked at the same time whom they meet."""
FOLLOW_AGAIN = 30
"""Looks at a node that cannot be followed, after which it is tried again: its probe may have been renewed."""


def pause(tries: int, reason: GapReason, chance: float) -> float:
    """Return the seconds until a node is tried again. PURE.

    tries: failed ones in a row. chance: a random number from 0 to 1, for nodes that failed together must not come back
    together. What a server refused, it will refuse a moment later: that has the longest pause at once.
    """
    longest = LONGEST_PAUSE if reason not in NO_ANSWER or reason is GapReason.THROTTLED else FIRST_PAUSE
    most = min(LONGEST_PAUSE, max(longest, FIRST_PAUSE * 2.0 ** min(tries - 1, 10)))
    return most * (0.5 + chance)


class LocalFollower(Follower):
    """Follows through a node source of this process. Its stream may be opened once.

    interval: seconds between two looks of a node at itself. `concurrency`: the most nodes that are connected at the
    same time; how many it is, the pace finds. `chance`: random numbers from 0 to 1. `room`: called with the number of
    nodes and of those that have a session; returns how many may have one. The others are looked at each round.
    """

    def __init__(
        self,
        nodes: FollowedNodes,
        interval: float,
        concurrency: int = 100,
        *,
        chance: Callable[[], float] = random.random,
        room: Callable[[int, int], int] | None = None,
    ) -> None:
        self._room = room
        self._nodes = nodes
        self._interval = interval
        self._silence = nodes.silence(interval)
        self._chance = chance
        self._gate = _Gate(Pace(concurrency))
        self._news = NewestWords()
        self._tables: TableStore | None = None
        self._followed: dict[NodeId, _Followed] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._round = asyncio.Event()

    def assign(self, assignment: Assignment) -> None:
        """Set the nodes to follow."""
        self._nodes.expect(assignment.registered)
        wanted = {registration.node: registration for registration in assignment.nodes}
        for node in self._followed.keys() - wanted.keys():
            self._let_go(node)
        begun: list[_Followed] = []
        for node, registration in wanted.items():
            known = self._followed.get(node)
            if known is not None and known.registration != registration:
                if self._way(registration) != known.way:
                    self._let_go(node)
                    known = None
                else:
                    known.registration = registration
            if known is None:
                begun.append(_Followed(registration, self._way(registration)))
        # In an order that has nothing to do with names: see `local`.
        begun.sort(key=lambda one: one.spread)
        followed = sum(one.follows for one in self._followed.values())
        room = len(wanted) if self._room is None or not begun else self._room(len(wanted), followed)
        for one in begun:
            one.follows = followed < room
            followed += one.follows
            self._followed[one.registration.node] = one
        if self._tables is not None:
            self._begin(begun, self._tables)

    def look_again(self) -> None:
        """Begin a round: look at once at each node that cannot be followed."""
        self._round.set()
        self._round = asyncio.Event()

    async def meet(self, observers: Collection[NodeId]) -> tuple[PeersMet, ...]:
        """Ask followed nodes where they meet their peers, some at a time."""
        some = asyncio.Semaphore(MEET_AT_ONCE)

        async def ask(one: _Followed) -> PeersMet | None:
            async with some:
                try:
                    return await self._nodes.meet(one.registration)
                except ProbeError as error:
                    log.info("%s: not asked whom it meets: %s", one.registration.node, error.detail)
                except Exception:
                    log.debug("unexpected error: whom %s meets", one.registration.node, exc_info=True)
            return None

        followed = [self._followed[node] for node in observers if node in self._followed]
        return tuple(met for met in await asyncio.gather(*map(ask, followed)) if met is not None)

    async def follow(self, tables: TableStore) -> AsyncGenerator[Heard, None]:
        """Yield what nodes say, until the stream is closed."""
        if self._tables is not None:
            raise AssertionError("a follower's stream may be opened once")
        self._tables = tables
        self._begin(self._followed.values(), tables)
        try:
            while True:
                yield await self._news.next()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _way(self, registration: Registration) -> Hashable:
        return registration.public_key, self._nodes.way(registration)

    def _begin(self, followed: Iterable[_Followed], tables: TableStore) -> None:
        for one in followed:
            one.task = task = asyncio.create_task(self._keep_following(one, tables))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._news.fail(error)

    def _let_go(self, node: NodeId) -> None:
        one = self._followed.pop(node)
        one.no_timer()
        if one.task is not None:
            one.task.cancel()
        self._news.forget(node)

    # --- one node ---

    async def _keep_following(self, one: _Followed, tables: TableStore) -> None:
        tries, before = 0, None
        while not one.follows:
            await self._look_each_round(one, tables)
        while True:
            began = self._now()
            error = await self._session(one, tables)
            held = self._now() - began >= self._silence / 3
            if error is not None and error.reason is GapReason.CANNOT_FOLLOW:
                log.info("%s: %s; it is looked at each round", one.registration.node, error.detail)
                await self._look_each_round(one, tables)
                continue
            tries = 1 if held else tries + 1
            if tries == 1 and held and (error is None or error.reason in TRANSIENT):
                # It was there a moment ago: one more try before it is called gone, unless that has to wait too long.
                before = error
                self._gone_unless_heard(one, error or ProbeError(GapReason.SILENT, _OVER))
                await self._between(LOST_PAUSE)
                continue
            error = error or ProbeError(GapReason.SILENT, _OVER)
            self._tell_gap(one, error if tries != 2 or before is None else tried_twice(before, error))
            before = None
            await asyncio.sleep(pause(tries, error.reason, self._chance()))

    async def _session(self, one: _Followed, tables: TableStore) -> ProbeError | None:
        """Follow a node until that ends. Returns why; None: it was over, as it was to be."""
        turn = await self._gate.enter()
        try:
            async with aclosing(self._nodes.follow(one.registration, tables, self._interval)) as stream:
                async for said in stream:
                    turn.end(answered=True)
                    self._hear(one, said)
            return None
        except ProbeError as error:
            turn.end(answered=error.reason not in NO_ANSWER, lost=error.reason is GapReason.CONNECTION_LOST)
            return error
        except Exception as error:
            # One node's unforeseen error must not end the others' following: it becomes a gap with a place.
            log.debug("unexpected error while %s was followed", one.registration.node, exc_info=True)
            return unforeseen(error)
        finally:
            turn.end(answered=False)

    async def _look_each_round(self, one: _Followed, tables: TableStore) -> None:
        """Look at a node that cannot be followed, once a round, until it is time to try that again."""
        for _ in range(FOLLOW_AGAIN):
            this_round = self._round
            if await self._look(one, tables):
                # What is new is looked at once more, as a followed node does by itself.
                await asyncio.sleep(SECOND_LOOK)
                await self._look(one, tables)
            await this_round.wait()

    async def _look(self, one: _Followed, tables: TableStore) -> bool:
        """Look at a node once, and once more where its failure may pass. Returns whether it shows something new."""
        outcome = await self._outcome(one, tables)
        if isinstance(outcome, ProbeError) and outcome.reason in TRANSIENT:
            await self._between(LOST_PAUSE)
            again = await self._outcome(one, tables)
            outcome = tried_twice(outcome, again) if isinstance(again, ProbeError) else again
        if isinstance(outcome, ProbeError):
            self._tell_gap(one, outcome, followed=False)
            return False
        new = outcome != one.shown
        self._hear(one, outcome if new else None, followed=False)
        return new

    async def _outcome(self, one: _Followed, tables: TableStore) -> Observation | ProbeError:
        turn = await self._gate.enter()
        try:
            seen = await self._nodes.observe(one.registration, tables)
            turn.end(answered=True)
            return seen
        except ProbeError as error:
            turn.end(answered=error.reason not in NO_ANSWER, lost=error.reason is GapReason.CONNECTION_LOST)
            return error
        except Exception as error:
            log.debug("unexpected error while looking at %s", one.registration.node, exc_info=True)
            return unforeseen(error)
        finally:
            turn.end(answered=False)

    def _hear(self, one: _Followed, said: Observation | ProbeError | None, *, followed: bool = True) -> None:
        one.heard_at = self._now()
        one.no_timer()
        if isinstance(said, ProbeError):
            self._tell_gap(one, said, followed=followed)
        elif said is not None:
            one.shown, one.gap = said if not followed else None, None
            self._news.put(Heard(one.registration.node, said, followed))
        else:
            self._news.put(Heard(one.registration.node, None, followed))

    def _tell_gap(self, one: _Followed, error: ProbeError, *, followed: bool = True) -> None:
        """Tell why a node is not seen: once, and again when the reason changes."""
        one.no_timer()
        one.shown = None
        if one.gap is not error.reason:
            one.gap = error.reason
            self._news.put(Heard(one.registration.node, gap_of(one.registration.node, error), followed))
        elif not followed:
            # Each look is heard of: a round waits for it.
            self._news.put(Heard(one.registration.node, None, followed))

    def _gone_unless_heard(self, one: _Followed, error: ProbeError) -> None:
        """Tell of a lost node once it has not been heard of for three beats."""
        one.no_timer()
        due = one.heard_at + self._silence
        one.timer = asyncio.get_running_loop().call_at(due, self._tell_gap, one, error)

    async def _between(self, seconds: tuple[float, float]) -> None:
        least, most = seconds
        await asyncio.sleep(least + (most - least) * self._chance())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


_OVER = "its session came to its end, and no new one has begun"


class _Followed:
    """Node that is followed, and what was told of it."""

    __slots__ = ("follows", "gap", "heard_at", "registration", "shown", "spread", "task", "timer", "way")

    def __init__(self, registration: Registration, way: Hashable) -> None:
        self.registration = registration
        self.way = way
        self.spread = spread(registration.node)
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.heard_at = 0.0
        self.follows = True
        """False: there is no room for its session."""
        self.shown: Observation | None = None
        """Of a node that is looked at each round: what it last showed."""
        self.gap: GapReason | None = None
        """Reason of the gap that was told; None: it is seen, or nothing was told yet."""

    def no_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class _Gate:
    """Gate before the nodes: lets them be connected at the pace that the network bears, in the order of asking."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting: deque[asyncio.Future[_Admission]] = deque()

    async def enter(self) -> _Admission:
        """Wait for a turn; end it."""
        if not self._waiting and self._pace.free():
            return self._begun()
        place: asyncio.Future[_Admission] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                place.result().end(answered=False)
            raise

    def wake(self) -> None:
        while self._waiting and self._pace.free():
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(self._begun())

    def _begun(self) -> _Admission:
        return _Admission(self, self._pace)


class _Admission:
    """Admission of one node to be connected: ends with its first word."""

    __slots__ = ("_gate", "_pace", "_timer", "_turn")

    def __init__(self, gate: _Gate, pace: Pace) -> None:
        loop = asyncio.get_running_loop()
        self._gate, self._pace = gate, pace
        self._turn: Turn | None = pace.begin(loop.time())
        self._timer = loop.call_later(pace.late_after, self._late)

    def _late(self) -> None:
        if self._turn is not None:
            self._pace.late(self._turn)
            self._gate.wake()

    def end(self, *, answered: bool, lost: bool = False) -> None:
        """End it, if it has not ended. `lost`: its connection was, which may be a sign of too many at once."""
        turn, self._turn = self._turn, None
        if turn is None:
            return
        self._timer.cancel()
        if lost:
            self._pace.overloaded(turn)
        self._pace.end(turn, asyncio.get_running_loop().time(), answered=answered)
        self._gate.wake()
