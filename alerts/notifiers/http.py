"""One HTTP call, and the meaning of its outcome: accepted, refused for good, or to be tried again.

Nothing that leaves this module holds the URL's path or any other secret: not an answer's text, not an
error, not a log line. Redirects are not followed: a signed body goes where the configuration says, or
nowhere. Proxies come from the environment, authorities from the system, certifi and `SSL_CERT_FILE`. What can't be
used of all that is named, and is no word of the other side: it is tried again.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import re
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Literal, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

import httpx
from pydantic import SecretStr

from alerts.notifiers.acceptance import Meaning, meaning
from alerts.notifiers.permission import ask_to_send
from alerts.notifiers.proxies import ChosenProxy, chosen_proxy
from alerts.notifiers.trust import NO_FILES, TlsFiles, tls_context
from auditor.errors import DeliveryError
from auditor.values.certificates import why_untrusted
from auditor.values.text import for_log, one_line

ANSWER_BYTES = 64 * 1024
"""No vendor's answer is longer; what comes after is not read."""
DETAIL_CHARACTERS = 200
LONGEST_RETRY_AFTER = 3600.0
"""Seconds. Who asks for more than an hour is asked again after an hour."""
SHORTEST_SECRET = 6
"""Characters. Shorter parts of a URL are words such as `api` and `v2`, and would blank out everything."""
MASK = "[secret]"

# httpx logs each request's whole URL at INFO, and a webhook's URL is a secret.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class CallOptions:
    """Settings of every call of one notifier, apart from its URL."""

    headers: tuple[tuple[str, SecretStr | Path], ...] = ()
    """Names and values; a path: the file that holds the value, read anew for each call."""
    bearer_token_file: Path | None = None
    """File with the token of `Authorization: Bearer`, read anew for each call: tokens are renewed."""
    tls: TlsFiles = NO_FILES
    accept: tuple[str | int, ...] = ()
    """Statuses, and parts of the body of a 2xx answer, that mean yes whatever else is said."""


