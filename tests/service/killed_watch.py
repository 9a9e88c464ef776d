"""Tells of a fleet as a watch does, life after life, each in a process that can be killed: killed_watch.py CONFIG

It imports everything once. For each line `life` on stdin it forks a process that says its pid, and then takes a step a
line: `{"number": 7, "round": false, "contested": ["10.0.0.1"]}`, and says `done 7` when it was told. `end` closes it.
When the process has ended, `over` is said.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from alerts.delivery.courier import StormTimes
from alerts.notifiers.interface import Notifier
from alerts.notifiers.pagerduty import PagerDuty
from alerts.notifiers.slack import Slack
from auditor.service.alert_parts import build_notifiers
from auditor.service.watch_telling import WatchAlerts
from auditor.settings.file import Config, parse_config
from auditor.values.findings import Finding, Severity
from auditor.values.models import NodeId
from auditor.values.report import Coverage, Report, Verdict

NODES = (NodeId("dc1", "a"), NodeId("dc1", "b"))
QUICK_STORM = StormTimes(0.02, 0.05, 0.2)


def report(contested: Sequence[str]) -> Report:
    """A look that saw everything, and found these addresses contested."""
    now = datetime.now(UTC)
    return Report(
        verdict=Verdict.FINDINGS if contested else Verdict.CLEAN,
        started_at=now,
        finished_at=now,
        coverage=Coverage(2, 2),
        findings=tuple(
            Finding("duplicate-address", Severity.CRITICAL, address, f"a and b hold {address}.", nodes=NODES)
            for address in contested
        ),
        gaps=(),
        registered=frozenset(NODES),
        observed=frozenset(NODES),
    )


def hurried(config: Config, config_file: Path | None) -> tuple[Notifier, ...]:
    """The notifiers of a configuration, without the pauses that vendors ask for."""
    return tuple(
        replace(item, pause=0.0) if isinstance(item, PagerDuty | Slack) else item
        for item in build_notifiers(config, config_file)
    )


async def life(config: Config) -> None:
    """One life: step after step, until `end` or the kill."""
    alerts = WatchAlerts(config, complain, build=hurried, storm=QUICK_STORM)
    async with alerts:
        while (line := await asyncio.to_thread(read_line)) not in ("end", ""):
            step = json.loads(line)
            seen = report(step["contested"])
            if step["round"]:
                await alerts.round(seen)
            else:
                await alerts.tell(seen)
            say(f"done {step['number']}")
        await alerts.close(60.0)


def read_line() -> str:
    """One line, and no byte more: the rest is for who comes after."""
    found = b""
    while (byte := os.read(0, 1)) not in (b"\n", b""):
        found += byte
    return found.decode()


def say(line: str) -> None:
    """One line on stdout, whole."""
    os.write(1, f"{line}\n".encode())


def complain(line: str) -> None:
    """What failed, where the test shows it."""
    os.write(2, f"{line}\n".encode())


def main() -> None:
    """Forks for each life."""
    config = parse_config(tomllib.loads(Path(sys.argv[1]).read_text()), "a test")
    while line := read_line():
        if line != "life":
            continue  # a step that the process before did not live to read
        pid = os.fork()
        if not pid:
            say(f"pid {os.getpid()}")
            asyncio.run(life(config))
            os._exit(0)
        os.waitpid(pid, 0)
        say("over")


if __name__ == "__main__":
    main()
