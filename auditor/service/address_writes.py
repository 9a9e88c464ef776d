"""Writes by which nodes got addresses that several are registered with, out of the journal of registrations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from auditor.errors import StateError
from auditor.service.alert_state import AlertState, existing_state
from auditor.state import history
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


def address_writes_in(state: AlertState, registrations: Iterable[Registration]) -> tuple[AddressWrite, ...]:
    """Read the writes behind contested registrations from an opened state; () where none is contested.

    Raises `StateError`.
    """
    wanted = contested_registrations(registrations)
    return history.address_writes(state.connection, wanted) if wanted else ()


def address_writes(
    path: Path, registrations: Iterable[Registration], complain: Callable[[str], None]
) -> tuple[AddressWrite, ...]:
    """Read them from the state, which is opened only where an address is contested. () where there is no state.

    A state that cannot be read is a complaint, and then no write is known.
    """
    wanted = contested_registrations(registrations)
    if not wanted:
        return ()
    try:
        with existing_state(path) as state:
            return () if state is None else history.address_writes(state.connection, wanted)
    except StateError as error:
        complain(f"{error}; when contested addresses were written is not known")
        return ()
