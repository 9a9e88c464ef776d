"""The state of `wgaudit sweep --alert`: its lock, a database that cannot be used, a disk that is full, and settings."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from auditor.state.lock import exclusive
from tests.cli.command import WGAUDIT, clean_environment, one_line, started
from tests.cli.conftest import to_receiver
from tests.cli.fleet import HEALTHY, PAIR, TRIPLE, Fleet, alert_lines, contested
from tests.doubles.receiver import Receiver
from tests.doubles.server import Call, Double, Reply
from tests.parts import require

Make = Callable[..., Fleet]


class Gate(Double):
    """Answers nobody before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.called, self.go = threading.Event(), threading.Event()

    def answer(self, call: Call) -> Reply:  # noqa: ARG002  (whoever calls has to wait)
        self.called.set()
        self.go.wait(60)
        return Reply()


@pytest.fixture
def fleet(make_fleet: Make, receiver: Receiver) -> Fleet:
    """One contested address, told to the receiver."""
    fleet = make_fleet(notifiers=[to_receiver(receiver)])
    fleet.register(contested(PAIR))
    return fleet


# -- one at a time


def test_a_second_sweep_says_who_holds_the_state_and_looks_at_nothing(make_fleet: Make) -> None:
    """The first one is in the middle of telling somebody; the second tells nobody."""
    with Gate() as gate:
        fleet = make_fleet(notifiers=[{"name": "slow", "type": "webhook", "url": gate.url, "timeout": 60.0}])
        with started("sweep", "--alert", "--no-progress", folder=fleet.folder) as first:
            assert gate.called.wait(30)
            second = fleet.sweep()
            gate.go.set()
            first.communicate(timeout=60)
        assert second.returncode == 2
        assert second.stdout == ""
        said = one_line(second.stderr)
        for words in (f"process {first.pid} on {socket.gethostname()}", "--lock-wait", str(fleet.database)):
            assert words in said
        assert first.returncode == 1
        assert len(gate.calls) == 1


def test_a_plain_sweep_needs_no_lock(fleet: Fleet) -> None:
    with exclusive(fleet.database, 0):
        assert fleet.run("sweep", "--no-progress").returncode == 1


def test_lock_wait_waits_so_long_and_no_longer(fleet: Fleet) -> None:
    with exclusive(fleet.database, 0):
        began = time.monotonic()
        done = fleet.sweep("--lock-wait", "2")
        assert 2 <= time.monotonic() - began < 30
    assert done.returncode == 2
    assert f"process {os.getpid()} on" in one_line(done.stderr)


def test_lock_wait_goes_on_as_soon_as_the_other_one_is_done(fleet: Fleet) -> None:
    with exclusive(fleet.database, 0):
        waiting = started("--verbose", "sweep", "--alert", "--lock-wait", "100", folder=fleet.folder)
        assert waiting.stderr is not None
        assert "configuration:" in waiting.stderr.readline()
    _, stderr = waiting.communicate(timeout=60)
    assert waiting.returncode == 1, stderr


def test_a_sweep_that_was_killed_leaves_no_lock_behind(make_fleet: Make, receiver: Receiver) -> None:
    with Gate() as gate:
        slow = {"name": "slow", "type": "webhook", "url": gate.url, "timeout": 60.0}
        fleet = make_fleet(notifiers=[slow])
        fleet.register(contested(PAIR))
        with started("sweep", "--alert", "--no-progress", folder=fleet.folder) as first:
            assert gate.called.wait(30)
            first.kill()
        gate.go.set()
        fleet.configure(notifiers=[to_receiver(receiver, name="slow")])
        assert fleet.sweep().returncode == 1
        assert [item["reason"] for item in receiver.notifications] == ["first-notification"]


# -- a database that cannot be used


def corrupt(fleet: Fleet) -> None:
    """No SQLite file at all."""
    fleet.database.write_bytes(b"this is no database\n" * 500)


