"""Writes by which nodes got addresses that several are registered with, out of the journal of registrations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from auditor.errors import StateError
from auditor.service.alert_state import existing_tables
from auditor.state.known_registrations import read_address_writes
from auditor.state.places import StatePlace
from auditor.values.addresses import Prefix
from auditor.values.models import AddressWrite, NodeId, Registration


def contested_registrations(registrations: Iterable[Registration]) -> Mapping[NodeId, frozenset[Prefix]]:
    """Find the nodes that are registered with an address of another, each with these addresses."""
    holders: dict[Prefix, set[NodeId]] = defaultdict(set)
    for item in registrations:
        if not item.retired:
            for prefix in item.addresses:
                holders[prefix].add(item.node)
    contested: dict[NodeId, set[Prefix]] = defaultdict(set)
    for prefix, nodes in holders.items():
        if len(nodes) > 1:
            for node in nodes:
                contested[node].add(prefix)
    return {node: frozenset(prefixes) for node, prefixes in sorted(contested.items())}


def address_writes(
    place: StatePlace, registrations: Iterable[Registration], complain: Callable[[str], None]
) -> tuple[AddressWrite, ...]:
    """Read the writes behind contested registrations; () where there is no state, which is opened only for these.

    A state that cannot be read is a complaint, and then no write is known.
    """
    wanted = contested_registrations(registrations)
    if not wanted:
        return ()
    try:
        with existing_tables(place) as tables:
            return () if tables is None else read_address_writes(tables, wanted)
    except StateError as error:
        complain(f"{error}; when contested addresses were written is not known")
        return ()
