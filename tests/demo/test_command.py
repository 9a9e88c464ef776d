"""`wgaudit demo` as people run it: a process of its own, with nothing configured."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from auditor.demo.demo_fleet import FEWEST_NODES, build_fleet
from tests.cli.command import wgaudit

# An unclosed transport or file is an error then, and stands on stderr as a ResourceWarning.
COMMAND = [sys.executable, "-W", "error", "-c", "from auditor.cli.entry import begin; begin()"]


def environment(folder: Path) -> dict[str, str]:
    """No configuration, no agent, no home but `folder`; temporary files go there too."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8"}


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """To its end, forked from one that has started already: see `warm_start`."""
    return wgaudit(*words, folder=folder, environment={"TMPDIR": str(folder)})


def run_within(folder: Path, open_files: tuple[int, int], *words: str) -> subprocess.CompletedProcess[str]:
    """To its end, with these limits of open files, soft and hard."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, open_files),
    )


@contextmanager
def running(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, *words],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("wgaudit-demo-*")]


def processes_on_nodes(folder: Path) -> list[str]:
    """Where processes are that stand in a node's folder of a demo whose temporary folder this is."""
    found = []
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        try:
            place = cwd.readlink()
        except OSError:
            continue
        if place.is_relative_to(folder) and "nodes" in place.parts:
            found.append(str(place))
    return found


def test_the_demo_finds_all_that_it_planted_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = run(tmp_path, "demo")
    assert done.returncode == 0, done.stderr
    assert "10.0.0.1" in done.stdout
    assert "connect-refused" in done.stdout
    assert "NATS: of 33 asked, 18 reached " in done.stdout
    assert "answered-by-other" in done.stdout
    assert "asyncio" not in done.stderr
    assert done.stderr.count("\n  found") == 7
    assert "MISSING" not in done.stderr
    assert "NOT PLANTED" not in done.stderr
    assert "Warning" not in done.stderr
    assert "Traceback" not in done.stderr
    assert leftovers(tmp_path) == []
    assert processes_on_nodes(tmp_path) == []


def test_with_json_stdout_is_one_document_that_names_both_contested_addresses(tmp_path: Path) -> None:
    done = run(tmp_path, "demo", "--format", "json", "--nodes", str(FEWEST_NODES), "--seed", "7")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    fleet = build_fleet(FEWEST_NODES, 7)
    contested = {
        item["subject"]: tuple(item["nodes"])
        for item in report["findings"]
        if item["check"] == "duplicate-address"
    }
    assert contested == {contest.address.removesuffix("/32"): contest.claimants for contest in fleet.contests}
    assert report["coverage"]["observed"] == FEWEST_NODES - 1


def test_the_commands_that_it_names_for_its_recording_work(tmp_path: Path) -> None:
    """A newcomer pastes the lines; one tells the story of the pair, one plans. The last names the second half."""
    done = run(tmp_path, "demo", "--nodes", "15", "--record", "a b.json.gz")
    assert done.returncode == 0, done.stderr
    assert "wgaudit explain 10.0.0.1 --replay 'a b.json.gz'" in done.stderr
    assert "wgaudit demo --repair" in done.stderr.splitlines()[-1]
    assert max(map(len, done.stderr.splitlines())) <= 80
    told = run(tmp_path, "explain", "10.0.0.1", "--replay", "a b.json.gz")
    fleet = build_fleet(15)
    assert fleet.incident is not None
    assert all(name in told.stdout for name in fleet.incident.pair.claimants)
    planned = run(tmp_path, "plan", "--replay", "a b.json.gz")
    assert planned.returncode == 0, planned.stderr
    assert "2 contested addresses · 3 moves" in planned.stdout
    assert "lowest CreateIndex" in planned.stdout


