"""Reads registrations from a Consul server, each datacenter on its own; a failed read becomes a gap.

The only file that imports `consul` (python-consul2). Four of that library's habits are not wanted here:

- Its `Consul` lets `CONSUL_HTTP_ADDR`, `_TOKEN`, `_SSL` and `_SSL_VERIFY` override what it is given, and
  raises if the first is odd. `_Client` leaves that constructor out and uses the library's endpoints.
- `requests` takes proxies, `~/.netrc` (an Authorization header!) and CA bundles from the environment.
- Its callbacks drop the headers, in which Consul says that an answer is stale, filtered or leaderless.
- It follows redirects with the token, has no timeout unless told so, and no bound on an answer's size.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import consul.base
import consul.std
import urllib3.exceptions

from auditor.errors import ConfigError, GapReason, RegistryError
from auditor.models import Gap, RegistryReading
from auditor.registry.answers import (
    catalog_nodes,
    excerpt,
    filtered,
    kv_items,
    objection,
    quick_kv_items,
    rows,
)
from auditor.registry.records import MAX_TEXT, KvItem, read_catalog, read_kv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import requests
    from pydantic import SecretStr

    from auditor.config import ConsulSettings

T = TypeVar("T")

MAX_ANSWER = 256 * 1024 * 1024
"""Bytes of one answer: some 500,000 registrations. More is a gap."""
_MAX_ERROR_BODY = 4096
_CHUNK = 256 * 1024
_DATACENTERS_AT_ONCE = 8


class ConsulRegistry:
    """The registry behind one Consul agent: KV or catalog, one datacenter, several, or every one."""

    def __init__(self, settings: ConsulSettings, token: SecretStr | None) -> None:
        """Checks URL, token and TLS files; asks nothing. Raises `ConfigError`, never with the token in it."""
        self._settings = settings
        self._token = token
        self._base = _base_url(settings)
        _check_token(token)
        _check_tls(settings)

    async def read(self) -> RegistryReading:
        """Reads every datacenter once, with `consistent` reads. Whatever fails is a gap in the reading."""
        try:
            datacenters = await self._datacenters()
        except RegistryError as error:
            return RegistryReading(gaps=(self._gap(error, ""),))
        bound = asyncio.Semaphore(_DATACENTERS_AT_ONCE)

        async def one(datacenter: str) -> RegistryReading:
            async with bound:
                try:
                    return await asyncio.to_thread(self._read, datacenter)
                except RegistryError as error:
                    return RegistryReading(gaps=(self._gap(error, datacenter),))

        readings = await asyncio.gather(*map(one, datacenters))
        return RegistryReading(
            registrations=tuple(one for reading in readings for one in reading.registrations),
            invalid=tuple(one for reading in readings for one in reading.invalid),
            gaps=tuple(one for reading in readings for one in reading.gaps),
        )

    async def leader(self) -> str | Gap:
        """The Raft leader's address as the agent gives it, or why there is none."""
        try:
            answer = await asyncio.to_thread(self._leader)
        except RegistryError as error:
            return self._gap(error, "")
        return excerpt(answer.encode(errors="replace"))

    async def listed(self) -> int | Gap:
        """How many KV keys (or catalog nodes) the token may list in the first datacenter, or why none."""
        datacenter = ""
        try:
            datacenter = (await self._datacenters())[0]
            return await asyncio.to_thread(self._listed, datacenter)
        except RegistryError as error:
            return self._gap(error, datacenter)

    async def _datacenters(self) -> Sequence[str]:
        """Names to read; "" is the agent's own. Raises `RegistryError`."""
        configured = self._settings.datacenters or ("",)
        if "*" not in configured:
            return tuple(dict.fromkeys(configured))
        return await asyncio.to_thread(self._known_datacenters)

    def _known_datacenters(self) -> Sequence[str]:
        with self._client() as client:
            names = rows(client.catalog.datacenters(), str, client.asked)
            if not names or not all(0 < len(name) <= MAX_TEXT and name.isprintable() for name in names):
                detail = f"{client.asked}: no datacenter, or one whose name is none"
                raise RegistryError(GapReason.CONSUL_UNREADABLE, detail)
        return tuple(dict.fromkeys(names))

    def _leader(self) -> str:
        with self._client() as client:
            answer = client.status.leader()
            if not isinstance(answer, str):
                raise RegistryError(GapReason.CONSUL_UNREADABLE, f"{client.asked}: the answer is not text")
            if not answer:
                raise RegistryError(GapReason.CONSUL_NO_LEADER, f"{client.asked}: there is no leader")
        return answer

    def _listed(self, datacenter: str) -> int:
        with self._client(datacenter) as client:
            if self._settings.layout == "catalog":
                return len(catalog_nodes(client.catalog.nodes()[1], client.asked))
            keys = client.kv.get(self._settings.prefix, keys=True)[1]
            return len(rows(keys, str, client.asked))

    def _read(self, datacenter: str) -> RegistryReading:
        """One datacenter, in a thread of its own. Raises `RegistryError`."""
        settings = self._settings
        with self._client(datacenter) as client:
            if settings.layout == "catalog":
                nodes = catalog_nodes(client.catalog.nodes()[1], client.asked)
                reading = read_catalog(datacenter, nodes, settings.fields)
                nothing = f"none of {len(nodes)} nodes has the meta keys of a mesh node; check consul.fields"
            else:
                items = client.kv_items(settings.prefix)
                reading = read_kv(settings.layout, datacenter, settings.prefix, items, settings.fields)
                nothing = "the prefix is there, but no registration under it"
        gaps = []
        if client.http.filtered:
            detail = f"{client.asked}: Consul left out what the token may not read; use one that may read all"
            gaps.append(self._gap(RegistryError(GapReason.CONSUL_FILTERED, detail), datacenter))
        if not reading.registrations and not reading.invalid:
            error = RegistryError(GapReason.REGISTRY_EMPTY, f"{client.asked}: {nothing}")
            gaps.append(self._gap(error, datacenter))
        return RegistryReading(reading.registrations, reading.invalid, tuple(gaps))

    def _client(self, datacenter: str = "") -> _Client:
        return _Client(_Http(self._settings, self._base, self._token), datacenter)

    def _gap(self, error: RegistryError, datacenter: str) -> Gap:
        detail = _without(self._token, error.detail)
        return Gap("consul", error.reason, detail, datacenter=datacenter or None)


