"""The incident happens while it is watched: registry, device and routes are one page, and its repair ends it.

With a real Consul, SSH servers that answer as nodes do, and an endpoint of somebody's own.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.demo.demo_fleet import NAME_PATTERN, REGISTRY_PREFIX, build_fleet
from auditor.demo.late_duplicate import late_duplicate, set_device, set_peers
from auditor.demo.servers import ServedFleet
from auditor.service.registration_past import read_registration_history
from auditor.service.watch_telling import WatchAlerts
from auditor.settings.file import Config, parse_config
from auditor.values.registration_changes import ChangeSource, RegistrationChangeKind
from auditor.values.report import Report, Verdict
from auditor.watch.loop import FleetWatch
from auditor.watch.view import WatchView
from auditor.watch.watch_parts import watch_parts
from tests.doubles.receiver import Receiver
from tests.parts.consul import ConsulServer
from tests.serving import served_by_thread

FLEET = build_fleet(6, incident=False)
DUPLICATE = late_duplicate(FLEET)
LONGEST = 60.0
"""Seconds for each step, on a machine that does other things."""


def settings(folder: Path, consul: ConsulServer, served: ServedFleet, receiver: Receiver) -> Config:
    """Settings of a watch of this fleet."""
    return parse_config(
        {
            "consul": {"url": consul.url, "prefix": REGISTRY_PREFIX},
            "ssh": {
                "user": "root",
                "identity_files": [str(served.client_key)],
                "agent": False,
                "known_hosts": str(served.known_hosts),
                "config_file": "/dev/null",
            },
            "mesh": {"device": "wg0"},
            "regions": {"name_pattern": NAME_PATTERN},
            "watch": {"follow_interval": 1.0, "round_interval": 5.0},
            "state": {"path": str(folder / "state" / "wgaudit.db")},
            "notifiers": [{"name": "own", "type": "webhook", "url": f"{receiver.url}/hook"}],
        },
        "test",
    )


def of_address(report: Report) -> list[str]:
    """The checks whose findings are about the contested address, those that lead first."""
    prefix = DUPLICATE.keeper.registered_address
    found = [item for item in report.standing if item.address == prefix]
    return [item.check for item in sorted(found, key=lambda item: item.caused_by is not None)]


async def shows(watch: FleetWatch, condition: Callable[[WatchView], bool]) -> WatchView:
    """The first view that is so."""
    async with asyncio.timeout(LONGEST):
        view = await watch.after(0)
        while not condition(view):
            view = await watch.after(view.number)
        return view


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Subject and reason of all that was told."""
    return [(item["incident"]["subject"], item["reason"]) for item in receiver.notifications]


@pytest.mark.xdist_group("consul")
def test_a_duplicate_that_is_written_is_one_page_and_is_over_after_its_repair(tmp_path: Path) -> None:
    complaints: list[str] = []

    async def run(consul: ConsulServer, served: ServedFleet, receiver: Receiver) -> None:
        config = settings(tmp_path, consul, served, receiver)
        alerts = WatchAlerts(config, complaints.append)
        parts = replace(watch_parts(config, complaints.append), catch_up=1.0)
        nodes = tmp_path / "fleet" / "nodes"
        shutil.copytree(nodes, tmp_path / "before")
        async with alerts:
            watch = FleetWatch(parts, alerts, complaints.append, journal=alerts.take_down)
            running = asyncio.create_task(watch.run())
            view = await shows(watch, lambda view: view.report.verdict is Verdict.CLEAN)
            assert view.sessions.followed == len(FLEET.nodes)

            before = records[DUPLICATE.key]
            await asyncio.to_thread(consul.put, DUPLICATE.key, DUPLICATE.record(before))
            await asyncio.to_thread(receiver.wait_for, 1)
            view = await shows(watch, lambda view: "duplicate-address" in of_address(view.report))
            assert of_address(view.report)[0] == "duplicate-address"

            set_device(DUPLICATE, nodes)
            for observer in FLEET.nodes:
                set_peers(DUPLICATE, observer, nodes)
            view = await shows(watch, lambda view: "split-routing" in of_address(view.report))
            assert of_address(view.report)[0] == "duplicate-address"
            assert [item.check for item in view.report.standing if item.caused_by is None] == [
                "duplicate-address"
            ]
            assert told(receiver)[0] == (DUPLICATE.address, "first-notification")

            await asyncio.to_thread(consul.put, DUPLICATE.key, before)
            shutil.copytree(tmp_path / "before", nodes, dirs_exist_ok=True)
            await shows(watch, lambda view: view.report.verdict is Verdict.CLEAN)
            await shows(watch, lambda _: told(receiver)[-1][1] == "resolved")
            assert [reason for _, reason in told(receiver)].count("first-notification") == 1
            watch.stop()
            await running
        past = read_registration_history(config, DUPLICATE.late.name)
        assert past is not None
        assert [(item.kind, item.seen_by) for item in past.changes] == [
            (RegistrationChangeKind.CHANGED, ChangeSource.WATCH)
        ] * 2
        assert complaints == []

    (tmp_path / "fleet").mkdir()
    with (
        ConsulServer(tmp_path / "consul") as consul,
        served_by_thread(FLEET, tmp_path / "fleet", sessions=24) as served,
        Receiver() as receiver,
    ):
        records = FLEET.records(served.ssh_hosts)
        consul.put_many(records)
        asyncio.run(run(consul, served, receiver))
