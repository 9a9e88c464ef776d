"""Bounded reading of an unknown registry: a walk over Consul's folders with a few values of each, or a whole file."""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auditor.errors import GapReason, RegistryError
from auditor.registry.agent import check_settings, without
from auditor.registry.answers import catalog_nodes, rows
from auditor.registry.client import connect
from auditor.registry.file import file_items
from auditor.registry.guess.found_records import Candidate, catalog_candidate, kv_candidates
from auditor.registry.guess.whole_guess import ranked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pydantic import SecretStr

    from auditor.registry.client import Client
    from auditor.registry.records import KvItem
    from auditor.settings.consul import ConsulSettings

SECONDS = 20.0
"""Seconds for the walk; the registry itself is then read whole, as a sweep reads it."""
_MOST_LISTINGS = 80
_MOST_FOLDERS = 40
"""Folders of one level that are all looked into; of more, a few are: they are nodes, most likely."""
_FEW_FOLDERS = 8
_SAMPLE = 24
"""Values that are read of one folder."""
_DEEPEST = 6
_SKIPPED = ("vault/",)
"""Folders that never hold registrations, and whose values are nobody's business."""
_USUAL = "wireguard/nodes/"
_LIKELY = re.compile(r"wireguard|wg|mesh|vpn|node|peer|host", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found of registrations."""

    candidates: tuple[tuple[Candidate, int], ...]
    """The best first, each with the number of its nodes, as far as it was seen. The first was read whole."""
    datacenters: tuple[str, ...] = ()
    """Datacenters that Consul knows."""
    cut_short: str = ""
    """What was not looked at, in words; empty: nothing, as far as Consul says."""


@dataclass
class _Seen:
    """What the walk has seen."""

    items: list[KvItem] = field(default_factory=list)
    keys: dict[str, int] = field(default_factory=dict)
    """Keys directly in a folder."""
    folders: dict[str, int] = field(default_factory=dict)
    """Folders directly in a folder."""
    missed: list[str] = field(default_factory=list)
    """What was not looked at, in words."""
    forbidden: RegistryError | None = None
    """First folder that the token may not list."""

    def size(self, candidate: Candidate) -> int:
        """Return the number of nodes that a candidate has by the listings, of which a few were read."""
        if candidate.layout == "catalog":
            return len(candidate.records)
        direct = candidate.layout == "kv-json" and not candidate.device
        counted = (self.keys if direct else self.folders).get(candidate.prefix, 0)
        return max(counted, len(candidate.records))


def survey_file(path: Path) -> Survey:
    """Look for registrations in a file that `consul kv export` wrote. Raises `RegistryError`."""
    candidates = ranked(kv_candidates(file_items(path)), lambda item: len(item.records))
    return Survey(tuple(candidates))


def survey_consul(
    settings: ConsulSettings, token: SecretStr | None, *, start: str = "", seconds: float = SECONDS
) -> Survey:
    """Look for registrations in Consul: under `start`, and in the catalog where nothing narrows it down.

    Raises `ConfigError` for settings that cannot be used, and `RegistryError` where Consul cannot be read.
    """
    check_settings(settings, token)
    datacenter = next(iter(settings.named_datacenters), "")
    with connect(settings, token, datacenter, once=True) as client:
        try:
            return _survey(client, start, time.monotonic() + seconds)
        except RegistryError as error:
            raise RegistryError(error.reason, without(token, error.detail)) from None


def _survey(client: Client, start: str, until: float) -> Survey:
    known = tuple(
        name for name in rows(client.catalog.datacenters(), str, client.asked) if name.isprintable()
    )
    seen = _walked(client, start, until)
    candidates = list(kv_candidates(seen.items))
    if not start:
        candidates += _of_catalog(client, seen)
    order = ranked(candidates, seen.size)
    if order and order[0][0].layout != "catalog":
        whole = _whole(client, order[0][0])
        order = [(whole, len(whole.records)), *order[1:]]
        if client.http.filtered:
            seen.missed.append("Consul left out what the token may not read")
    if not order and seen.forbidden is not None:
        raise seen.forbidden
    return Survey(tuple(order), known, "; ".join(seen.missed))


def _of_catalog(client: Client, seen: _Seen) -> list[Candidate]:
    try:
        return [catalog_candidate(catalog_nodes(client.catalog.nodes()[1], client.asked))]
    except RegistryError as error:
        if error.reason is not GapReason.CONSUL_FORBIDDEN:
            raise
        seen.missed.append("the token may not read the catalog")
        return []


def _whole(client: Client, sampled: Candidate) -> Candidate:
    """Read all of a candidate of which a few values were read."""
    same = (sampled.layout, sampled.prefix, sampled.device)
    for candidate in kv_candidates(client.kv_items(sampled.prefix)):
        if (candidate.layout, candidate.prefix, candidate.device) == same:
            return candidate
    return sampled  # gone meanwhile


def _walked(client: Client, start: str, until: float) -> _Seen:
    """Walk over folders, likely ones first, within bounds of number, depth and time."""
    seen = _Seen()
    waiting = deque([(start, 0)])
    listings = 0
    while waiting:
        folder, depth = waiting.popleft()
        if listings >= _MOST_LISTINGS or time.monotonic() > until:
            seen.missed.append(f"{len(waiting) + 1} folders were not looked into")
            break
        listings += 1
        try:
            names = _level(client, folder)
        except RegistryError as error:
            if error.reason is not GapReason.CONSUL_FORBIDDEN:
                raise
            seen.forbidden = seen.forbidden or error
            seen.missed.append(f"the token may not list {folder or 'the top level'}")
            # Where lists need a policy of their own, the usual prefix may be all that the token may list.
            waiting.extend([] if folder else [(_USUAL, 1)])
            continue
        leaves = [name for name in names if not name.endswith("/")]
        below = [name for name in names if name.endswith("/") and name not in (folder, *_SKIPPED)]
        seen.keys[folder], seen.folders[folder] = len(leaves), len(below)
        for key in _spread(leaves, _SAMPLE):
            if time.monotonic() > until:
                break
            seen.items += _one(client, key)
        if depth < _DEEPEST:
            chosen = below if len(below) <= _MOST_FOLDERS else _spread(below, _FEW_FOLDERS)
            likely = [name for name in chosen if _LIKELY.search(name)]
            waiting.extendleft((name, depth + 1) for name in reversed(likely))
            waiting.extend((name, depth + 1) for name in chosen if name not in likely)
    return seen


def _level(client: Client, folder: str) -> Sequence[str]:
    """List keys and folders directly in a folder; nothing where there is no such folder."""
    try:
        return rows(client.kv.get(folder, keys=True, separator="/")[1], str, client.asked)
    except RegistryError as error:
        if error.reason is GapReason.PREFIX_NOT_FOUND:
            return ()
        raise


def _one(client: Client, key: str) -> Sequence[KvItem]:
    """Read one key; nothing where it is gone, or may not be read."""
    try:
        return [item for item in client.kv_items(key, recurse=False) if item.key == key]
    except RegistryError as error:
        if error.reason in (GapReason.PREFIX_NOT_FOUND, GapReason.CONSUL_FORBIDDEN):
            return ()
        raise


def _spread(names: Sequence[str], most: int) -> list[str]:
    """Take at most so many names, evenly spread over all."""
    if len(names) <= most:
        return list(names)
    return [names[number * len(names) // most] for number in range(most)]
