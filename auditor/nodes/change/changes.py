"""Changes of a node as values, and the protocol of a changer; one implementation speaks SSH."""

from __future__ import annotations

from dataclasses import dataclass
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
    """Name `new` for `old` in the device's file (wg-quick's, systemd-networkd's); a copy is kept beside it."""

    old: Prefix
    new: Prefix


@dataclass(frozen=True, slots=True)
class SetPeer:
    """Route exactly these prefixes to this peer. A peer that the device does not have is not made."""

    public_key: PublicKey
    allowed_ips: tuple[Prefix, ...]


Change = AddAddress | DropAddress | RewriteFiles | SetPeer


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
