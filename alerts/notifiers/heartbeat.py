"""Heartbeat of the audit itself, by the healthchecks.io convention.

`<url>/start` when a sweep begins, `<url>` when it is done, `<url>/fail` when it could not do its work. If
they stay away, the other side raises the alarm: nobody else would notice a cron job that died. Services that know
`<url>` alone, or want it by GET, are served too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from alerts.notifiers import http
from auditor.errors import DeliveryError
from auditor.values.text import one_line

TIMEOUT = 5.0
"""Seconds: a sweep does not wait longer than that for somebody who only wants to know that it runs."""
NOTE = 1000
"""Characters of the body. healthchecks.io keeps the first 10,000 bytes."""
_REFUSALS = ("OK (not found)", "OK (rate limited)")
"""healthchecks.io's older ways to say no with a 200."""


class HeartbeatKind(StrEnum):
    """Kind of a heartbeat: start, success or failure."""

    START = "/start"
    SUCCESS = ""
    FAILURE = "/fail"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """URL of the heartbeat, and the calls that its service takes. The URL is a secret."""

    url: SecretStr
    method: Literal["POST", "GET"] = "POST"
    kinds: frozenset[HeartbeatKind] = frozenset(HeartbeatKind)
    """Kinds that are sent; a service that does not know `/fail` raises the alarm by itself."""

    async def beat(self, kind: HeartbeatKind, note: str = "") -> str | None:
        """Call once, if this kind is sent; see `beat`."""
        return await beat(self.url, kind, note, method=self.method) if kind in self.kinds else None


async def beat(
    url: SecretStr,
    kind: HeartbeatKind,
    note: str = "",
    *,
    timeout: float = TIMEOUT,  # noqa: ASYNC109
    method: Literal["POST", "GET"] = "POST",
) -> str | None:
    """Call once. Returns None, or one line without secrets that says why it did not arrive; never raises."""
    body = one_line(note, most=NOTE).encode() if method == "POST" else b""
    try:
        called = SecretStr(_called(url.get_secret_value(), kind))
        answer = await http.post(
            called,
            body,
            timeout=timeout,
            headers={"Content-Type": "text/plain; charset=utf-8"},
            method=method,
        )
    except DeliveryError as error:
        return f"heartbeat: {error}"
    if answer.body.strip() in _REFUSALS:
        return f"heartbeat: it was not counted: {answer.detail}"
    return None


def _called(url: str, kind: HeartbeatKind) -> str:
    """Put the beat behind the URL's path, in front of its query."""
    try:
        split = urlsplit(url)
    except ValueError:
        return url  # refused where it is used
    return urlunsplit(split._replace(path=f"{split.path.rstrip('/')}{kind.value}"))
