"""PURE: which path holds which field of a registration, by what its values look like and what it is called."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from auditor.errors import InvalidValue
from auditor.registry.guess.found_records import FoundRecord
from auditor.registry.spellings import AROUND, read_prefixes, read_public_key
from auditor.values.addresses import Prefix, covers, network
from auditor.values.registry_guess import FIELDS, FieldGuess

PRIVATE_BLOCKS = tuple(
    network(Prefix(text))
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""Blocks that meshes take their addresses from: RFC 1918, RFC 6598, RFC 4193."""

_LEAST_SHARE = 0.3
"""Share of registrations that must have a fitting value at a path."""
_PLAIN = 0.8
"""Weight of a name, or share of values, that leaves no doubt."""
_MOST_ADDRESSES = 64
_MOST_ALSO = 3
_SECRET_PATH = re.compile(r"priv|preshared|psk|secret|token|passw|credential", re.IGNORECASE)
_ENDPOINT = re.compile(r"(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.\-_]{1,253}):\d{1,5}")
_HOST = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9.\-_]{0,252})(?::\d{1,5})?|[0-9a-fA-F:.]{2,45}")
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._\-]{0,31}")
_RETIRED = re.compile(
    r"retired|decom\w*|removed|deleted|terminated|destroyed|gone|dead|inactive|out[_-]?of[_-]?service",
    re.IGNORECASE,
)
_PARTS = re.compile(r"[-_.]")

# What a path's last part is called, by field: the stronger hint first.
_HINTS: Mapping[str, Sequence[tuple[re.Pattern[str], float]]] = {
    "public_key": ((re.compile(r"pub", re.IGNORECASE), 0.5), (re.compile(r"key", re.IGNORECASE), 0.2)),
    "address": (
        (
            re.compile(
                r"(?:mesh|wg|wireguard|vpn|tunnel|overlay)[_-]?(?:ip|addr)\w*|allowed[_-]?ips", re.IGNORECASE
            ),
            0.6,
        ),
        (re.compile(r"(?:ip|ips|ipv?[46]|addr|address|addresses)", re.IGNORECASE), 0.5),
        (re.compile(r"(?:internal|private)[_-]?(?:ip|addr)\w*", re.IGNORECASE), 0.4),
    ),
    "region": (
        (re.compile(r"region", re.IGNORECASE), 0.8),
        (re.compile(r"(?:site|zone|location|pop|colo|metro|dc|datacenter)", re.IGNORECASE), 0.5),
    ),
    "endpoint": (
        (re.compile(r"endpoint", re.IGNORECASE), 0.6),
        (re.compile(r"(?:listen|outer|wg)\w*", re.IGNORECASE), 0.2),
    ),
    "ssh_host": (
        (re.compile(r"ssh\w*", re.IGNORECASE), 0.8),
        (re.compile(r"(?:mgmt|management|underlay)\w*", re.IGNORECASE), 0.6),
        (
            re.compile(
                r"(?:fqdn|hostname|host|dns_?name|public[_-]?(?:ip|addr)\w*|wan[_-]?ip)", re.IGNORECASE
            ),
            0.5,
        ),
    ),
    "state": (
        (re.compile(r"(?:state|status|lifecycle|phase)", re.IGNORECASE), 0.8),
        (re.compile(r"(?:retired|decommissioned|disabled|enabled|active)", re.IGNORECASE), 0.7),
    ),
}
_ELSEWHERE = re.compile(r"ssh|mgmt|management|underlay|public|wan|endpoint|outer|gateway|dns", re.IGNORECASE)
"""Names of addresses that are no mesh addresses."""


class _PathFit(NamedTuple):
    """Fitting values at one path, and how well it fits beside others."""

    path: str
    matching: int
    score: float


def guess_fields(records: Sequence[FoundRecord]) -> tuple[FieldGuess, ...]:
    """Guess the path of each field; one guess for each of `FIELDS`, in their order."""
    paths = _paths(records)
    taken: dict[str, str] = {}
    found: dict[str, FieldGuess] = {}
    for field in ("public_key", "endpoint", "address", "ssh_host", "state", "region"):
        places = _places(field, paths, len(records), frozenset(taken.values()))
        best = places[0] if places else None
        path, matching = (best.path, best.matching) if best is not None else ("", 0)
        if path:
            taken[field] = path
        also = tuple((place.path, place.matching) for place in places[1:])
        found[field] = FieldGuess(field, path, matching, len(records), also)
    return tuple(_without(found[field], frozenset(taken.values())) for field in FIELDS)


def _without(guess: FieldGuess, taken: frozenset[str]) -> FieldGuess:
    """Leave out of the other paths those that hold another field."""
    free = tuple((path, number) for path, number in guess.also if path not in taken)
    return replace(guess, also=free[:_MOST_ALSO])


def counted_at(records: Sequence[FoundRecord], field: str, path: str) -> FieldGuess:
    """Count the fitting values of a field at a path that a person named."""
    values = [record.values[path] for record in records if path in record.values]
    return FieldGuess(field, path, sum(map(_FITS[field], values)), len(records))


