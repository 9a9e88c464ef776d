"""The fault matrix: what each notifier makes of everything that can go wrong on the way and at the other end."""

from __future__ import annotations

import asyncio
import socket
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from alerts.notifiers.http import DETAIL_CHARACTERS, LONGEST_RETRY_AFTER
from auditor.errors import DeliveryError
from tests.alerts.notifiers.sample import KINDS, Kind, firing
from tests.doubles.server import Double, Reply, Trouble
from tests.parts.consul import make_tls

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


class Fault(NamedTuple):
    """What the other side does, and what that means."""

    name: str
    does: Reply | Trouble
    permanent: bool
    retry_after: float | None
    says: str


FAULTS = (
    Fault("429 with Retry-After", Reply(429, b"slow", {"Retry-After": "30"}), False, 30.0, "429 Too Many"),
    Fault("429 without", Reply(429), False, None, "429 Too Many Requests"),
    Fault("429 with nonsense", Reply(429, b"", {"Retry-After": "soon"}), False, None, "429"),
    Fault("429 for a year", Reply(429, b"", {"Retry-After": "9" * 40}), False, LONGEST_RETRY_AFTER, "429"),
    Fault("408", Reply(408), False, None, "408 Request Timeout"),
    Fault("500", Reply(500, b"oops"), False, None, "500 Internal Server Error: oops"),
    Fault("503", Reply(503, b"", {"Retry-After": "5"}), False, 5.0, "503 Service Unavailable"),
    Fault("599", Reply(599), False, None, "599"),
    Fault("301", Reply(301, b"", {"Location": "http://127.0.0.1:1/"}), True, None, "301 Moved Permanently"),
    Fault("308", Reply(308, b"", {"Location": "http://127.0.0.1:1/"}), True, None, "308 Permanent Redirect"),
    Fault("400", Reply(400, b"invalid_payload"), True, None, "400 Bad Request: invalid_payload"),
    Fault("401", Reply(401), True, None, "401 Unauthorized"),
    Fault("403", Reply(403, b"invalid_token"), True, None, "403 Forbidden: invalid_token"),
    Fault("404", Reply(404, b"no_service"), True, None, "404 Not Found: no_service"),
    Fault("410", Reply(410, b"channel_is_archived"), True, None, "410 Gone: channel_is_archived"),
    Fault("reset in the body", Trouble.RESET, False, None, "broke off"),
    Fault("reset in a refusal's body", Trouble.REFUSAL_RESET, True, None, "400 Bad Request"),
)


async def failure(kind: Kind, base: str) -> DeliveryError:
    """What sending to the server at `base` ends in."""
    notifier = kind.make(base)
    with pytest.raises(DeliveryError) as caught:
        await notifier.send(notifier.payload([firing()]))
    return caught.value


@every_kind
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_each_answer_means_what_it_says(kind: Kind, fault: Fault, double: Double) -> None:
    """Tried again or not, when, and why; and the server is called once: retrying is somebody else's task."""
    double.fault = fault.does
    error = await failure(kind, double.url)
    assert error.permanent is fault.permanent
    assert error.retry_after == fault.retry_after
    assert fault.says in str(error)
    assert len(double.calls) == 1


@every_kind
async def test_all_is_well_with_the_vendors_own_yes(kind: Kind, double: Double) -> None:
    """The matrix above would prove nothing if everything failed."""
    double.fault = kind.yes
    notifier = kind.make(double.url)
    detail = await notifier.send(notifier.payload([firing()]))
    assert detail.startswith(str(kind.yes.status))


@every_kind
async def test_a_retry_after_may_be_a_date(kind: Kind, double: Double) -> None:
    """HTTP allows both forms."""
    then = datetime.now(UTC) + timedelta(seconds=90)
    double.fault = Reply(429, b"", {"Retry-After": format_datetime(then, usegmt=True)})
    error = await failure(kind, double.url)
    assert error.retry_after is not None
    assert 60 < error.retry_after <= 90


