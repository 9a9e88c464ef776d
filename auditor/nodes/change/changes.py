"""Changes of a node as values, and the protocol of a changer; one implementation speaks SSH."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from auditor.values.addresses import Prefix, PublicKey
from auditor.values.models import Registration


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Add `new` to the device beside `like`, with the length that `like` has there. Done already: nothing happens."""

    new: Prefix
    like: Prefix


@dataclass(frozen=True, slots=True)
class DropAddress:
    """Drop `old` from the device. Refused by the node unless it holds `keep`, before and after."""

    old: Prefix
    keep: Prefix


@dataclass(frozen=True, slots=True)
class RewriteFiles:
    """Name `new` for `old` in the files that bring the device up; a copy of each is kept beside it.

    Files of wg-quick, netplan, NetworkManager and systemd-networkd. Said the other way round, it gives back the
    bytes of the copy where nobody wrote the file since.
    """

    old: Prefix
    new: Prefix


@dataclass(frozen=True, slots=True)
class SetPeer:
    """Route exactly these prefixes to this peer. A peer that the device does not have is not made."""

    public_key: PublicKey
    allowed_ips: tuple[Prefix, ...]


Change = AddAddress | DropAddress | RewriteFiles | SetPeer


class LeftWhy(StrEnum):
    """Reason why a file that may name the old address was not rewritten."""

    LINE = "line"
    """The line names it in another role, or in a form that is not followed."""
    BOTH = "both"
    """The file names the old and the new address."""
    WHOSE = "whose"
    """It does not say of which device it is, or not plainly."""
    MADE = "made"
    """Somebody makes it anew at each boot."""
    VENDOR = "vendor"
    """It belongs to a package."""
    NAME = "name"
    """A file in this folder has a name that cannot be printed safely."""
    MANY = "many"
    """The folder has more files than are looked at."""
    LARGE = "large"
    """The file is larger than is looked at."""


@dataclass(frozen=True, slots=True)
class LeftFile:
    """A place that a person must change, or look at, before the node may be restarted."""

    path: str
    """The file, or the folder."""
    why: LeftWhy
    line: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device as its node describes it, before a change or after it."""

    public_key: PublicKey
    addresses: tuple[Prefix, ...]
    """Addresses of the device, as host prefixes."""
    files: tuple[str, ...] = ()
    """After `RewriteFiles`: the files that were rewritten, or were so already."""
    notes: tuple[str, ...] = ()
    """Remarks on the change for people, each one line."""
    by_hand: tuple[LeftFile, ...] = ()
    """After `RewriteFiles`: files that name the old address and were not rewritten."""
    maintenance: bool | None = None
    """Whether Consul's maintenance mode is on; None: it was not asked for."""


class NodeChanger(Protocol):
    """Changes nodes, one change at a time."""

    async def look(self, registration: Registration) -> DeviceState:
        """Ask for the device as it is now. Raises `ProbeError`."""
        ...

    async def change(self, registration: Registration, change: Change) -> DeviceState:
        """Make one change, whole or not at all. Returns the device after it.

        Refused where the device has another key than the registration. Repeating a change is no error.
        Raises `ProbeError`; then it is not known whether it was made, unless it is a refused `ChangeFailed`.
        """
        ...
