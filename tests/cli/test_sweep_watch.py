"""`wgaudit sweep --watch`: the table on a terminal until `q`, a line for each change elsewhere; nobody is told."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable

import pyte
import pytest

from auditor.cli.main import main
from auditor.state.lock import exclusive
from tests.cli.command import WGAUDIT, clean_environment, one_line, started
from tests.cli.conftest import to_receiver
from tests.cli.fleet import PAIR, Fleet, contested
from tests.doubles.receiver import Receiver

Make = Callable[..., Fleet]

QUICK = {"follow_interval": 1.0, "round_interval": 5.0}
LONGEST = 30.0


def test_without_a_terminal_each_change_is_a_line_and_the_exit_code_is_the_last_reports(
    make_fleet: Make, receiver: Receiver
) -> None:
    """Beside a sweep with alerts that holds the state."""
    fleet = make_fleet(notifiers=[to_receiver(receiver)], watch=QUICK)
    fleet.register(contested())
    fleet.database.parent.mkdir()
    with (
        exclusive(fleet.database, 0),
        started("sweep", "--watch", folder=fleet.folder) as sweep,
    ):
        assert sweep.stdout is not None
        for line in sweep.stdout:
            if "ready: " in line:
                fleet.register(contested(PAIR))
            if f"new: critical duplicate-address {PAIR}" in line:
                break
        sweep.send_signal(signal.SIGINT)
        _, errors = sweep.communicate(timeout=LONGEST)
    assert sweep.returncode == 1
    summary = errors.strip().splitlines()[-1]
    assert summary.startswith("wgaudit: findings: ")
    assert summary.endswith("exit code 1")
    assert receiver.calls == []
    assert not fleet.database.exists()


class AtTerminal:
    """A run whose stdin and stdout are a terminal of 24 rows."""

    def __init__(self, fleet: Fleet, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [WGAUDIT, *arguments],
            cwd=fleet.folder,
            env=clean_environment(fleet.folder, {"TERM": "xterm-256color"}),
            stdin=slave,
            stdout=slave,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(slave)
        self.screen = pyte.Screen(80, 24)
        self._reader = pyte.ByteStream(self.screen)
        self.written = b""

    def wait_for(self, text: str) -> None:
        """Waits until the screen shows this."""
        end = time.monotonic() + LONGEST
        while time.monotonic() < end:
            if any(text in row for row in self.screen.display):
                return
            self._read()
        raise AssertionError("\n".join(self.screen.display))

    def _read(self) -> bool:
        try:
            chunk = os.read(self.master, 65536)
        except OSError:
            return False  # it ended
        self.written += chunk
        self._reader.feed(chunk)
        return True

    def press(self, key: bytes) -> tuple[int, str, str]:
        """Presses a key that ends it. Returns exit code, what stands on the terminal afterwards, and stderr."""
        os.write(self.master, key)
        while self._read():
            pass
        os.close(self.master)
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        self.process.stderr.close()
        after = self.written.rpartition(b"\x1b[?1049l")[2].decode()
        return self.process.wait(timeout=LONGEST), after, errors


def test_on_a_terminal_the_table_is_redrawn_and_q_leaves_the_last_one(make_fleet: Make) -> None:
    fleet = make_fleet(watch=QUICK)
    fleet.register(contested())
    terminal = AtTerminal(fleet, "sweep", "--watch", "--limit", "5")
    terminal.wait_for("q ends")
    terminal.wait_for("2 nodes followed")
    fleet.register(contested(PAIR))
    terminal.wait_for(f"critical  {PAIR}")
    code, after, errors = terminal.press(b"q")
    assert code == 1
    assert "FINDINGS" in after
    assert PAIR in after
    assert errors.strip().splitlines()[-1].endswith("exit code 1")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "options",
    [["--alert"], ["--format", "json"], ["--record", "kept.json.gz"], ["--deadline", "5"], ["--no-confirm"]],
    ids=lambda options: options[0],
)
def test_what_makes_no_sense_for_a_table_that_is_redrawn_is_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "--watch", *options]) == 2
    assert f"{options[0]} does not go with --watch" in capsys.readouterr().err


def test_a_fleet_that_cannot_be_followed_is_one_clear_line(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.config.write_text(fleet.config.read_text().replace("known_hosts = ", "known_hostss = "))
    done = fleet.run("sweep", "--watch")
    assert done.returncode == 2
    assert "ssh.known_hostss" in one_line(done.stderr)
