"""What systemd is told, over a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor.service.pulse import Pulse
from auditor.service.service_manager import ServiceManager

LONGEST = 4096


class Manager:
    """systemd's end of the socket, and what it puts into the environment."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.settimeout(5)
        self.environment = {"NOTIFY_SOCKET": address}

    def heard(self) -> list[str]:
        """The next datagram's lines."""
        return self._socket.recv(LONGEST).decode().split("\n")

    def waiting(self) -> int:
        """How many datagrams there are now."""
        self._socket.setblocking(False)
        number = 0
        try:
            while self._socket.recv(LONGEST):
                number += 1
        except BlockingIOError:
            return number
        return number

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """Both kinds of socket that systemd uses."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@wgaudit-test-{os.getpid()}"
    found = Manager(address)
    yield found
    found.close()


def refuse(line: str) -> None:
    raise AssertionError(line)


def test_readiness_is_told_with_one_line_of_status(manager: Manager) -> None:
    ServiceManager(manager.environment, refuse).ready("9 nodes\nREADY=0 \x1b[31m")
    assert manager.heard() == ["READY=1", r"STATUS=9 nodes READY=0 \x1b[31m"]


def test_a_reading_anew_and_the_end_are_told(manager: Manager) -> None:
    service = ServiceManager(manager.environment, refuse)
    service.reloading()
    service.stopping()
    assert [manager.heard(), manager.heard()] == [["RELOADING=1"], ["STOPPING=1"]]


def test_without_a_manager_nothing_is_told_and_nothing_complained(tmp_path: Path) -> None:
    service = ServiceManager({"WATCHDOG_USEC": "2000000"}, refuse)
    service.ready("all is well")
    assert service.watchdog is None
    assert list(tmp_path.iterdir()) == []


def test_a_manager_that_cannot_be_reached_is_complained_about_once(tmp_path: Path) -> None:
    said: list[str] = []
    service = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")}, said.append)
    service.ready("9 nodes")
    service.stopping()
    assert said == ["systemd is not told (READY=1): No such file or directory"]


@pytest.mark.parametrize(
    ("more", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
    ids=["anybody's", "ours", "another's", "unreadable", "none"],
)
def test_the_watchdog_is_ours_only_where_systemd_says_so(
    more: dict[str, str], seconds: float | None, tmp_path: Path
) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), **more}
    assert ServiceManager(environment, refuse).watchdog == seconds


def test_the_watchdog_hears_of_progress_and_of_nothing_else(tmp_path: Path) -> None:
    """A timer that says it lives while the loop is stuck would keep a dead watch alive."""
    manager = Manager(str(tmp_path / "notify"))
    pulse = Pulse()

    async def turning() -> None:
        service = ServiceManager({**manager.environment, "WATCHDOG_USEC": "20000"}, refuse)
        service.ready("9 nodes")
        assert manager.heard()[0] == "READY=1"
        feeding = asyncio.create_task(service.feed(pulse))
        loop = asyncio.get_running_loop()
        assert (await loop.run_in_executor(None, manager.heard)) == ["WATCHDOG=1"]  # it began
        pulse.beat()
        assert (await loop.run_in_executor(None, manager.heard)) == ["WATCHDOG=1"]
        await asyncio.sleep(0.1)  # stuck for five times as long as the watchdog waits
        assert manager.waiting() == 0
        assert not feeding.done()
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)

    asyncio.run(turning())
    manager.close()


def test_progress_before_it_is_ready_asks_for_more_time_to_start(tmp_path: Path) -> None:
    """Else systemd would end, and start anew, a watch that waits for its registry."""
    manager = Manager(str(tmp_path / "notify"))

    async def starting() -> None:
        service = ServiceManager({**manager.environment, "WATCHDOG_USEC": "20000"}, refuse)
        feeding = asyncio.create_task(service.feed(Pulse()))
        heard = await asyncio.get_running_loop().run_in_executor(None, manager.heard)
        assert heard == ["WATCHDOG=1", "EXTEND_TIMEOUT_USEC=40000"]
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)

    asyncio.run(starting())
    manager.close()


def test_a_loop_that_has_not_turned_for_long_is_no_longer_healthy() -> None:
    now = [100.0]
    pulse = Pulse(lambda: now[0])
    now[0] += 29
    assert pulse.healthy
    now[0] += 2
    assert not pulse.healthy
    pulse.beat()
    assert (pulse.healthy, pulse.age, pulse.beats) == (True, 0.0, 1)
