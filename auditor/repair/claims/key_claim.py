"""PURE: claim of a public key as Consul holds it under `<claims prefix>keys/<hex>`: which node it was written for.

It keeps two nodes from getting one key by the same transaction, and leads to the node whose registration decides: a
claim whose node is no longer registered with the key keeps nobody off.
"""

from __future__ import annotations

import base64
import json

from auditor.errors import InvalidValue
from auditor.repair.claims.claim import MAX_CLAIM
from auditor.values.addresses import PublicKey

FOLDER = "keys/"
"""Below the claims' prefix. A key's base64 has characters that newer Consul refuses in a name, so it is hex here."""


def key_claim_key(claims_prefix: str, public_key: PublicKey) -> str:
    """The key of a public key's claim."""
    return f"{claims_prefix}{FOLDER}{base64.b64decode(public_key).hex()}"


def key_claim_bytes(node: str) -> bytes:
    """The claim as the store holds it."""
    return json.dumps({"node": node}, ensure_ascii=False).encode("utf-8", "replace")


def read_key_claim(value: bytes) -> str:
    """The node that a key's claim names. Raises `InvalidValue`."""
    try:
        document = json.loads(value) if len(value) <= MAX_CLAIM else None
    except (ValueError, RecursionError):
        document = None
    node = document.get("node") if isinstance(document, dict) else None
    if not isinstance(node, str) or not node or not node.isprintable():
        raise InvalidValue("not the claim of a public key")
    return node


def is_key_claim(claims_prefix: str, key: str) -> bool:
    """Tell whether a key below the claims' prefix is of a public key's claim."""
    return key.startswith(f"{claims_prefix}{FOLDER}")