def test_without_a_terminal_repair_asks_nothing_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    """The whole circle is gone in tests/ways/test_newcomer.py."""
    with running(tmp_path, "demo", "--repair", "--nodes", "15", "--no-progress") as demo:
        assert demo.stdout is not None
        assert any("$ wgaudit plan --output plan.json" in line for line in demo.stdout)
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 1, errors
    assert "Traceback" not in errors
    assert leftovers(tmp_path) == []
    assert processes_on_nodes(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [(["--yes"], "--yes goes with --repair"), (["--repair", "--keep"], "--repair runs commands of its own")],
)
def test_options_that_do_not_go_together_are_a_usage_error(
    tmp_path: Path, options: list[str], says: str
) -> None:
    done = run(tmp_path, "demo", *options)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_kept_fleet_can_be_swept_from_another_process_until_ctrl_c(tmp_path: Path) -> None:
    with running(tmp_path, "demo", "--nodes", "15", "--keep", "--format", "json") as demo:
        assert demo.stderr is not None
        config = ""
        for line in demo.stderr:
            if match := re.search(r"wgaudit sweep --config (\S+)", line):
                config = match[1]
                break
        assert config
        swept = run(tmp_path, "sweep", "--config", config, "--format", "json")
        assert swept.returncode == 1, swept.stderr
        asked = run(tmp_path, "ask", "10.0.0.1", "--all", "--config", config)
        assert asked.returncode == 1, asked.stderr
        demo.send_signal(signal.SIGINT)
        output, errors = demo.communicate(timeout=20)
    assert demo.returncode == 0, errors
    assert "Traceback" not in errors
    assert "Warning" not in errors
    pair = build_fleet(15).contests[0]
    assert all(name in asked.stdout for name in pair.claimants)
    here, there = json.loads(output), json.loads(swept.stdout)
    for finding in (*here["findings"], *there["findings"]):
        del finding["next_steps"]  # each names files of its own
    assert here["findings"] == there["findings"]
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_in_the_middle_ends_it_and_leaves_nothing_behind(tmp_path: Path, times: int) -> None:
    """Once: the report of what was seen so far, and what is missing from it. Twice: the end."""
    with running(tmp_path, "demo", "--nodes", "100") as demo:
        assert demo.stderr is not None
        started = iter(demo.stderr.readline, "")
        assert any("sweep started" in line for line in started)
        for _ in range(times):
            demo.send_signal(signal.SIGINT)
        output, errors = demo.communicate(timeout=60)
    # Two signals in a row may arrive as one.
    if times == 1 or demo.returncode == 1:
        assert demo.returncode == 1, errors
        assert "cut short" in output
        assert "MISSING" in errors
    else:
        assert demo.returncode == 130, errors
        assert output == ""
    assert "Traceback" not in errors
    assert "Warning" not in errors
    assert leftovers(tmp_path) == []
    assert processes_on_nodes(tmp_path) == []


@pytest.mark.parametrize(
    ("count", "reason"), [("14", "at least 15"), ("1001", "1000 at most"), ("x", "integer")]
)
def test_a_fleet_of_a_size_that_does_not_work_is_a_usage_error(
    tmp_path: Path, count: str, reason: str
) -> None:
    done = run(tmp_path, "demo", "--nodes", count)
    assert done.returncode == 2
    assert done.stdout == ""
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_too_few_open_files_say_what_to_raise(tmp_path: Path) -> None:
    done = run_within(tmp_path, (256, 256), "demo", "--nodes", "500")
    assert done.returncode == 2
    assert re.search(r"500 nodes need \d+ open files, and the limit is 256: raise it", done.stderr)


def test_a_low_soft_limit_is_raised_within_the_hard_one(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = run_within(tmp_path, (64, hard), "demo", "--nodes", "30")
    assert done.returncode == 0, done.stderr


def test_the_help_says_what_the_exit_codes_mean(tmp_path: Path) -> None:
    done = run(tmp_path, "demo", "--help")
    assert done.returncode == 0
    for words in ("Exit codes", "what is missing", "usage"):
        assert words in done.stdout
