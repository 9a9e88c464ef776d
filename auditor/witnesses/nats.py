"""NATS servers as witnesses: the `INFO` line that each says by itself, and `/varz` of its monitoring port.

Both come from a server that may be anybody: bounded, and read field by field. Nothing is sent to the client port.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

from auditor.errors import GapReason, InvalidValue, ProbeError
from auditor.nodes.framing import cleaned
from auditor.values.json_bounds import check_json

MOST_INFO = 4096
"""Bytes of an INFO line. A real one has some 400."""
MOST_VARZ = 256 * 1024
"""Bytes of an answer to `/varz`, headers included. A real one has some 3 KB, and more with many routes."""
_MOST_NAME = 200
_MOST_REGION = 64


class Reads(Protocol):
    """Connection to a server."""

    async def read(self, most: int) -> bytes:
        """Read what has come, `most` bytes at most; b"" at its end."""
        ...

    def write(self, data: bytes) -> None:
        """Send data."""
        ...


@dataclass(frozen=True, slots=True)
class NatsServer:
    """A NATS server, as it describes itself."""

    name: str
    """Its `server_name`; where it has none, its `server_id`."""
    cluster: str = ""
    tags: tuple[str, ...] = ()


async def read_info(connection: Reads, where: str) -> NatsServer:
    """Read a server's first line. Raises `ProbeError`; the caller bounds the time."""
    line = bytearray()
    while b"\n" not in line:
        if len(line) >= MOST_INFO:
            raise _unreadable(where, f"a line of more than {MOST_INFO:,} bytes", line)
        part = await connection.read(MOST_INFO - len(line))
        if not part:
            if not line:
                raise ProbeError(GapReason.NO_ANSWER, f"{where}: hung up without a word")
            raise _unreadable(where, "hung up within a line", line)
        line += part
    return parse_info(bytes(line.partition(b"\n")[0]), where)


def parse_info(line: bytes, where: str) -> NatsServer:
    """Read an INFO line, without its end. Raises `ProbeError` (unreadable-answer)."""
    word, _, rest = line.strip().partition(b" ")
    if word.upper() != b"INFO":
        raise _unreadable(where, "not the INFO line of a NATS server", line)
    found = _object(rest, where)
    return NatsServer(_name(found, where), _text(found, "cluster", where, _MOST_REGION))


async def read_varz(connection: Reads, where: str) -> NatsServer:
    """Ask a monitoring port for `/varz`. Raises `ProbeError`; the caller bounds the time."""
    # HTTP/1.0 and no keep-alive: the answer ends with the connection, and comes in one piece.
    connection.write(b"GET /varz HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n")
    answer = bytearray()
    while part := await connection.read(MOST_VARZ + 1 - len(answer)):
        answer += part
        if len(answer) > MOST_VARZ:
            raise _unreadable(where, f"more than {MOST_VARZ:,} bytes", answer)
    if not answer:
        raise ProbeError(GapReason.NO_ANSWER, f"{where}: hung up without a word")
    return parse_varz(bytes(answer), where)


def parse_varz(answer: bytes, where: str) -> NatsServer:
    """Read the HTTP answer to `/varz`. Raises `ProbeError` (unreadable-answer)."""
    head, found, body = answer.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].split(b" ")
    if not found or not status[0].startswith(b"HTTP/1.") or status[1:2] != [b"200"]:
        raise _unreadable(where, "not the answer of a NATS server's monitoring to /varz", answer)
    values = _object(body, where)
    cluster = values.get("cluster") or {}
    if not isinstance(cluster, dict):
        raise _unreadable(where, "cluster is no object", b"")
    tags = values.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise _unreadable(where, "tags are no list of texts", b"")
    return NatsServer(
        _name(values, where),
        _text(cluster, "name", where, _MOST_REGION),
        tuple(tag for tag in tags if tag.isprintable() and len(tag) <= _MOST_NAME),
    )


def region_by_tag(tags: tuple[str, ...], beginning: str) -> str | None:
    """Find the region that a tag names; None: there is none, or tags contradict each other."""
    if not beginning:
        return None
    # NATS itself compares tags without regard to case.
    named = {tag[len(beginning) :].strip() for tag in tags if tag.lower().startswith(beginning.lower())}
    regions = {region for region in named if 0 < len(region) <= _MOST_REGION}
    return regions.pop() if len(regions) == 1 else None


def _object(text: bytes, where: str) -> dict[str, object]:
    try:
        check_json(text)
        found = json.loads(text)
    except (InvalidValue, ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, InvalidValue) else "not JSON"
        raise _unreadable(where, reason, text) from None
    if not isinstance(found, dict):
        raise _unreadable(where, "not a JSON object", text)
    return found


def _name(values: dict[str, object], where: str) -> str:
    name = _text(values, "server_name", where, _MOST_NAME) or _text(values, "server_id", where, _MOST_NAME)
    if not name:
        raise _unreadable(where, "it names neither server_name nor server_id", b"")
    return name


def _text(values: dict[str, object], key: str, where: str, most: int) -> str:
    value = values.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise _unreadable(where, f"its {key} is no short text of printable characters", b"")
    return value.strip()


def _unreadable(where: str, why: str, said: bytes | bytearray) -> ProbeError:
    words = cleaned(bytes(said[:60]).decode("utf-8", "replace"))
    return ProbeError(GapReason.UNREADABLE_ANSWER, f"{where}: {why}{f': {words}' if words else ''}")
