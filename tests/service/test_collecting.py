"""A sweep through collectors, each a process: the report of one machine, and gaps of just those who are cut off."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from auditor.demo.demo_fleet import NAME_PATTERN, REGISTRY_PREFIX, build_fleet
from auditor.demo.servers import ServedFleet
from auditor.gather.progress_events import Unwatched
from auditor.gather.sweep import SweepOptions
from auditor.registry.file import export_text
from auditor.reports.interface import Layout
from auditor.reports.json_v1 import render
from auditor.service.audit import Auditor, judged
from auditor.settings.file import Config, parse_config
from tests.cli.watching import watching
from tests.parts.nats import NatsServer
from tests.serving import served_by_thread

FLEET = build_fleet(15)
REGIONS = ("fra", "sin")


class Complaints(Unwatched):
    """An observer that keeps what is complained of."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def complain(self, line: str) -> None:
        self.lines.append(line)


def ssh_settings(served: ServedFleet) -> Mapping[str, Any]:
    return {
        "identity_files": [str(served.client_key)],
        "agent": False,
        "known_hosts": str(served.known_hosts),
        "config_file": "/dev/null",
    }


def auditor_config(
    folder: Path, served: ServedFleet, port: int | None = None, fallback: str = "local"
) -> Config:
    """The auditor's settings; port: of the NATS server, if collectors are asked. Without fallback, it has no key."""
    tables: dict[str, Any] = {
        "consul": {"file": str(folder / "export.json"), "prefix": REGISTRY_PREFIX},
        "regions": {"name_pattern": NAME_PATTERN},
        "ssh": ssh_settings(served) if fallback == "local" else {"identity_files": [str(folder / "none")]},
        "state": {"path": str(folder / "none.db")},
    }
    if port is not None:
        tables["collectors"] = {
            "nats": f"nats://127.0.0.1:{port}",
            "regions": list(REGIONS),
            "fallback": fallback,
        }
    return parse_config(tables, "test")


def collector_file(folder: Path, served: ServedFleet, port: int) -> Path:
    """The configuration of a collector, in a folder of its own."""
    folder.mkdir()
    lines = ["[collectors]", f'nats = "nats://127.0.0.1:{port}"', "[ssh]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in ssh_settings(served).items()]
    path = folder / "wgaudit.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def report(config: Config, *, confirm: bool = True) -> tuple[dict[str, Any], list[str]]:
    """A sweep's JSON report without its times, and what was complained of."""
    said = Complaints()

    async def sweep() -> dict[str, Any]:
        snapshot = await Auditor(config).look(SweepOptions(confirm_after=0.0 if confirm else None), said)
        made: dict[str, Any] = json.loads(render((await judged(snapshot)).report, Layout()))
        return {name: part for name, part in made.items() if name not in ("started_at", "finished_at")}

    return asyncio.run(sweep()), said.lines


def gaps_by_reason(made: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for gap in made["gaps"]:
        found.setdefault(gap["reason"], []).append(gap["node"])
    return {reason: sorted(nodes) for reason, nodes in found.items()}


def test_a_fleet_with_the_incident_is_judged_alike_by_collectors_and_blind_only_where_one_is_gone(
    tmp_path: Path,
) -> None:
    """Two regions by a process each, the others from here; then one process is killed, and then all."""
    with ExitStack() as stack:
        (tmp_path / "fleet").mkdir()
        server = stack.enter_context(NatsServer(tmp_path / "nats", name="collect", monitoring=False))
        served = stack.enter_context(served_by_thread(FLEET, tmp_path / "fleet", sessions=16))
        (tmp_path / "export.json").write_text(export_text(FLEET.records(served.ssh_hosts)))
        collectors = {}
        for region in REGIONS:
            collector_file(folder := tmp_path / region, served, server.port)
            collectors[region] = stack.enter_context(
                watching(folder, "--region", region, command="collector")
            )
        for collector in collectors.values():
            collector.wait_for("collects for")

        alone, _ = report(auditor_config(tmp_path, served))
        together, said = report(auditor_config(tmp_path, served, server.port))
        assert together == alone
        assert said == []
        assert alone["verdict"] == "findings"

        collectors["fra"].send(signal.SIGKILL)
        collectors["fra"].process.wait()
        without, _ = report(auditor_config(tmp_path, served, server.port, "none"), confirm=False)
        missing = gaps_by_reason(without)
        assert sorted(missing) == ["collector-missing"] or sorted(missing) == [
            "collector-missing",
            "connect-refused",
        ]
        seen = {node.name for node in FLEET.nodes} - set(missing["collector-missing"])
        assert seen == {node.name for node in FLEET.nodes if node.registered_region == "sin"}
        server.stop()
        blind, said = report(auditor_config(tmp_path, served, server.port, "none"), confirm=False)
        assert gaps_by_reason(blind) == {"collector-missing": sorted(node.name for node in FLEET.nodes)}
        assert blind["verdict"] == "findings"
        assert len(said) == 1


def loaded(folder: Path, *tables: str) -> tuple[set[str], str]:
    """The modules that a sweep of this configuration loads, and what it says."""
    (folder / "export.json").write_text(
        export_text(FLEET.records({node.name: "127.0.0.1:1" for node in FLEET.nodes}))
    )
    (folder / "wgaudit.toml").write_text(
        "\n".join((f'[consul]\nfile = "export.json"\nprefix = "{REGISTRY_PREFIX}"', *tables))
    )
    script = (
        "import sys\n"
        "from auditor.cli.main import run\n"
        "sys.argv = ['wgaudit', 'sweep', '--config', 'wgaudit.toml', '--output', 'report']\n"
        "try:\n    run()\n"
        "finally:\n    print(*sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    return set(done.stdout.split()), done.stderr


def test_a_sweep_without_collectors_loads_nothing_of_nats(tmp_path: Path) -> None:
    (tmp_path / "known").touch()
    modules, said = loaded(
        tmp_path, f'[state]\npath = "{tmp_path}/none.db"\n[ssh]\nknown_hosts = "{tmp_path}/known"'
    )
    assert "asyncssh" in modules, said
    assert not {"nats", "nkeys", "nacl", "auditor.gather.nats"} & modules


def test_a_sweep_that_records_nothing_loads_nothing_of_recordings_and_none_loads_the_allocator(
    tmp_path: Path,
) -> None:
    collectors = '[collectors]\nnats = "nats://127.0.0.1:1"\nregions = ["fra"]'
    modules, said = loaded(tmp_path, f'[state]\npath = "{tmp_path}/none.db"', collectors)
    assert "auditor.judge" in modules, said
    assert not {"auditor.state.recording", "auditor.repair.claims.allocator"} & modules


@pytest.mark.parametrize("fallback", ["none", "local"])
def test_a_sweep_by_collectors_loads_ssh_and_reads_its_settings_only_to_look_from_here(
    tmp_path: Path, fallback: str
) -> None:
    """NATS is away here: without a fallback nobody is looked at, with one everybody would be."""
    modules, said = loaded(
        tmp_path,
        f'[state]\npath = "{tmp_path}/none.db"\n[ssh]\nknown_hosts = "{tmp_path}/unreadable"',
        f'[collectors]\nnats = "nats://127.0.0.1:1"\nregions = ["fra"]\nfallback = "{fallback}"',
    )
    assert "auditor.gather.nats" in modules, said
    assert ("asyncssh" in modules) == (fallback == "local")
    assert "15 gaps" in said
    assert ("unreadable" in (tmp_path / "report").read_text()) == (fallback == "local")
