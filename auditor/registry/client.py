"""HTTP to one Consul agent: bounded in size and time, and led by nothing but the configuration.

The only file that imports `consul` (python-consul2). Four of that library's habits are not wanted here:

- Its `Consul` lets `CONSUL_HTTP_ADDR`, `_TOKEN`, `_SSL` and `_SSL_VERIFY` override what it is given, and
  raises if the first is odd. `Client` leaves that constructor out and uses the library's endpoints.
- `requests` takes proxies, `~/.netrc` (an Authorization header!) and CA bundles from the environment.
- Its callbacks drop the headers, in which Consul says that an answer is stale, filtered or leaderless.
- It follows redirects with the token, has no timeout unless told so, and no bound on an answer's size.

A read that fails for a reason that passes is tried again, within `consul.timeout` for all tries together.
"""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import consul.base
import consul.std
import urllib3.exceptions
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_before_delay,
    wait_exponential,
    wait_random,
)

from auditor.errors import ConfigError, GapReason, InvalidValue, RegistryError
from auditor.registry.answers import filtered, kv_items, objection, quick_kv_items
from auditor.registry.transport import Line, bounded
from auditor.settings.consul import UNIX
from auditor.values.certificates import why_untrusted
from auditor.values.json_bounds import check_count
from auditor.values.text import for_detail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import requests
    from pydantic import SecretStr

    from auditor.registry.records import KvItem
    from auditor.settings.consul import ConsulSettings

T = TypeVar("T")

MAX_ANSWER = 256 * 1024 * 1024
"""Bytes of one answer: some 500,000 registrations. More is a gap."""
_MAX_ERROR_BODY = 64 * 1024  # a refused transaction names each of its 64 operations
_CHUNK = 256 * 1024
_FIRST_SHARE = 0.5
"""Share of the timeout in which an answer must begin; else the read is tried once more in what is left."""
_GROWING = wait_exponential(multiplier=0.1, max=2.0) + wait_random(max=0.1)
_ASTRAY = {
    GapReason.CONSUL_HTTP,
    GapReason.CONSUL_NO_INDEX,
    GapReason.PREFIX_NOT_FOUND,
    GapReason.CONSUL_FORBIDDEN,
}
"""End of a message where the server is not Consul's API."""
_PASSING_ERRNOS = {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE}
_LONGEST_SOCKET_PATH = 107


def connect(
    settings: ConsulSettings, token: SecretStr | None, datacenter: str = "", *, once: bool = False
) -> Client:
    """Make a client for one datacenter and one thread, to be entered. Raises `ConfigError` for a bad URL.

    once: each read is tried once only, for callers that try again by themselves.
    """
    return Client(Http(settings, _address(settings), token, once=once), datacenter)


def check_settings(settings: ConsulSettings, token: SecretStr | None) -> None:
    """Check URL, token and TLS files; asks nothing. Raises `ConfigError`, never with the token in it."""
    _address(settings)
    _check_token(token)
    _check_tls(settings)


class Client(consul.base.Consul):  # type: ignore[misc]  # the library has no types
    """Client of one datacenter for one thread: python-consul2's endpoints over our own HTTP client."""

    def __init__(self, http: Http, datacenter: str) -> None:  # not the library's: see the file's top
        self.http = http
        self.token = None  # `Http` adds it, so that no plain text of it lies about here
        self.consistency = "consistent"
        self.dc = datacenter or None
        self.kv = consul.base.Consul.KV(self)
        self.catalog = consul.base.Consul.Catalog(self)
        self.status = consul.base.Consul.Status(self)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.session.close()

    def kv_items(self, key: str, *, recurse: bool = True) -> Iterable[KvItem]:
        """Read all keys that begin with `key`, or that one alone. Raises `RegistryError`.

        Asks as the library's `kv.get(key, recurse=True)` does. Its decoder is asked only where ours, which
        takes less CPU, finds anything odd.
        """
        library_reader = consul.base.CB.json(decode="Value", map=lambda found: found or None)

        def items(response: Response) -> Iterable[KvItem]:
            found = quick_kv_items(response.content, key)
            return kv_items(library_reader(response), key, self.asked) if found is None else found

        params = [("recurse", "1" if recurse else ""), ("dc", self.dc), (self.consistency, "1")]
        return self.http.get(items, f"/v1/kv/{key}", [pair for pair in params if pair[1]])

    @property
    def asked(self) -> str:
        """Last request, for a message."""
        return f"{self.http.asked} in {self.dc}" if self.dc else self.http.asked


@dataclass(frozen=True, slots=True)
class Response:
    """Answer in the form that the library's callbacks take."""

    code: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> str:
        """Content as text, decoded when asked for: it may be large. Raises `UnicodeDecodeError`."""
        return self.content.decode()


