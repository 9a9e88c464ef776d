"""Answers of active witnesses: who is met at a mesh address, by what the server there says of itself before a login."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from auditor.errors import GapReason
from auditor.values.addresses import Prefix
from auditor.values.node_ids import NodeId

OWN_LOOPBACK = Prefix("127.0.0.1/32")
"""Address that means the observer itself: its own server's monitoring is asked there."""


class AnswerSource(StrEnum):
    """Kind of server that is asked at a mesh address."""

    NATS = "nats"
    """The `INFO` line of a NATS server."""
    SSH_HOST_KEY = "ssh-host-key"


@dataclass(frozen=True, slots=True)
class WitnessAnswer:
    """Answer of whoever is met at a mesh address, asked from one node over its mesh; or why there was none."""

    observer: NodeId
    """Node from which it was asked."""
    address: Prefix
    source: AnswerSource
    seconds: float
    """Time until the answer, or until it was given up."""
    said: str = ""
    """Name or key fingerprint by which the server calls itself, bounded; "": there was no answer."""
    node: NodeId | None = None
    """Registered node that this ties it to; None: it is tied to no node, or there was no answer."""
    region: str | None = None
    """Region that the server itself names."""
    reason: GapReason | None = None
    """Reason why there was no answer. It never means that nobody is there."""
    detail: str = ""
    """One line for people on a failed question: what was tried, and what came of it."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Observers that met one server at an address; or, with `reason`, those that got no answer for it."""

    source: AnswerSource
    said: str
    """Name or key fingerprint by which the server calls itself; "" with `reason`."""
    node: NodeId | None
    observers: int
    regions: Mapping[str, int]
    """Observers by their own region; "" where a region is not known. Sums to `observers`."""
    region: str | None = None
    """Region that the server itself names."""
    reason: GapReason | None = None
    sample: tuple[NodeId, ...] = ()
    """Sample of the observers, by name; never more than a handful."""
    everyone: Callable[[], tuple[NodeId, ...]] | None = field(default=None, compare=False, repr=False)
    """Names all of the observers, in order: see `Evidence.everyone`."""