@every_kind
async def test_a_retry_after_in_the_past_is_now(kind: Kind, double: Double) -> None:
    """Clocks differ; nobody can be asked to wait less than no time."""
    double.fault = Reply(503, b"", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
    assert (await failure(kind, double.url)).retry_after == 0.0


@every_kind
async def test_a_refused_connection_is_tried_again(kind: Kind) -> None:
    """The port is free, so nobody listens there."""
    with Double() as double:
        base = double.url
    error = await failure(kind, base)
    assert not error.permanent
    assert f"{base.removeprefix('http://')} refuses connections" in str(error)


@every_kind
async def test_a_name_that_does_not_resolve_is_tried_again(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resolvers have bad days."""

    def nothing(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    error = await failure(kind, "http://hooks.invalid")
    assert not error.permanent
    assert "hooks.invalid does not resolve: Temporary failure" in str(error)


@every_kind
async def test_an_untrusted_certificate_is_not_spoken_to(kind: Kind, tmp_path: Path) -> None:
    """Nothing was sent: the handshake failed before. It may be repaired, so it is tried again."""
    with Double(tls=make_tls(tmp_path)) as double:
        error = await failure(kind, double.url)
        assert not double.calls
    assert not error.permanent
    assert "TLS: the certificate of 127.0.0.1" in str(error)
    assert "is not trusted" in str(error)


@every_kind
async def test_a_certificate_for_somebody_else_is_not_spoken_to(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trusted authority, wrong host."""
    files = make_tls(tmp_path, address="127.0.0.2")
    monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
    with Double(tls=files) as double:
        error = await failure(kind, double.url)
        assert not double.calls
    assert not error.permanent
    assert "TLS" in str(error)


@every_kind
async def test_an_authority_of_ones_own_is_trusted(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`SSL_CERT_FILE`, as every OpenSSL program reads it."""
    files = make_tls(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
    with Double(tls=files, reply=kind.yes) as double:
        notifier = kind.make(double.url)
        await notifier.send(notifier.payload([firing()]))
        assert len(double.taken) == 1


@pytest.mark.parametrize("kind", KINDS[:1], ids=lambda kind: kind.name)
async def test_a_certificate_that_strict_verification_refuses_is_told_with_what_it_lacks(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Python 3.13 verification was not strict, and the alert goes out."""
    files = make_tls(tmp_path, key_identifiers=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
    with Double(tls=files, reply=kind.yes) as double:
        if sys.version_info < (3, 13):
            notifier = kind.make(double.url)
            await notifier.send(notifier.payload([firing()]))
            return
        error = await failure(kind, double.url)
    assert "issue it again with authorityKeyIdentifier = keyid" in str(error)


@every_kind
async def test_plain_http_where_tls_was_asked_for_is_a_tls_failure(kind: Kind, double: Double) -> None:
    """Said as such, not as a riddle."""
    error = await failure(kind, double.url.replace("http://", "https://"))
    assert not error.permanent
    assert "TLS failed" in str(error)


@every_kind
@pytest.mark.parametrize("trouble", [Trouble.SILENCE, Trouble.DRIP], ids=lambda trouble: trouble.name)
async def test_a_server_that_never_ends_its_answer_is_given_up(
    kind: Kind, trouble: Trouble, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is for the whole call: a byte now and then does not buy more time."""
    double.fault = trouble
    notifier = kind.make(double.url)
    object.__setattr__(notifier, "timeout", 0.3)
    async with asyncio.timeout(10):
        with pytest.raises(DeliveryError) as caught:
            await notifier.send(notifier.payload([firing()]))
    assert not caught.value.permanent
    assert "within 0.3 s" in str(caught.value)


@every_kind
async def test_an_endless_answer_is_not_read_to_its_end(kind: Kind, double: Double) -> None:
    """Its beginning says enough."""
    double.fault = Trouble.FLOOD
    error = await failure(kind, double.url)
    assert len(str(error)) <= DETAIL_CHARACTERS
    assert str(error).startswith("500 Internal Server Error: xxx")


@every_kind
async def test_what_the_other_side_says_becomes_one_printable_line(kind: Kind, double: Double) -> None:
    """It goes to a terminal and into a database."""
    double.fault = Reply(400, b"no\r\n\x1b[31m\xff\xe2\x80\xae way")
    error = await failure(kind, double.url)
    assert str(error).isprintable()
    assert str(error).startswith("400 Bad Request: no")


@pytest.mark.parametrize(
    ("kind", "reply", "permanent"),
    [
        (KINDS[0], Reply(200, b"invalid_payload"), True),
        (KINDS[0], Reply(200, b"channel_is_archived"), True),
        (KINDS[0], Reply(200, b"rollup_error"), False),
        (KINDS[0], Reply(200, b"<html>please log in</html>"), False),
        (KINDS[1], Reply(200, b"<html>please log in</html>"), False),
        (KINDS[2], Reply(200, b"<html>please log in</html>"), False),
        (KINDS[2], Reply(200, b'{"status":"error","error":"no space"}'), False),
    ],
    ids=lambda value: getattr(value, "name", None) or str(value)[:60],
)
async def test_a_yes_that_says_no_is_a_no(kind: Kind, reply: Reply, permanent: bool, double: Double) -> None:
    """A known refusal is one whatever its status; a portal's page is no yes."""
    double.fault = reply
    error = await failure(kind, double.url)
    assert error.permanent is permanent
    assert str(reply.status) in str(error)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_a_webhook_accepts_with_any_2xx(status: int, double: Double) -> None:
    """Its body is nobody's contract."""
    double.fault = Reply(status, b"" if status == 204 else b"no!")
    notifier = KINDS[3].make(double.url)
    assert (await notifier.send(notifier.payload([firing()]))).startswith(str(status))


@every_kind
async def test_the_environments_proxy_is_used(
    kind: Kind, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy gets the call for a host that nobody else could reach."""
    double.fault = kind.yes
    monkeypatch.setenv("HTTP_PROXY", double.url)
    monkeypatch.setenv("http_proxy", double.url)
    notifier = kind.make("http://hooks.invalid")
    await notifier.send(notifier.payload([firing()]))
    assert double.calls[0].path.startswith("http://hooks.invalid/")


@every_kind
async def test_a_proxy_that_is_not_there_is_told_apart(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one looks for the fault at the vendor."""
    with Double() as gone:
        base = gone.url
    monkeypatch.setenv("http_proxy", base)
    error = await failure(kind, "http://hooks.invalid")
    assert not error.permanent
    assert "the environment names a proxy" in str(error)


@every_kind
@pytest.mark.parametrize("proxy", ["socks9://u:hunter2@x", "http://u:hunter2@[bad"])
async def test_a_proxy_that_cannot_be_used_is_told_without_its_password(
    kind: Kind, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, to be tried again: the environment can be repaired."""
    monkeypatch.setenv("http_proxy", proxy)
    error = await failure(kind, "http://hooks.invalid")
    assert "proxy" in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("base", ["http://a..b", "http://[::1", "http://x:99999999", "http://x y", "ftp://x"])
@every_kind
async def test_a_url_that_cannot_be_called_is_one_line(kind: Kind, base: str) -> None:
    """Configuration is checked before, but not by resolving it."""
    error = await failure(kind, base)
    assert "\n" not in str(error)
    assert "Traceback" not in str(error)
