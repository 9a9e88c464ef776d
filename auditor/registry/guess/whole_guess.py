"""PURE: the guess about a whole registry from its keys and values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from auditor.errors import InvalidValue
from auditor.registry.guess.field_guess import (
    addresses_at,
    guess_fields,
    is_key,
    private_paths,
    states_at,
)
from auditor.registry.guess.found_records import Candidate, FoundRecord
from auditor.registry.guess.name_guess import guess_pattern
from auditor.registry.guess.pool_guess import guess_pools
from auditor.values.addresses import parse_prefix
from auditor.values.registry_guess import FieldGuess, RegistryGuess

_REGION, _STATE, _ADDRESS, _KEY = "region", "state", "address", "public_key"


_OLD = re.compile(r"(?<![a-z])(?:old|backup|bak|archive|test|tmp|staging|copy)(?![a-z])", re.IGNORECASE)


def ranked(
    candidates: Iterable[Candidate], size_of: Callable[[Candidate], int]
) -> list[tuple[Candidate, int]]:
    """Rank candidates by the number of nodes that have both a key and an address, and give that number.

    size_of: the number of a candidate's nodes, of which its records may be a sample. Left out are candidates without
    such a node, and keys that are called like addresses: those are claims. What is a copy by its name comes last; of
    equals the shorter prefix comes first.
    """
    found = []
    for candidate in candidates:
        both = _with_both(candidate.records)
        if both and not all(_is_address(record.name) for record in candidate.records):
            found.append((candidate, size_of(candidate) * both // len(candidate.records)))
    old = {prefix for candidate, _ in found if _OLD.search(prefix := candidate.prefix)}
    return sorted(found, key=lambda item: (item[0].prefix in old, -item[1], *_preference(item[0])))


def _preference(candidate: Candidate) -> tuple[bool, bool, int, str, str]:
    return (
        candidate.layout == "catalog",
        bool(candidate.device),
        len(candidate.prefix),
        candidate.prefix,
        candidate.device,
    )


def guess_registry(candidate: Candidate, fields: Sequence[FieldGuess] | None = None) -> RegistryGuess:
    """Guess fields, pools and pattern of the registrations. fields: as a person corrected them; None: guessed."""
    meshed = _of_the_mesh(candidate.records)
    found = tuple(fields) if fields is not None else guess_fields(meshed)
    path = {item.field: item.path for item in found}
    pools = guess_pools(addresses_at(meshed, path[_ADDRESS]))
    regions = {record.name: _text(record, path[_REGION]) for record in meshed}
    return RegistryGuess(
        layout=candidate.layout,
        prefix=candidate.prefix,
        device=candidate.device,
        registrations=len(meshed),
        others=candidate.others + len(candidate.records) - len(meshed),
        fields=found,
        pools=pools.pools,
        outside=pools.outside,
        outside_count=pools.outside_count,
        pattern=guess_pattern(regions),
        retired=states_at(meshed, path[_STATE]) if path[_STATE] else (),
        private=private_paths(candidate.records),
    )


def mesh_records(candidate: Candidate) -> tuple[FoundRecord, ...]:
    """List the records that are registrations, as `guess_registry` counts them."""
    return _of_the_mesh(candidate.records)


def _of_the_mesh(records: Sequence[FoundRecord]) -> tuple[FoundRecord, ...]:
    """Leave out what has neither key nor address where the others have theirs: settings beside the nodes, say."""
    fields = {item.field: item.path for item in guess_fields(records)}
    marks = [fields[name] for name in (_KEY, _ADDRESS) if fields[name]]
    return tuple(record for record in records if any(mark in record.values for mark in marks))


def _with_both(records: Sequence[FoundRecord]) -> int:
    fields = {item.field: item.path for item in guess_fields(records)}
    held = {node for node, _ in addresses_at(records, fields[_ADDRESS])}
    return sum(record.name in held and is_key(record.values.get(fields[_KEY])) for record in records)


def _is_address(name: str) -> bool:
    try:
        parse_prefix(name)
    except InvalidValue:
        return False
    return True


def _text(record: FoundRecord, path: str) -> str | None:
    value = record.values.get(path) if path else None
    return value.strip() if isinstance(value, str) and value.strip() else None
