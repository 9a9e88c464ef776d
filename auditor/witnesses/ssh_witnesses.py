"""Witnesses over SSH: questions asked through the connection to each observer, which is logged in to once."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass

from auditor.errors import ConfigError, GapReason, ProbeError, RevocationError
from auditor.nodes.interface import unforeseen
from auditor.nodes.known_hosts import KnownLines
from auditor.nodes.ssh.access import NodeSession, SshAccess
from auditor.nodes.stop import Stop
from auditor.nodes.underlay import check_template
from auditor.settings.witnesses import WitnessSettings
from auditor.values.addresses import Prefix, format_prefix
from auditor.values.models import NodeId, Registration
from auditor.values.witness_answers import OWN_LOOPBACK, AnswerSource, WitnessAnswer
from auditor.witnesses.interface import Question, Witnesses
from auditor.witnesses.nats import NatsServer, read_info, read_varz, region_by_tag
from auditor.witnesses.ties import NAME_PLACE, HostKeys, Names, tied

log = logging.getLogger(__name__)

MOST_OBSERVERS = 32
"""Observers that are logged in at the same time: a login here costs as much as a look at a node."""
MOST_AT_ONCE = 8
"""Questions under way from one observer."""


Answers = asyncio.Queue[tuple[Question, WitnessAnswer] | None]
"""Answers in the order in which they come; None at their end."""


class SshWitnesses(Witnesses):
    """Asks by the access that looks at nodes too. Raises `ConfigError` where the settings cannot be used.

    regions: every region that the configuration knows, beside those of registrations.
    """

    def __init__(
        self, access: SshAccess, settings: Sequence[WitnessSettings], regions: Iterable[str] = ()
    ) -> None:
        self._access = access
        self._settings = {item.source: item for item in settings}
        self._regions = frozenset(regions)
        self._counted: set[Prefix] = set()
        """Addresses at which an SSH server said, by its version, that it counts who asks: not asked again."""
        self._known_lines = KnownLines(())
        for item in settings:
            if item.source is AnswerSource.NATS:
                check_template(item.name, NAME_PLACE)
            else:
                self._known_lines = _known_lines(item, access)

    async def ask(
        self, questions: Sequence[Question], registered: Sequence[Registration], stop: Stop
    ) -> AsyncGenerator[WitnessAnswer, None]:
        """Yield one answer for each question, in the order in which they come."""
        for source in {item.source for item in questions} - self._settings.keys():
            raise ConfigError(f"no [[witnesses]] of type {source.value} is configured")
        left = {question.key: question for question in questions}
        answers: Answers = asyncio.Queue()
        self._access.expect(registered)
        ties = self._ties(registered)

        async def ask_all() -> None:
            try:
                await stop.bound(self._ask_all(tuple(left.values()), ties, answers))
            finally:
                answers.put_nowait(None)

        asking = asyncio.create_task(ask_all())
        try:
            while (item := await answers.get()) is not None:
                question, answer = item
                left.pop(question.key, None)
                yield answer
            await asking
            for question in left.values():
                yield _failed(
                    question, 0.0, ProbeError(GapReason.CUT_SHORT, f"not answered yet: {stop.reason}")
                )
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    def _ties(self, registered: Sequence[Registration]) -> _Ties:
        there = [item for item in registered if not item.retired]
        holders: dict[Prefix, list[NodeId]] = defaultdict(list)
        for item in there:
            for address in item.addresses:
                holders[address].append(item.node)
        nats = self._settings.get(AnswerSource.NATS)
        return _Ties(
            Names(nats.name, there) if nats is not None else None,
            HostKeys(self._known_lines, self._access.settings, there)
            if AnswerSource.SSH_HOST_KEY in self._settings
            else None,
            holders,
            {region.casefold(): region for region in self._regions}
            | {item.region.casefold(): item.region for item in there if item.region},
        )

    async def _ask_all(self, questions: Sequence[Question], ties: _Ties, answers: Answers) -> None:
        by_observer: dict[NodeId, list[Question]] = defaultdict(list)
        for question in questions:
            by_observer[question.observer.node].append(question)
        turns = asyncio.Semaphore(min(MOST_OBSERVERS, self._access.settings.concurrency))

        async def from_one(mine: Sequence[Question]) -> None:
            async with turns:
                await self._from_observer(mine, ties, answers)

        async with asyncio.TaskGroup() as group:
            for mine in by_observer.values():
                group.create_task(from_one(mine))

    async def _from_observer(self, questions: Sequence[Question], ties: _Ties, answers: Answers) -> None:
        """Ask all questions of one observer over one connection to it."""
        turns = asyncio.Semaphore(MOST_AT_ONCE)
        left = {question.key: question for question in questions}

        async def one(session: NodeSession, question: Question) -> None:
            async with turns:
                answer = await self._answer(session, question, ties)
            left.pop(question.key, None)
            answers.put_nowait((question, answer))

        try:
            async with self._access.session(questions[0].observer) as session, asyncio.TaskGroup() as group:
                for question in questions:
                    group.create_task(one(session, question))
        except ProbeError as error:
            for question in left.values():
                answers.put_nowait((question, _failed(question, 0.0, error)))
        except Exception as error:
            # One observer's unforeseen error must not end the run: it becomes a gap with a place.
            log.debug("unexpected error while asking from %s", questions[0].observer.node, exc_info=True)
            for question in left.values():
                answers.put_nowait((question, _failed(question, 0.0, unforeseen(error))))

    async def _answer(self, session: NodeSession, question: Question, ties: _Ties) -> WitnessAnswer:
        """Ask one question, bounded in time and bytes. Raises nothing for what a server or a network does."""
        loop = asyncio.get_running_loop()
        settings, begun = self._settings[question.source], loop.time()
        try:
            async with asyncio.timeout(settings.timeout):
                said = await self._said(session, question, settings, ties)
        except TimeoutError:
            where = f"{format_prefix(question.address)}:{settings.asked_port}"
            error = ProbeError(
                GapReason.NO_ANSWER,
                f"{where}: no answer within {settings.timeout:g} s, asked from {session.host}",
            )
            return _failed(question, loop.time() - begun, error)
        except ProbeError as error:
            return _failed(question, loop.time() - begun, error)
        return WitnessAnswer(
            question.observer.node,
            question.address,
            question.source,
            loop.time() - begun,
            said.text,
            tied(said.nodes, ties.holders.get(question.address, ())),
            said.region,
        )

    async def _said(
        self, session: NodeSession, question: Question, settings: WitnessSettings, ties: _Ties
    ) -> _Said:
        """Ask, and read what is said. Raises `ProbeError`."""
        host, port = format_prefix(question.address), settings.asked_port
        if question.source is AnswerSource.SSH_HOST_KEY:
            return await self._host_key(session, question, host, port, ties)
        own = question.address == OWN_LOOPBACK
        if own:
            port = settings.monitoring_port or 0
            if not port:
                raise ProbeError(GapReason.NO_HOST, "no monitoring_port is configured")
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        async with session.dial(host, port) as connection:
            server = await (read_varz if own else read_info)(connection, where)
        nodes = ties.names.nodes(server.name) if ties.names is not None else ()
        return _Said(server.name, nodes, _region(server, settings, ties))

    async def _host_key(
        self, session: NodeSession, question: Question, host: str, port: int, ties: _Ties
    ) -> _Said:
        holders = ties.holders.get(question.address, ())
        if question.address in self._counted or any(map(self._access.counts_failed_logins, holders)):
            detail = f"{host}:{port}: the SSH server there counts connections without a login; not asked"
            raise ProbeError(GapReason.LOGINS_COUNTED, detail)
        try:
            shown = await session.shown_host_key(host, port)
        except ProbeError as error:
            if error.reason is GapReason.LOGINS_COUNTED:
                self._counted.add(question.address)
            raise
        return _Said(shown.fingerprint, ties.host_keys.nodes(shown.key) if ties.host_keys else (), None)


@dataclass(frozen=True, slots=True)
class _Ties:
    """Registry, as far as it ties answers to nodes."""

    names: Names | None
    host_keys: HostKeys | None
    holders: Mapping[Prefix, Sequence[NodeId]]
    regions: Mapping[str, str]
    """Known regions by their case-folded spelling."""


@dataclass(frozen=True, slots=True)
class _Said:
    text: str
    nodes: Sequence[NodeId]
    region: str | None


def _region(server: NatsServer, settings: WitnessSettings, ties: _Ties) -> str | None:
    """Find the region that a server names: by its tag, else by its cluster, where that has the name of a region."""
    by_tag = region_by_tag(server.tags, settings.region_tag)
    if by_tag is not None:
        return ties.regions.get(by_tag.casefold(), by_tag)
    return ties.regions.get(server.cluster.casefold())


def _failed(question: Question, seconds: float, error: ProbeError) -> WitnessAnswer:
    return WitnessAnswer(
        question.observer.node,
        question.address,
        question.source,
        seconds,
        reason=error.reason,
        detail=error.detail,
    )


def _known_lines(settings: WitnessSettings, access: SshAccess) -> KnownLines:
    """Read the known_hosts file that ties keys to nodes. Raises `ConfigError`."""
    file = settings.known_hosts or access.settings.known_hosts
    try:
        return KnownLines([(str(file), file.read_bytes())])
    except RevocationError as error:
        raise ConfigError(f"witnesses.known_hosts: {error}; correct it, or remove the line") from None
    except OSError as error:
        raise ConfigError(f"witnesses.known_hosts: cannot read {file}: {error.strerror}") from None
