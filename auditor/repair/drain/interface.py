"""Protocol of what takes a node out of production and puts it back; one file a means implements it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from auditor.values.addresses import Prefix
from auditor.values.drains import DrainMeans
from auditor.values.models import NodeId, Registration


@dataclass(frozen=True, slots=True)
class DrainTarget:
    """Node that is to be drained, with what the registry says of it now."""

    registration: Registration
    region: str = ""
    """"" where it is not known."""
    address: Prefix | None = None
    """Mesh address that it has at this moment; None: it has none."""

    @property
    def node(self) -> NodeId:
        """The node."""
        return self.registration.node


class Drainer(Protocol):
    """Takes nodes out of production and puts them back, one at a time. Each call may be repeated."""

    @property
    def means(self) -> DrainMeans:
        """Means of this one."""
        ...

    async def is_drained(self, target: DrainTarget) -> bool | None:
        """Tell whether the node is out of production, whoever did that; None: it cannot be told.

        Changes nothing. Raises `DrainFailed`.
        """
        ...

    async def drain(self, target: DrainTarget, reason: str) -> None:
        """Take the node out of production. Raises `DrainFailed`; then it may have happened, in part or whole.

        reason: one line for people, where the means has a place for it.
        """
        ...

    async def undrain(self, target: DrainTarget) -> None:
        """Put the node back into production. Raises `DrainFailed`; then it may have happened, in part or whole."""
        ...
