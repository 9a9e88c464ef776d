"""Registry in Consul, each datacenter read on its own; a failed read becomes a gap."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from typing import TYPE_CHECKING

from auditor.errors import GapReason, RegistryError
from auditor.registry.agent import check_settings, without
from auditor.registry.answers import catalog_nodes, excerpt, rows
from auditor.registry.client import Client, connect
from auditor.registry.datacenter_read import DatacenterRead, consul_gap, joined, prefix_hint
from auditor.registry.datacenters import datacenter_gone, datacenter_names, wanted_datacenters
from auditor.registry.records import reading_rules
from auditor.values.models import Gap, OtherKeys, RegistryReading

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pydantic import SecretStr

    from auditor.registry.client import Response
    from auditor.settings.consul import ConsulSettings

log = logging.getLogger(__name__)

_DATACENTERS_AT_ONCE = 8
_LEAST_SECONDS = 0.05
"""Less is not worth a question."""


class ConsulRegistry:
    """Registry behind one Consul agent: KV or catalog, one datacenter, several, or every one."""

    def __init__(self, settings: ConsulSettings, token: SecretStr | None, device: str = "wg0") -> None:
        """Check URL, token and TLS files; asks nothing. Raises `ConfigError`, never with the token in it.

        device: the audited device, whose record is read where a node has one for each of its devices.
        """
        self._settings = settings
        self._rules = reading_rules(settings, device)
        self._token = token
        self.expected: frozenset[str] = frozenset()
        """Datacenters that are missed where every one is read and Consul does not list them."""
        check_settings(settings, token)

    def expecting(self, datacenters: Collection[str]) -> ConsulRegistry:
        """Expect datacenters; see `interface.Registry`. With `["*"]`, one that Consul lists no more is a gap."""
        other = copy.copy(self)
        other.expected = frozenset(datacenters)
        return other

    async def read(self) -> RegistryReading:
        """Read every datacenter once, with `consistent` reads. A failure is a gap in the reading."""
        try:
            datacenters = await self._datacenters()
        except RegistryError as error:
            return RegistryReading(gaps=(self._gap(error, ""),))
        gone = self._gone(datacenters)
        bound = asyncio.Semaphore(_DATACENTERS_AT_ONCE)

        async def one(datacenter: str) -> RegistryReading:
            async with bound:
                try:
                    return await asyncio.to_thread(self._read, datacenter)
                except RegistryError as error:
                    return RegistryReading(gaps=(self._gap(error, datacenter),))

        readings = await asyncio.gather(*map(one, datacenters))
        return RegistryReading(
            registrations=tuple(one for reading in readings for one in reading.registrations),
            invalid=tuple(one for reading in readings for one in reading.invalid),
            gaps=(*(one for reading in readings for one in reading.gaps), *gone),
            others=sum((reading.others for reading in readings), OtherKeys()),
        )

    async def leader(self) -> str | Gap:
        """Ask the agent for the Raft leader's address; a gap where there is none."""
        try:
            answer = await asyncio.to_thread(self._leader)
        except RegistryError as error:
            return self._gap(error, "")
        return excerpt(answer.encode(errors="replace"))

    async def listed(self) -> int | Gap:
        """Count the KV keys (or catalog nodes) that the token may list in the first datacenter; a gap where none."""
        datacenter = ""
        try:
            datacenter = (await self._datacenters())[0]
            return await asyncio.to_thread(self._listed, datacenter)
        except RegistryError as error:
            return self._gap(error, datacenter)

    async def _datacenters(self) -> Sequence[str]:
        """List the datacenters to read; "" is the agent's own. Raises `RegistryError`."""
        settings = self._settings
        if not settings.every_datacenter:
            return settings.named_datacenters or ("",)
        return wanted_datacenters(settings, await asyncio.to_thread(self._known_datacenters))

    def _gone(self, datacenters: Sequence[str]) -> tuple[Gap, ...]:
        """List the expected datacenters that Consul lists no more, where every one is read."""
        if not self._settings.every_datacenter:
            return ()
        gone = sorted(self.expected - set(datacenters) - self._settings.left_out - {""})
        return tuple(map(datacenter_gone, gone))

    def _known_datacenters(self) -> Sequence[str]:
        with self._client() as client:
            return datacenter_names(client.catalog.datacenters(), client.asked)

    def _leader(self) -> str:
        with self._client() as client:
            answer = client.status.leader()
            if not isinstance(answer, str):
                raise RegistryError(GapReason.CONSUL_UNREADABLE, f"{client.asked}: the answer is not text")
            if not answer:
                raise RegistryError(GapReason.CONSUL_NO_LEADER, f"{client.asked}: there is no leader")
        return answer

    def _listed(self, datacenter: str) -> int:
        with self._client(datacenter) as client:
            if self._settings.layout == "catalog":
                return len(catalog_nodes(client.catalog.nodes()[1], client.asked))
            keys = client.kv.get(self._settings.prefix, keys=True)[1]
            return len(rows(keys, str, client.asked))

    def _read(self, datacenter: str) -> RegistryReading:
        """Read one datacenter, in a thread of its own. Raises `RegistryError`."""
        started = time.monotonic()
        read = DatacenterRead(self._settings, self._rules, self._token, datacenter)
        with self._client(datacenter) as client:

            def reading(response: Response) -> RegistryReading:
                return read.reading(response.content, client.asked, filtered=client.http.filtered)

            try:
                return client.http.get(reading, read.path, read.params)
            except RegistryError as error:
                if error.reason is not GapReason.PREFIX_NOT_FOUND:
                    raise
                hint = self._hint(datacenter, started + self._settings.timeout)
                raise RegistryError(error.reason, joined(error.detail, hint)) from None

    def _hint(self, datacenter: str, until: float) -> str:
        """Suggest an existing prefix in place of the missing one, as far as it can be read in this time."""
        hint = prefix_hint(self._settings.prefix)
        try:
            folder = next(hint)
            while True:
                folder = hint.send(self._level(folder, datacenter, until))
        except StopIteration as suggested:
            return str(suggested.value)
        except RegistryError as error:
            # The gap stands without it; it would only have been a help.
            log.info("no hint on consul.prefix: %s", without(self._token, error.detail))
            return ""

    def _level(self, folder: str, datacenter: str, until: float) -> Sequence[str]:
        """List keys and folders directly in a folder. Raises `RegistryError`."""
        seconds = until - time.monotonic()
        if seconds < _LEAST_SECONDS:
            raise RegistryError(GapReason.CONSUL_TIMEOUT, "no time left")
        settings = self._settings.model_copy(update={"timeout": seconds})
        with connect(settings, self._token, datacenter, once=True) as client:
            try:
                return rows(client.kv.get(folder, keys=True, separator="/")[1], str, client.asked)
            except RegistryError as error:
                if error.reason is GapReason.PREFIX_NOT_FOUND:
                    return ()
                raise

    def _client(self, datacenter: str = "") -> Client:
        return connect(self._settings, self._token, datacenter)

    def _gap(self, error: RegistryError, datacenter: str) -> Gap:
        return consul_gap(error, self._token, datacenter)