class _Client(consul.base.Consul):  # type: ignore[misc]  # the library has no types
    """python-consul2's endpoints over our own HTTP client, for one datacenter and one thread."""

    def __init__(self, http: _Http, datacenter: str) -> None:  # not the library's: see the file's top
        self.http = http
        self.token = None  # `_Http` adds it, so that no plain text of it lies about here
        self.consistency = "consistent"
        self.dc = datacenter or None
        self.kv = consul.base.Consul.KV(self)
        self.catalog = consul.base.Consul.Catalog(self)
        self.status = consul.base.Consul.Status(self)

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.session.close()

    def kv_items(self, prefix: str) -> Iterable[KvItem]:
        """All keys under the prefix. Raises `RegistryError`.

        Asks as the library's `kv.get(prefix, recurse=True)` does. Its decoder is asked only where ours, which
        takes less CPU, finds anything odd.
        """
        in_the_librarys_way = consul.base.CB.json(decode="Value", map=lambda found: found or None)

        def items(response: _Response) -> Iterable[KvItem]:
            found = quick_kv_items(response.content, prefix)
            return kv_items(in_the_librarys_way(response), prefix, self.asked) if found is None else found

        params = [("recurse", "1"), ("dc", self.dc), (self.consistency, "1")]
        return self.http.get(items, f"/v1/kv/{prefix}", [pair for pair in params if pair[1]])

    @property
    def asked(self) -> str:
        """What was asked last, for a person."""
        return f"{self.http.asked} in {self.dc}" if self.dc else self.http.asked


@dataclass(frozen=True, slots=True)
class _Response:
    """An answer as the library's callbacks know it."""

    code: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> str:
        """The content as text, made for those who ask: it may be large. Raises `UnicodeDecodeError`."""
        return self.content.decode()


