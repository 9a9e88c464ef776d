"""Registry of the demo: the few calls of Consul's HTTP API that wgaudit makes, on loopback, over a store in memory.

It stands in for Consul where the demo would need one installed: keys with their CreateIndex and ModifyIndex, reads,
reads that wait for a change, and transactions of check-and-set. Strict: what it does not know it refuses, so that
nothing is taken for done.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

LOOPBACK = "127.0.0.1"
MAX_BODY = 1024 * 1024
MAX_OPERATIONS = 64
_KV = "/v1/kv/"
_PLAIN_READS = frozenset({"recurse", "keys", "separator", "consistent"})
_WAITING_READS = _PLAIN_READS | {"index", "wait"}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d{1,6}(?:\.\d{1,6})?(?:ms|s|m|h))+")
_USUAL_WAIT = 300.0
_LONGEST_WAIT = 600.0


@dataclass(frozen=True, slots=True)
class Item:
    """One key of the store."""

    key: str
    value: bytes
    create_index: int
    modify_index: int


class _Refused(Exception):
    """A call that Consul would refuse, too, with its status and text."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Store:
    """Keys and values with Raft's indexes. Any number of threads may use it."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._changed = threading.Condition()
        self._items = {item.key: item for item in items}
        self._tombstones: dict[str, int] = {}
        """Index of each key's removal; Consul forgets it after 15 minutes."""
        self._index = max((item.modify_index for item in items), default=1)
        self._closed = False

    def read(
        self, prefix: str, *, whole: bool, after: int = 0, seconds: float = 0.0
    ) -> tuple[int, tuple[Item, ...]]:
        """Return the index of what is asked for, and the key of that name (`whole`) or all that begin so, sorted.

        after: wait for a higher index, no longer than these seconds; 0: answer at once.
        """
        until = time.monotonic() + seconds
        with self._changed:
            while (
                0 < self._index_of(prefix, whole=whole) <= after
                and not self._closed
                and (left := until - time.monotonic()) > 0
            ):
                self._changed.wait(left)
            found = sorted(key for key in self._items if _is_asked(key, prefix, whole=whole))
            return self._index_of(prefix, whole=whole), tuple(self._items[key] for key in found)

    def close(self) -> None:
        """Have all reads that wait answer at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _index_of(self, prefix: str, *, whole: bool) -> int:
        """Return the highest index of these keys and their tombstones; without any, the whole store's, as Consul does.

        So a prefix that never held a key wakes at any write anywhere.
        """
        written = [
            item.modify_index for key, item in self._items.items() if _is_asked(key, prefix, whole=whole)
        ]
        removed = [index for key, index in self._tombstones.items() if _is_asked(key, prefix, whole=whole)]
        return max((*written, *removed), default=self._index)

    def transact(self, operations: Sequence[Mapping[str, Any]]) -> tuple[list[Item], list[tuple[int, str]]]:
        """Do all operations or none. Returns the keys that were written, or each failed operation with its reason.

        Raises `_Refused` for what is no operation.
        """
        with self._changed:
            index = self._index + 1
            items, written = dict(self._items), []
            errors: list[tuple[int, str]] = []
            for number, operation in enumerate(operations):
                try:
                    changed = _operate(items, operation, index)
                except _Conflict as conflict:
                    errors.append((number, str(conflict)))
                    continue
                if changed is not None:
                    written.append(changed)
            if errors:
                return [], errors
            if items != self._items:
                self._tombstones |= dict.fromkeys(self._items.keys() - items.keys(), index)
                self._items, self._index = items, index
                self._changed.notify_all()
            return written, []


def _is_asked(key: str, prefix: str, *, whole: bool) -> bool:
    return key == prefix if whole else key.startswith(prefix)


class _Conflict(Exception):
    """An operation whose condition does not hold."""


def _operate(items: dict[str, Item], operation: Mapping[str, Any], index: int) -> Item | None:
    """Do one operation on `items`; return the key that was written. Raises `_Conflict` and `_Refused`."""
    verb, key, expected = operation.get("Verb"), operation.get("Key"), operation.get("Index")
    if not isinstance(key, str) or not key or type(expected) is not int or expected < 0:
        raise _Refused(HTTPStatus.BAD_REQUEST, "an operation needs Key and Index")
    held = items.get(key)
    if (held.modify_index if held is not None else 0) != expected:
        raise _Conflict(f'failed to check index for key "{key}", index is stale')
    match verb:
        case "cas":
            try:
                value = base64.b64decode(operation.get("Value") or "", validate=True)
            except (binascii.Error, TypeError, ValueError):
                raise _Refused(HTTPStatus.BAD_REQUEST, "Value is no base64") from None
            old = held or Item(key, b"", index, index)
            items[key] = replace(old, value=value, modify_index=index)
            return items[key]
        case "delete-cas":
            items.pop(key, None)
            return None
        case "check-index":
            return None
    raise _Refused(HTTPStatus.BAD_REQUEST, f"the demo's registry has no verb {str(verb)[:40]!r}")


@contextmanager
def serve_registry(items: Sequence[Item], token: str) -> Iterator[str]:
    """Serve the keys on a free port of loopback, to who has the token; yield the URL. Raises OSError."""

    class Handler(_Handler):
        pass

    Handler.store, Handler.token = (store := Store(items)), token
    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads = False  # each is waited for at the end; an answer ends its connection
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    try:
        thread.start()
        yield f"http://{LOOPBACK}:{server.server_port}"
    finally:
        store.close()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers one request; HTTP/1.0, so that each connection ends with its answer."""

    store: ClassVar[Store]
    token: ClassVar[str]
    timeout = 5.0

    def handle(self) -> None:
        """Answer the request, unless its client goes away: that ends a waiting query."""
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        """Answer a read."""
        self._answer(self._read)

    def do_PUT(self) -> None:
        """Answer a transaction."""
        self._answer(self._write)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's signature)
        """Say nothing on stderr, which is the demo's."""

    def _answer(self, act: Any) -> None:
        try:
            if not hmac.compare_digest(self.headers.get("X-Consul-Token", "").encode(), self.token.encode()):
                raise _Refused(HTTPStatus.FORBIDDEN, "Permission denied")
            parts = urlsplit(self.path)
            status, index, content = act(parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)))
        except _Refused as refused:
            self._send(refused.status, None, str(refused).encode())
            return
        self._send(status, index, b"" if content is None else json.dumps(content).encode())

    def _read(self, path: str, options: Mapping[str, str]) -> tuple[HTTPStatus, int | None, object]:
        known = _WAITING_READS if path.startswith(_KV) else _PLAIN_READS
        if unknown := options.keys() - known:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"the demo's registry has no {', '.join(sorted(unknown))}")
        if path == "/v1/status/leader":
            return HTTPStatus.OK, None, f"{LOOPBACK}:8300"
        if path == "/v1/catalog/datacenters":
            return HTTPStatus.OK, None, ["demo"]
        if path.startswith("/v1/catalog/node/"):
            return HTTPStatus.OK, 1, {"Node": None, "Services": {}}
        if not path.startswith(_KV):
            raise _Refused(HTTPStatus.NOT_FOUND, "the demo's registry has no such path")
        prefix = unquote(path.removeprefix(_KV))
        whole = "recurse" not in options and "keys" not in options
        after, seconds = _wait(options)
        index, items = self.store.read(prefix, whole=whole, after=after, seconds=seconds)
        if not items:
            return HTTPStatus.NOT_FOUND, index, None
        if "keys" in options:
            return HTTPStatus.OK, index, _keys(prefix, items, options.get("separator", ""))
        return HTTPStatus.OK, index, [_row(item) for item in items]

    def _write(self, path: str, options: Mapping[str, str]) -> tuple[HTTPStatus, int | None, object]:
        if path != "/v1/txn" or options:
            raise _Refused(HTTPStatus.NOT_FOUND, "the demo's registry writes by /v1/txn alone")
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > MAX_BODY:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "no length, or too much")
        try:
            asked = json.loads(self.rfile.read(int(length)))
            operations = [entry["KV"] for entry in asked]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise _Refused(HTTPStatus.BAD_REQUEST, "not a list of KV operations") from None
        if len(operations) > MAX_OPERATIONS or not all(isinstance(one, dict) for one in operations):
            raise _Refused(HTTPStatus.BAD_REQUEST, f"not a list of at most {MAX_OPERATIONS} KV operations")
        written, errors = self.store.transact(operations)
        if errors:
            refusals = [{"OpIndex": number, "What": what} for number, what in errors]
            return HTTPStatus.CONFLICT, None, {"Results": None, "Errors": refusals}
        results = [{"KV": {**_row(item), "Value": None}} for item in written]
        return HTTPStatus.OK, None, {"Results": results, "Errors": None}

    def _send(self, status: HTTPStatus, index: int | None, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if index is not None:
            self.send_header("X-Consul-Index", str(index))
            self.send_header("X-Consul-KnownLeader", "true")
            self.send_header("X-Consul-LastContact", "0")
        self.end_headers()
        self.wfile.write(body)


def _wait(options: Mapping[str, str]) -> tuple[int, float]:
    """Read after which index a read is to answer, and the seconds that it may wait. Raises `_Refused`."""
    index, wait = options.get("index", "0"), options.get("wait", "")
    if not index.isascii() or not index.isdigit() or len(index) > 20:
        raise _Refused(HTTPStatus.BAD_REQUEST, "Invalid index")
    if not wait:
        return int(index), _USUAL_WAIT
    if _DURATION.fullmatch(wait) is None:
        raise _Refused(HTTPStatus.BAD_REQUEST, "Invalid wait time")  # a number without a unit, for one
    parts = re.findall(r"([\d.]+)(ms|s|m|h)", wait)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return int(index), min(seconds, _LONGEST_WAIT) or _USUAL_WAIT


def _keys(prefix: str, items: Sequence[Item], separator: str) -> list[str]:
    """List keys, each only up to the separator behind the prefix."""
    if not separator:
        return [item.key for item in items]
    found: dict[str, None] = {}
    for item in items:
        head, cut, _ = item.key[len(prefix) :].partition(separator)
        found[f"{prefix}{head}{cut}"] = None
    return list(found)


def _row(item: Item) -> dict[str, object]:
    return {
        "LockIndex": 0,
        "Key": item.key,
        "Flags": 0,
        "Value": base64.b64encode(item.value).decode(),
        "CreateIndex": item.create_index,
        "ModifyIndex": item.modify_index,
    }
