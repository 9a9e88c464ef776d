"""PURE: why no whole answer came from Consul, from whatever the libraries below raise."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
from typing import TYPE_CHECKING

from auditor.errors import GapReason, RegistryError
from auditor.values.certificates import why_untrusted

if TYPE_CHECKING:
    from collections.abc import Iterator

_PASSING_ERRNOS = {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE}


def unanswered(
    asked: str, error: BaseException, timeout: float, *ended: type[BaseException]
) -> RegistryError:
    """Say why no whole answer came. Never in the library's own text, which may quote a header.

    timeout: seconds that there were for it. ended: what the HTTP library raises where the connection ended.
    """
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
        elif isinstance(cause, (http.client.HTTPException, ConnectionError, *ended)):
            said = "the connection ended before the answer did"
            # Not a line that is no HTTP: there the next answer is none either.
            passing = passing or isinstance(cause, ConnectionError | http.client.IncompleteRead)
    return RegistryError(
        GapReason.CONSUL_UNREACHABLE, f"{asked}: {said}; is Consul running there?", passing=passing
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all that it wraps: each library keeps the first cause in another place."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        members = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        inner = (*one.args, getattr(one, "reason", None), one.__cause__, one.__context__, *members)
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
