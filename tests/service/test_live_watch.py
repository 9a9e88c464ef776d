"""What a running watch shows live, asked of a real page, and what cannot be told of one that is not well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from auditor.admission.judged_against import JudgedAgainst
from auditor.admission.judgement import admissions
from auditor.admission.objections import Proposal, Unseen
from auditor.errors import GapReason, UsageError
from auditor.service.live_watch import live_of_watch
from auditor.settings.file import Config, parse_config
from auditor.values.models import RegistryReading
from tests.admission.records import POLICY, idents, registration
from tests.fleets import FINISHED, Mesh, key_of
from tests.watch.views import view_of
from tests.watch.web.threaded_page import ThreadedPage


def configured(url: str) -> Config:
    listen = url.removeprefix("http://").rstrip("/")
    return parse_config({"watch": {"listen": listen}}, "a test")


def reasons(unseen: tuple[Unseen, ...]) -> list[str]:
    return [item.reason for item in unseen]


def test_what_the_report_shows_live_without_a_registration_speaks_against_a_record() -> None:
    """A ghost's address and key, and an address that a device holds beside its own."""
    mesh = Mesh().node("a", "10.0.0.5").node("b", "10.0.0.6").peers_with("a", "ghost", "10.0.0.9")
    mesh.holds("b", "10.0.0.6", "10.0.0.8")
    with ThreadedPage(view_of(mesh)) as page:
        live, unseen = live_of_watch(configured(page.url), FINISHED)
    assert unseen == ()
    against = JudgedAgainst(POLICY, FINISHED, RegistryReading(tuple(mesh.registrations.values())), live=live)
    records = [registration("x", "10.0.0.9"), registration("y", "10.0.0.8"), registration("z", "10.0.0.7")]
    found = admissions([Proposal(item.node, item.where, item) for item in records], against)
    assert [idents(each) for each in found] == [["address-live"], ["address-live"], []]
    assert f"key {key_of('ghost')[:8]}…" in found[0].sentence
    assert "10.0.0.8 is on the device of b@dc1" in found[1].sentence


def test_an_old_view_and_one_that_did_not_see_enough_tell_nothing() -> None:
    mesh = Mesh().node("a", "10.0.0.5").node("b", "10.0.0.6")
    mesh.unseen[mesh.find("b")] = GapReason.CONNECT_REFUSED
    with ThreadedPage(view_of(mesh)) as page:
        config = configured(page.url)
        assert reasons(live_of_watch(config, FINISHED)[1]) == ["coverage"]
        later = FINISHED + timedelta(seconds=4 * config.watch.round_interval)
        assert reasons(live_of_watch(config, later)[1]) == ["watch-old", "coverage"]
        page.end()
        assert reasons(live_of_watch(config, FINISHED)[1]) == ["watch-unreachable"]


def test_a_configuration_without_a_page_is_a_usage_error() -> None:
    for listen in ("", "127.0.0.1:0"):
        with pytest.raises(UsageError, match=r"--live asks the page at watch\.listen"):
            live_of_watch(parse_config({"watch": {"listen": listen}}, "a test"), FINISHED)


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Some other server at the watch's address."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (503, b"not ready\x1b[31m", "watch-not-ready"),
        (200, b"", "watch-unreadable"),
        (200, b"[" * 100_000, "watch-unreadable"),
        (200, b'{"finished_at": NaN}', "watch-unreadable"),
        (200, b'{"findings": []}', "watch-unreadable"),
        (200, b'{"a": 1, "a": 2}', "watch-unreadable"),
        (200, b"\xff\xfe", "watch-unreadable"),
    ],
)
def test_what_is_no_report_is_one_line_and_no_absence(status: int, body: bytes, reason: str) -> None:
    with answering(status, body) as url:
        live, (unseen,) = live_of_watch(configured(url), FINISHED)
    assert (unseen.reason, live.held, live.keys) == (reason, {}, {})
    assert unseen.detail.isprintable()
