"""A registry on a real Consul as tests of claims write and read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from auditor.registry.interface import Glance, IndexedStore, Operation, Stored
from auditor.repair.claims.adoption import Adoption, Difference, adopt, check
from auditor.repair.claims.allocator import Allocation, Allocator
from auditor.repair.claims.claim import claim_bytes, claim_key, read_claim
from auditor.repair.claims.registration import allocator_policy
from auditor.service.provisioning import build_claims_store
from auditor.settings.file import Config, parse_config
from auditor.values.address_claims import AddressClaim
from auditor.values.addresses import Prefix, parse_prefix
from tests.parts.consul import ConsulServer
from tests.registry.records_of import PREFIX, key_of, record

CLAIMS = "wireguard/claims/"
NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


class Delegating:
    """A store over a real one, of which a test overrides what it is about."""

    def __init__(self, store: IndexedStore) -> None:
        self._store = store

    def read(self, key: str) -> Stored | None:
        return self._store.read(key)

    def list(self, prefix: str) -> tuple[Stored, ...]:
        return self._store.list(prefix)

    def commit(self, operations: Sequence[Operation]) -> None:
        self._store.commit(operations)

    def glance(self, key: str) -> Glance:
        return self._store.glance(key)

    def beginning(self, start: str) -> tuple[Stored, ...]:
        return self._store.beginning(start)

    def newest(self, prefix: str) -> int:
        return self._store.newest(prefix)


class RegistryOnConsul:
    """One configuration on one server, and a clock that stands still."""

    def __init__(
        self, server: ConsulServer, *, pools: Mapping[str, str] | None = None, **tables: Mapping[str, Any]
    ) -> None:
        self.server = server
        self.now = NOW
        document: dict[str, Any] = {
            "consul": {"url": server.url, **tables.pop("consul", {})},
            "regions": {"pools": pools or {"sin": "10.16.0.0/24", "fra": "10.32.0.0/12"}},
            **tables,
        }
        self.config: Config = parse_config(document, "a test")
        self.settings = allocator_policy(self.config)
        self.store = build_claims_store(self.config)
        self.allocator = Allocator(self.store, self.settings, now=lambda: self.now)

    def register(self, node: str, ip: object, **more: object) -> None:
        """Writes a registration by itself, as others do."""
        self.server.put(PREFIX + node, record(node, ip, **more))

    def adopt(self, **more: Any) -> Adoption:
        """Builds the claims."""
        return adopt(self.store, self.settings, self.config.policy(), now=lambda: self.now, **more)

    def differences(self) -> tuple[Difference, ...]:
        """What `adopt --check` says."""
        return check(self.store, self.settings)

    def allocate(self, node: str, region: str = "sin", **values: str) -> Allocation:
        """An address for the node under its own key."""
        return self.allocator.allocate(node, key_of(node), region, values=values)

    def claim(self, address: str) -> AddressClaim | None:
        """The address's claim."""
        stored = self.store.read(claim_key(CLAIMS, parse_prefix(address)))
        return read_claim(CLAIMS, stored.key, stored.value) if stored is not None else None

    def put_claim(self, claim: AddressClaim) -> None:
        """Writes a claim by itself."""
        self.server.put(claim_key(CLAIMS, claim.prefix), claim_bytes(claim))

    def take_all(self, network: Prefix, but: str) -> None:
        """Claims for every address of a /24 but one."""
        start = network.removesuffix("0/24")
        self.server.put_many(
            {
                f"{CLAIMS}{start}{last}": b'{"state": "seen", "node": "", "at": "2026-01-01T00:00:00Z"}'
                for last in range(256)
                if f"{start}{last}" != but
            }
        )

    def later(self, **time: float) -> None:
        """Lets the clock go on."""
        self.now += timedelta(**time)