NO_OPTIONS = CallOptions()


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Answer with a status that is a yes."""

    status: int
    body: str
    """Its text, at most 64 KiB of it. As it came: `detail` is for people."""
    detail: str
    """Status and text in one line, without secrets."""
    accepted: bool = False
    """True: the settings take this status for a yes."""

    def no(self, why: str, *, permanent: bool = False, unclear: bool = False) -> DeliveryError:
        """Make the error for an answer that is a no although its status is a yes."""
        text = for_log(f"{why}: {self.detail}", most=DETAIL_CHARACTERS)
        return DeliveryError(text, permanent=permanent, unclear=unclear)


@dataclass(frozen=True, slots=True)
class _Target:
    url: str
    place: str
    """Host and port, for people."""
    secrets: re.Pattern[str] | None
    proxy: ChosenProxy | None
    headers: Mapping[str, str]

    def clean(self, text: str) -> str:
        """Make one line for people, without secrets."""
        masked = self.secrets.sub(MASK, text) if self.secrets is not None else text
        return one_line(masked, most=DETAIL_CHARACTERS)

    def failure(
        self,
        text: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        unclear: bool = False,
        local: bool = False,
    ) -> DeliveryError:
        return DeliveryError(
            self.clean(text), permanent=permanent, retry_after=retry_after, unclear=unclear, local=local
        )


@dataclass
class _Progress:
    """Progress of a call: whether the other side may already have the message."""

    method: str
    sent: bool = False

    async def trace(self, event: str, about: Mapping[str, object]) -> None:
        """Note a step, as httpx reports each one; a proxy's CONNECT is a step of its own.

        Raises `NotLeading` before the message leaves, where it must not any more.
        """
        if event.endswith((".send_request_headers.started", ".send_request_body.started")):
            ask_to_send()
        if event.endswith(".send_request_body.started"):
            method = getattr(about.get("request"), "method", b"")
            self.sent = self.sent or method == self.method.encode()


async def deliver_message(
    url: SecretStr,
    body: bytes,
    *,
    timeout: float,  # noqa: ASYNC109
    options: CallOptions = NO_OPTIONS,
    headers: Mapping[str, str] | None = None,
    secrets: Sequence[SecretStr] = (),
    final: bool = True,
    page: Meaning = Meaning.UNCLEAR,
) -> HttpAnswer:
    """Post a message and hold the answer against what services say; see `post` and `acceptance`.

    final: whether a refusal in a 2xx answer is one for good. page: what an HTML page means.
    """
    answer = await post(url, body, timeout=timeout, options=options, headers=headers, secrets=secrets)
    accept = [part for part in options.accept if isinstance(part, str)]
    match Meaning.TAKEN if answer.accepted else meaning(answer.body, accept, page):
        case Meaning.REFUSED:
            raise answer.no("the answer says no", permanent=final)
        case Meaning.NOT_NOW:
            raise answer.no("the answer says not now")
        case Meaning.UNCLEAR:
            raise answer.no("this is not how a service that takes alerts answers", unclear=True)
    return answer


async def post(
    url: SecretStr,
    body: bytes,
    *,
    timeout: float,  # noqa: ASYNC109  (the whole call's own limit, also while a body drips in)
    options: CallOptions = NO_OPTIONS,
    headers: Mapping[str, str] | None = None,
    secrets: Sequence[SecretStr] = (),
    method: Literal["POST", "GET"] = "POST",
) -> HttpAnswer:
    """Call the URL with the body; return a 2xx answer, or one of an accepted status. Raises `DeliveryError`.

    Permanent: 3xx and 4xx, without 408, 429 and a proxy's 407. To be tried again: those, 5xx and everything that
    happens on the way; unclear, if the message may have arrived. `timeout`: seconds for the whole call.
    `secrets`: what must not be shown, beside the URL's own parts, the options' headers and the proxy's password.
    """
    target = target_of(url.get_secret_value(), options, secrets)
    progress = _Progress(method)
    try:
        async with asyncio.timeout(timeout):
            return await _exchange(
                target, body, {"User-Agent": "wgaudit", **(headers or {})}, options, progress
            )
    except TimeoutError:
        what = "whole answer from" if progress.sent else "connection to"
        raise target.failure(
            f"no {what} {target.place} within {timeout:g} s", unclear=progress.sent
        ) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError):
        raise target.failure("the URL cannot be used: check it for typing errors", local=True) from None
    except httpx.ProxyError as error:
        raise target.failure(f"{target.proxy or 'a proxy'} refuses: {error}") from None
    except httpx.ConnectError as error:
        raise target.failure(f"{why_not_connected(error, target.place)}{_proxy_hint(target)}") from None
    except httpx.TransportError as error:
        raise target.failure(
            f"the connection to {target.place} broke off before the answer was whole: {type(error).__name__}",
            unclear=progress.sent,
        ) from None
    except ssl.SSLError as error:
        # httpx lets these through where they come after the handshake: TLS 1.3 refuses a client's certificate there.
        raise target.failure(f"TLS failed with {target.place}: {error.reason or 'no reason given'}") from None
    except UnicodeError:
        raise target.failure(f"{target.place} is not a host's name", local=True) from None


async def _exchange(
    target: _Target, body: bytes, headers: Mapping[str, str], options: CallOptions, progress: _Progress
) -> HttpAnswer:
    secure = target.url.startswith("https:")
    async with (
        # One client a call: calls are seconds apart, and nothing is left open between sweeps. The limit
        # in time is the caller's; httpx's own are for single steps. Proxies are chosen here, not by httpx,
        # which refuses to work at all where it can't read one entry of NO_PROXY.
        httpx.AsyncClient(
            verify=tls_context(options.tls, os.environ) if secure else _no_trust(),
            proxy=_proxy(target.proxy),
            timeout=None,  # noqa: S113
            trust_env=False,
            follow_redirects=False,
        ) as client,
        client.stream(
            progress.method,
            target.url,
            content=body,
            headers={
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
                **headers,
                **target.headers,
            },
            extensions={"trace": progress.trace},
        ) as response,
    ):
        accepted = response.status_code in options.accept
        try:
            text = await _bounded(response)
        except httpx.TransportError:
            if response.is_success and not accepted:
                raise  # nobody can say whether it was taken
            text = ""  # the status says it all
        detail = f"{_status(response.status_code)}: {text}" if text.strip() else _status(response.status_code)
        if response.is_success or accepted:
            return HttpAnswer(response.status_code, text, target.clean(detail), accepted)
        if target.proxy is not None and response.status_code == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            raise target.failure(f"{target.proxy} refuses: {detail}")
        raise target.failure(
            detail,
            permanent=not _recoverable(response.status_code),
            retry_after=_retry_after(response.headers.get("Retry-After"), time.time()),
        )


def _proxy(chosen: ChosenProxy | None) -> httpx.Proxy | None:
    if chosen is None:
        return None
    url = chosen.url.get_secret_value()
    trust = tls_context(NO_FILES, os.environ) if url.startswith("https:") else None
    auth = None if chosen.auth is None else (chosen.auth[0], chosen.auth[1].get_secret_value())
    return httpx.Proxy(url, ssl_context=trust, auth=auth)


@cache
def _no_trust() -> ssl.SSLContext:
    """Make a TLS context that trusts nobody: for plain HTTP, so that no authorities need be loaded."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def _bounded(response: httpx.Response) -> str:
    received = bytearray()
    # Raw: nobody was asked to compress, so nothing can unfold into gigabytes.
    async with aclosing(cast(AsyncGenerator[bytes, None], response.aiter_raw())) as chunks:
        async for chunk in chunks:
            received += chunk
            if len(received) >= ANSWER_BYTES:
                break
    return bytes(received[:ANSWER_BYTES]).decode("utf-8", "replace")


