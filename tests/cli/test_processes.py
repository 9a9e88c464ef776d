"""`wgaudit sweep --processes`: the same report, and no process that outlives the command, however it ends."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from auditor.cli.settings import _ssh_nodes
from auditor.demo.fleet import DEFAULT_SEED, FEWEST_NODES, build_fleet
from auditor.demo.folder import write_configuration
from auditor.demo.servers import serve
from auditor.registry.file import export_text
from auditor.settings.file import Config
from tests.cli.command import WGAUDIT, clean_environment, one_line, wgaudit
from tests.fleets import key_of

_PATIENCE = 60.0  # seconds for what takes one or two


async def run(*arguments: str | Path, folder: Path) -> tuple[int | None, str, str]:
    """One run of the command, while this loop serves the fleet."""
    process = await asyncio.create_subprocess_exec(
        WGAUDIT,
        *arguments,
        cwd=folder,
        env=clean_environment(folder),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(), _PATIENCE)
    return process.returncode, stdout.decode(), stderr.decode()


def timeless(report: str) -> Any:
    """A JSON report without its times."""
    return {name: value for name, value in json.loads(report).items() if not name.endswith("_at")}


async def test_the_report_is_the_same_from_any_number_of_processes(tmp_path: Path) -> None:
    """Of a fleet with the incident and one node that refuses; by the option, and by the configuration's key."""
    fleet = build_fleet(FEWEST_NODES, DEFAULT_SEED)
    (tmp_path / "served").mkdir()
    async with serve(fleet, tmp_path / "served", sessions=8) as served:
        config = write_configuration(fleet, served, tmp_path, concurrency=8)
        sweep = ("sweep", "--config", config, "--format", "json", "--no-progress", "--no-confirm")
        outcomes = [await run(*sweep, "--processes", str(count), folder=tmp_path) for count in (1, 2, 3)]
        text = config.read_text()
        assert text.count("[sweep]") == 1
        config.write_text(text.replace("[sweep]", "[sweep]\nprocesses = 2"))
        code, _, stderr = await run("--verbose", *sweep, folder=tmp_path)
    assert [code for code, _, _ in outcomes] == [1, 1, 1], outcomes
    reports = [timeless(report) for _, report, _ in outcomes]
    assert reports[0] == reports[1] == reports[2]
    for _, _, errors in outcomes:
        one_line(errors)
    assert code == 1
    assert "2 worker processes look at" in stderr


@pytest.mark.parametrize("count", ["0", "65", "many"])
def test_a_number_of_processes_that_makes_no_sense_is_refused(tmp_path: Path, count: str) -> None:
    done = wgaudit("sweep", "--processes", count, folder=tmp_path)
    assert done.returncode == 2
    assert "--processes" in done.stderr


def test_processes_have_no_meaning_with_a_recording(tmp_path: Path) -> None:
    done = wgaudit("sweep", "--replay", "seen.json.gz", "--processes", "2", folder=tmp_path)
    assert done.returncode == 2
    assert "--processes has no meaning with --replay" in done.stderr


def test_processes_share_out_what_a_host_and_a_jump_host_are_bounded_to(tmp_path: Path) -> None:
    """A bound that each of eight processes had for itself would be eight times the bound."""
    (tmp_path / "known_hosts").touch()
    config = Config.model_validate(
        {"ssh": {"known_hosts": tmp_path / "known_hosts", "config_file": None, "per_jump": 64}}
    )
    whole, shared = (
        _ssh_nodes(config.ssh, "wg0", "", sharing)._settings  # type: ignore[attr-defined]
        for sharing in (1, 8)
    )
    assert (whole.per_jump, whole.logins_per_host) == (64, 8)
    assert (shared.per_jump, shared.logins_per_host) == (8, 1)


@contextmanager
def silent_nodes(folder: Path, count: int) -> Iterator[tuple[list[socket.socket], Path]]:
    """A fleet of nodes that are connected to and say nothing, and its configuration."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        records = {}
        for number, node in enumerate(nodes):
            node.settimeout(_PATIENCE)
            value = {
                "public_key": key_of(f"n{number}"),
                "ip": f"10.20.0.{number + 1}",
                "ssh_host": f"127.0.0.1:{node.getsockname()[1]}",
            }
            records[f"wireguard/nodes/n{number}"] = json.dumps(value).encode()
        (folder / "registry.json").write_text(export_text(records))
        (folder / "known_hosts").touch()
        config = folder / "wgaudit.toml"
        config.write_text(
            f"[consul]\nfile = '{folder}/registry.json'\n"
            f"[ssh]\nagent = false\nknown_hosts = '{folder}/known_hosts'\nconnect_timeout = 600.0\n"
        )
        yield nodes, config


@contextmanager
def under_way(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A sweep from two processes that have both begun to ask a node, in a process group of its own."""
    with silent_nodes(folder, 2) as (nodes, config), ExitStack() as stack:
        sweep = subprocess.Popen(
            [WGAUDIT, "sweep", "--config", config, "--format", "json", "--processes", "2"],
            cwd=folder,
            env=clean_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with sweep:
            try:
                for node in nodes:
                    stack.enter_context(node.accept()[0])
                yield sweep
            finally:
                sweep.kill()


@contextmanager
def ends_of_children(sweep: subprocess.Popen[str]) -> Iterator[list[int]]:
    """File descriptors that become readable when a child ends: those of the workers, and of their helper."""
    children = Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read_text().split()
    assert len(children) == 3
    descriptors = [os.pidfd_open(int(child)) for child in children]
    try:
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def all_ended(descriptors: list[int]) -> bool:
    return all(select.select([descriptor], [], [], _PATIENCE)[0] for descriptor in descriptors)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_that_reaches_all_processes_gives_one_report(tmp_path: Path, number: signal.Signals) -> None:
    """In a terminal it reaches the whole group, and so does a service's stop: only the parent acts on it."""
    with under_way(tmp_path) as sweep, ends_of_children(sweep) as descriptors:
        os.killpg(sweep.pid, number)
        stdout, stderr = sweep.communicate(timeout=_PATIENCE)
        assert all_ended(descriptors)
    assert sweep.returncode == 3, stderr
    report = json.loads(stdout)
    assert report["cut_short"] == "interrupted"
    assert {gap["reason"] for gap in report["gaps"]} == {"cut-short"}
    assert "Traceback" not in stderr
    assert "worker process" not in stderr


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Nobody could tell them: they notice."""
    with under_way(tmp_path) as sweep, ends_of_children(sweep) as descriptors:
        sweep.kill()
        assert all_ended(descriptors)
        _, stderr = sweep.communicate(timeout=_PATIENCE)
    assert stderr.splitlines() == ["wgaudit: sweep started"]


def test_a_worker_that_is_killed_leaves_a_report_with_its_nodes_as_gaps(tmp_path: Path) -> None:
    """As the kernel does where memory runs out."""
    with under_way(tmp_path) as sweep:
        children = Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read_text().split()
        workers = [
            int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
        assert len(workers) == 2
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        stdout, stderr = sweep.communicate(timeout=_PATIENCE)
    assert sweep.returncode == 3, stderr
    gaps = [(gap["reason"], gap["detail"]) for gap in json.loads(stdout)["gaps"]]
    assert gaps == [("internal-error", "a worker process ended (signal 9)")] * 2
    assert "Traceback" not in stderr
