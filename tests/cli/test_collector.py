"""`wgaudit collector` and `wgaudit collectors` as processes, over a real nats-server, with nodes reached by SSH."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from auditor.demo.servers import ServedFleet
from auditor.errors import GapReason
from auditor.gather.nats.messages import Failed, Last, OpenJob, SeenBatch
from auditor.gather.nats.nats_login import read_login
from auditor.registry.file import FileRegistry, export_text
from auditor.service.collector_run import job_config
from auditor.service.version import VERSION
from auditor.settings.consul import ConsulSettings
from auditor.settings.file import parse_toml
from auditor.values.models import NodeId, Registration
from tests.cli.command import one_line, wgaudit
from tests.cli.fleet import NOBODY, REGISTRY_PREFIX, WITNESSES, answering
from tests.cli.watching import Watching, watching
from tests.gather.nats.by_hand import asking
from tests.gather.nats.documented import DocumentedServer, documented_server, replaced
from tests.parts.nats import require_nats

SCHEMA = Path(__file__).parents[2] / "docs" / "collectors-v1.schema.json"
DEAD = Registration(NodeId("dc1", "dead-fra-1"), None, (), ssh_host=NOBODY)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentedServer]:
    require_nats()
    made = documented_server(tmp_path_factory.mktemp("documented"))
    with made.server:
        yield made


@pytest.fixture(scope="module")
def fleet() -> Iterator[ServedFleet]:
    """Two nodes that answer over SSH."""
    with answering() as served:
        yield served


@pytest.fixture
def folder(server: DocumentedServer, fleet: ServedFleet, tmp_path: Path) -> Path:
    """A folder with the documented configurations of both sides, at home here."""
    (tmp_path / "ssh_config").touch()
    text = replaced(
        server.configuration("collector", "UFRA"),
        {
            'user = "wgaudit"': f'user = "root"\nagent = false\nconfig_file = "{tmp_path / "ssh_config"}"\n'
            "connect_timeout = 120.0",
            "/etc/wgaudit/id_ed25519": str(fleet.client_key),
            "/etc/wgaudit/known_hosts": str(fleet.known_hosts),
        },
    )
    (tmp_path / "collector.toml").write_text(text, encoding="utf-8")
    (tmp_path / "auditor.toml").write_text(server.configuration("auditor", "UAUDITOR"), encoding="utf-8")
    return tmp_path


@pytest.fixture
def collector(folder: Path) -> Iterator[Watching]:
    """A collector of fra that serves."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(20)
        with watching(
            folder,
            *("--config", "collector.toml", "--region", "fra"),
            environment={"NOTIFY_SOCKET": str(folder / "notify")},
            command="collector",
        ) as running:
            running.wait_for("collects for fra, by tls://localhost:")
            assert manager.recv(4096).decode() == "READY=1\nSTATUS=collects for fra: 0 jobs, 0 nodes"
            yield running


async def registrations(fleet: ServedFleet, folder: Path) -> list[Registration]:
    """Those of the two nodes."""
    file = folder / "registry.json"
    file.write_text(export_text(WITNESSES.records(fleet.ssh_hosts)), encoding="utf-8")
    reading = await FileRegistry(file, ConsulSettings(prefix=REGISTRY_PREFIX), "wg0").read()
    return list(reading.registrations)