class _Http(consul.std.HTTPClient):  # type: ignore[misc]  # the library has no types
    """One bounded GET that nothing but the configuration has a say in; keeps what the headers said."""

    def __init__(self, settings: ConsulSettings, base: str, token: SecretStr | None) -> None:
        cert = (str(settings.cert_file), str(settings.key_file)) if settings.cert_file else None
        verify = str(settings.ca_file) if settings.ca_file else True
        super().__init__(verify=verify, cert=cert, timeout=settings.timeout)
        self.base_uri = base  # host and port alone could not say a path
        self.session.trust_env = False  # no proxy, netrc or CA bundle from the environment
        self.asked = base
        self.filtered = False
        self._token = token

    def get(
        self,
        callback: Callable[[_Response], T],
        path: str,
        params: Sequence[tuple[str, object]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Called by the library's endpoints too. Raises `RegistryError`."""
        self.asked = f"{self.base_uri}{path}"
        sent = {**(headers or {}), "Accept-Encoding": "identity"}
        if self._token is not None:
            sent["X-Consul-Token"] = self._token.get_secret_value()
        deadline = time.monotonic() + self.timeout
        try:
            with self.session.get(
                self.uri(path, params),
                headers=sent,
                verify=self.verify,
                cert=self.cert,
                timeout=self.timeout,
                stream=True,
                allow_redirects=False,  # the token is for this server alone
            ) as response:
                body = self._body(response, deadline)
        except (OSError, urllib3.exceptions.HTTPError) as error:  # requests' errors are OSErrors
            raise _unanswered(self.asked, error, self.timeout) from None
        indexed = path.startswith(("/v1/kv/", "/v1/catalog/nodes"))
        problem = objection(self.asked, response.status_code, response.headers, body, indexed=indexed)
        if problem is not None:
            raise problem
        self.filtered = filtered(response.headers)
        try:
            return callback(_Response(response.status_code, response.headers, body))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            # What the library's decoding raises for a body that is not what the endpoint promises.
            detail = f"{self.asked}: the answer is not the JSON that it should be ({type(error).__name__})"
            raise RegistryError(GapReason.CONSUL_UNREADABLE, detail) from None

    def _body(self, response: requests.Response, deadline: float) -> bytes:
        """The whole body, within bounds of size and time; of a refusal, its beginning."""
        refused = response.status_code != 200
        body = bytearray()
        # read1 returns what has come: a server that drips can then not hold us beyond the deadline.
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            body += chunk
            if refused and len(body) >= _MAX_ERROR_BODY:
                break
            if len(body) > MAX_ANSWER:
                detail = (
                    f"{self.asked}: an answer larger than {MAX_ANSWER} bytes; is consul.prefix too short?"
                )
                raise RegistryError(GapReason.CONSUL_UNREADABLE, detail)
            if time.monotonic() > deadline:
                raise TimeoutError
        return _without(self._token, body.decode(errors="replace")).encode() if refused else bytes(body)


def _without(token: SecretStr | None, text: str) -> str:
    """The text without the token: an answer may echo what it was asked with."""
    return text.replace(token.get_secret_value(), "[token]") if token is not None else text


def _unanswered(asked: str, error: BaseException, timeout: float) -> RegistryError:
    """Why no whole answer came. Never the library's own text: that may quote a header."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return RegistryError(GapReason.CONSUL_TLS, f"{asked}: {_tls_reason(cause)}")
    # Not urllib3's own TimeoutError: a refused connection is one of these too. What it wraps tells.
    if any(isinstance(cause, TimeoutError) for cause in causes):
        detail = f"{asked}: no whole answer within {timeout:g} s; is it reachable? else raise consul.timeout"
        return RegistryError(GapReason.CONSUL_TIMEOUT, detail)
    said = type(error).__name__
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            said = "the host's name does not resolve"
        elif isinstance(cause, OSError) and cause.strerror:
            said = cause.strerror
        elif isinstance(
            cause, http.client.HTTPException | ConnectionError | urllib3.exceptions.ProtocolError
        ):
            said = "the connection ended before the answer did"
    return RegistryError(GapReason.CONSUL_UNREACHABLE, f"{asked}: {said}; is Consul running there?")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps: requests and urllib3 keep the first cause in different places."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = (*one.args, getattr(one, "reason", None), one.__cause__, one.__context__)
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; check consul.ca_file and consul.url"
    reason = error.reason or "TLS failed"
    if "WRONG_VERSION_NUMBER" in reason:
        return "no TLS there; is consul.url to begin with http://?"
    if "CERTIFICATE" in reason and "ALERT" in reason:
        return f"it refused our client certificate ({reason}); check consul.cert_file and consul.key_file"
    return f"TLS: {reason}"


def _base_url(settings: ConsulSettings) -> str:
    url = settings.url
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if (
        not usable
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or not url.isprintable()
        or " " in url
    ):
        raise ConfigError("consul.url: not a usable URL; write it as http://HOST:PORT or https://HOST:PORT")
    if settings.layout != "catalog" and settings.prefix.startswith("/"):
        raise ConfigError("consul.prefix: a key does not begin with /; leave it out")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _check_token(token: SecretStr | None) -> None:
    text = token.get_secret_value() if token is not None else "none"
    if not text or not text.isascii() or not text.isprintable() or text != text.strip():
        raise ConfigError(
            "the Consul token is empty or has characters that no HTTP header can carry (a line end, a blank "
            "around it); check consul.token, consul.token_file or CONSUL_HTTP_TOKEN"
        )


def _check_tls(settings: ConsulSettings) -> None:
    """Reads the files once, so that a wrong path is a clear line now and no gap later."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    place = "consul.ca_file"
    try:
        if settings.ca_file is not None:
            context.load_verify_locations(str(settings.ca_file))
        place = "consul.cert_file, consul.key_file"
        if settings.cert_file is not None and settings.key_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file, password=_no_password)
    except ssl.SSLError as error:
        raise ConfigError(f"{place}: not usable PEM files, or they do not fit: {error.reason}") from None
    except OSError as error:
        raise ConfigError(f"{place}: cannot read: {error.strerror}") from None


def _no_password() -> str:
    # Without this, OpenSSL would ask the terminal, and a cron job would hang.
    raise ConfigError(
        "consul.key_file: is encrypted; give a key without a passphrase, readable by wgaudit alone"
    )