def addresses_at(records: Iterable[FoundRecord], path: str) -> tuple[tuple[str, Prefix], ...]:
    """List the nodes with their addresses, as far as these can be read."""
    return tuple(
        (record.name, prefix) for record in records for prefix in _addresses(record.values.get(path))
    )


def states_at(records: Iterable[FoundRecord], path: str) -> tuple[tuple[str, int], ...]:
    """Count the states that seem to mean: not in the mesh any more; the most frequent first."""
    last = path.rpartition(".")[2]
    counted: Counter[str] = Counter()
    for record in records:
        value = record.values.get(path)
        word = str(value).lower() if isinstance(value, bool) else value
        if not isinstance(word, str):
            continue
        flagged = word == "true" and _RETIRED.fullmatch(last) is not None
        disabled = word == "true" and re.fullmatch(r"disabled", last, re.IGNORECASE) is not None
        if flagged or disabled or _RETIRED.fullmatch(word.strip(AROUND)):
            counted[word.strip(AROUND)] += 1
    return tuple(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def private_paths(records: Iterable[FoundRecord]) -> tuple[str, ...]:
    """List the paths that hold 32-byte keys and are called private or preshared; sorted."""
    return tuple(
        sorted(
            path
            for path, values in _paths(records).items()
            if _SECRET_PATH.search(path) and any(is_key(value) for _, value in values)
        )
    )


def is_key(value: object) -> bool:
    """Tell whether a value is a 32-byte key."""
    try:
        read_public_key(value)
    except InvalidValue:
        return False
    return True


def is_private(prefix: Prefix) -> bool:
    """Tell whether a prefix lies in a block that meshes take their addresses from."""
    narrow = network(prefix)
    return any(covers(block, narrow) for block in PRIVATE_BLOCKS)


# -- one field


_Paths = Mapping[str, Sequence[tuple[str, object]]]


def _paths(records: Iterable[FoundRecord]) -> _Paths:
    """List each path's values, with their nodes' names."""
    found: dict[str, list[tuple[str, object]]] = defaultdict(list)
    for record in records:
        for path, value in record.values.items():
            found[path].append((record.name, value))
    return found


def _places(field: str, paths: _Paths, of: int, taken: frozenset[str]) -> list[_PathFit]:
    """List the paths that fit a field, the best first; of several that fit alike, the first by name."""
    places = []
    for path, values in paths.items():
        if path in taken or _SECRET_PATH.search(path):
            continue
        matching = sum(_FITS[field](value) for _, value in values)
        share = matching / of if of else 0.0
        # A state may stand with the few nodes that are not as usual.
        if not matching or (share < _LEAST_SHARE and field != "state"):
            continue
        bonus = _bonus(field, path, values)
        if bonus is not None:
            places.append(_PathFit(path, matching, share + bonus))
    return sorted(places, key=lambda place: (-place.score, place.path))


def _bonus(field: str, path: str, values: Sequence[tuple[str, object]]) -> float | None:
    """Weigh a path's name, and what its values are beside their form; None: it is none of this field."""
    last = path.rpartition(".")[2]
    hint = next((weight for pattern, weight in _HINTS[field] if _hits(field, pattern, last)), 0.0)
    if field == "public_key":
        return hint
    if field == "endpoint":
        return None if not hint and _ELSEWHERE.search(path) else hint
    if field == "address":
        private = sum(any(map(is_private, _addresses(value))) for _, value in values) / len(values)
        elsewhere = 0.7 if _ELSEWHERE.search(path) else 0.0
        return hint + 0.5 * private - elsewhere
    if field == "region":
        in_names = _in_names(values)
        few = len({value for _, value in values}) <= max(3, len(values) // 2)
        return hint + 0.5 * in_names if hint >= _PLAIN or (few and (hint or in_names >= _PLAIN)) else None
    return hint or None


def _hits(field: str, pattern: re.Pattern[str], last: str) -> bool:
    return bool(pattern.search(last) if field == "public_key" else pattern.fullmatch(last))


def _in_names(values: Sequence[tuple[str, object]]) -> float:
    """Return the share of values that are a part of their node's name."""
    parts = sum(str(value).lower() in _PARTS.split(name.lower()) for name, value in values)
    return parts / len(values)


def _addresses(value: object) -> tuple[Prefix, ...]:
    found, unread = read_prefixes(value, _MOST_ADDRESSES) if value is not None else ({}, [])
    return () if unread else tuple(found)


def _is_endpoint(value: object) -> bool:
    return isinstance(value, str) and _ENDPOINT.fullmatch(value.strip(AROUND)) is not None


def _is_host(value: object) -> bool:
    return isinstance(value, str) and _HOST.fullmatch(value.strip(AROUND)) is not None


def _is_region(value: object) -> bool:
    return isinstance(value, str) and _REGION.fullmatch(value.strip(AROUND)) is not None


def _is_state(value: object) -> bool:
    return isinstance(value, bool) or _is_region(value)


_FITS: Mapping[str, Callable[[object], bool]] = {
    "public_key": is_key,
    "address": lambda value: bool(_addresses(value)),
    "region": _is_region,
    "endpoint": _is_endpoint,
    "ssh_host": _is_host,
    "state": _is_state,
}
