"""Reads of one Consul agent over httpx, which a waiting query needs: it ends at once when it is cancelled.

Set up by the configuration alone: no proxy, netrc or authority comes from the environment, no redirect is followed,
and an answer is bounded in its size, unpacked, and in time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import zlib
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlencode

import httpx

from auditor.errors import ConfigError, GapReason, RegistryError
from auditor.registry import agent
from auditor.registry.agent import agent_address, no_password, too_large, url_hint, without
from auditor.registry.answers import checked, decoded, excerpt, filtered, index_of, objection, rows, with_hint
from auditor.registry.unanswered import unanswered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from pydantic import SecretStr

    from auditor.settings.consul import ConsulSettings

# httpx logs each request at INFO: with a read each few seconds that is all that a log would hold.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_GZIP = 31  # zlib's number for gzip's own header


@dataclass(frozen=True, slots=True)
class AgentAnswer:
    """Whole and current answer of the agent."""

    body: bytes
    headers: Mapping[str, str]
    index: int | None
    """Consul's index; None: the endpoint has none."""
    missing: RegistryError | None = None
    """There is nothing under the prefix, or nothing that the token may read."""

    @property
    def filtered(self) -> bool:
        """Tell whether Consul says that it left rows out."""
        return filtered(self.headers)


class AgentHttp:
    """Client of one agent for one event loop, to be entered. Any number of tasks may ask at once."""

    def __init__(self, settings: ConsulSettings, token: SecretStr | None) -> None:
        self._settings = settings
        self._address = agent_address(settings)
        self._token = token
        self._client: httpx.AsyncClient | None = None
        self.hint = url_hint(settings.url)

    async def __aenter__(self) -> AgentHttp:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.renew()

    async def renew(self) -> None:
        """Close the connections, so that the next read opens one, with the TLS files as they are then."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def asked(self, path: str, params: Sequence[tuple[str, str]] = ()) -> str:
        """Name a read in a message."""
        datacenter = dict(params).get("dc")
        where = f"{self._address.shown}{path}"
        return f"{where} in {datacenter}" if datacenter else where

    async def read(
        self, path: str, params: Sequence[tuple[str, str]], *, indexed: bool, waits: float = 0.0
    ) -> AgentAnswer:
        """Read once. Raises `RegistryError` for all that is no whole and current answer.

        indexed: the endpoint reads Consul's state. waits: seconds for which Consul may hold the answer back.
        """
        asked, timeout = self.asked(path, params), self._settings.timeout
        headers = {"Accept-Encoding": "identity", "User-Agent": "wgaudit"}
        if self._token is not None:
            headers["X-Consul-Token"] = self._token.get_secret_value()
        url = f"{self._address.base}{quote(path, safe='/:')}?{urlencode(list(params))}"
        name = self._settings.tls_server_name
        try:
            async with (
                asyncio.timeout(waits + timeout) as limit,
                self._connected().stream(
                    "GET", url, headers=headers, extensions={"sni_hostname": name} if name else {}
                ) as response,
            ):
                # Held back or not: what has begun must end within the time of a plain read.
                limit.reschedule(asyncio.get_running_loop().time() + timeout)
                body = await self._body(response, asked)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            ended = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
            raise unanswered(asked, error, waits + timeout, *ended) from None
        problem = objection(
            asked,
            response.status_code,
            response.headers,
            body,
            indexed=indexed,
            token_sent=self._token is not None,
        )
        index = index_of(response.headers)
        if problem is not None and problem.reason is GapReason.PREFIX_NOT_FOUND:
            return AgentAnswer(body, response.headers, index, with_hint(problem, self.hint))
        if problem is not None:
            raise with_hint(problem, self.hint)
        return AgentAnswer(body, response.headers, index)

    async def keys(self, folder: str, datacenter: str) -> list[str]:
        """List keys and folders directly in a folder. Raises `RegistryError`."""
        path = f"/v1/kv/{folder}"
        params = [("keys", ""), ("separator", "/"), *([("dc", datacenter)] if datacenter else [])]
        params.append(("consistent", "1"))
        answer = await self.read(path, params, indexed=True)
        if answer.missing is not None:
            return []
        asked = self.asked(path, params)
        return decoded(lambda: rows(json.loads(answer.body), str, asked), asked, self.hint)

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            transport = httpx.AsyncHTTPTransport(
                verify=_trust(self._settings),
                uds=self._address.socket_path or None,
                trust_env=False,
                limits=httpx.Limits(max_connections=None, keepalive_expiry=60.0),
            )
            # No limit of httpx's own: those are for single steps.
            self._client = httpx.AsyncClient(transport=transport, timeout=None, trust_env=False)  # noqa: S113
        return self._client

    async def _body(self, response: httpx.Response, asked: str) -> bytes:
        """Read the whole body, within bounds; of a refusal, its beginning. Raises `RegistryError`."""
        refused = response.status_code != 200
        most = agent.MAX_REFUSAL if refused else agent.MAX_ANSWER
        unpacked = _Unpacked(response.headers.get("Content-Encoding", ""), asked)
        body = bytearray()
        async with aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_raw())) as chunks:
            async for chunk in chunks:
                body += unpacked.of(chunk, most - len(body) + 1)
                if refused and len(body) >= most:
                    break
                if len(body) > most:
                    raise too_large(asked)
        if refused:
            return without(self._token, body.decode(errors="replace")).encode()
        return checked(bytes(body), asked)


def _trust(settings: ConsulSettings) -> ssl.SSLContext:
    """Load the TLS files as they are now; without https, trust nobody. Raises `RegistryError`."""
    if not settings.url.startswith("https://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if settings.ca_file is None:
            context = httpx.create_ssl_context(trust_env=False)
        else:
            context = ssl.create_default_context(cafile=str(settings.ca_file))
        if settings.cert_file is not None and settings.key_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file, password=no_password)
    except (OSError, ConfigError) as error:  # an SSLError is one, too
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        detail = f"consul.ca_file, consul.cert_file, consul.key_file: not usable now: {why}"
        raise RegistryError(GapReason.CONSUL_TLS, detail) from None
    return context


class _Unpacked:
    """Unpacking of an answer that came in gzip although plain text was asked for, as some proxies do."""

    def __init__(self, encoding: str, asked: str) -> None:
        self._asked = asked
        self._inflating = None
        if (name := encoding.strip().lower()) in ("gzip", "x-gzip"):
            self._inflating = zlib.decompressobj(_GZIP)
        elif name not in ("", "identity"):
            detail = f"{asked}: an answer packed as {excerpt(encoding.encode())}, which was not asked for"
            raise RegistryError(GapReason.CONSUL_UNREADABLE, detail)

    def of(self, chunk: bytes, most: int) -> bytes:
        """Unpack the next chunk, to no more than `most` bytes. Raises `RegistryError`."""
        if self._inflating is None:
            return chunk
        try:
            return self._inflating.decompress(chunk, max(most, 1))
        except zlib.error:
            detail = f"{self._asked}: the answer is marked as gzip and is none"
            raise RegistryError(GapReason.CONSUL_UNREADABLE, detail) from None
