"""Marker of an adopted registry: without it no address is allocated. It lists networks, which have no claims."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from auditor.errors import InvalidValue, NotAdopted, StoreError
from auditor.registry.interface import KeyStore, Stored
from auditor.repair.claims.claim import ADOPTED, time_text
from auditor.values.addresses import Prefix, covers, network, parse_prefix


@dataclass(frozen=True, slots=True)
class Adopted:
    """The marker as it stood when it was read."""

    key: str
    modify_index: int
    networks: tuple[Prefix, ...] = ()
    """Prefixes of more than one address that are registered or seen: no address in them is allocated."""

    def covers(self, prefix: Prefix) -> bool:
        """Tell whether one of the networks holds this address."""
        return any(covers(network(wide), network(prefix)) for wide in self.networks)


def adopted_key(claims_prefix: str) -> str:
    """The marker's key."""
    return f"{claims_prefix}{ADOPTED}"


def adopted_bytes(networks: Iterable[Prefix], at: datetime) -> bytes:
    """The marker as the store holds it."""
    return json.dumps({"at": time_text(at), "networks": sorted(networks)}).encode()


def read_adopted(store: KeyStore, claims_prefix: str) -> Adopted:
    """Read the marker. Raises `NotAdopted` where there is none, `StoreError` where it cannot be read."""
    key = adopted_key(claims_prefix)
    stored = store.read(key)
    if stored is None:
        raise NotAdopted(
            f"{key} is not there: run `wgaudit adopt` once, so that every registered address has a claim"
        )
    return stored_adopted(stored)


def stored_adopted(stored: Stored) -> Adopted:
    """Read the marker of its key. Raises `StoreError` where it says nothing that can be read."""
    try:
        networks = adopted_networks(stored)
    except InvalidValue:
        raise StoreError(
            f"{stored.key}: the marker cannot be read; run `wgaudit adopt` again", permanent=True
        ) from None
    return Adopted(stored.key, stored.modify_index, networks)


def adopted_networks(stored: Stored) -> tuple[Prefix, ...]:
    """The networks that the marker names. Raises `InvalidValue`."""
    try:
        return tuple(map(parse_prefix, json.loads(stored.value)["networks"]))
    except InvalidValue:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidValue("not a marker") from None
