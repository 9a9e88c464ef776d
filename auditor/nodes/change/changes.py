"""What may be changed on a node, as values, and the way to have it done; one implementation speaks SSH."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from auditor.values.addresses import Prefix, PublicKey
from auditor.values.models import Registration


@dataclass(frozen=True, slots=True)
class AddAddress:
    """The device holds `new` beside `like`, with the length that `like` has there. Done already: nothing happens."""

    new: Prefix
    like: Prefix


@dataclass(frozen=True, slots=True)
class DropAddress:
    """The device no longer holds `old`. Refused by the node unless it holds `keep`, before and after."""

    old: Prefix
    keep: Prefix


@dataclass(frozen=True, slots=True)
class RewriteFiles:
    """The device's file (wg-quick's, systemd-networkd's) names `new` where it named `old`; a copy is kept beside it."""

    old: Prefix
    new: Prefix


@dataclass(frozen=True, slots=True)
class SetPeer:
    """The device routes exactly these prefixes to this peer. A peer that the device does not have is not made."""

    public_key: PublicKey
    allowed_ips: tuple[Prefix, ...]


Change = AddAddress | DropAddress | RewriteFiles | SetPeer


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What a node says of its device, before a change or after it."""

    public_key: PublicKey
    addresses: tuple[Prefix, ...]
    """As host prefixes."""
    files: tuple[str, ...] = ()
    """After `RewriteFiles`: the files that were rewritten, or were so already."""
    notes: tuple[str, ...] = ()
    """What else a person should know of the change, each one line in words."""


class NodeChanger(Protocol):
    """A way to change nodes."""

    async def look(self, registration: Registration) -> DeviceState:
        """The device as it is now. Raises `ProbeError`."""
        ...

    async def change(self, registration: Registration, change: Change) -> DeviceState:
        """Makes one change, whole or not at all, and says how the device stands after it.

        Refused where the device has another key than the registration. Repeating a change is no error.
        Raises `ProbeError`; then it is not known whether it was made, unless it is a refused `ChangeFailed`.
        """
        ...
