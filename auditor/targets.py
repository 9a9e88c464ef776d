"""What a word of the user's means in one snapshot: an address, a node or a key."""

from __future__ import annotations

import difflib
from typing import NamedTuple

from auditor.addresses import InvalidValue, Prefix, PublicKey, parse_prefix, shown
from auditor.claims import Fleet
from auditor.errors import UsageError
from auditor.models import NodeId, Report, Snapshot

SHORTEST_KEY = 6
"""Characters of a key that must at least be given."""
_LONGEST_QUOTE = 80


class Address(NamedTuple):
    """The target is an address or prefix; whether anybody has it is another question."""

    prefix: Prefix


class Key(NamedTuple):
    """The target is a key that the sweep saw."""

    public_key: PublicKey


def find_target(snapshot: Snapshot, report: Report, fleet: Fleet, text: str) -> Address | NodeId | Key:
    """Reads the target. Raises `UsageError` where it fits nothing, or more than one thing."""
    if not text:
        raise UsageError("explain: the target is empty; name an address, a node or a key")
    try:
        return Address(parse_prefix(text))
    except InvalidValue:
        # No address; then it is a name or a key.
        nodes = [node for node in _nodes(snapshot) if text in (node.name, str(node))]
    if len(nodes) == 1:
        return nodes[0]
    if nodes:
        listed = ", ".join(_quoted(str(node)) for node in nodes[:6])
        raise UsageError(f"explain: {_quoted(text)} is a node in several datacenters; name one: {listed}")
    key = _key(fleet, snapshot, text)
    if key is None:
        raise unknown_target(snapshot, report, fleet, text)
    return key


def unknown_target(snapshot: Snapshot, report: Report, fleet: Fleet, text: str) -> UsageError:
    """The error for a target that the sweep saw nothing of, with the nearest known names."""
    nodes = _nodes(snapshot)
    names = {node.name for node in nodes} | {str(node) for node in nodes}
    names |= {shown(prefix) for prefix in (*fleet.registered_claims, *fleet.device_claims)}
    close = difflib.get_close_matches(text[:_LONGEST_QUOTE], sorted(names), n=3)
    nearest = f"; nearest known: {', '.join(map(_quoted, close))}" if close else ""
    coverage, gaps = report.coverage, len(report.gaps)
    caveat = ""
    if gaps or coverage.observed < coverage.registered:
        # Not seen is not the same as not there.
        caveat = (
            f" ({coverage.observed:,} of {coverage.registered:,} nodes seen, "
            f"{gaps:,} {'gap' if gaps == 1 else 'gaps'})"
        )
    return UsageError(f"explain: the sweep saw no address, node or key {_quoted(text)}{caveat}{nearest}")


def _nodes(snapshot: Snapshot) -> list[NodeId]:
    """Every node that the sweep heard of, those that it could not see included."""
    known: set[NodeId] = set()
    for group in (snapshot.registrations, snapshot.invalid, snapshot.in_flight, snapshot.observations):
        known |= {item.node for item in group}
    known |= {NodeId(gap.datacenter or "", gap.node) for gap in snapshot.gaps if gap.node is not None}
    return sorted(known)


def _key(fleet: Fleet, snapshot: Snapshot, text: str) -> Key | None:
    # A report shows keys cut short, with an ellipsis: what is copied from there must do.
    start = text.removesuffix("…").removesuffix("...")
    if len(start) < SHORTEST_KEY:
        return None
    keys = fleet.known_keys | {item.device.public_key for item in snapshot.observations}
    for deviation in fleet.routes.deviations:
        keys |= deviation.extra_keys
    matching = sorted(key for key in keys if key.startswith(start))
    if len(matching) > 1:
        raise UsageError(
            f"explain: {len(matching):,} keys start with {_quoted(start)}; give more of it: "
            f"{', '.join(matching[:3])}"
        )
    return Key(matching[0]) if matching else None


def _quoted(text: str) -> str:
    """A name in quotes, bounded, with what is not printable escaped: it ends up in an error's one line."""
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…")
