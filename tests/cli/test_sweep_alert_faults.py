"""`wgaudit sweep --alert` where an alert cannot be handed over: what waits, what is given up, and exit code 4."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.cli.conftest import to_pagerduty, to_receiver, to_slack
from tests.cli.fleet import HEALTHY, PAIR, Fleet, alert_lines, contested
from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.receiver import Receiver
from tests.doubles.server import Double, Reply, Trouble
from tests.doubles.slack import SlackDouble

Make = Callable[..., Fleet]
NOBODY = {"name": "inventory", "type": "webhook", "url": "http://127.0.0.1:1/hook"}


@pytest.fixture
def fleet(make_fleet: Make, receiver: Receiver) -> Fleet:
    """One contested address, told to the receiver."""
    fleet = make_fleet(notifiers=[to_receiver(receiver)])
    fleet.register(contested(PAIR))
    return fleet


def reasons(receiver: Receiver) -> list[str]:
    """Why it was told each thing."""
    return [item["reason"] for item in receiver.notifications]


@pytest.mark.parametrize(
    ("state", "plain"), [(contested(PAIR), 1), (HEALTHY, 0), (None, 3)], ids=["findings", "clean", "blind"]
)
def test_what_could_not_be_handed_over_is_4_whatever_the_verdict(
    make_fleet: Make, state: dict[str, str] | None, plain: int
) -> None:
    """Something waits from the first sweep; the verdict of the second one is another."""
    fleet = make_fleet(notifiers=[NOBODY], alerts={"blind_after": 1})
    fleet.register(contested(PAIR))
    fleet.sweep("--alert-timeout", "1")
    if state is None:
        (fleet.folder / "registry.json").unlink()
    else:
        fleet.register(state)
    assert fleet.run("sweep", "--no-progress").returncode == plain
    done = fleet.sweep("--alert-timeout", "1")
    assert done.returncode == 4
    assert done.stderr.rstrip().endswith("exit code 4")


def test_a_refused_connection_is_tried_until_the_time_is_over_and_then_left_for_the_next_sweep(
    make_fleet: Make, receiver: Receiver
) -> None:
    fleet = make_fleet(notifiers=[NOBODY])
    fleet.register(contested(PAIR))
    done = fleet.sweep("--alert-timeout", "3")
    assert done.returncode == 4
    assert PAIR in done.stdout
    assert alert_lines(done.stderr) == [
        "wgaudit: alerts: inventory: not handed over: 127.0.0.1:1 refuses connections; 1 left for the next sweep"
    ]
    assert fleet.query("SELECT state, attempts >= 2 FROM alerts_notices") == [("pending", 1)]
    fleet.configure(notifiers=[to_receiver(receiver)])
    assert fleet.sweep().returncode == 1
    assert reasons(receiver) == ["first-notification"]


def test_what_waited_is_told_before_that_it_is_over(make_fleet: Make, receiver: Receiver) -> None:
    """Repaired before the trigger got through: a resolve never overtakes it."""
    fleet = make_fleet(notifiers=[NOBODY])
    fleet.register(contested(PAIR))
    fleet.sweep("--alert-timeout", "1")
    fleet.register(HEALTHY)
    fleet.configure(notifiers=[to_receiver(receiver)])
    assert fleet.sweep().returncode == 0
    assert reasons(receiver) == ["first-notification", "resolved"]


def test_a_503_is_tried_again_at_once_and_told_once(fleet: Fleet, receiver: Receiver) -> None:
    receiver.faults.append(Reply(503))
    done = fleet.sweep()
    assert done.returncode == 1
    assert alert_lines(done.stderr) == []
    assert len(receiver.calls) == 2
    assert reasons(receiver) == ["first-notification"]


def test_retry_after_beyond_the_budget_is_obeyed_by_the_sweeps_after_it(
    fleet: Fleet, receiver: Receiver
) -> None:
    """One call; then none while it lasts, also by another process; then one as soon as it is over."""
    receiver.faults.append(Reply(429, b"slow down", {"Retry-After": "6"}))
    refused = fleet.sweep("--alert-timeout", "1")
    assert refused.returncode == 4
    assert "429 Too Many Requests: slow down" in refused.stderr
    early = fleet.sweep("--alert-timeout", "1")
    assert early.returncode == 4
    assert "asked to be left alone until" in early.stderr
    assert len(receiver.calls) == 1
    assert fleet.sweep("--alert-timeout", "30").returncode == 1
    assert len(receiver.calls) == 2
    assert receiver.calls[1].at - receiver.calls[0].at >= 5.9
    assert reasons(receiver) == ["first-notification"]


def test_a_refusal_for_good_is_a_dead_letter_and_4_until_it_is_retried(
    fleet: Fleet, receiver: Receiver
) -> None:
    """The hook is gone (410): asked once, told with each sweep, sent again when somebody says so."""
    receiver.fault = Reply(410, b"no such hook")
    done = fleet.sweep()
    assert done.returncode == 4
    assert PAIR in done.stdout
    assert alert_lines(done.stderr) == ["wgaudit: alerts: inventory: not handed over: 410 Gone: no such hook"]
    receiver.fault = None
    again = fleet.sweep()
    assert again.returncode == 4
    assert alert_lines(again.stderr) == [
        "wgaudit: alerts: 1 not handed over earlier; see `wgaudit alerts list`"
    ]
    assert len(receiver.calls) == 1
    listed = fleet.run("alerts", "list").stdout
    for words in ("1 refused for good", "inventory", PAIR, "410 Gone: no such hook"):
        assert words in listed
    retried = fleet.run("alerts", "retry")
    assert (retried.returncode, retried.stderr) == (0, "")
    assert retried.stdout.startswith("ok")
    assert reasons(receiver) == ["first-notification"]
    assert fleet.sweep().returncode == 1
    assert len(receiver.notifications) == 1


def test_a_dead_letter_costs_nothing_any_more_once_its_incident_is_over(
    fleet: Fleet, receiver: Receiver
) -> None:
    """And nobody hears that something is over of which nobody heard."""
    receiver.faults.append(Reply(410))
    assert fleet.sweep().returncode == 4
    fleet.register(HEALTHY)
    done = fleet.sweep()
    assert (done.returncode, alert_lines(done.stderr)) == (0, [])
    assert receiver.notifications == []


def test_a_200_that_says_no_is_no_delivery(make_fleet: Make, slack: SlackDouble) -> None:
    fleet = make_fleet(notifiers=[to_slack(slack)])
    slack.fault = Reply(200, b"invalid_token")
    done = fleet.sweep("--alert-timeout", "2")
    assert done.returncode == 4
    assert "invalid_token" in done.stderr


def test_one_that_never_answers_holds_up_nobody_else_and_not_the_sweep(
    make_fleet: Make, receiver: Receiver, pagerduty: PagerDutyDouble, slack: SlackDouble
) -> None:
    fleet = make_fleet(
        notifiers=[to_receiver(receiver, timeout=300.0), to_pagerduty(pagerduty), to_slack(slack)]
    )
    receiver.fault = Trouble.SILENCE
    began = time.monotonic()
    done = fleet.sweep("--alert-timeout", "4")
    took = time.monotonic() - began
    assert done.returncode == 4
    assert [line.split(":")[2].strip() for line in alert_lines(done.stderr)] == ["inventory"]
    assert len(pagerduty.events) == 2
    assert len(slack.messages) == 1
    # A sweep takes a second or two; without the budget it would be five minutes.
    assert 4 <= took < 30
    waited = receiver.calls[0].at
    assert pagerduty.calls[-1].at - waited < 4
    receiver.fault = None
    assert fleet.sweep().returncode == 1
    assert reasons(receiver) == ["first-notification"] * 2
    assert (len(pagerduty.events), len(slack.messages)) == (2, 1)


def test_what_waits_for_a_notifier_that_is_not_configured_any_more_is_told(
    make_fleet: Make, receiver: Receiver
) -> None:
    fleet = make_fleet(notifiers=[NOBODY])
    fleet.register(contested(PAIR))
    fleet.sweep("--alert-timeout", "1")
    fleet.configure(notifiers=[to_receiver(receiver, name="other")])
    done = fleet.sweep()
    assert done.returncode == 4
    assert (
        "inventory: not handed over: 1 wait for it, but the configuration has no notifier of this name"
        in (done.stderr)
    )
    assert reasons(receiver) == ["first-notification"]


# -- the heartbeat


def beats(heartbeat: Double) -> list[str]:
    """The paths that were called."""
    return [call.path for call in heartbeat.calls]


@pytest.mark.parametrize(
    ("notifier", "code", "last"),
    [(None, 1, "/ping/uuid-of-the-check"), (NOBODY, 4, "/ping/uuid-of-the-check/fail")],
    ids=["handed over", "not handed over"],
)
def test_the_heartbeat_hears_of_start_and_end(
    make_fleet: Make, heartbeat: Double, notifier: dict[str, str] | None, code: int, last: str
) -> None:
    """Findings are no failure: the audit did its work."""
    fleet = make_fleet(
        notifiers=[notifier] if notifier else [],
        alerts={"heartbeat_url": f"{heartbeat.url}/ping/uuid-of-the-check"},
    )
    done = fleet.sweep("--alert-timeout", "1")
    assert done.returncode == code
    assert beats(heartbeat) == ["/ping/uuid-of-the-check/start", last]


def test_a_heartbeat_that_nobody_hears_changes_nothing_but_a_line_on_stderr(
    make_fleet: Make, receiver: Receiver
) -> None:
    fleet = make_fleet(
        notifiers=[to_receiver(receiver)],
        alerts={"heartbeat_url": "http://127.0.0.1:1/ping/uuid-of-the-check"},
    )
    fleet.register(HEALTHY)
    done = fleet.sweep()
    assert done.returncode == 0
    assert done.stdout.startswith("CLEAN")
    assert alert_lines(done.stderr) == ["wgaudit: heartbeat: 127.0.0.1:1 refuses connections"]


def test_a_sweep_that_broke_is_a_failure_to_the_heartbeat(make_fleet: Make, heartbeat: Double) -> None:
    """Here its report has nowhere to go."""
    fleet = make_fleet(alerts={"heartbeat_url": f"{heartbeat.url}/uuid"})
    (fleet.folder / "taken").mkdir()
    assert fleet.sweep("--output", "taken").returncode == 2
    assert beats(heartbeat) == ["/uuid/start", "/uuid/fail"]