class Http(consul.std.HTTPClient):  # type: ignore[misc]  # the library has no types
    """Client of bounded calls, set up by the configuration alone; keeps the answers' headers."""

    def __init__(
        self, settings: ConsulSettings, address: _Address, token: SecretStr | None, *, once: bool
    ) -> None:
        cert = (str(settings.cert_file), str(settings.key_file)) if settings.cert_file else None
        verify = str(settings.ca_file) if settings.ca_file else True
        super().__init__(verify=verify, cert=cert, timeout=settings.timeout)
        self.base_uri = address.base  # host and port alone could not say a path
        self.asked = address.shown
        self.filtered = False
        self.token_sent = token is not None
        self._address = address
        self._server_name = settings.tls_server_name
        self._hint = url_hint(settings.url)
        self._token = token
        self._once = once
        self._line = self._new_line()

    def _new_line(self) -> Line:
        line = Line(self._address.socket_path, self._server_name)
        self.session = line.session
        return line

    def get(
        self,
        callback: Callable[[Response], T],
        path: str,
        params: Sequence[tuple[str, object]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Make one read; the library's endpoints call this too. Raises `RegistryError`."""
        answer = self._read(path, params, headers)
        self.filtered = filtered(answer.headers)
        try:
            return callback(answer)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            # What the library's decoding raises for a body that is not what the endpoint promises.
            detail = f"{self.asked}: the answer is not the JSON that it should be ({type(error).__name__})"
            detail = "; ".join(filter(None, (detail, self._hint)))
            raise RegistryError(GapReason.CONSUL_UNREADABLE, detail) from None

    def put(
        self,
        callback: Callable[[Response], T],
        path: str,
        params: Sequence[tuple[str, object]] | None = None,
        data: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Send one write, once. The callback gets any answer, refusals too. Raises `RegistryError`.

        After an error it is not known whether it was done.
        """
        return callback(
            self._asked("PUT", path, params, headers, data, first=self.timeout, whole=self.timeout)
        )

    def _read(
        self,
        path: str,
        params: Sequence[tuple[str, object]] | None,
        headers: Mapping[str, str] | None,
    ) -> Response:
        """Read until an answer is whole and current, or the time is over. Raises `RegistryError`."""
        indexed = path.startswith(("/v1/kv/", "/v1/catalog/nodes", "/v1/catalog/service/"))
        deadline = time.monotonic() + self.timeout
        first = self.timeout if self._once else self.timeout * _FIRST_SHARE
        said: list[RegistryError] = []

        def once() -> Response:
            whole = max(0.0, deadline - time.monotonic())
            answer = self._asked("GET", path, params, headers, first=first, whole=whole)
            problem = objection(
                self.asked,
                answer.code,
                answer.headers,
                answer.content,
                indexed=indexed,
                token_sent=self.token_sent,
            )
            if problem is not None:
                raise problem
            return answer

        def passes(error: BaseException) -> bool:
            if isinstance(error, RegistryError):
                said.append(error)
            return isinstance(error, RegistryError) and error.passing and not self._once

        tries = Retrying(
            retry=retry_if_exception(passes), wait=_pause, stop=stop_before_delay(self.timeout), reraise=True
        )
        try:
            return tries(once)
        except RegistryError as error:
            # Consul's own answer is worth more than the last try's timeout.
            words = [one for one in said if one.reason is not GapReason.CONSUL_TIMEOUT]
            final = words[-1] if words else error
            detail = final.detail
            if self._hint and final.reason in _ASTRAY:
                detail = f"{detail}; {self._hint}"
            if final.retry_after is not None:
                detail = f"{detail}; it asks to be left alone for {final.retry_after:g} s"
            if len(said) > 1:
                detail = f"{detail}; tried {len(said)} times"
            raise RegistryError(final.reason, detail) from None

    def _asked(
        self,
        method: str,
        path: str,
        params: Sequence[tuple[str, object]] | None,
        headers: Mapping[str, str] | None,
        data: bytes | str | None = None,
        *,
        first: float,
        whole: float,
    ) -> Response:
        """Send one request and read its whole answer, of any status.

        first: seconds until the answer begins; whole: until it ends.
        """
        self.asked = f"{self._address.shown}{path}"
        sent = {**(headers or {}), "Accept-Encoding": "identity"}
        if self._token is not None:
            sent["X-Consul-Token"] = self._token.get_secret_value()
        line, asked, deadline = self._line, self.asked, time.monotonic() + whole

        def call(begun: Callable[[], None]) -> Response:
            with line.session.request(
                method,
                self.uri(path, params),
                data=data,
                headers=sent,
                verify=self.verify,
                cert=self.cert,
                timeout=(max(first, 0.001), max(whole, 0.001)),
                stream=True,
                allow_redirects=False,  # the token is for this server alone
            ) as response:
                begun()
                body = self._body(response, asked, deadline)
            return Response(response.status_code, response.headers, body)

        try:
            return bounded(call, first=first, whole=whole)
        except BaseException as error:
            # Nothing is read of what comes late, and the next try takes a new connection.
            line.cut()
            self._line = self._new_line()
            if isinstance(error, OSError | urllib3.exceptions.HTTPError):  # requests' errors are OSErrors
                raise _unanswered(asked, error, self.timeout) from None
            raise

    def _body(self, response: requests.Response, asked: str, deadline: float) -> bytes:
        """Read the whole body, within bounds of size and time; of a refusal, its beginning."""
        refused = response.status_code != 200
        body = bytearray()
        # read1 returns what has come: a server that drips can then not hold us beyond the deadline.
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            body += chunk
            if refused and len(body) >= _MAX_ERROR_BODY:
                break
            if len(body) > MAX_ANSWER:
                detail = f"{asked}: an answer larger than {MAX_ANSWER} bytes; is consul.prefix too short?"
                raise RegistryError(GapReason.CONSUL_UNREADABLE, detail)
            if time.monotonic() > deadline:
                raise TimeoutError
        if refused:
            return without(self._token, body.decode(errors="replace")).encode()
        try:
            check_count(body)
        except InvalidValue as error:
            raise RegistryError(GapReason.CONSUL_UNREADABLE, f"{asked}: {error}") from None
        return bytes(body)


def without(token: SecretStr | None, text: str) -> str:
    """Take the token out of a text: an answer may echo its request."""
    return text.replace(token.get_secret_value(), "[token]") if token is not None else text


def _unanswered(asked: str, error: BaseException, timeout: float) -> RegistryError:
    """Say why no whole answer came. Never in the library's own text, which may quote a header."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return RegistryError(GapReason.CONSUL_TLS, f"{asked}: {_tls_reason(cause)}")
    # Not urllib3's own TimeoutError: a refused connection is one of these too. What it wraps tells.
    if any(isinstance(cause, TimeoutError) for cause in causes):
        detail = f"{asked}: no whole answer within {timeout:g} s; is it reachable? else raise consul.timeout"
        return RegistryError(GapReason.CONSUL_TIMEOUT, detail, passing=True)
    said, passing = type(error).__name__, False
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            said, passing = "the host's name does not resolve", cause.errno == socket.EAI_AGAIN
        elif isinstance(cause, OSError) and cause.strerror:
            said, passing = cause.strerror, cause.errno in _PASSING_ERRNOS
        elif isinstance(
            cause, http.client.HTTPException | ConnectionError | urllib3.exceptions.ProtocolError
        ):
            said = "the connection ended before the answer did"
            # Not a line that is no HTTP: there the next answer is none either.
            passing = passing or isinstance(cause, ConnectionError | http.client.IncompleteRead)
    return RegistryError(
        GapReason.CONSUL_UNREACHABLE, f"{asked}: {said}; is Consul running there?", passing=passing
    )


def _pause(state: RetryCallState) -> float:
    """Return the seconds before the next try: growing, and no fewer than the other side asked for."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, RegistryError) else None
    return max(_GROWING(state), asked or 0.0)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all that it wraps: requests and urllib3 keep the first cause in different places."""
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
        return f"its certificate is not trusted: {why_untrusted(error)}; check consul.ca_file and consul.url"
    reason = error.reason or "TLS failed"
    if "WRONG_VERSION_NUMBER" in reason:
        return "no TLS there; is consul.url to begin with http://?"
    if "CERTIFICATE" in reason and "ALERT" in reason:
        return f"it refused our client certificate ({reason}); check consul.cert_file and consul.key_file"
    return f"TLS: {reason}"


@dataclass(frozen=True, slots=True)
class _Address:
    """Address of Consul's HTTP API."""

    base: str
    """URL that the paths of the API are put behind."""
    shown: str
    """URL for messages."""
    socket_path: str = ""
    """A Unix socket to connect to; empty: host and port of the base."""


def _address(settings: ConsulSettings) -> _Address:
    if settings.layout != "catalog" and settings.prefix.startswith("/"):
        raise ConfigError("consul.prefix: a key does not begin with /; leave it out")
    url = settings.url
    if url.startswith(UNIX):
        path = url.removeprefix(UNIX)
        if not path.startswith("/") or not path.isprintable() or len(path.encode()) > _LONGEST_SOCKET_PATH:
            raise ConfigError(
                "consul.url: not a usable socket; write it as unix:///PATH, of at most "
                f"{_LONGEST_SOCKET_PATH} bytes"
            )
        return _Address("http://localhost", f"{url}:", path)
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
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    return _Address(base, base)


def url_hint(url: str) -> str:
    """Suggest a URL in place of one that names a page of Consul, or a part of its API; "" for any other."""
    found = re.fullmatch(r"(https?://[^/]+(?:/[^/]+)*?)/+(ui|v1)(/.*)?", url)
    if found is None:
        return ""
    return f"consul.url goes on with /{found[2]}, which does not belong there: write {for_detail(found[1])}"


def _check_token(token: SecretStr | None) -> None:
    text = token.get_secret_value() if token is not None else "none"
    if not text or not text.isascii() or not text.isprintable() or text != text.strip():
        raise ConfigError(
            "the Consul token is empty or has characters that no HTTP header can carry (a line end, a blank "
            "around it); check consul.token, consul.token_file or CONSUL_HTTP_TOKEN"
        )


def _check_tls(settings: ConsulSettings) -> None:
    """Read the TLS files once, so that a wrong path is a clear line now and no gap later. Raises `ConfigError`."""
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
