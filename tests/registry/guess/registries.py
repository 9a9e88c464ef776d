"""Small registries with layouts and names of their own, for the guesses."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping

from auditor.registry.records import KvItem

REGIONS = ("ams", "fra", "sin")


def key_of(name: str) -> str:
    """A public key, always the same for a name."""
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


def node(number: int) -> tuple[str, str]:
    """Name and region of the n-th node."""
    region = REGIONS[number % len(REGIONS)]
    return f"edge-{region}-{number}", region


def items(values: Mapping[str, object]) -> list[KvItem]:
    """Keys of Consul; a value that is no text is written as JSON."""
    return [
        KvItem(key, (value if isinstance(value, str) else json.dumps(value)).encode())
        for key, value in values.items()
    ]


def put(document: dict[str, object], path: str, value: object) -> None:
    """Set the value at a dotted path."""
    *above, last = path.split(".")
    for part in above:
        document = document.setdefault(part, {})  # type: ignore[assignment]
    document[last] = value


def json_registry(
    prefix: str = "infra/peers/",
    nodes: int = 9,
    *,
    key: str = "wg.pubkey",
    address: str = "wg.addr",
    region: str = "site",
    endpoint: str = "wg.endpoint",
    ssh_host: str = "mgmt_ip",
    state: str = "lifecycle",
) -> dict[str, object]:
    """One JSON value a node, with fields at these paths."""
    registry: dict[str, object] = {}
    for number in range(nodes):
        name, where = node(number)
        document: dict[str, object] = {}
        put(document, key, key_of(name))
        put(document, address, f"10.20.0.{number + 1}")
        put(document, region, where)
        put(document, endpoint, f"198.51.100.{number + 1}:51820")
        put(document, ssh_host, f"192.168.7.{number + 1}")
        put(document, state, "decommissioned" if number == 0 else "active")
        registry[f"{prefix}{name}"] = document
    return registry
