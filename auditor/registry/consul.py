"""Reads registrations from a Consul server, each datacenter on its own; a failed read becomes a gap."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from auditor.errors import GapReason, RegistryError
from auditor.registry.answers import catalog_nodes, excerpt, rows
from auditor.registry.client import Client, check_settings, connect, without
from auditor.registry.records import MAX_TEXT, read_catalog, read_kv
from auditor.values.models import Gap, RegistryReading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

    from auditor.settings.consul import ConsulSettings

_DATACENTERS_AT_ONCE = 8


class ConsulRegistry:
    """The registry behind one Consul agent: KV or catalog, one datacenter, several, or every one."""

    def __init__(self, settings: ConsulSettings, token: SecretStr | None) -> None:
        """Checks URL, token and TLS files; asks nothing. Raises `ConfigError`, never with the token in it."""
        self._settings = settings
        self._token = token
        check_settings(settings, token)

    async def read(self) -> RegistryReading:
        """Reads every datacenter once, with `consistent` reads. Whatever fails is a gap in the reading."""
        try:
            datacenters = await self._datacenters()
        except RegistryError as error:
            return RegistryReading(gaps=(self._gap(error, ""),))
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
            gaps=tuple(one for reading in readings for one in reading.gaps),
        )

    async def leader(self) -> str | Gap:
        """The Raft leader's address as the agent gives it, or why there is none."""
        try:
            answer = await asyncio.to_thread(self._leader)
        except RegistryError as error:
            return self._gap(error, "")
        return excerpt(answer.encode(errors="replace"))

    async def listed(self) -> int | Gap:
        """How many KV keys (or catalog nodes) the token may list in the first datacenter, or why none."""
        datacenter = ""
        try:
            datacenter = (await self._datacenters())[0]
            return await asyncio.to_thread(self._listed, datacenter)
        except RegistryError as error:
            return self._gap(error, datacenter)

    async def _datacenters(self) -> Sequence[str]:
        """Names to read; "" is the agent's own. Raises `RegistryError`."""
        configured = self._settings.datacenters or ("",)
        if "*" not in configured:
            return tuple(dict.fromkeys(configured))
        return await asyncio.to_thread(self._known_datacenters)

    def _known_datacenters(self) -> Sequence[str]:
        with self._client() as client:
            names = rows(client.catalog.datacenters(), str, client.asked)
            if not names or not all(0 < len(name) <= MAX_TEXT and name.isprintable() for name in names):
                detail = f"{client.asked}: no datacenter, or one whose name is none"
                raise RegistryError(GapReason.CONSUL_UNREADABLE, detail)
        return tuple(dict.fromkeys(names))

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
        """One datacenter, in a thread of its own. Raises `RegistryError`."""
        settings = self._settings
        with self._client(datacenter) as client:
            if settings.layout == "catalog":
                nodes = catalog_nodes(client.catalog.nodes()[1], client.asked)
                reading = read_catalog(datacenter, nodes, settings.fields)
                nothing = f"none of {len(nodes)} nodes has the meta keys of a mesh node; check consul.fields"
            else:
                items = client.kv_items(settings.prefix)
                reading = read_kv(settings.layout, datacenter, settings.prefix, items, settings.fields)
                nothing = "the prefix is there, but no registration under it"
        gaps = []
        if client.http.filtered:
            detail = f"{client.asked}: Consul left out what the token may not read; use one that may read all"
            gaps.append(self._gap(RegistryError(GapReason.CONSUL_FILTERED, detail), datacenter))
        if not reading.registrations and not reading.invalid:
            error = RegistryError(GapReason.REGISTRY_EMPTY, f"{client.asked}: {nothing}")
            gaps.append(self._gap(error, datacenter))
        return RegistryReading(reading.registrations, reading.invalid, tuple(gaps))

    def _client(self, datacenter: str = "") -> Client:
        return connect(self._settings, self._token, datacenter)

    def _gap(self, error: RegistryError, datacenter: str) -> Gap:
        detail = without(self._token, error.detail)
        return Gap("consul", error.reason, detail, datacenter=datacenter or None)
