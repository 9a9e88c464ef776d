"""Follower of one region's nodes, through a collector there: one job after the other, each for as long as it lasts."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from nats.errors import NoRespondersError

from auditor.errors import ConfigError, GapReason, InvalidValue, NatsAway, ProbeError
from auditor.gather.collector import Assignment, Heard, gap_of
from auditor.gather.following_by_region import RegionFollower
from auditor.gather.nats.believed_words import BelievedWords
from auditor.gather.nats.connection import EXPECTED, NatsConnection
from auditor.gather.nats.followed_job import PENDING, PENDING_BYTES, FollowedJob, Rhythm
from auditor.gather.nats.following_reading import TakenJob
from auditor.gather.nats.messages import (
    MOST_NODES,
    JobAnswer,
    NodeToAsk,
    OpenJob,
    collect_subject,
    node_to_ask,
    read_answer,
    registration_to_ask,
    seen_subject,
    written,
)
from auditor.gather.nats.nats_line import NatsLine
from auditor.gather.nats.publishing import heeding_cancel
from auditor.gather.newest_words import NewestWords
from auditor.nodes.table_store import TableStore
from auditor.values.addresses import Prefix
from auditor.values.meetings import PeersMet
from auditor.values.models import NodeId, Registration
from auditor.values.text import for_detail, without_login

log = logging.getLogger(__name__)

ANSWER_WITHIN = 10.0
"""Seconds within which a collector says whether it takes a job."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
"""Seconds before a region's collectors are asked again: twice as many each time, up to the longest."""
REFUSED_PAUSE = 60.0
"""Seconds before they are asked again after one refused: it will, a moment later."""


@dataclass(frozen=True, slots=True)
class FollowTerms:
    """Terms on which nodes are followed, the same for all regions."""

    device: str
    pools: tuple[Prefix, ...]
    address_devices: tuple[str, ...]
    endpoints: bool
    interval: float
    """Seconds between two looks of a node at itself."""
    value_names: tuple[str, ...] = ()
    """Values of a registration that travel, beside its fields: those that the template of the host names."""


def pause_before_asking(tries: int, reason: GapReason, chance: float) -> float:
    """Return the seconds until a region's collectors are asked again. PURE.

    tries: failed ones in a row. chance: a random number from 0 to 1, for regions that failed together must not all come
    back together.
    """
    if reason is GapReason.COLLECTOR_REFUSED:
        return REFUSED_PAUSE * (0.5 + chance)
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries - 1, 10)) * (0.5 + chance)


