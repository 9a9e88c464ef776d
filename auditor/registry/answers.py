"""PURE: meaning of an answer of Consul's HTTP API: an objection to it, or its rows as values."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from binascii import a2b_base64
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_core import from_json

from auditor.errors import GapReason, InvalidValue, RegistryError
from auditor.registry.records import CatalogNode, KvItem
from auditor.values.json_bounds import check_count
from auditor.values.text import for_detail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

EXCERPT = 120
"""Characters of an error's body that a gap shows."""

NO_TOKEN = "no token was sent"  # noqa: S105  (words, not a token)
"""Addition to an objection whose cause may be that no token was sent."""
_PASSING = {429, 500, 502, 503, 504}
"""Statuses of a fault that may be over in a moment."""
_KEPT = re.compile(r"(?:^|,)\s*(?:TCP_(?:[A-Z]+_)?)?(?:hit|stale|updating)\b", re.IGNORECASE)
_CACHES = {
    **dict.fromkeys(("X-Cache", "X-Cache-Status", "X-Proxy-Cache", "CF-Cache-Status"), _KEPT),
    "Cache-Status": re.compile(r";\s*hit\b", re.IGNORECASE),  # RFC 9211; `fwd=stale` was forwarded
}
"""Header values by which caches mark an answer from their memory. Consul's own agent can be one, too."""
_GO_DIRECT = "set consul.url to the agent itself, past whatever answers or rewrites in between"
_LONGEST_VALUE = 60
_ASTRAY = {
    GapReason.CONSUL_HTTP,
    GapReason.CONSUL_NO_INDEX,
    GapReason.PREFIX_NOT_FOUND,
    GapReason.CONSUL_FORBIDDEN,
}
"""End of a message where the server is not Consul's API."""

T = TypeVar("T")
Row = TypeVar("Row", str, dict[str, object])


def objection(
    asked: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    indexed: bool,
    token_sent: bool = True,
) -> RegistryError | None:
    """Say why this answer is not a whole and current one; None if it is.

    `asked` is the URL without its parameters, `headers` are looked up case-insensitively by the caller's
    mapping. `indexed`: the endpoint is one that reads Consul's state, and so gives its index and leader.
    """
    missing = status == 404 and indexed and "/v1/kv/" in asked and index_of(headers) is not None
    if (status == 200 or missing) and (old := _why_old(headers)):
        return RegistryError(GapReason.CONSUL_STALE, f"{asked}: {old}")
    if missing:
        who = "a token that may not read it" if token_sent else f"{NO_TOKEN}, and it is not for everybody"
        return RegistryError(
            GapReason.PREFIX_NOT_FOUND,
            f"{asked}: no such prefix, or {who} (Consul answers 404 for both); "
            "check consul.prefix, and the token's key_prefix rule",
        )
    if status != 200:
        return _refusal(asked, status, headers, excerpt(body), token_sent=token_sent)
    if not indexed:
        return None
    if headers.get("X-Consul-KnownLeader", "").lower() == "false":
        detail = f"{asked}: answered without a known leader"
        return RegistryError(GapReason.CONSUL_NO_LEADER, detail, passing=True)
    if index_of(headers) is None:
        return RegistryError(
            GapReason.CONSUL_NO_INDEX,
            f"{asked}: no usable X-Consul-Index header; is that Consul, and no cache or proxy before it?",
        )
    return None


def _why_old(headers: Mapping[str, str]) -> str:
    """Say why the answer is not current, although a `consistent` one was asked for; "" where nothing shows it."""
    for name, kept in _CACHES.items():
        value = headers.get(name, "")
        if kept.search(value):
            return f"a cache answered ({name}: {_quoted(value)}), not Consul; {_GO_DIRECT}"
    age = headers.get("Age", "").strip()
    if age.strip("0"):
        return f"a cache answered (Age: {_quoted(age)}), not Consul; {_GO_DIRECT}"
    if headers.get("X-Consul-Effective-Consistency", "").strip().lower() == "stale":
        return f"a stale answer to a consistent read; {_GO_DIRECT}"
    contact = headers.get("X-Consul-LastContact", "").strip()
    if contact.strip("0"):
        return (
            f"a stale answer to a consistent read: its server last heard of the leader {_quoted(contact)} ms "
            f"before; {_GO_DIRECT}"
        )
    return ""


