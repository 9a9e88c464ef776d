"""PURE: candidates for registrations among keys and values of which nothing is known yet."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from auditor.errors import InvalidValue
from auditor.registry.records import MAX_RECORD, CatalogNode, KvItem
from auditor.registry.spellings import AROUND, check_narrow, decoded
from auditor.values.names import DEVICE_NAME
from auditor.values.registry_guess import RegistryLayout

_DEEPEST = 4
_MOST_PATHS = 64
_LONGEST = 4096
"""Characters of a value that can be a field of a registration; a longer one is none."""
_USUAL_DEVICE = re.compile(r"(?:wg|wireguard|mesh|vpn|u?tun)[0-9]{0,4}")


class FoundRecord(NamedTuple):
    """Values of one node, whatever they mean."""

    name: str
    values: Mapping[str, object]
    """Text, a flag or a list of texts, by dotted path."""


class Candidate(NamedTuple):
    """Part of a registry that may be its registrations."""

    layout: RegistryLayout
    prefix: str
    device: str
    """Last part of every key, where a node has a record for each device; else ""."""
    records: tuple[FoundRecord, ...]
    others: int
    """Keys under the prefix, or catalog nodes, that are no such record."""


def kv_candidates(items: Iterable[KvItem]) -> tuple[Candidate, ...]:
    """Find the folders whose keys may be registrations, in any layout; the largest first."""
    documents: dict[str, list[FoundRecord]] = defaultdict(list)
    by_device: dict[tuple[str, str], list[FoundRecord]] = defaultdict(list)
    texts: dict[str, dict[str, dict[str, object]]] = defaultdict(lambda: defaultdict(dict))
    keys: Counter[str] = Counter()
    for item in items:
        folder, leaf = _split(item.key)
        above, node = _split(folder.removesuffix("/"))
        for place in dict.fromkeys((folder, above)):
            keys[place] += 1
        if not leaf or not item.value or leaf.startswith("."):
            continue
        text = _text(item.value)
        if text is None:
            continue
        document = _document(text)
        if document is not None:
            values = dict(_flat(document, "", _DEEPEST))
            documents[folder].append(FoundRecord(leaf, values))
            if node:
                by_device[above, leaf].append(FoundRecord(node, values))
        elif node and len(text) <= _LONGEST:
            texts[above][node][leaf] = text
    found = [
        Candidate("kv-json", folder, "", tuple(records), keys[folder] - len(records))
        for folder, records in documents.items()
        if not all(_USUAL_DEVICE.fullmatch(record.name) for record in records)
    ]
    # Records of one name under several nodes: the name is a device's. Not so where there are more names than nodes, as
    # in a copy of a whole folder.
    leaves = Counter(above for above, _ in by_device)
    found += [
        Candidate("kv-json", above, device, tuple(records), keys[above] - len(records))
        for (above, device), records in by_device.items()
        if _USUAL_DEVICE.fullmatch(device)
        or (1 < len(records) >= leaves[above] and re.fullmatch(DEVICE_NAME, device))
    ]
    found += [
        Candidate(
            "kv-fields",
            above,
            "",
            tuple(FoundRecord(node, fields) for node, fields in nodes.items()),
            keys[above] - sum(map(len, nodes.values())),
        )
        for above, nodes in texts.items()
    ]
    return tuple(sorted(found, key=lambda item: (-len(item.records), item.prefix, item.layout, item.device)))


def catalog_candidate(nodes: Iterable[CatalogNode]) -> Candidate:
    """Take the catalog's nodes, by their meta, for registrations."""
    listed = list(nodes)
    with_meta = tuple(FoundRecord(node.name, dict(node.meta)) for node in listed if node.meta)
    return Candidate("catalog", "", "", with_meta, len(listed) - len(with_meta))


def _split(key: str) -> tuple[str, str]:
    """Split a key into its folder, which ends in a slash or is empty, and its last part."""
    end = key.rfind("/") + 1
    return key[:end], key[end:]


def _text(value: bytes) -> str | None:
    if len(value) > MAX_RECORD:
        return None
    try:
        check_narrow(value)
        return decoded(value)
    except InvalidValue:
        return None


def _document(text: str) -> Mapping[str, object] | None:
    """Read a JSON object, or a JSON text that holds one; None: it is none."""
    for _ in range(2):
        bare = text.strip(AROUND)
        if not bare.startswith(("{", '"')):
            return None
        try:
            found = json.loads(bare, strict=False, parse_int=str, parse_float=str)
        except (ValueError, RecursionError):
            return None
        if isinstance(found, dict):
            return found
        if not isinstance(found, str):
            return None
        text = found
    return None


def _flat(document: Mapping[str, object], path: str, deeper: int) -> Iterator[tuple[str, object]]:
    """Yield each value that a field can be, by its dotted path. A name with a dot in it has none."""
    for name, value in list(document.items())[:_MOST_PATHS]:
        if "." in name or not name:
            continue
        here = f"{path}{name}"
        if isinstance(value, dict):
            if deeper > 1:
                yield from _flat(value, f"{here}.", deeper - 1)
        elif isinstance(value, str):
            if len(value) <= _LONGEST:
                yield here, value
        elif isinstance(value, bool) or (
            isinstance(value, list) and value and all(isinstance(entry, str) for entry in value)
        ):
            yield here, value
