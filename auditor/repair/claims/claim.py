"""PURE: an address claim as a value and as the text that Consul holds under `<claims prefix><address>`."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from auditor.errors import InvalidValue
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix, format_prefix, is_host, parse_prefix, parse_public_key
from auditor.values.text import timestamp

ADOPTED = "adopted"
"""Last part of the key that says that every registered address has a claim; no address looks like it."""

RELEASED_BY = "release"
"""Writer of the claims of addresses that were released on purpose."""

MAX_CLAIM = 4096
"""Bytes of one claim."""


def claim_key(claims_prefix: str, prefix: Prefix) -> str:
    """The key of an address's claim.

    Newer Consul refuses a colon in a key's name, so IPv6 is written with `-` in its place: `fd00--7`.
    """
    return f"{claims_prefix}{format_prefix(prefix).replace(':', '-')}"


def claimed_prefix(claims_prefix: str, key: str) -> Prefix:
    """The address that a claim's key names. Raises `InvalidValue`."""
    prefix = parse_prefix(key.removeprefix(claims_prefix).replace("-", ":"))
    if not is_host(prefix) or claim_key(claims_prefix, prefix) != key:
        raise InvalidValue("not the key of one address in its canonical form")
    return prefix


def claim_bytes(claim: AddressClaim) -> bytes:
    """The claim as Consul holds it; the same claim gives the same bytes."""
    document = {
        "state": claim.state.value,
        "node": claim.node,
        "public_key": claim.public_key,
        "at": time_text(claim.at),
        "until": time_text(claim.until) if claim.until is not None else None,
        "by": claim.by,
    }
    return json.dumps(document, ensure_ascii=False, separators=(", ", ": ")).encode("utf-8", "replace")


def read_claim(claims_prefix: str, key: str, value: bytes) -> AddressClaim:
    """Read one claim. Raises `InvalidValue` with the reason; no part is guessed."""
    prefix = claimed_prefix(claims_prefix, key)
    if len(value) > MAX_CLAIM:
        raise InvalidValue(f"{len(value)} bytes, more than {MAX_CLAIM}")
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        raise InvalidValue("not JSON") from None
    if not isinstance(document, dict):
        raise InvalidValue("not a JSON object")
    state, node, by = document.get("state"), document.get("node"), document.get("by", "")
    if state not in list(ClaimState):
        raise InvalidValue(f"its state is none of {', '.join(ClaimState)}")
    if not isinstance(node, str) or not isinstance(by, str) or not (node + by).isprintable():
        raise InvalidValue("node and by must be text that prints")
    key_text = document.get("public_key")
    if not isinstance(key_text, str | None):
        raise InvalidValue("public_key is not text")
    until = document.get("until")
    return AddressClaim(
        prefix=prefix,
        state=ClaimState(state),
        node=node,
        public_key=parse_public_key(key_text) if key_text is not None else None,
        at=_time(document.get("at"), "at"),
        until=_time(until, "until") if until is not None else None,
        by=by,
    )


def time_text(time: datetime) -> str:
    """A moment as the store holds it: UTC, whole seconds, `2026-01-01T12:00:00Z`."""
    return timestamp(time, "seconds")


def _time(text: object, name: str) -> datetime:
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
        if time is not None and time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # the years at the calendar's ends have no other zone
    raise InvalidValue(f"{name} is no time with its zone")
