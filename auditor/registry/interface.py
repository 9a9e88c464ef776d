"""The registry as others know it: something that can be read whole, and a store that is written all or nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from auditor.values.models import RegistryReading


class Registry(Protocol):
    """Where registrations come from."""

    async def read(self) -> RegistryReading:
        """Reads every datacenter once. A failed read is a gap in the reading; it never raises for I/O."""
        ...

    def expecting(self, datacenters: Collection[str]) -> Registry:
        """The same registry; for each of these datacenters that should be there and is not, a reading has a gap."""
        ...


class Stored(NamedTuple):
    """One key as the store holds it."""

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
    """The transaction holds only if this key still has this index; it is not written."""

    key: str
    modify_index: int


Operation = Create | Replace | Remove | Require


class KeyStore(Protocol):
    """One datacenter's store. Every call is bounded in time; none is repeated by the store itself."""

    def read(self, key: str) -> Stored | None:
        """One key by a `consistent` read; None: it does not exist. Raises `StoreError`."""
        ...

    def list(self, prefix: str) -> tuple[Stored, ...]:
        """All keys under a prefix that ends with `/`, in key order, by one read. Raises `StoreError`."""
        ...

    def commit(self, operations: Sequence[Operation]) -> None:
        """Writes all or nothing, in one transaction.

        Raises `StoreConflict` where a condition did not hold and so nothing was written, and `StoreError`
        for everything else: then **it may have been written, now or a little later**, and only a read tells.
        """
        ...
