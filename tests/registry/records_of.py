"""Registrations as tests write them: valid ones, so that a test changes the one thing that it is about."""

from __future__ import annotations

import base64
import hashlib
import json

from auditor.values.addresses import PublicKey

PREFIX = "wireguard/nodes/"


def key_of(name: str) -> PublicKey:
    """A public key that is always the same for one name."""
    return PublicKey(base64.b64encode(hashlib.sha256(name.encode()).digest()).decode())


def record(name: str, ip: object = "10.0.0.1", **more: object) -> bytes:
    """One KV record as the contract has it. A field given as None is left out."""
    document: dict[str, object] = {"public_key": key_of(name), "ip": ip, **more}
    return json.dumps({field: value for field, value in document.items() if value is not None}).encode()