def _quoted(value: str) -> str:
    return excerpt(value.encode(errors="replace")[:_LONGEST_VALUE])


def _refusal(
    asked: str, status: int, headers: Mapping[str, str], said: str, *, token_sent: bool
) -> RegistryError:
    if status == 403:
        why = "the token is unknown or may not read this" if token_sent else NO_TOKEN
        return RegistryError(GapReason.CONSUL_FORBIDDEN, f"{asked}: {f'403 {said}'.rstrip()}; {why}")
    passing = status in _PASSING
    after = retry_after(headers.get("Retry-After", "")) if passing else None
    if status >= 500 and "no cluster leader" in said.lower():
        return RegistryError(
            GapReason.CONSUL_NO_LEADER, f"{asked}: {status} {said}", passing=True, retry_after=after
        )
    if status >= 500 and "no path to datacenter" in said.lower():
        # More often a wrong name than a WAN that is back in a moment.
        detail = f"{asked}: {status} {said}; check consul.datacenters, or the WAN between the servers"
        return RegistryError(GapReason.CONSUL_HTTP, detail)
    if 300 <= status < 400:
        target = excerpt(headers.get("Location", "").partition("?")[0].encode(errors="replace"))
        detail = (
            f"{asked}: {status}, redirected to {target or 'nowhere'}; set consul.url to the final address"
        )
        return RegistryError(GapReason.CONSUL_HTTP, detail)
    return RegistryError(
        GapReason.CONSUL_HTTP, f"{asked}: {status} {said}".rstrip(), passing=passing, retry_after=after
    )


