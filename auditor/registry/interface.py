"""Protocols of a registry that is read whole, and of a store that is written all or nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
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


@dataclass(frozen=True, slots=True)
class RegistryNews:
    """What a followed registry says of one datacenter: its newest reading, and what befell the following."""

    datacenter: str
    """"" is the agent's own."""
    reading: RegistryReading
    """All of this datacenter, as last read. Where it cannot be read now: nothing, and the gap that says why."""
    arrived_at: datetime
    """Time in UTC when the answer had come whole."""
    confirmed: bool
    """True: by a plain consistent read. False: by the answer of a blocked query, which keeps the rights that it began
    with and may be overtaken."""
    index: int | None = None
    """Consul's index of the reading; None: there is none, for nothing was read."""
    before_at: datetime | None = None
    """Time in UTC when the last answer had come that showed the contents before; None: there was none. What is new
    was written after it."""
    woken: bool = False
    """True: a waiting query was woken by what is new, so that it was written at most a moment before `arrived_at`.
    False: it was found by a read, and was written at some time since `before_at`."""
    event: str = ""
    """What befell the following, in one line for people: an election, a restore, rights that were lost. "": nothing.
    With it the reading may be as before."""


class FollowedRegistry(Registry, Protocol):
    """Registry that also tells of changes when they are written."""

    @property
    def answers(self) -> Mapping[str, datetime]:
        """Time in UTC of each followed datacenter's newest answer, whether it brought news or not."""
        ...

    def expecting(self, datacenters: Collection[str]) -> FollowedRegistry:
        """Return the same registry, which misses these datacenters; see `Registry`."""
        ...

    def follow(self) -> AsyncGenerator[RegistryNews, None]:
        """Follow every datacenter: first the whole of each, then news whenever contents or readability change.

        Never ends by itself and raises nothing for I/O: what cannot be read is news with a gap, told once and again
        when its reason changes. Closing the stream ends every query at once. Where every datacenter that Consul knows
        is followed, news of "" tell of the list of them: a gap while it cannot be read, and then none.
        What nobody took yet is joined: the newest reading of a datacenter, with all that befell it.
        """
        ...

    async def confirm(self, datacenter: str) -> RegistryNews:
        """Read one datacenter by a plain consistent read. What cannot be read is a gap in its reading."""
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


class Overwrite(NamedTuple):
    """Write a key, whatever it holds and whether it exists."""

    key: str
    value: bytes


Operation = Create | Replace | Remove | Require | Overwrite


@dataclass(frozen=True, slots=True)
class Glance:
    """Key as it stands, with Consul's index of the answer."""

    stored: Stored | None
    index: int
    """Of a key that does not exist: index of the newest write to any key of the store, deletions included."""


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


class IndexedStore(KeyStore, Protocol):
    """Store that also tells how new its contents are, by indexes that only grow."""

    def glance(self, key: str) -> Glance:
        """Read one key as `read` does, with the index of the answer. Raises `StoreError`."""
        ...

    def beginning(self, start: str) -> tuple[Stored, ...]:
        """Read the few keys that begin with this text, by one read; those that may not be read are left out.

        Raises `StoreError`.
        """
        ...

    def newest(self, prefix: str) -> int:
        """Read the index of the newest write below a prefix that ends with `/`, deletions included, in few bytes.

        It may be of a key that begins alike. 0: there is nothing below it. Raises `StoreError`.
        """
        ...
