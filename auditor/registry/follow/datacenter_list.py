"""Consul's list of datacenters, followed: no query can wait for it, so it is read every few seconds."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from auditor.errors import GapReason, RegistryError
from auditor.registry.answers import decoded
from auditor.registry.datacenter_read import consul_gap
from auditor.registry.datacenters import datacenter_gone, datacenter_names, wanted_datacenters
from auditor.registry.follow.rhythm import Pauses
from auditor.registry.interface import RegistryNews
from auditor.values.models import RegistryReading
from auditor.values.text import for_detail

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pydantic import SecretStr

    from auditor.registry.follow.agent_http import AgentHttp
    from auditor.settings.consul import ConsulSettings
    from auditor.values.models import Gap

AGAIN_AFTER = 15.0
"""Seconds between two reads of the list."""
_PATH = "/v1/catalog/datacenters"


class DatacenterList:
    """Follower of all datacenters that Consul knows, with a follower for each."""

    def __init__(
        self,
        http: AgentHttp,
        settings: ConsulSettings,
        token: SecretStr | None,
        expected: Collection[str],
        begin: Callable[[str], asyncio.Task[None]],
        tell: Callable[[RegistryNews], None],
    ) -> None:
        """expected: datacenters that are missed. begin: begins to follow one. tell: gets all news."""
        self._http, self._settings, self._token = http, settings, token
        self._expected = frozenset(expected) - settings.left_out - {""}
        self._begin, self._tell = begin, tell
        self._followed: dict[str, asyncio.Task[None]] = {}
        self._gone: set[str] = set()
        self._unread: GapReason | None = None

    async def run(self) -> None:
        """Follow until cancelled."""
        pauses = Pauses()
        async with self._http:
            while True:
                try:
                    wanted = await self._wanted()
                except RegistryError as error:
                    self._fail(error)
                    await self._http.renew()
                    await asyncio.sleep(pauses.after_failure(error.retry_after))
                    continue
                pauses.reset()
                await self._take(wanted)
                await asyncio.sleep(AGAIN_AFTER)

    async def _wanted(self) -> tuple[str, ...]:
        """Read which datacenters are to be followed. Raises `RegistryError`."""
        answer = await self._http.read(_PATH, (), indexed=False)
        asked = self._http.asked(_PATH)
        names = decoded(lambda: datacenter_names(json.loads(answer.body), asked), asked, self._http.hint)
        return wanted_datacenters(self._settings, names)

    async def _take(self, wanted: tuple[str, ...]) -> None:
        if self._unread is not None:
            self._unread = None
            self._news("", (), "Consul's list of datacenters can be read again")
        for name in sorted((self._followed.keys() | self._expected) - set(wanted) - self._gone):
            if (following := self._followed.pop(name, None)) is not None:
                following.cancel()
                await asyncio.wait([following])
            self._gone.add(name)
            self._news(name, (datacenter_gone(name),), f"Consul lists {for_detail(name)} no more")
        for name in wanted:
            if name not in self._followed:
                self._gone.discard(name)
                self._followed[name] = self._begin(name)

    def _fail(self, error: RegistryError) -> None:
        gap = consul_gap(error, self._token, "")
        if error.reason is not self._unread:
            self._unread = error.reason
            self._news("", (gap,), f"Consul's list of datacenters cannot be read: {gap.detail}")

    def _news(self, datacenter: str, gaps: tuple[Gap, ...], event: str) -> None:
        reading = RegistryReading(gaps=gaps)
        self._tell(RegistryNews(datacenter, reading, datetime.now(UTC), confirmed=True, event=event))
