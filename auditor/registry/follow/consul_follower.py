"""Registry in Consul, followed: one waiting query a datacenter."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from auditor.errors import RegistryError
from auditor.registry.consul import ConsulRegistry
from auditor.registry.datacenter_read import DatacenterRead
from auditor.registry.follow.agent_http import AgentHttp
from auditor.registry.follow.datacenter_follower import WAIT, DatacenterFollower
from auditor.registry.follow.datacenter_list import DatacenterList
from auditor.registry.follow.rhythm import Pauses
from auditor.registry.follow.untaken_news import UntakenNews
from auditor.registry.interface import RegistryNews
from auditor.registry.records import reading_rules
from auditor.values.models import RegistryReading

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping

    from pydantic import SecretStr

    from auditor.registry.follow.agent_http import AgentAnswer
    from auditor.settings.consul import ConsulSettings


class ConsulFollower:
    """Registry behind one Consul agent, read and followed; see `interface.FollowedRegistry`."""

    def __init__(
        self,
        settings: ConsulSettings,
        token: SecretStr | None,
        device: str = "wg0",
        expected: Collection[str] = (),
        wait: float = WAIT,
    ) -> None:
        """Check URL, token and TLS files; asks nothing. Raises `ConfigError`, never with the token in it.

        device: the audited device, whose record is read where a node has one for each of its devices. expected:
        datacenters that are missed where every one is followed and Consul does not list them. wait: seconds for
        which Consul holds an answer back.
        """
        self._plain = ConsulRegistry(settings, token, device).expecting(expected)
        self._settings, self._token, self._device = settings, token, device
        self._expected, self._wait = frozenset(expected), wait
        self._rules = reading_rules(settings, device)
        self._answers: dict[str, datetime] = {}
        self._reads: dict[str, DatacenterRead] = {}
        """By datacenter: following and confirming it share what was read of records that stay as they are."""

    @property
    def answers(self) -> Mapping[str, datetime]:
        """Time of each datacenter's newest answer; see `interface.FollowedRegistry`."""
        return self._answers

    def expecting(self, datacenters: Collection[str]) -> ConsulFollower:
        """Expect datacenters; see `interface.Registry`."""
        return ConsulFollower(self._settings, self._token, self._device, datacenters, self._wait)

    async def read(self) -> RegistryReading:
        """Read every datacenter once; see `interface.Registry`."""
        return await self._plain.read()

    async def confirm(self, datacenter: str) -> RegistryNews:
        """Read one datacenter by a plain consistent read; see `interface.FollowedRegistry`."""
        read, index = self._read(datacenter), None
        async with AgentHttp(self._settings, self._token) as http:
            try:
                answer = await _read_in_time(http, read, self._settings.timeout)
                index = answer.index
                if answer.missing is not None:
                    raise answer.missing
                asked = http.asked(read.path, read.params)
                reading = read.decoded(answer.body, asked, http.hint, filtered=answer.filtered)
            except RegistryError as error:
                reading = RegistryReading(gaps=(read.gap(error),))
        return RegistryNews(datacenter, reading, datetime.now(UTC), confirmed=True, index=index)

    async def follow(self) -> AsyncGenerator[RegistryNews, None]:
        """Follow every datacenter; see `interface.FollowedRegistry`."""
        news = UntakenNews()
        following = asyncio.create_task(self._follow(news))
        following.add_done_callback(news.fail_with)
        try:
            while True:
                yield await news.take()
        finally:
            following.cancel()
            await asyncio.wait([following])

    async def _follow(self, news: UntakenNews) -> None:
        async with asyncio.TaskGroup() as group:

            def begin(datacenter: str) -> asyncio.Task[None]:
                http = AgentHttp(self._settings, self._token)
                read = self._read(datacenter)
                one = DatacenterFollower(
                    http, self._settings, self._token, read, datacenter, news.tell, self._wait, self._answers
                )
                return group.create_task(one.run())

            if self._settings.every_datacenter:
                http = AgentHttp(self._settings, self._token)
                every = DatacenterList(http, self._settings, self._token, self._expected, begin, news.tell)
                group.create_task(every.run())
                return
            for name in self._settings.named_datacenters or ("",):
                begin(name)

    def _read(self, datacenter: str) -> DatacenterRead:
        read = self._reads.get(datacenter)
        if read is None:
            read = DatacenterRead(self._settings, self._rules, self._token, datacenter, again=True)
            self._reads[datacenter] = read
        return read


async def _read_in_time(http: AgentHttp, read: DatacenterRead, seconds: float) -> AgentAnswer:
    """Read plainly, and again in these seconds where it fails for a reason that passes. Raises `RegistryError`."""
    until, pauses = time.monotonic() + seconds, Pauses()
    while True:
        try:
            return await http.read(read.path, read.params, indexed=True)
        except RegistryError as error:
            pause = pauses.after_failure(error.retry_after)
            if not error.passing or time.monotonic() + pause >= until:
                raise
            await http.renew()
            await asyncio.sleep(pause)
