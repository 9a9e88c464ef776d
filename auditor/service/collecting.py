"""Collector of a sweep, from the settings: this process alone, or collectors elsewhere over one connection to NATS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from auditor.gather.collector import Collector
from auditor.gather.local import LocalCollector
from auditor.nodes.interface import NodeSource
from auditor.nodes.underlay import further_values
from auditor.service.collectors_there import check_packages
from auditor.service.open_files import room_for
from auditor.settings.file import Config

if TYPE_CHECKING:
    from auditor.gather.by_region import RegionToAsk
    from auditor.gather.nats.nats_login import NatsLogin


class CollectorsElsewhere:
    """Collectors of the regions that the settings list. endpoints, transfer: what looks ask for.

    Where none is listed, nothing is loaded, and this process looks at all nodes.
    """

    def __init__(self, config: Config, *, endpoints: bool = False, transfer: bool = False) -> None:
        """Read keys and certificates. Asks nothing over the network. Raises `ConfigError`."""
        self._config = config
        self._endpoints = endpoints or config.ssh.endpoints
        self._transfer = transfer
        self._login: NatsLogin | None = None
        if config.collectors.regions:
            check_packages()
            from auditor.gather.nats.nats_login import read_login

            self._login = read_login(config.collectors, config.mesh.pools)

    @asynccontextmanager
    async def beside(
        self, nodes: Callable[[], NodeSource], complain: Callable[[str], None]
    ) -> AsyncIterator[Collector]:
        """Connect, for as long as the collector is used. nodes: builds what looks from here; called where a node is to
        be looked at from here, so that SSH is loaded and its settings are read only then.

        complain: receives one line for what happens to the connection, and where this process may not open files enough
        for a look from here. A server that cannot be reached is the same as regions without a collector. Raises
        `ConfigError` for one that stands in the mesh, and where no collectors are asked, what `nodes` raises.
        """

        def local() -> Collector:
            return LocalCollector(nodes(), self._config.ssh.concurrency, partial(room_for, complain=complain))

        if self._login is None:
            yield local()
            return
        from auditor.errors import NatsAway
        from auditor.fleet.region_sources import RegionSources
        from auditor.gather.by_region import RegionalCollector, RegionOutOfReach
        from auditor.gather.nats.asked_look import LookTerms
        from auditor.gather.nats.connection import open_nats
        from auditor.gather.nats.messages import AUDITOR_INBOX
        from auditor.gather.nats.nats_collector import NatsCollector

        config = self._config
        terms = LookTerms(
            device=config.mesh.device,
            pools=config.mesh.pools,
            address_devices=config.mesh.address_devices,
            endpoints=self._endpoints,
            handshakes=self._endpoints,
            transfer=self._transfer,
            value_names=further_values(config.ssh.host),
            seconds=config.collectors.timeout,
            most_text=config.ssh.max_output,
        )
        names = config.collectors.regions
        regions: dict[str, RegionToAsk]
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(open_nats(self._login, AUDITOR_INBOX, complain))
                regions = {name: NatsCollector(connection.client, name, terms) for name in names}
            except NatsAway as away:
                complain(str(away))
                regions = {name: RegionOutOfReach(f"no collector could be asked: {away}") for name in names}
            yield RegionalCollector(
                RegionSources(config.policy()),
                regions,
                local if config.collectors.fallback == "local" else None,
            )
