"""`wgaudit watch` as systemd and people run it: a process, its log, its page, its signals."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from auditor.state.lock import exclusive
from tests.cli.command import clean_environment, one_line
from tests.cli.conftest import to_receiver
from tests.cli.fleet import PAIR, TRIPLE, Fleet, contested
from tests.cli.watching import watching
from tests.doubles.receiver import Receiver
from tests.doubles.server import Trouble

Make = Callable[..., Fleet]

QUICK = {"listen": "127.0.0.1:0", "follow_interval": 1.0, "round_interval": 5.0}


@pytest.fixture
def fleet(make_fleet: Make, receiver: Receiver) -> Fleet:
    """A fleet without a duplicate, whose watch tells the receiver."""
    made = make_fleet(notifiers=[to_receiver(receiver)], watch=QUICK)
    made.register(contested())
    return made


def asked(url: str, path: str) -> tuple[int, bytes]:
    """What the page answers."""
    connection = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"), timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_a_duplicate_is_told_when_it_is_written_and_stands_on_the_page(
    fleet: Fleet, receiver: Receiver
) -> None:
    with watching(fleet.folder, "--config", fleet.config) as watch:
        url = watch.wait_for(r"page: (http://\S+)")[1]
        watch.wait_for("ready: the registry was read whole: 8 nodes")
        assert asked(url, "/-/ready")[0] == asked(url, "/-/healthy")[0] == 200
        fleet.register(contested(PAIR))
        watch.wait_for(rf"new: critical duplicate-address {PAIR}: .*; next: wgaudit explain {PAIR} --config ")
        watch.wait_for("told: inventory, 1 message")
        assert [item["incident"]["subject"] for item in receiver.notifications] == [PAIR]
        report = json.loads(asked(url, "/api/v1/report")[1])
        assert PAIR in [item["subject"] for item in report["findings"]]
        beside = one_line(fleet.sweep().stderr)
        assert "a watch is at work here" in beside
        assert fleet.run("sweep", "--no-progress").returncode == 1
        code, took = watch.end()
    assert code == 0
    assert took < 5
    assert watch.lines[0].startswith("watch ")
    assert watch.lines[2] == "tells: inventory"
    assert watch.lines[-1] == "ended"
    assert fleet.sweep().returncode == 1  # the lock is free again, and nothing is told twice
    assert len(receiver.notifications) == 1


def test_a_configuration_that_cannot_be_used_is_refused_and_one_that_can_is_taken_over(
    fleet: Fleet, receiver: Receiver
) -> None:
    """By SIGHUP, while it runs; systemd is told of each step over its socket."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.settimeout(30)
    manager.bind(str(fleet.folder / "notify"))

    def next_word() -> str:
        while True:
            word = manager.recv(4096).decode()
            if not word.startswith(("STATUS", "WATCHDOG")):
                return word

    environment = {"NOTIFY_SOCKET": str(fleet.folder / "notify"), "WATCHDOG_USEC": "60000000"}
    good = fleet.config.read_text()
    with (
        Receiver() as other,
        watching(fleet.folder, "--config", fleet.config, environment=environment) as watch,
    ):
        assert next_word().startswith("READY=1\nSTATUS=")
        fleet.config.write_text(good.replace("round_interval", "round_intervall"))
        watch.send(signal.SIGHUP)
        watch.wait_for(r"configuration not taken over: \S+wgaudit.toml:\d+: watch.round_intervall: ")
        watch.wait_for("goes on as it was; correct it, and send SIGHUP again")
        assert next_word() == "RELOADING=1"
        assert next_word().startswith("READY=1")
        fleet.config.write_text(good.replace("state/wgaudit.db", "elsewhere/wgaudit.db"))
        watch.send(signal.SIGHUP)
        watch.wait_for("configuration not taken over: state.path: .* a restart changes it")
        fleet.configure(notifiers=[{"name": "other", "type": "webhook", "url": f"{other.url}/hook"}])
        watch.send(signal.SIGHUP)
        watch.wait_for("configuration read anew")
        watch.wait_for("tells: other")
        fleet.register(contested(TRIPLE))
        watch.wait_for("told: other, 1 message")
        assert watch.end()[0] == 0
    words = [next_word() for _ in range(5)]
    assert words[0::2][:2] == ["RELOADING=1", "RELOADING=1"]
    assert words[-1] == "STOPPING=1"
    assert receiver.notifications == []
    assert [item["incident"]["subject"] for item in other.notifications] == [TRIPLE]
    manager.close()


