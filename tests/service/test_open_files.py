"""The limit on open files: raised where it can be, lived with where not, and told of in one line."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.service.open_files import (
    FILES_A_NODE,
    LOOKS_BESIDE,
    MOST,
    SPARE,
    planned_limit,
    planned_sessions,
)
from tests.cli.command import WGAUDIT, clean_environment
from tests.fleets import key_of
from tests.parts.sshd import make_key

NODES = 150


def test_a_limit_that_is_high_enough_stays_as_it_is() -> None:
    made = planned_limit(100, 10, 1024, 4096)
    assert (made.room, made.soft, made.short) == (100, 1024, False)


def test_a_soft_limit_is_raised_to_what_is_needed_and_no_further() -> None:
    made = planned_limit(1000, 10, 1024, 1_048_576)
    assert (made.room, made.soft, made.short) == (1000, 1000 * FILES_A_NODE + 10 + SPARE, False)


def test_sessions_of_all_nodes_have_room_beside_what_else_is_open() -> None:
    made = planned_sessions(5000, 50, 1024, 1_048_576)
    assert (made.room, made.short) == (5000, False)
    assert made.soft == 5000 + 50 + SPARE + LOOKS_BESIDE * FILES_A_NODE


def test_a_hard_limit_that_is_too_low_bounds_the_sessions() -> None:
    made = planned_sessions(5000, 50, 1024, 4096)
    assert (made.room, made.short) == (4096 - 50 - SPARE - LOOKS_BESIDE * FILES_A_NODE, True)


def test_a_hard_limit_that_is_too_low_bounds_what_is_under_way() -> None:
    made = planned_limit(1000, 10, 256, 512)
    assert (made.room, made.soft, made.short) == ((512 - 10 - SPARE) // FILES_A_NODE, 512, True)


def test_a_huge_fleet_needs_no_file_for_each_of_its_nodes() -> None:
    """They are not all asked at once."""
    assert planned_limit(100_000, 10, 1024, resource.RLIM_INFINITY).room == MOST


@given(
    nodes=st.integers(0, 50_000),
    in_use=st.integers(0, 5000),
    soft=st.integers(1, 100_000),
    more=st.integers(0, 100_000) | st.none(),
)
def test_there_is_always_room_for_one_and_the_limit_is_never_lowered(
    nodes: int, in_use: int, soft: int, more: int | None
) -> None:
    made = planned_limit(nodes, in_use, soft, resource.RLIM_INFINITY if more is None else soft + more)
    assert 1 <= made.room <= made.wanted
    assert made.soft >= soft
    assert more is None or made.soft <= soft + more


@pytest.fixture
def silent_fleet(tmp_path: Path) -> Iterator[Path]:
    """A configuration whose nodes take connections and never say a word."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(NODES)
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        entries = [
            {
                "key": f"wireguard/nodes/n{number}",
                "flags": 0,
                "value": _encoded(
                    {
                        "public_key": key_of(f"n{number}"),
                        "ip": f"10.0.{number // 250}.{number % 250 + 1}",
                        "ssh_host": host,
                    }
                ),
            }
            for number in range(NODES)
        ]
        (tmp_path / "nodes.json").write_text(json.dumps(entries))
        (tmp_path / "known_hosts").write_text("")
        key = make_key(tmp_path / "id")
        config = tmp_path / "wgaudit.toml"
        config.write_text(
            '[consul]\nfile = "nodes.json"\n'
            f'[ssh]\nknown_hosts = "known_hosts"\nidentity_files = ["{key}"]\nagent = false\n'
            "connect_timeout = 0.3\nconcurrency = 150\nlogins_per_host = 150\n[sweep]\nconfirm_after = 0.0\n"
        )
        yield config


def _encoded(record: dict[str, Any]) -> str:
    import base64

    return base64.b64encode(json.dumps(record).encode()).decode()


def swept(config: Path, soft: int, hard: int) -> subprocess.CompletedProcess[str]:
    """A sweep that began with these limits."""
    program = (
        "import os, resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    return subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            WGAUDIT,
            "sweep",
            "--format",
            "json",
            "--no-progress",
        ],
        cwd=config.parent,
        env=clean_environment(config.parent),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def reasons(run: subprocess.CompletedProcess[str]) -> set[str]:
    return {gap["reason"] for gap in json.loads(run.stdout)["gaps"] if gap["node"] is not None}


def test_a_sweep_within_a_low_hard_limit_says_one_line_and_runs_out_of_nothing(silent_fleet: Path) -> None:
    """More nodes that hang than there are files."""
    run = swept(silent_fleet, 160, 160)
    lines = [line for line in run.stderr.splitlines() if "open files" in line]
    assert len(lines) == 1, run.stderr
    assert "the limit on open files is 160" in lines[0]
    assert "instead of 150" in lines[0]
    assert "ulimit -n" in lines[0]
    assert "LimitNOFILE=" in lines[0]
    assert reasons(run) == {"connect-timeout"}
    assert len(json.loads(run.stdout)["gaps"]) == NODES


def test_a_low_soft_limit_is_raised_without_a_word(silent_fleet: Path) -> None:
    run = swept(silent_fleet, 160, 4096)
    assert "open files" not in run.stderr
    assert reasons(run) == {"connect-timeout"}
