"""Guard of the page: who may ask, what may be asked, and the headers that each answer has."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import logging
from collections.abc import Collection

from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auditor.values.text import for_log

log = logging.getLogger(__name__)

USER = "wgaudit"
OPEN_PATHS = frozenset({"/-/healthy", "/-/ready"})
"""Answered without the password, for who runs the watch: they say one word."""
EVENTS = "/events"
ANSWER_WITHIN = 60.0
"""Seconds in which an answer must have been taken; the event stream has limits of its own."""
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class PageGuard:
    """Guard around the application."""

    def __init__(
        self, app: ASGIApp, hosts: Collection[str] | None = None, password: SecretStr | None = None
    ) -> None:
        """hosts: names and addresses that may be asked for, besides loopback's; None: any. password: None: none."""
        self._app = app
        self._hosts = hosts
        self._expected = _digest(f"{USER}:{password.get_secret_value()}".encode()) if password else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] != "http":
            return
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                given = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in _HEADERS.items() if name not in given),
                ]
            await send(message)

        try:
            if refused := self._refusal(scope):
                await _answer(guarded, *refused, head=scope["method"] == "HEAD")
            elif scope["path"] == EVENTS:
                await self._app(scope, receive, guarded)
            else:
                async with asyncio.timeout(ANSWER_WITHIN):
                    await self._app(scope, receive, guarded)
        except TimeoutError:
            log.info("the page: an answer was not taken within %g s", ANSWER_WITHIN)
        except Exception as error:
            # One line, and the watch goes on: what the page cannot show, alerts still tell.
            log.error("the page: %s: %s", type(error).__name__, for_log(str(error), most=300))
            log.debug("the page", exc_info=error)
            if not started:
                await _answer(guarded, 500, "the page could not be made; the watch's log says why")

    def _refusal(self, scope: Scope) -> tuple[int, str, tuple[tuple[bytes, bytes], ...]] | None:
        """Return status, words and headers where the request is refused."""
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "this page only shows: GET and HEAD alone", ((b"allow", b"GET, HEAD"),)
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value)
        if not self._answers_for(headers.get(b"host", [])):
            return 403, "this page does not answer for that Host; ask for it as watch.listen names it", ()
        if scope["path"] not in OPEN_PATHS and not self._let_in(headers.get(b"authorization", [])):
            asked = (b"www-authenticate", b'Basic realm="wgaudit", charset="UTF-8"')
            return 401, f"the user's name is {USER}, the password is in watch.password_file", (asked,)
        return None

    def _answers_for(self, hosts: list[bytes]) -> bool:
        """Tell whether we are meant: a name of somebody else's that leads to loopback (DNS rebinding) is not ours."""
        if self._hosts is None:
            return True
        if len(hosts) != 1:
            return False
        name = host_name(hosts[0].decode("latin-1"))
        return name in self._hosts or _is_loopback(name)

    def _let_in(self, given: list[bytes]) -> bool:
        if self._expected is None:
            return True
        scheme, _, credentials = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if scheme.lower() != b"basic":
            return False
        try:
            said = base64.b64decode(credentials.strip(), validate=True)
        except binascii.Error:
            return False
        return hmac.compare_digest(_digest(said), self._expected)


def host_name(host: str) -> str:
    """Return the name or address of a Host header, without its port, brackets and last dot."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _digest(text: bytes) -> bytes:
    # Of one length, so that comparing tells nothing of the password's.
    return hashlib.sha256(text).digest()


async def _answer(
    send: Send,
    status: int,
    words: str,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    *,
    head: bool = False,
) -> None:
    body = f"{words}\n".encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(body)).encode()),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": b"" if head else body})
