"""One HTTP POST, and what its outcome means: taken, refused for good, or to be tried again.

Nothing that leaves this module holds the URL's path or any other secret: not an answer's text, not an
error, not a log line. Redirects are not followed: a signed body goes where the configuration says, or
nowhere. Proxies come from the environment, authorities from the system, certifi and `SSL_CERT_FILE`.
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
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit
from urllib.request import getproxies

import httpx
from pydantic import SecretStr

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
class HttpAnswer:
    """What the other side said, with a 2xx status."""

    status: int
    body: str
    """Its text, at most 64 KiB of it. As it came: `detail` is for people."""
    detail: str
    """Status and text in one line, without secrets."""

    def no(self, why: str, *, permanent: bool) -> DeliveryError:
        """The error for an answer that is not a yes although its status is."""
        return DeliveryError(for_log(f"{why}: {self.detail}", most=DETAIL_CHARACTERS), permanent=permanent)


@dataclass(frozen=True, slots=True)
class _Target:
    url: str
    place: str
    """Host and port, for people."""
    secrets: re.Pattern[str] | None

    def clean(self, text: str) -> str:
        """One line for people, without secrets."""
        masked = self.secrets.sub(MASK, text) if self.secrets is not None else text
        return one_line(masked, most=DETAIL_CHARACTERS)

    def failure(
        self, text: str, *, permanent: bool = False, retry_after: float | None = None
    ) -> DeliveryError:
        return DeliveryError(self.clean(text), permanent=permanent, retry_after=retry_after)


async def post(
    url: SecretStr,
    body: bytes,
    *,
    timeout: float,  # noqa: ASYNC109  (the whole call's own limit, also while a body drips in)
    path: str = "",
    headers: Mapping[str, str] | None = None,
    secrets: Sequence[SecretStr] = (),
) -> HttpAnswer:
    """Posts the body to `url` + `path`; a 2xx answer. Else raises `DeliveryError`.

    Permanent: 3xx and 4xx, without 408 and 429. To be tried again: 408, 429, 5xx and everything that
    happens on the way. `timeout`: seconds for the whole call. `secrets`: what must not be shown, beside
    the URL's own parts.
    """
    target = _target(url.get_secret_value(), path, secrets)
    try:
        async with asyncio.timeout(timeout):
            return await _exchange(target, body, {"User-Agent": "wgaudit", **(headers or {})})
    except TimeoutError:
        raise target.failure(f"no whole answer from {target.place} within {timeout:g} s") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError):
        raise target.failure("the URL cannot be used: check it for typing errors", permanent=True) from None
    except httpx.ProxyError as error:
        raise target.failure(f"the environment's proxy refuses: {error}") from None
    except httpx.ConnectError as error:
        raise target.failure(f"{_why_not_connected(error, target.place)}{_proxy_hint()}") from None
    except httpx.TransportError as error:
        raise target.failure(
            f"the connection to {target.place} broke off before the answer was whole: {type(error).__name__}"
        ) from None
    except UnicodeError:
        raise target.failure(f"{target.place} is not a host's name", permanent=True) from None
    except (ValueError, ImportError):
        # From httpx's reading of HTTP_PROXY and its like. The text may hold the proxy's password.
        raise target.failure("the proxy that the environment names cannot be used") from None


async def _exchange(target: _Target, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
    async with (
        # One client a call: calls are seconds apart, and nothing is left open between sweeps. The limit
        # in time is the caller's; httpx's own are for single steps.
        httpx.AsyncClient(verify=_trust(), timeout=None, trust_env=True, follow_redirects=False) as client,  # noqa: S113
        client.stream(
            "POST",
            target.url,
            content=body,
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity", **headers},
        ) as response,
    ):
        try:
            text = await _bounded(response)
        except httpx.TransportError:
            if response.is_success:
                raise  # nobody can say whether it was taken
            text = ""  # the status says it all
        detail = f"{_status(response.status_code)}: {text}" if text.strip() else _status(response.status_code)
        if response.is_success:
            return HttpAnswer(response.status_code, text, target.clean(detail))
        raise target.failure(
            detail,
            permanent=not _recoverable(response.status_code),
            retry_after=_retry_after(response.headers.get("Retry-After"), time.time()),
        )


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
    """Seconds, from a number or an HTTP date; None where there is none that can be read."""
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


def _trust() -> ssl.SSLContext:
    return _trusted(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _trusted(file: str | None, folder: str | None) -> ssl.SSLContext:  # noqa: ARG001  (the cache's key)
    """Loading a few hundred authorities takes longer than a call: once for each environment."""
    context = httpx.create_ssl_context()
    context.load_default_certs()  # the system's, among them a company's own
    return context


# -- what failed, in words


def _why_not_connected(error: BaseException, place: str) -> str:
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


def _proxy_hint() -> str:
    return " (the environment names a proxy)" if getproxies() else ""


# -- what must not be shown


def _target(base: str, path: str, secrets: Sequence[SecretStr]) -> _Target:
    try:
        split = urlsplit(base)
        place = f"{split.hostname or 'nowhere'}{f':{split.port}' if split.port else ''}"
    except ValueError:
        raise DeliveryError("the URL cannot be used: check it for typing errors", permanent=True) from None
    parts = {secret.get_secret_value() for secret in secrets}
    if split.path.strip("/") or split.query or split.username or split.fragment:
        parts |= {base, split.path, split.query}
    parts |= {split.username or "", split.password or "", _basic(split.username, split.password)}
    parts |= {segment for segment in split.path.split("/") if len(segment) >= SHORTEST_SECRET}
    parts |= {value for _, value in parse_qsl(split.query) if len(value) >= SHORTEST_SECRET}
    parts |= {unquote(part) for part in parts}
    wanted = sorted((part for part in parts if len(part.strip("/")) > 1), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, wanted)), re.IGNORECASE) if wanted else None
    return _Target(_joined(split.scheme, base, path), place, pattern)


def _basic(user: str | None, password: str | None) -> str:
    """What the Authorization header says: reversible, and some answers repeat the request's headers."""
    if user is None:
        return ""
    return base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()


def _joined(scheme: str, base: str, path: str) -> str:
    if scheme not in ("http", "https"):
        raise DeliveryError("the URL cannot be used: it is not http or https", permanent=True)
    return f"{base.rstrip('/')}{path}" if path else base