def test_what_is_not_handed_over_when_it_ends_waits_in_the_outbox(fleet: Fleet, receiver: Receiver) -> None:
    fleet.configure(
        notifiers=[to_receiver(receiver, timeout=300.0)], watch={**QUICK, "listen": "", "stop_within": 1.5}
    )
    receiver.fault = Trouble.SILENCE
    with watching(fleet.folder, "--config", fleet.config) as watch:
        watch.wait_for("ready: ")
        fleet.register(contested(PAIR))
        receiver.wait_for_call()
        code, took = watch.end(signal.SIGINT)
    assert (code, watch.lines[1]) == (0, "page: none")
    assert took < 5  # the call would go on for 300
    receiver.fault = None
    assert fleet.sweep().returncode == 1
    assert [item["reason"] for item in receiver.notifications] == ["first-notification"]


def test_a_state_that_another_one_holds_is_one_clear_line(fleet: Fleet) -> None:
    fleet.database.parent.mkdir()
    with exclusive(fleet.database, 0):
        done = fleet.run("watch", "--no-page")
    assert done.returncode == 2
    assert "another wgaudit is at work here (process " in one_line(done.stderr)


def test_it_waits_for_a_sweep_that_holds_the_state_as_long_as_it_is_told_to(fleet: Fleet) -> None:
    fleet.database.parent.mkdir()
    with ExitStack() as sweep:
        sweep.enter_context(exclusive(fleet.database, 0))
        with watching(fleet.folder, "--no-page", "--lock-wait", "30") as watch:
            watch.wait_for("waits: .*another wgaudit is at work here")
            sweep.close()
            watch.wait_for("ready: ")
            assert watch.end()[0] == 0


def test_a_place_for_the_page_that_is_taken_is_one_clear_line(fleet: Fleet) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = fleet.run("watch", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 2
    assert "another program listens there" in one_line(done.stderr)


def test_a_place_for_the_page_that_is_none_is_refused_by_its_option(fleet: Fleet) -> None:
    done = fleet.run("watch", "--listen", "everywhere")
    assert done.returncode == 2
    assert one_line(done.stderr).startswith("wgaudit: --listen: watch.listen: must be HOST:PORT")


def without_packages(fleet: Fleet, *options: str) -> subprocess.Popen[str]:
    """A watch where nobody installed what its page needs."""
    hidden = "import sys; sys.modules['starlette'] = sys.modules['uvicorn'] = None; "
    code = f"{hidden}from auditor.cli.entry import begin; begin()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "watch", *options],
        cwd=fleet.folder,
        env=clean_environment(fleet.folder),
        stderr=subprocess.PIPE,
        text=True,
    )


def test_without_the_packages_of_the_page_one_line_says_what_to_install(fleet: Fleet) -> None:
    with without_packages(fleet) as refused:
        _, errors = refused.communicate(timeout=30)
    assert refused.returncode == 2
    assert "pip install 'wgaudit[watch]'" in one_line(errors)
    with without_packages(fleet, "--no-page") as watch:
        assert watch.stderr is not None
        for line in watch.stderr:
            if "ready: " in line:
                watch.send_signal(signal.SIGTERM)
        assert watch.wait(timeout=30) == 0


def test_quiet_leaves_complaints_alone(fleet: Fleet, tmp_path: Path) -> None:
    fleet.configure(notifiers=[], watch={**QUICK, "listen": ""})
    with watching(fleet.folder, "--quiet") as watch:
        watch.wait_for("nobody is told")
        assert watch.end()[0] == 0
    assert watch.lines == ["alerts: no [[notifiers]] in the configuration: nobody is told"]
