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

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

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

from auditor.errors import GapReason, RegistryError
from auditor.registry import agent
from auditor.registry.agent import AgentAddress, agent_address, too_large, url_hint, without
from auditor.registry.answers import checked, decoded, filtered, index_of, kv_rows, objection, with_hint
from auditor.registry.transport import Line, bounded
from auditor.registry.unanswered import unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import requests
    from pydantic import SecretStr

    from auditor.registry.records import KvItem
    from auditor.settings.consul import ConsulSettings

T = TypeVar("T")

_CHUNK = 256 * 1024
_FIRST_SHARE = 0.5
"""Share of the timeout in which an answer must begin; else the read is tried once more in what is left."""
_GROWING = wait_exponential(multiplier=0.1, max=2.0) + wait_random(max=0.1)


def connect(
    settings: ConsulSettings, token: SecretStr | None, datacenter: str = "", *, once: bool = False
) -> Client:
    """Make a client for one datacenter and one thread, to be entered. Raises `ConfigError` for a bad URL.

    once: each read is tried once only, for callers that try again by themselves.
    """
    return Client(Http(settings, agent_address(settings), token, once=once), datacenter)


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

        Asks as the library's `kv.get(key, recurse=True)` does; its decoder takes more CPU and memory than ours.
        """

        def items(response: Response) -> Iterable[KvItem]:
            return kv_rows(response.content, key, self.asked)

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
        self, settings: ConsulSettings, address: AgentAddress, token: SecretStr | None, *, once: bool
    ) -> None:
        cert = (str(settings.cert_file), str(settings.key_file)) if settings.cert_file else None
        verify = str(settings.ca_file) if settings.ca_file else True
        super().__init__(verify=verify, cert=cert, timeout=settings.timeout)
        self.base_uri = address.base  # host and port alone could not say a path
        self.asked = address.shown
        self.filtered = False
        self.index = 0
        """Consul's index of the last answer that was read, also of one that says that there is no such key."""
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
        return decoded(lambda: callback(answer), self.asked, self._hint)

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
            self.index = index_of(answer.headers) or 0
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
            detail = with_hint(final, self._hint).detail
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
                raise unanswered(asked, error, self.timeout, urllib3.exceptions.ProtocolError) from None
            raise

    def _body(self, response: requests.Response, asked: str, deadline: float) -> bytes:
        """Read the whole body, within bounds of size and time; of a refusal, its beginning."""
        refused = response.status_code != 200
        body = bytearray()
        # read1 returns what has come: a server that drips can then not hold us beyond the deadline.
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            body += chunk
            if refused and len(body) >= agent.MAX_REFUSAL:
                break
            if len(body) > agent.MAX_ANSWER:
                raise too_large(asked)
            if time.monotonic() > deadline:
                raise TimeoutError
        if refused:
            return without(self._token, body.decode(errors="replace")).encode()
        return checked(bytes(body), asked)


def _pause(state: RetryCallState) -> float:
    """Return the seconds before the next try: growing, and no fewer than the other side asked for."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, RegistryError) else None
    return max(_GROWING(state), asked or 0.0)