def torn(fleet: Fleet) -> None:
    """A page in its middle was overwritten."""
    with fleet.database.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xff" * 4096 * 3)


def directory(fleet: Fleet) -> None:
    """A folder stands in its place."""
    fleet.database.unlink()
    fleet.database.mkdir()


def newer(fleet: Fleet) -> None:
    """A newer version of this program was here."""
    fleet.execute("UPDATE wgaudit_version SET version_num = '0999'")


def no_folder(fleet: Fleet) -> None:
    """A file stands where its folder should."""
    shutil.rmtree(fleet.database.parent)
    fleet.database.parent.write_text("in the way")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (corrupt, "file is not a database"),
        (torn, "the state database is damaged"),
        (directory, "not used: it is no plain file"),
        (newer, "written by a newer wgaudit"),
        (no_folder, ""),
    ],
    ids=["corrupt", "torn", "directory", "newer", "no folder"],
)
def test_a_database_that_cannot_be_used_is_told_in_one_line_and_left_alone(
    fleet: Fleet, receiver: Receiver, harm: Callable[[Fleet], None], says: str
) -> None:
    """The report is printed all the same; nobody is told anything twice, nothing is made anew."""
    fleet.sweep()
    harm(fleet)
    before = fleet.database.read_bytes() if fleet.database.is_file() else b""
    fleet.register(contested(PAIR, TRIPLE))
    done = fleet.sweep()
    assert done.returncode == 4
    assert TRIPLE in done.stdout
    (line,) = alert_lines(done.stderr)
    assert line.startswith(f"wgaudit: alerts: {fleet.database}")
    assert says in line
    assert len(receiver.notifications) == 1
    assert (fleet.database.read_bytes() if fleet.database.is_file() else b"") == before


IN_NAMESPACE = ("unshare", "--mount", "--map-root-user")