def _recoverable(status: int) -> bool:
    return status >= 500 or status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


def _status(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _retry_after(value: str | None, now: float) -> float | None:
    """Read seconds from a number or an HTTP date; None where neither can be read."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def completed(url: SecretStr, path: str) -> SecretStr:
    """Complete the URL with this path, of which it may have a part already; a query stays behind it."""
    try:
        split = urlsplit(url.get_secret_value())
    except ValueError:
        return url  # refused where it is used
    has = [part for part in split.path.split("/") if part]
    wanted = path.strip("/").split("/")
    there = max(count for count in range(len(wanted) + 1) if has[len(has) - count :] == wanted[:count])
    return SecretStr(urlunsplit(split._replace(path="/" + "/".join([*has, *wanted[there:]]))))


# -- failures in words


def why_not_connected(error: BaseException, place: str) -> str:
    """Word why there is no connection to a place."""
    causes = tuple(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"TLS: the certificate of {place} is not trusted: {why_untrusted(cause)}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed with {place}: {cause.reason or 'no common language'}"
        if isinstance(cause, socket.gaierror):
            return f"the name of {place} does not resolve: {cause.strerror}"
    for cause in causes:
        if isinstance(cause, ConnectionRefusedError):
            return f"{place} refuses connections"
        if isinstance(cause, OSError) and cause.errno is not None:
            return f"{place} cannot be reached: {os.strerror(cause.errno)}"
    return f"{place} cannot be reached"


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _causes(member)
    following = error.__cause__ or error.__context__
    if following is not None:
        yield from _causes(following)


def _proxy_hint(target: _Target) -> str:
    return f" (through {target.proxy}: the environment names a proxy)" if target.proxy is not None else ""


# -- secrets


def target_of(base: str, options: CallOptions, secrets: Sequence[SecretStr]) -> _Target:
    """Read where a call goes, its headers and its proxy. Raises `DeliveryError`, never with a secret."""
    try:
        split = urlsplit(base)
        port = split.port
    except ValueError:
        raise _not_sent("the URL cannot be used: check it for typing errors") from None
    if split.scheme not in ("http", "https"):
        raise _not_sent("the URL cannot be used: it is not http or https")
    headers = {name: _value(f"the header {name}", value) for name, value in options.headers}
    if options.bearer_token_file is not None:
        headers["Authorization"] = f"Bearer {_value('bearer_token_file', options.bearer_token_file)}"
    proxy = chosen_proxy(base, os.environ)
    parts = {secret.get_secret_value() for secret in secrets}
    for value in headers.values():
        parts |= {value, value.rpartition(" ")[2]}
    if proxy is not None and proxy.auth is not None:
        user, password = proxy.auth
        parts |= {password.get_secret_value(), _basic(user, password.get_secret_value())}
    if split.path.strip("/") or split.query or split.username or split.fragment:
        parts |= {base, split.path, split.query, split.fragment}
    parts |= {split.username or "", split.password or "", _basic(split.username, split.password)}
    # Telegram's token stands behind a word, and others put a token behind a name.
    pieces = [
        piece
        for part in split.path.split("/")
        for piece in (part, part.removeprefix("bot"), *part.split(":"))
    ]
    parts |= {piece for piece in pieces if len(piece) >= SHORTEST_SECRET}
    parts |= {value for _, value in parse_qsl(split.query) if len(value) >= SHORTEST_SECRET}
    parts |= {unquote(part) for part in parts}
    parts |= {quote(part, safe="") for part in parts}
    wanted = sorted((part for part in parts if len(part.strip("/")) > 1), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, wanted)), re.IGNORECASE) if wanted else None
    # A sign such as / in a password that is not written as %2F ends the host early: then what looks like host and
    # port is user and password.
    doubtful = "@" not in split.netloc and "@" in base
    host = f"[{split.hostname}]" if ":" in (split.hostname or "") else split.hostname or "nowhere"
    place = "the URL's host" if doubtful else f"{host}{f':{port}' if port else ''}"
    return _Target(base, place, pattern, proxy, headers)


def _value(what: str, value: SecretStr | Path) -> str:
    """Read the value of a header. Raises `DeliveryError`, to be tried again, that names its file."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    shown = one_line(f"{what} is read from {value}", most=DETAIL_CHARACTERS // 2)
    try:
        text = value.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise _not_sent(f"{shown}: {why}") from None
    if not text or not text.isascii() or not text.isprintable():
        raise _not_sent(f"{shown}: it is not one line of ASCII text")
    return text


def _not_sent(why: str) -> DeliveryError:
    """Make the error for a fault on this side, before anything was sent."""
    return DeliveryError(f"nothing was sent: {why}", permanent=False, local=True)


def _basic(user: str | None, password: str | None) -> str:
    """Spell the Authorization header, a secret too: it is reversible, and some answers repeat the request's headers."""
    if user is None:
        return ""
    return base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()
