"""Protocols of a registry that is read whole, and of a store that is written all or nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from auditor.values.models import RegistryReading


class Registry(Protocol):
    """Source of registrations."""

    async def read(self) -> RegistryReading:
        """Read every datacenter once. A failed read is a gap in the reading; it never raises for I/O."""
        ...

    def expecting(self, datacenters: Collection[str]) -> Registry:
        """Return the same registry, whose readings have a gap for each of these datacenters that is not there."""
        ...


class Stored(NamedTuple):
    """Key of the store, with value and index."""

    key: str
    value: bytes
    modify_index: int
    create_index: int


class Create(NamedTuple):
    """Write a key that must not exist."""

    key: str
    value: bytes


class Replace(NamedTuple):
    """Write a key that must still have this index."""

    key: str
    value: bytes
    modify_index: int


class Remove(NamedTuple):
    """Delete a key that must still have this index."""

    key: str
    modify_index: int


class Require(NamedTuple):
    """Condition that this key still has this index; nothing is written to it."""

    key: str
    modify_index: int


Operation = Create | Replace | Remove | Require


class KeyStore(Protocol):
    """Store of one datacenter. Every call is bounded in time; none is repeated by the store itself."""

    def read(self, key: str) -> Stored | None:
        """Read one key by a `consistent` read; None: it does not exist. Raises `StoreError`."""
        ...

    def list(self, prefix: str) -> tuple[Stored, ...]:
        """List all keys under a prefix that ends with `/`, in key order, by one read. Raises `StoreError`."""
        ...

    def commit(self, operations: Sequence[Operation]) -> None:
        """Write all or nothing, in one transaction.

        Raises `StoreConflict` where a condition did not hold and so nothing was written, and `StoreError`
        for everything else: then **it may have been written, now or a little later**, and only a read tells.
        """
        ...