def can_mount() -> bool:
    """Whether a file system can be mounted where nobody else sees it."""
    found = shutil.which(IN_NAMESPACE[0])
    return (
        found is not None
        and not subprocess.run(
            [*IN_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
        ).returncode
    )


def fill_up_to(left: int) -> str:
    """A command that leaves so many KiB. With none, SQLite cannot even open; with 64 it can, and not commit."""
    free = "$(df -k --output=avail state | tail -n 1)"
    return f"dd if=/dev/zero of=state/filler bs=1k count=$(({free} - {left})) 2>&1"


@pytest.mark.parametrize(
    ("break_it", "repair_it"),
    [
        (fill_up_to(0), "rm state/filler"),
        (fill_up_to(64), "rm state/filler"),
        ("mount -o remount,ro state", "mount -o remount,rw state"),
    ],
    ids=["full", "full while it writes", "read-only"],
)
def test_a_disk_that_takes_nothing_costs_no_report_and_loses_nothing(
    fleet: Fleet, receiver: Receiver, break_it: str, repair_it: str
) -> None:
    """Three sweeps on one small disk: it is well, it takes nothing, it is well again."""
    require("a mount namespace", can_mount(), "as root, or with unprivileged user namespaces allowed")
    fleet.register(contested(PAIR, TRIPLE))
    (fleet.folder / "registry.json").rename(fleet.folder / "both.json")
    fleet.register(contested(PAIR))
    fleet.database.parent.mkdir()
    sweep = f"{shlex.quote(str(WGAUDIT))} sweep --alert --no-progress"
    script = f"""
        mount -t tmpfs -o size=1m none state || exit 1
        {sweep} > first.out 2> first.err; echo $?
        cp both.json registry.json
        {{ {break_it}; }} > /dev/null
        {sweep} > second.out 2> second.err; echo $?
        {repair_it}
        {sweep} > third.out 2> third.err; echo $?
    """
    codes = subprocess.run(
        [*IN_NAMESPACE, "sh", "-c", script],
        cwd=fleet.folder, env=clean_environment(fleet.folder),
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    said = {name: (fleet.folder / f"{name}.err").read_text() for name in ("first", "second", "third")}
    assert codes == ["1", "4", "1"], said
    assert TRIPLE in (fleet.folder / "second.out").read_text()
    (line,) = alert_lines(said["second"])
    assert str(fleet.database) in line
    assert alert_lines(said["third"]) == []
    assert [item["incident"]["subject"] for item in receiver.notifications] == [PAIR, TRIPLE]


def test_the_state_is_its_owners_alone(fleet: Fleet) -> None:
    fleet.sweep()
    assert fleet.database.parent.stat().st_mode & 0o777 == 0o700
    assert fleet.database.stat().st_mode & 0o777 == 0o600


# -- settings that cannot be used


WEBHOOK = {"name": "hook", "type": "webhook", "url": "http://127.0.0.1:1/"}
ONCALL = {"name": "oncall", "type": "pagerduty"}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"notifiers": [{**WEBHOOK, "checks": ["duplicate-adress"]}]}, "no check is called duplicate-adress"),
        ({"notifiers": [WEBHOOK, {**WEBHOOK, "type": "slack"}]}, "an earlier notifier"),
        ({"notifiers": [{**WEBHOOK, "url": None, "url_file": "not-there"}]}, "cannot read not-there"),
        ({"notifiers": [{**WEBHOOK, "url": None, "url_env": "NOT_SET"}]}, "url_env"),
        ({"notifiers": [{**WEBHOOK, "url": "hooks.example.net/x"}]}, "not an http or https URL"),
        ({"notifiers": [{**WEBHOOK, "secret_file": "not-there"}]}, "cannot read not-there"),
        ({"notifiers": [{**WEBHOOK, "url_env": "BOTH"}]}, "exactly one of url, url_file and url_env"),
        ({"notifiers": [ONCALL]}, "exactly one of routing_key"),
        ({"notifiers": [{**ONCALL, "routing_key_file": "not-there"}]}, "cannot read not-there"),
        ({"notifiers": [{**ONCALL, "routing_key": "too-short"}]}, "32 letters and digits"),
        ({"notifiers": [{**WEBHOOK, "type": "smoke-signal"}]}, "notifiers[1]"),
        ({"alerts": {"heartbeat_url_file": "not-there"}}, "cannot read not-there"),
        ({"alerts": {"heartbeat_url_env": "NOT_SET"}}, "heartbeat_url_env"),
        ({"shared": [{"address": PAIR, "nodes": ["one"], "reason": "x", "until": "2027-01-01"}]}, "nodes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_cannot_be_used_end_it_before_anything_is_looked_at(
    make_fleet: Make, settings: dict[str, Any], says: str
) -> None:
    fleet = make_fleet(**settings)
    done = fleet.sweep()
    assert done.returncode == 2
    assert done.stdout == ""
    line = one_line(done.stderr)
    assert says in line
    for value in ("too-short", "hooks.example.net"):
        assert value not in line
    assert not fleet.database.parent.exists()


@pytest.mark.parametrize(
    "options", [["--alert-timeout", "0"], ["--alert-timeout", "nan"], ["--lock-wait", "-1"]]
)
def test_times_that_are_none_are_refused(fleet: Fleet, options: list[str]) -> None:
    done = fleet.sweep(*options)
    assert done.returncode == 2
    assert options[0] in done.stderr
    assert done.stdout == ""


def test_what_was_told_is_remembered_when_everything_is_well_again(fleet: Fleet, receiver: Receiver) -> None:
    """Whoever moves the damaged file away and back again loses nothing."""
    fleet.sweep()
    kept = fleet.database.read_bytes()
    corrupt(fleet)
    assert fleet.sweep().returncode == 4
    fleet.database.write_bytes(kept)
    fleet.register(HEALTHY)
    assert fleet.sweep().returncode == 0
    assert [item["reason"] for item in receiver.notifications] == ["first-notification", "resolved"]