def roll(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = wgaudit("collectors", "--config", "auditor.toml", *arguments, folder=folder)
    return done.returncode, done.stdout, done.stderr


async def test_it_looks_by_its_own_configuration_and_ends_in_time_while_a_job_is_under_way(
    collector: Watching, server: DocumentedServer, fleet: ServedFleet, folder: Path
) -> None:
    """A node that never answers is under way when SIGTERM comes."""
    config = parse_toml((folder / "auditor.toml").read_text(), "auditor.toml")
    login = read_login(config.collectors, config.mesh.pools)
    nodes = await registrations(fleet, folder)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stuck = replace(
            DEAD, node=NodeId("dc1", "stuck-fra-1"), ssh_host=f"127.0.0.1:{silent.getsockname()[1]}"
        )
        async with asking(login) as auditor, asking(login) as other:
            await auditor.look([*nodes, DEAD])
            came = await auditor.until(Last)
            seen = [form for batch in came if isinstance(batch, SeenBatch) for form in batch.observations]
            gaps = [form for batch in came if isinstance(batch, SeenBatch) for form in batch.gaps]
            assert {form.name for form in seen} == {item.node.name for item in nodes}
            assert [(form.name, form.reason) for form in gaps] == [("dead-fra-1", GapReason.CONNECT_REFUSED)]
            await auditor.end()
            await other.look([stuck])
            await asyncio.to_thread(collector.wait_for, r"begins job \S+ \(look, 1 node\)")
            code, listed, _ = await asyncio.to_thread(roll, folder, "--format", "json")
            document = json.loads(listed)
            jsonschema.validate(document, json.loads(SCHEMA.read_text()))
            assert code == 1
            assert [(item["region"], item["served"]) for item in document["regions"]] == [
                ("fra", True),
                ("sin", False),
            ]
            (one,) = document["collectors"]
            assert (one["region"], one["pid"], one["version"], one["jobs"], one["nodes"]) == (
                "fra",
                str(collector.process.pid),
                VERSION,
                1,
                1,
            )
            ending = asyncio.create_task(asyncio.to_thread(collector.end))
            failed = (await other.until(Failed))[-1]
            assert isinstance(failed, Failed)
            assert "1 node not looked at by the collector: it was told to end" in failed.detail
            code, seconds = await ending
    assert code == 0
    assert seconds < 5
    assert collector.lines[-1] == "ended"


def test_it_comes_back_by_itself_when_the_nats_server_was_started_anew(
    collector: Watching, server: DocumentedServer, folder: Path
) -> None:
    server.server.stop()
    collector.wait_for("connection lost; trying again")
    away = roll(folder)
    assert (away[0], away[1]) == (3, "")
    assert re.search(r"tls://localhost:\d+: Connect call failed", one_line(away[2]))
    server.server.__enter__()
    collector.wait_for("back after")
    code, listed, complaints = roll(folder)
    assert (code, complaints) == (1, "")
    lines = listed.splitlines()
    assert lines[0].startswith("COLLECTORS  1 collector, by tls://localhost:")
    assert re.fullmatch(
        rf"fra +\S+ +{collector.process.pid} +{re.escape(VERSION)} +0/8 +0 +\S+ \S+", lines[3]
    )
    assert lines[-1] == "sin: no collector serves it"
    assert collector.end(signal.SIGINT)[0] == 0


def test_what_cannot_work_is_one_line_before_anything_is_served(folder: Path) -> None:
    def refused(*arguments: str) -> str:
        done = wgaudit(*arguments, folder=folder)
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr

    assert "--region" in refused("collector", "--config", "collector.toml")
    assert "must be a region's name" in refused(
        "collector", "--config", "collector.toml", "--region", "fra.>"
    )
    (folder / "none.toml").write_text("")
    assert "collectors.nats is missing" in one_line(
        refused("collector", "--config", "none.toml", "--region", "fra")
    )
    assert "collectors.nats is not set" in one_line(refused("collectors", "--config", "none.toml"))
    text = (folder / "collector.toml").read_text()
    (folder / "mesh.toml").write_text(re.sub("tls://localhost", "tls://10.0.0.1", text))
    for command in (
        ("config", "check", "--config", "mesh.toml"),
        ("collector", "--config", "mesh.toml", "--region", "fra"),
    ):
        assert "10.0.0.1 lies in mesh.pools" in one_line(refused(*command))


def test_a_key_of_another_region_serves_nothing_and_says_so(folder: Path, server: DocumentedServer) -> None:
    with watching(
        folder,
        *("--config", "collector.toml", "--region", "sin"),
        command="collector",
        environment={"NOTIFY_SOCKET": ""},
    ) as running:
        running.wait_for("does not let this user collect for sin: .*; trying again")
        assert running.end()[0] == 0


def test_it_ends_in_time_while_it_waits_for_a_server_that_does_not_answer(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        text = re.sub(
            'nats = "tls://.*"\nca_file = .*', f'nats = "{url}"', (folder / "collector.toml").read_text()
        )
        (folder / "silent.toml").write_text(text)
        with watching(
            folder, *("--config", "silent.toml", "--region", "fra"), command="collector"
        ) as running:
            running.wait_for("collector .*, configured by silent.toml")
            silent.settimeout(20)
            with silent.accept()[0]:
                code, seconds = running.end()
    assert code == 0
    assert seconds < 5


def test_an_auditor_has_a_say_in_what_the_probe_asks_and_in_nothing_else() -> None:
    """Whatever a job says, what runs on nodes and how they are reached is the collector's own."""
    config = parse_toml(
        """
        [ssh]
        user = "root"
        wg_command = ["/usr/bin/wg"]
        [mesh]
        device = "wg0"
        [regions]
        command = "cat /etc/region"
        """,
        "collector.toml",
    )
    opened = OpenJob(
        job="0" * 32,
        region="fra",
        nodes=1,
        device="wg0",
        pools=["10.128.0.0/9"],
        address_devices=["lo"],
        endpoints=True,
    )
    made = job_config(config, opened)
    asked = made.model_dump()
    assert (asked["mesh"]["pools"], asked["mesh"]["address_devices"]) == (("10.128.0.0/9",), ("lo",))
    assert asked["ssh"]["endpoints"] is True
    own = config.model_dump()
    for table, key in (("mesh", "pools"), ("mesh", "address_devices"), ("ssh", "endpoints")):
        del asked[table][key], own[table][key]
    assert asked == own
