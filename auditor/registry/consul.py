"""Registry in Consul, each datacenter read on its own; a failed read becomes a gap."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from typing import TYPE_CHECKING

from auditor.errors import GapReason, RegistryError
from auditor.registry.answers import NO_TOKEN, catalog_nodes, excerpt, rows
from auditor.registry.client import Client, check_settings, connect, without
from auditor.registry.prefix_hints import Samples, candidates, missing_prefix_hint, parent
from auditor.registry.records import read_catalog, read_kv, reading_rules
from auditor.registry.spellings import MAX_TEXT
from auditor.values.models import Gap, OtherKeys, RegistryReading
from auditor.values.text import for_detail, listed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pydantic import SecretStr

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
        known = await asyncio.to_thread(self._known_datacenters)
        # One that is named is asked for although Consul does not list it: its absence must not go unseen.
        names = tuple(name for name in dict.fromkeys((*known, *settings.named_datacenters)))
        if not (wanted := tuple(name for name in names if name not in settings.left_out)):
            detail = f"Consul knows {listed(names)}, and consul.datacenters leaves all of them out"
            raise RegistryError(GapReason.REGISTRY_EMPTY, detail)
        return wanted

    def _gone(self, datacenters: Sequence[str]) -> tuple[Gap, ...]:
        """List the expected datacenters that Consul lists no more, where every one is read."""
        if not self._settings.every_datacenter:
            return ()
        gone = sorted(self.expected - set(datacenters) - self._settings.left_out - {""})
        return tuple(
            Gap(
                "consul",
                GapReason.DATACENTER_GONE,
                f"{for_detail(name)} was read by an earlier sweep, and Consul lists it no more; if it was taken down "
                f'for good, add "!{for_detail(name)}" to consul.datacenters',
                datacenter=name,
            )
            for name in gone
        )

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
        """Read one datacenter, in a thread of its own. Raises `RegistryError`."""
        settings = self._settings
        started = time.monotonic()
        samples = Samples(settings)
        with self._client(datacenter) as client:
            if settings.layout == "catalog":
                nodes = catalog_nodes(client.catalog.nodes()[1], client.asked)
                reading = read_catalog(datacenter, nodes, settings.fields, self._rules)
                nothing = f"none of {len(nodes)} nodes has the meta keys of a mesh node; check consul.fields"
            else:
                try:
                    items = samples.of(client.kv_items(settings.prefix))
                except RegistryError as error:
                    if error.reason is not GapReason.PREFIX_NOT_FOUND:
                        raise
                    left = settings.timeout - (time.monotonic() - started)
                    hint = self._hint(datacenter, left)
                    raise RegistryError(error.reason, _joined(error.detail, hint)) from None
                reading = read_kv(
                    settings.layout, datacenter, settings.prefix, items, settings.fields, self._rules
                )
                nothing = "the prefix is there, but no registration under it"
        gaps = []
        token_sent = "" if self._token is not None else NO_TOKEN
        if client.http.filtered:
            detail = f"{client.asked}: Consul left out what the token may not read; use one that may read all"
            left_out = RegistryError(GapReason.CONSUL_FILTERED, _joined(detail, token_sent))
            gaps.append(self._gap(left_out, datacenter))
        hint = "" if reading.registrations else samples.hint()
        if not reading.registrations and (hint or not reading.invalid):
            detail = _joined(f"{client.asked}: {nothing}", hint, token_sent)
            gaps.append(self._gap(RegistryError(GapReason.REGISTRY_EMPTY, detail), datacenter))
        return RegistryReading(reading.registrations, reading.invalid, tuple(gaps), reading.others)

    def _hint(self, datacenter: str, seconds: float) -> str:
        """Suggest an existing prefix in place of the missing one, as far as it can be read in this time."""
        prefix, until = self._settings.prefix, time.monotonic() + seconds
        try:
            beside = self._level(parent(prefix), datacenter, until)
            folders = () if parent(prefix) else candidates(prefix, beside)
            within = [self._level(folder, datacenter, until) for folder in folders]
        except RegistryError as error:
            # The gap stands without it; it would only have been a help.
            log.info("no hint on consul.prefix: %s", without(self._token, error.detail))
            return ""
        elsewhere = [key for keys in within for key in keys if key.endswith(f"/{prefix}")]
        return missing_prefix_hint(prefix, beside, elsewhere)

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
        detail = without(self._token, error.detail)
        return Gap("consul", error.reason, detail, datacenter=datacenter or None)


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))
