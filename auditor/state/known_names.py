"""Names of the last recording's nodes, addresses and regions, kept in the user's cache for shell completion."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import platformdirs

from auditor.disk.bounded import read_bounded
from auditor.state.files import write_whole
from auditor.values.addresses import format_prefix
from auditor.values.models import Snapshot

MOST_NAMES = 20_000
_MOST_BYTES = 4_000_000
# Names come from Consul and end up on a command line: only those that no shell reads anything into.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,252}")


class KnownNames(NamedTuple):
    """Names that a recording knows, sorted, and plain to every shell."""

    nodes: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


def names_of(snapshot: Snapshot) -> KnownNames:
    """Collect the names of a snapshot's registrations and observations."""
    registered = snapshot.registrations
    nodes = {item.node.name for group in (registered, snapshot.observations) for item in group}
    return KnownNames(
        _plain(nodes),
        _plain(format_prefix(prefix) for item in registered for prefix in item.addresses),
        _plain(item.region for item in registered if item.region is not None),
    )


def keep_names(snapshot: Snapshot) -> None:
    """Keep a recording's names in the user's cache. Raises `OSError`."""
    path = _path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, json.dumps(names_of(snapshot)._asdict()).encode())


def kept_names() -> KnownNames:
    """Read the names that were kept; none where there are none. Raises `OSError`, and `ValueError` on garbage."""
    try:
        data = read_bounded(_path(), _MOST_BYTES)
    except FileNotFoundError:
        return KnownNames()
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError(f"{_path()}: no JSON object")
    lists = {name: found.get(name) for name in KnownNames._fields}
    return KnownNames(
        **{
            name: _plain(item for item in value if isinstance(item, str))
            for name, value in lists.items()
            if isinstance(value, list)
        }
    )


def _plain(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in {*names} if _PLAIN.fullmatch(name)))[:MOST_NAMES]


def _path() -> Path:
    return platformdirs.user_cache_path("wgaudit") / "names.json"
