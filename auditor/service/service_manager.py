"""What a service tells its manager, systemd, by datagrams: that it is ready, alive, reading anew, or about to end.

See sd_notify(3). Without a manager, started by hand or in a container, nothing is sent.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping

from auditor.service.pulse import Pulse
from auditor.values.text import one_line

_LONGEST_STATUS = 200


class ServiceManager:
    """Manager of this process, if it has one. What cannot be sent is complained about once."""

    def __init__(self, environment: Mapping[str, str], complain: Callable[[str], None]) -> None:
        """Take address and watchdog from the environment (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`)."""
        address = environment.get("NOTIFY_SOCKET", "")
        # An abstract socket is written with an @ in place of the zero byte.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._complain = complain
        self._complained = False
        self.watchdog = _watchdog(environment) if address else None
        """Seconds within which the manager wants to hear of progress; None: it does not."""
        self._ready = False

    def ready(self, status: str) -> None:
        """Say that the service is ready, or ready again after it read its configuration anew."""
        self._ready = True
        self._tell("READY=1", _status(status))

    def status(self, text: str) -> None:
        """Say in one line how the service fares: `systemctl status` shows it."""
        self._tell(_status(text))

    def reloading(self) -> None:
        """Say that the configuration is being read anew; `ready` ends that."""
        self._tell("RELOADING=1")

    def stopping(self) -> None:
        """Say that the service is about to end."""
        self._tell("STOPPING=1")

    async def feed(self, pulse: Pulse) -> None:
        """Tell the watchdog of progress, and of nothing else, until cancelled: a loop that is stuck gets a new process.

        Until the service is ready, progress also asks for more time to start: a registry that is away is no reason to
        end it. Returns at once where there is no watchdog.
        """
        if self.watchdog is None:
            return
        reported = -1
        while True:
            if pulse.beats != reported:
                reported = pulse.beats
                more = () if self._ready else (f"EXTEND_TIMEOUT_USEC={2 * self.watchdog * 1e6:.0f}",)
                self._tell("WATCHDOG=1", *more)
            await asyncio.sleep(self.watchdog / 4)

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way:
                way.setblocking(False)
                way.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._complained:
                self._complained = True
                self._complain(f"systemd is not told ({lines[0]}): {error.strerror or error}")


def _status(text: str) -> str:
    return f"STATUS={one_line(text, most=_LONGEST_STATUS)}"


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Read the watchdog's time; None where there is none, or it is another process'."""
    wanted = environment.get("WATCHDOG_USEC", "")
    whose = environment.get("WATCHDOG_PID", "")
    if not (wanted.isascii() and wanted.isdecimal()) or int(wanted) == 0:
        return None
    return int(wanted) / 1e6 if whose in ("", str(os.getpid())) else None