def retry_after(value: str) -> float | None:
    """Read the seconds of a `Retry-After` header, given as seconds or as a date; None where it cannot be read."""
    value = value.strip()
    if value.isascii() and value.isdigit() and len(value) <= 6:
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if until.tzinfo is None:
        return None
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def index_of(headers: Mapping[str, str]) -> int | None:
    """Read Consul's index of an answer; None where there is none that can be read."""
    text = headers.get("X-Consul-Index", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


def filtered(headers: Mapping[str, str]) -> bool:
    """Tell whether Consul says that it left rows out. Only since 1.11, and never to a blank token."""
    return headers.get("X-Consul-Results-Filtered-By-ACLs", "").lower() == "true"


def excerpt(body: bytes) -> str:
    """Cut a body to its first characters, on one line and harmless."""
    return for_detail(body.decode(errors="replace")[: 4 * EXCERPT])[:EXCERPT].rstrip()


def rows(answer: object, kind: type[Row], asked: str) -> list[Row]:
    """Check that the answer is a list of `kind`. None is an empty one: so the library decodes it."""
    if answer is None:
        return []
    if not isinstance(answer, list) or not all(isinstance(row, kind) for row in answer):
        raise RegistryError(
            GapReason.CONSUL_UNREADABLE, f"{asked}: the answer is not the list that it should be"
        )
    return answer


def kv_items(answer: object, prefix: str, asked: str) -> list[KvItem]:
    """Read the rows of a recursive KV read, values decoded already. Raises `RegistryError` for any odd one."""
    items: list[KvItem] = []
    for row in rows(answer, dict, asked):
        key, value = row.get("Key"), row.get("Value")
        if not isinstance(key, str) or not key.startswith(prefix) or not isinstance(value, bytes | None):
            raise RegistryError(
                GapReason.CONSUL_UNREADABLE,
                f"{asked}: row {len(items)} is no key under the prefix with a value",
            )
        created, modified = _number(row.get("CreateIndex")), _number(row.get("ModifyIndex"))
        flags, session = _number(row.get("Flags")) or 0, bool(row.get("Session"))
        items.append(KvItem(key, value, created, modified, flags, session))
    return items


def quick_kv_items(body: bytes, prefix: str) -> Iterator[KvItem] | None:
    """Read the rows as `kv_items` does, from the raw answer, for less CPU and memory; None if anything is odd.

    None does not say what is odd: the library's decoder and `kv_items` have the words for that. All rows are
    checked before the first is given; each is let go as the next is taken.
    """
    try:
        rows = from_json(body, cache_strings="keys")
        if not isinstance(rows, list):
            return None
        for row in rows:
            if not (
                type(row["Key"]) is str
                and row["Key"].startswith(prefix)
                and type(row["CreateIndex"]) is type(row["ModifyIndex"]) is type(row.get("Flags", 0)) is int
            ):
                return None
            if row["Value"] is not None:
                row["Value"] = a2b_base64(row["Value"])
    except (ValueError, TypeError, KeyError):
        return None
    return _drained(rows)


def kv_rows(body: bytes, prefix: str, asked: str) -> Iterable[KvItem]:
    """Read the rows of a KV read from the raw answer.

    Raises `RegistryError` for any odd row, and what `decoded` makes one of for what is no such list at all.
    """
    found = quick_kv_items(body, prefix)
    if found is not None:
        return found
    answer = json.loads(body)
    if not isinstance(answer, list):
        raise TypeError  # `kv_items` takes None for an empty list, which Consul never answers here
    for row in answer:
        if isinstance(row, dict) and row.get("Value") is not None:
            row["Value"] = b64decode(row["Value"])
    return kv_items(answer, prefix, asked)


def decoded(read: Callable[[], T], asked: str, hint: str = "") -> T:
    """Call what decodes an answer. Raises `RegistryError` where it is not the JSON that it should be."""
    try:
        return read()
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        # What decoding raises for a body that is not what the endpoint promises.
        detail = f"{asked}: the answer is not the JSON that it should be ({type(error).__name__})"
        detail = "; ".join(filter(None, (detail, hint)))
        raise RegistryError(GapReason.CONSUL_UNREADABLE, detail) from None


def checked(body: bytes, asked: str) -> bytes:
    """Return a body that holds no more values than is read. Raises `RegistryError`."""
    try:
        check_count(body)
    except InvalidValue as error:
        raise RegistryError(GapReason.CONSUL_UNREADABLE, f"{asked}: {error}") from None
    return body


def with_hint(error: RegistryError, hint: str) -> RegistryError:
    """Add the hint at a better URL, where the server may not be Consul's API."""
    if not hint or error.reason not in _ASTRAY:
        return error
    return RegistryError(
        error.reason, f"{error.detail}; {hint}", passing=error.passing, retry_after=error.retry_after
    )


def transaction_refusals(body: bytes) -> tuple[str, ...] | None:
    """List Consul's reason for each failed operation of a transaction; () where it was done. None: no such answer."""
    try:
        document = from_json(body)
    except ValueError:
        return None
    if not isinstance(document, dict) or not {"Results", "Errors"} <= document.keys():
        return None
    errors = document["Errors"]
    if errors is None:
        return () if isinstance(document["Results"], list) else None
    if not isinstance(errors, list):
        return None
    words = [error.get("What") if isinstance(error, dict) else None for error in errors]
    return tuple(word for word in words if isinstance(word, str)) if all(words) else None


def _drained(rows: list[dict[str, Any]]) -> Iterator[KvItem]:
    rows.reverse()
    while rows:
        row = rows.pop()
        yield KvItem(
            row["Key"],
            row["Value"],
            row["CreateIndex"],
            row["ModifyIndex"],
            row.get("Flags", 0),
            "Session" in row,
        )


def catalog_nodes(answer: object, asked: str) -> list[CatalogNode]:
    """Read the rows of the catalog's node list. Raises `RegistryError` for any odd one."""
    nodes: list[CatalogNode] = []
    for row in rows(answer, dict, asked):
        name, address, meta = row.get("Node"), row.get("Address") or "", row.get("Meta") or {}
        if (
            not isinstance(name, str)
            or not isinstance(address, str)
            or not isinstance(meta, dict)
            or not all(isinstance(text, str) for text in meta.values())
        ):
            raise RegistryError(GapReason.CONSUL_UNREADABLE, f"{asked}: row {len(nodes)} is no catalog node")
        created, modified = _number(row.get("CreateIndex")), _number(row.get("ModifyIndex"))
        nodes.append(CatalogNode(name, address, meta, created, modified))
    return nodes


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