class NatsFollower(RegionFollower):
    """Follows the nodes of one region. Its stream may be opened once.

    While no collector can be had, each of its nodes is a gap; after a job that was taken, once the next try has failed
    or the node was not heard of for three beats. `chance`: random numbers from 0 to 1.
    """

    def __init__(
        self,
        region: str,
        line: NatsLine,
        terms: FollowTerms,
        silence: float,
        *,
        rhythm: Rhythm | None = None,
        chance: Callable[[], float] = random.random,
        complain: Callable[[str], None] = log.info,
    ) -> None:
        """silence: seconds without a believed word after which a node is a gap. complain: receives one line when the
        region's collectors are lost, for each new reason, and when one is back.
        """
        self.region = region
        self._line = line
        self._terms = terms
        self._silence = silence
        self._rhythm = rhythm or Rhythm()
        self._chance = chance
        self._complain = complain
        self._complained: GapReason | None = None
        self._there: Callable[[bool], None] = lambda _: None
        self._news = NewestWords()
        self._words = BelievedWords()
        self._nodes: dict[NodeId, _Travelling] = {}
        self._unsent: dict[NodeId, str] = {}
        """Nodes whose registration cannot be sent, and why."""
        self._mesh: Sequence[Prefix] = ()
        self._any_nodes = asyncio.Event()
        self._job: FollowedJob | None = None
        self._opened = False

    def tell_whether_there(self, tell: Callable[[bool], None]) -> None:
        """Have told when a collector took or refused the job, and when none is there."""
        self._there = tell

    # -- what a follower does

    def assign(self, assignment: Assignment) -> None:
        """Set the nodes to follow."""
        self._mesh = self._line.mesh_of(assignment.registered)
        before, self._nodes = self._nodes, {}
        unsent_before, self._unsent = self._unsent, {}
        for registration in assignment.nodes:
            known = before.get(registration.node)
            if known is None or known.registration != registration:
                try:
                    known = self._travelling(registration)
                except InvalidValue as error:
                    self._unsent[registration.node] = str(error)
                    continue
            self._nodes[registration.node] = known
        left = [node for node in self._words.nodes if node not in self._nodes]
        self._words.let_go(left)
        for node in left:
            self._news.forget(node)
        new = [node for node in self._nodes if node not in self._words.nodes]
        self._words.take_on(new)
        for node, why in self._unsent.items():
            if unsent_before.get(node) != why:
                fault = ProbeError(GapReason.COLLECTOR_REFUSED, why)
                self._news.put(Heard(node, gap_of(node, fault)))
        if self._nodes:
            self._any_nodes.set()
        else:
            self._any_nodes.clear()
        if self._job is not None:
            if any(map(self._job.knows, new)):
                self._words.ask()  # it left and came back before the collector was told, which says nothing new of it
            self._assign_to(self._job)

    def _travelling(self, registration: Registration) -> _Travelling:
        if len(self._nodes) >= MOST_NODES:
            raise InvalidValue(f"more than {MOST_NODES:,} nodes in the region {self.region}")
        form = node_to_ask(registration, self._terms.value_names)
        return _Travelling(registration, registration_to_ask(form), form)

    def _assign_to(self, job: FollowedJob) -> None:
        job.assign([(item.read, item.form) for item in self._nodes.values()], self._mesh)

    def look_again(self) -> None:
        """Begin a round: look at once at each node that cannot be followed."""
        self._words.ask_for_missing()
        if self._job is not None:
            self._job.begin_round()

    async def meet(self, observers: Collection[NodeId]) -> tuple[PeersMet, ...]:
        """Ask followed nodes where they meet their peers."""
        if self._job is None:
            return ()
        return await self._job.meet(observers)

    async def follow(self, tables: TableStore) -> AsyncGenerator[Heard, None]:
        """Yield what nodes say, until the stream is closed."""
        if self._opened:
            raise AssertionError("a follower's stream may be opened once")
        self._opened = True
        following = asyncio.create_task(self._keep_following(tables))
        following.add_done_callback(self._ended)
        try:
            while True:
                yield await self._news.next()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._news.fail(error)

    # -- one job after the other

    async def _keep_following(self, tables: TableStore) -> None:
        tries = short_jobs = 0
        while True:
            await self._any_nodes.wait()
            began = asyncio.get_running_loop().time()
            taken, error = await self._one_job(tables)
            lasted = asyncio.get_running_loop().time() - began >= self._silence / 3
            short_jobs = short_jobs + 1 if taken and not lasted else 0
            was_there = taken and short_jobs <= 1
            tries = 1 if was_there else tries + 1
            if error.reason is not self._complained:
                self._complained = error.reason
                self._complain(f"region {self.region}: {error.detail}")
            # If one was there a moment ago, nodes have three beats, in which another collector may take them over.
            if not was_there:
                if error.reason is not GapReason.COLLECTOR_LOST:
                    self._there(error.reason is GapReason.COLLECTOR_REFUSED)
                for heard in self._words.all_lost(error):
                    self._news.put(heard)
            await self._silent_while(pause_before_asking(tries, error.reason, self._chance()), error)

    async def _silent_while(self, seconds: float, error: ProbeError) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            await asyncio.sleep(min(left, self._rhythm.tick))
            for heard in self._words.silent(loop.time(), self._silence, error):
                self._news.put(heard)

    async def _one_job(self, tables: TableStore) -> tuple[bool, ProbeError]:
        """Have one job, to its end. Returns whether it was taken, and why it is over, or was not."""
        try:
            connection = await self._line.connection()
        except (NatsAway, ConfigError) as error:
            return False, ProbeError(GapReason.COLLECTOR_MISSING, f"no collector can be asked: {error}")
        job = secrets.token_hex(16)
        try:
            listening = connection.client.subscribe(
                seen_subject(self.region, job),
                pending_msgs_limit=PENDING,
                pending_bytes_limit=PENDING_BYTES,
            )
            subscription = await heeding_cancel(listening)
        except EXPECTED as error:
            return False, self._away(error)
        try:
            try:
                answer = await self._answer(connection, job)
            except ProbeError as error:
                return False, error
            followed = FollowedJob(
                TakenJob(job, self.region, _words(answer.collector) or "a collector"),
                connection,
                subscription,
                self._words,
                self._news,
                tables,
                device=self._terms.device,
                silence=self._silence,
                rhythm=self._rhythm,
            )
            self._assign_to(followed)
            self._job = followed
            self._there(True)
            if self._complained is not None:
                self._complained = None
                self._complain(f"region {self.region}: followed by {_words(answer.collector)}")
            return True, await followed.run()
        finally:
            self._job = None
            with suppress(*EXPECTED):
                await heeding_cancel(subscription.unsubscribe())

    async def _answer(self, connection: NatsConnection, job: str) -> JobAnswer:
        """Ask the region's collectors to take the job. Raises `ProbeError`."""
        terms = self._terms
        request = OpenJob(
            job=job,
            region=self.region,
            mode="follow",
            nodes=len(self._nodes),
            device=terms.device,
            pools=list(terms.pools),
            address_devices=list(terms.address_devices),
            endpoints=terms.endpoints,
            interval=terms.interval,
        )
        try:
            asked = connection.client.request(
                collect_subject(self.region), written(request), timeout=ANSWER_WITHIN
            )
            reply = await heeding_cancel(asked)
            answer = read_answer(reply.data)
        except NoRespondersError:
            raise ProbeError(
                GapReason.COLLECTOR_MISSING, f"no collector of the region {self.region} is there"
            ) from None
        except TimeoutError:
            raise ProbeError(
                GapReason.COLLECTOR_LOST,
                f"a collector of the region {self.region} did not answer within {ANSWER_WITHIN:g} s",
            ) from None
        except EXPECTED as error:
            raise self._away(error) from None
        if answer.job != job:
            raise ProbeError(
                GapReason.COLLECTOR_LOST, f"a collector of the region {self.region} answered for another job"
            )
        if not answer.accepted:
            raise ProbeError(
                GapReason.COLLECTOR_REFUSED,
                _words(f"{answer.collector or 'a collector'} refused: {answer.refused or 'without a word'}"),
            )
        return answer

    def _away(self, error: Exception) -> ProbeError:
        words = str(error) if isinstance(error, InvalidValue) else type(error).__name__
        return ProbeError(
            GapReason.COLLECTOR_LOST,
            f"the collectors of the region {self.region} could not be asked: {words}",
        )


def _words(text: str) -> str:
    return without_login(for_detail(text))


class _Travelling(NamedTuple):
    """Registration, and what of it travels."""

    registration: Registration
    read: Registration
    """As it is read on the other side."""
    form: NodeToAsk
