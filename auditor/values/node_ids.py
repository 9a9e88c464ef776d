"""A node's name within its datacenter."""

from __future__ import annotations

from typing import NamedTuple


class NodeId(NamedTuple):
    """Node's name with its datacenter, within which alone it is unique; "" where none is known."""

    datacenter: str
    name: str

    def __str__(self) -> str:
        return f"{self.name}@{self.datacenter}" if self.datacenter else self.name
