"""A watch whose regions are followed by `wgaudit collector`, a process each, with the documented nats-server."""

from __future__ import annotations

import asyncio
import signal
import time
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from auditor.demo.demo_fleet import NAME_PATTERN, REGISTRY_PREFIX
from auditor.demo.node_programs import DEVICE_LENGTH
from auditor.demo.servers import ServedFleet
from auditor.gather.nats.followed_job import Rhythm
from auditor.gather.nats.nats_follower import NatsFollower
from auditor.registry.file import export_text
from auditor.service import followed_regions
from auditor.service.watch_telling import WatchAlerts
from auditor.settings.file import Config, parse_config
from auditor.values.report import Verdict
from auditor.watch.loop import FleetWatch
from auditor.watch.view import WatchView
from auditor.watch.watch_parts import watch_parts
from tests.cli.fleet import WITNESSES
from tests.cli.watching import Watching
from tests.gather.nats.documented import DocumentedServer, documented_server, replaced
from tests.parts.nats import require_nats
from tests.serving import served_by_thread

FRA, SIN = (next(node for node in WITNESSES.nodes if node.region == region) for region in ("fra", "sin"))
INTERVAL = 1.0
LONGEST = 30.0


def auditor_config(folder: Path, server: DocumentedServer) -> Config:
    """The documented settings of an auditor, which cannot log in anywhere."""
    documented = tomllib.loads(server.configuration("auditor", "UAUDITOR"))
    return parse_config(
        {
            **documented,
            "consul": {"file": str(folder / "export.json"), "prefix": REGISTRY_PREFIX},
            "regions": {"name_pattern": NAME_PATTERN},
            "watch": {"follow_interval": INTERVAL, "round_interval": 5.0},
            "state": {"path": str(folder / "state" / "wgaudit.db")},
        },
        "test",
    )


def collecting(folder: Path, served: ServedFleet, server: DocumentedServer, region: str) -> Watching:
    """A collector as a process, with the documented settings, which can log in."""
    home = folder / region
    home.mkdir(exist_ok=True)
    text = replaced(
        server.configuration("collector", f"U{region.upper()}"),
        {
            'user = "wgaudit"': 'user = "root"\nagent = false\nconfig_file = "/dev/null"',
            "/etc/wgaudit/id_ed25519": str(served.client_key),
            "/etc/wgaudit/known_hosts": str(served.known_hosts),
        },
    )
    (home / "wgaudit.toml").write_text(text)
    collector = Watching(home, "--region", region, command="collector")
    collector.wait_for("collects for")
    return collector


async def shows(watch: FleetWatch, condition: Callable[[WatchView], bool]) -> WatchView:
    """The first view that is so."""
    async with asyncio.timeout(LONGEST):
        view = await watch.after(0)
        while not condition(view):
            view = await watch.after(view.number)
        return view


def renew(file: Path, text: str) -> None:
    """Write a file whole: who reads it meanwhile reads the one or the other."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    new.rename(file)


def unseen(view: WatchView) -> dict[str, str]:
    """The reason why each node is not seen that is not."""
    return {gap.node: gap.reason.value for gap in view.report.gaps if gap.node is not None}


def test_a_watch_sees_through_its_collectors_and_a_killed_one_blinds_it_for_its_own_region_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = partial(NatsFollower, rhythm=Rhythm(keep=0.5), chance=lambda: 0.0)
    monkeypatch.setattr(followed_regions, "NatsFollower", quick)
    complaints: list[str] = []
    collectors: list[Watching] = []

    async def run(server: DocumentedServer, served: ServedFleet) -> None:
        config = auditor_config(tmp_path, server)

        async def start(region: str) -> Watching:
            collectors.append(await asyncio.to_thread(collecting, tmp_path, served, server, region))
            return collectors[-1]

        fra, sin = await start("fra"), await start("sin")
        async with WatchAlerts(config, complaints.append) as alerts:
            watch = FleetWatch(watch_parts(config, complaints.append), alerts, complaints.append)
            running = asyncio.create_task(watch.run())
            view = await shows(watch, lambda view: view.report.verdict is Verdict.CLEAN)
            assert (view.sessions.followed, len(view.snapshot.tables)) == (2, 1)

            device = tmp_path / "fleet" / "nodes" / FRA.name / "addresses"
            before, began = device.read_text(), time.monotonic()
            renew(device, f"10.99.99.99/{DEVICE_LENGTH}\n")
            await shows(
                watch,
                lambda view: any(
                    "10.99.99.99/32" in item.device.addresses for item in view.snapshot.observations
                ),
            )
            assert time.monotonic() - began < INTERVAL + 2.0
            renew(device, before)
            await shows(watch, lambda view: view.report.verdict is Verdict.CLEAN)

            fra.process.send_signal(signal.SIGKILL)
            view = await shows(watch, lambda view: bool(unseen(view)))
            assert unseen(view).keys() == {FRA.name}
            assert view.report.verdict is Verdict.INCONCLUSIVE
            await start("fra")
            view = await shows(watch, lambda view: view.report.verdict is Verdict.CLEAN)
            assert view.sessions.followed == 2
            watch.stop()
            await running
            assert sin.end()[0] == 0
        lost, back = [line for line in complaints if line.startswith("region fra: ")][:1] + complaints[-1:]
        assert "is gone" in lost
        assert "followed by" in back

    require_nats()
    (tmp_path / "fleet").mkdir()
    documented = documented_server(tmp_path / "nats")
    try:
        with (
            documented.server,
            served_by_thread(WITNESSES, tmp_path / "fleet", sessions=8) as served,
        ):
            (tmp_path / "export.json").write_text(export_text(WITNESSES.records(served.ssh_hosts)))
            asyncio.run(run(documented, served))
    finally:
        for collector in collectors:
            collector.process.kill()
            collector.process.wait()
            for stream in (collector.process.stdout, collector.process.stderr):
                assert stream is not None
                stream.close()
