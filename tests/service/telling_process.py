"""Tells of a fleet as one of two watches on one PostgreSQL does: telling_process.py

It imports everything once. For each line `life SOCKET CONFIG SECONDS` on stdin it forks a process whose clock is so
many seconds off, and which connects to the socket, says its pid, and takes a look a line:
`{"number": 7, "round": false, "contested": ["10.0.0.1"]}`; it says `done 7` when it has told what there was to tell,
and `role leads` when its role changes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tomllib
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from auditor.service.watch_telling import WatchAlerts
from auditor.settings.file import Config, parse_config
from auditor.values.leaders import Leader
from tests.off_clock import off_clock
from tests.service.killed_watch import QUICK_STORM, hurried, read_line, report


async def life(config: Config, socket: str) -> None:
    """Live until the connection ends: look after look, and anew what stands when it begins to tell."""
    reader, writer = await asyncio.open_unix_connection(socket)
    again = asyncio.Event()

    def say(line: str) -> None:
        writer.write(f"{line}\n".encode())

    def led_by(leader: Leader) -> None:
        say(f"role {leader.role.value}")

    say(f"pid {os.getpid()}")
    alerts = WatchAlerts(
        config,
        lambda line: say(f"said {line}"),
        build=hurried,
        storm=QUICK_STORM,
        took_over=again.set,
        led_by=led_by,
    )
    async with alerts:
        newest: list[str] | None = None
        reading = asyncio.create_task(reader.readline())
        while True:
            waiting = asyncio.create_task(again.wait())
            await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if again.is_set():
                again.clear()
                if newest is not None:
                    await alerts.tell(report(newest))
            if not reading.done():
                continue
            if not (line := reading.result()):
                break
            reading = asyncio.create_task(reader.readline())
            look = json.loads(line)
            newest = look["contested"]
            alerts.remembered()
            seen = report(newest)
            await (alerts.round(seen) if look["round"] else alerts.tell(seen))
            say(f"done {look['number']}")


def set_clock(off: float) -> None:
    """Set the clock of this process so many seconds off, wherever its code asks for the time of day."""
    true, clock = datetime, off_clock(lambda: off)
    for name, module in list(sys.modules.items()):
        own = name.startswith(("auditor", "alerts", "tests")) and name != off_clock.__module__
        if own and vars(module).get("datetime") is true:
            vars(module)["datetime"] = clock


def main() -> None:
    """Fork for each life."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while line := read_line():
        _, socket, config_file, off = line.split()
        if os.fork():
            continue
        config = parse_config(tomllib.loads(Path(config_file).read_text()), "a test")
        if float(off):
            set_clock(float(off))
        with suppress(ConnectionError):
            asyncio.run(life(config, socket))
        os._exit(0)


if __name__ == "__main__":
    main()
