"""`sweep --alert` at its edges: ended from outside, and with a notifier that is gone."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from alerts.plan import blindness
from tests.cli.command import one_line, started
from tests.cli.conftest import to_receiver
from tests.cli.fleet import PAIR, Fleet, alert_lines, contested
from tests.doubles.receiver import Receiver
from tests.doubles.server import Double, Trouble

Make = Callable[..., Fleet]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_during_delivery_is_told_and_what_is_left_goes_with_the_next_sweep(
    make_fleet: Make, receiver: Receiver, heartbeat: Double, number: signal.Signals
) -> None:
    """systemd stops a unit so, and whoever watches the heartbeat must hear of it."""
    fleet = make_fleet(
        notifiers=[to_receiver(receiver, timeout=300.0)], alerts={"heartbeat_url": f"{heartbeat.url}/uuid"}
    )
    fleet.register(contested(PAIR))
    receiver.fault = Trouble.SILENCE
    sweep = started("sweep", "--alert", "--no-progress", "--config", fleet.config, folder=fleet.folder)
    receiver.wait_for_call()
    sweep.send_signal(number)
    output, errors = sweep.communicate(timeout=30)
    assert sweep.returncode == 4, errors
    assert PAIR in output
    assert alert_lines(errors) == ["wgaudit: alerts: interrupted; what is left goes with the next sweep"]
    assert heartbeat.calls[-1].path == "/uuid/fail"
    receiver.fault = None
    assert fleet.sweep().returncode == 1
    assert [item["reason"] for item in receiver.notifications] == ["first-notification"]


def test_a_notifier_that_was_taken_out_can_be_forgotten(make_fleet: Make, receiver: Receiver) -> None:
    """Else what waits for it would make every sweep an exit code 4."""
    fleet = make_fleet(notifiers=[{"name": "gone", "type": "webhook", "url": "http://127.0.0.1:1/hook"}])
    fleet.register(contested(PAIR))
    fleet.sweep("--alert-timeout", "1")
    assert "gone is configured" in one_line(fleet.run("alerts", "forget", "gone").stderr)
    fleet.configure(notifiers=[to_receiver(receiver)])
    assert fleet.sweep().returncode == 4
    done = fleet.run("alerts", "forget", "gone")
    assert (done.returncode, done.stdout) == (
        0,
        "gone is forgotten; 1 that waited for it or had been refused went with it\n",
    )
    assert fleet.sweep().returncode == 1


def test_blindness_has_a_life_in_the_history_too(make_fleet: Make, receiver: Receiver) -> None:
    """It was told to people, so it can be looked up."""
    fleet = make_fleet(notifiers=[to_receiver(receiver)], alerts={"blind_after": 1})
    (fleet.folder / "registry.json").unlink()
    fleet.sweep()
    assert "audit-blind" in fleet.run("history").stdout
    told = fleet.run("history", "show", blindness()).stdout
    assert "it stands" in told
    assert "first-notification  accepted" in told
    fleet.register(contested(PAIR))
    fleet.sweep()
    assert "resolved" in fleet.run("history", "show", blindness()).stdout
