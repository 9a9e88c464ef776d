"""Consul's maintenance mode of a node as a value, and the protocol of what switches it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from auditor.values.models import Registration


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Wish for the maintenance mode of a node. Had already: nothing happens but a new reason."""

    on: bool | None
    """None: it is asked for, and nothing is changed."""
    reason: str = ""
    """One line for people, shown by Consul; for `on`."""
    token_file: str = ""
    """File on the node with the token for its agent; "": the agent's own token."""


class MaintenanceChanger(Protocol):
    """Switches the maintenance mode of nodes, one at a time."""

    async def maintenance(self, registration: Registration, asked: Maintenance) -> bool:
        """Switch the mode or ask for it; tell whether it is on afterwards.

        Refused where the device has another key than the registration. Raises `ProbeError`; then it is not known
        whether it was switched, unless it is a refused `ChangeFailed`.
        """
        ...
