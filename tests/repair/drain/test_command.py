"""Draining by a command on this machine: what it is given, what decides, and how it is bounded."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from auditor.errors import DrainFailed
from auditor.repair.drain.command import MOST_QUOTED, CommandDrainer
from auditor.repair.drain.interface import DrainTarget
from auditor.values.addresses import Prefix
from auditor.values.drains import DrainMeans, DrainPolicy
from auditor.values.models import NodeId, Registration

TARGET = DrainTarget(
    Registration(NodeId("dc1", "edge-sin-1"), None, (Prefix("10.0.0.1/32"),)), "sin", Prefix("10.0.0.1/32")
)


def program(folder: Path, body: str) -> str:
    file = folder / "drain.sh"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return str(file)


def is_over(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().split()[2] == "Z"


def drainer(*words: str, seconds: float = 20.0, passed: tuple[str, ...] = ()) -> CommandDrainer:
    environment = {"PATH": os.environ["PATH"], "CONSUL_HTTP_TOKEN": "s.secret", "NOMAD_ADDR": "http://n"}
    return CommandDrainer(DrainPolicy(DrainMeans.COMMAND, words, ("true",)), seconds, environment, passed)


async def failing(drains: CommandDrainer, target: DrainTarget = TARGET) -> str:
    with pytest.raises(DrainFailed) as caught:
        await drains.drain(target, "")
    assert str(caught.value).isprintable()
    return str(caught.value)


async def test_it_is_run_with_the_node_s_values_and_its_exit_code_0_is_success(tmp_path: Path) -> None:
    said = tmp_path / "said"
    path = program(tmp_path, f'printf "%s\\n" "$@" >{said}')
    await drainer(path, "{node}", "--region={region}", "{address}", "a b").drain(TARGET, "")
    assert said.read_text().splitlines() == ["edge-sin-1", "--region=sin", "10.0.0.1", "a b"]


async def test_no_secret_of_the_environment_is_handed_on_but_what_is_named(tmp_path: Path) -> None:
    said = tmp_path / "said"
    await drainer(program(tmp_path, f"env >{said}"), passed=("NOMAD_ADDR",)).drain(TARGET, "")
    names = {line.partition("=")[0] for line in said.read_text().splitlines()}
    assert "NOMAD_ADDR" in names
    assert "CONSUL_HTTP_TOKEN" not in names


async def test_another_exit_code_fails_with_what_it_printed(tmp_path: Path) -> None:
    path = program(tmp_path, "echo one; echo 'two \033[2J' >&2; exit 3")
    said = await failing(drainer(path, "{node}"))
    assert said.startswith(f"{path} edge-sin-1: exit code 3: one two ")
    assert "\033" not in said


async def test_a_program_that_is_not_there_is_named() -> None:
    assert await failing(drainer("no-such-drain", "{node}")) == (
        "no-such-drain edge-sin-1: No such file or directory"
    )


async def test_a_flood_of_output_costs_nothing_and_is_quoted_by_its_beginning(tmp_path: Path) -> None:
    path = program(tmp_path, "head -c 5000000 /dev/zero | tr '\\0' x; exit 1")
    said = await failing(drainer(path))
    assert len(said) < len(path) + MOST_QUOTED + 100


async def test_one_that_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    """It waits for a process of its own, which would go on."""
    ident = tmp_path / "pid"
    path = program(tmp_path, f"echo begun; sleep 600 & echo $! >{ident}; wait")
    began = time.monotonic()
    said = await failing(drainer(path, seconds=0.5))
    assert "did not end within 0.5 s, and was killed: begun" in said
    assert time.monotonic() - began < 10
    for _ in range(500):  # an orphan is reaped in its own time
        if is_over(int(ident.read_text())):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("what it started goes on")


async def test_one_that_leaves_a_process_behind_has_ended_all_the_same(tmp_path: Path) -> None:
    path = program(tmp_path, f"sleep 5 & echo $! >{tmp_path / 'pid'}; exit 0")
    began = time.monotonic()
    await drainer(path).drain(TARGET, "")
    assert time.monotonic() - began < 4
    os.kill(int((tmp_path / "pid").read_text()), 9)


async def test_a_name_that_is_none_for_a_command_runs_nothing(tmp_path: Path) -> None:
    path = program(tmp_path, f"touch {tmp_path / 'ran'}")
    hostile = DrainTarget(Registration(NodeId("dc1", "--force"), None, ()))
    assert "its name is none that is put into a command" in await failing(drainer(path, "{node}"), hostile)
    assert not (tmp_path / "ran").exists()
