"""Two `wgaudit watch` processes on one PostgreSQL: one tells, its page says who, and the other one goes on after it."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.cli.conftest import to_pagerduty, to_receiver
from tests.cli.fleet import PAIR, TRIPLE, Fleet, contested
from tests.cli.test_watch import QUICK, asked
from tests.cli.watching import Watching, watching
from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.receiver import Receiver
from tests.parts.postgresql import PostgresqlServer

Make = Callable[..., Fleet]


@pytest.fixture
def pager() -> Iterator[PagerDutyDouble]:
    """A PagerDuty."""
    with PagerDutyDouble() as double:
        yield double


@pytest.fixture
def fleet(
    make_fleet: Make, receiver: Receiver, pager: PagerDutyDouble, postgresql: PostgresqlServer
) -> Iterator[Fleet]:
    """A fleet without a duplicate, for auditors that share a database."""
    database = postgresql.fresh("prepared")
    made = make_fleet(
        notifiers=[to_receiver(receiver), to_pagerduty(pager)],
        watch=QUICK,
        state_url=postgresql.url(database).get_secret_value(),
    )
    made.config.write_text(made.config.read_text().replace("[state]", "[state]\nlease = 5.0"))
    made.register(contested())
    yield made
    postgresql.drop(database)


def test_the_second_watch_looks_and_shows_and_tells_what_the_first_one_cannot_any_more(
    fleet: Fleet, receiver: Receiver, pager: PagerDutyDouble
) -> None:
    arguments = ("--config", fleet.config)
    with watching(fleet.folder, *arguments) as first, watching(fleet.folder, *arguments) as second:
        urls = {watch: watch.wait_for(r"page: (http://\S+)")[1] for watch in (first, second)}
        for watch in urls:
            watch.wait_for("ready: ")
            assert "there is no state that can be read" not in _text(urls[watch], "/")
        # Whoever came first leads; which one that was, nobody can say beforehand.
        leader, follower = sorted(urls, key=lambda watch: _leads(watch, urls[watch]), reverse=True)
        fleet.register(contested(PAIR))
        for watch in urls:
            watch.wait_for(f"new: critical duplicate-address {PAIR}")
        receiver.wait_for(1)
        held = rf"process {leader.process.pid}, epoch (\d+)"
        shown = re.search(rf"this auditor \([^)]*{held}\)", _text(urls[leader], "/"))
        assert shown is not None
        assert re.search(f"{held}; this auditor tells nobody", _text(urls[follower], "/"))
        assert f"wgaudit_lease_epoch {shown[1]}.0" in _text(urls[follower], "/metrics")

        leader.process.send_signal(signal.SIGKILL)
        fleet.register(contested(PAIR, TRIPLE))
        follower.wait_for("who leads: this auditor")
        pager.wait_until(lambda: len(pager.open) == 2, "both to be open")
        receiver.wait_for(2)
        assert f"process {follower.process.pid}, epoch {int(shown[1]) + 1}" in _text(urls[follower], "/")
        assert [item["incident"]["subject"] for item in receiver.notifications] == [PAIR, TRIPLE]
        assert len(pager.events) == 2

        fleet.config.write_text(fleet.config.read_text().replace("lease = 5.0", "lease = 6.0"))
        follower.send(signal.SIGHUP)
        follower.wait_for("configuration not taken over: state.lease: .* 5 s; a restart changes it")
        code, _ = follower.end()
        assert code == 0


def _leads(watch: Watching, url: str) -> bool:
    """Whether a watch says of itself that it leads."""
    (line,) = [line for line in _text(url, "/metrics").splitlines() if line.startswith("wgaudit_leader{")]
    assert (f"process {watch.process.pid}" in line) is line.endswith(" 1.0")
    return line.endswith(" 1.0")


def _text(url: str, path: str) -> str:
    status, body = asked(url, path)
    assert status == 200
    return body.decode()
