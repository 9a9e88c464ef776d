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
from auditor.repair.moves import Step

# An unclosed transport or file is an error then, and stands on stderr as a ResourceWarning.
COMMAND = [sys.executable, "-W", "error", "-c", "from auditor.cli.main import run; run()"]


def environment(folder: Path) -> dict[str, str]:
    """No configuration, no agent, no home but `folder`; temporary files go there too."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8"}


def run(folder: Path, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    return done


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


def test_the_next_command_that_it_names_works(tmp_path: Path) -> None:
    """A newcomer pastes the line; it must tell the story of the pair."""
    done = run(tmp_path, "demo", "--nodes", "15", "--record", "kept here.json.gz")
    assert done.returncode == 0, done.stderr
    assert "wgaudit explain 10.0.0.1 --replay 'kept here.json.gz'" in done.stderr
    told = run(tmp_path, "explain", "10.0.0.1", "--replay", "kept here.json.gz")
    fleet = build_fleet(15)
    assert fleet.incident is not None
    assert all(name in told.stdout for name in fleet.incident.pair.claimants)


def test_its_recording_can_be_planned_and_its_last_line_names_the_second_half(tmp_path: Path) -> None:
    done = run(tmp_path, "demo", "--nodes", "15", "--record", "kept.json.gz")
    assert "wgaudit demo --repair" in done.stderr.splitlines()[-1]
    assert max(map(len, done.stderr.splitlines())) <= 80
    planned = run(tmp_path, "plan", "--replay", "kept.json.gz")
    assert planned.returncode == 0, planned.stderr
    assert "2 contested addresses · 3 moves" in planned.stdout
    assert "lowest CreateIndex" in planned.stdout


def test_repair_goes_the_whole_circle_and_the_duplicates_are_gone(tmp_path: Path) -> None:
    """Without a terminal it asks nothing. What is not verified, for one node refuses, is said by apply itself."""
    done = run(tmp_path, "demo", "--repair", "--nodes", "15", "--no-progress")
    assert done.returncode == 0, done.stdout + done.stderr
    steps = (
        "1 of 4  LOOK",
        "$ wgaudit sweep",
        "$ wgaudit plan --output plan.json",
        "$ wgaudit apply plan.json",
    )
    places = [done.stdout.index(step) for step in (*steps, "4 of 4  LOOK AGAIN", "WHAT CAME OF IT")]
    assert places == sorted(places)
    assert done.stdout.count("remove done") == 3
    steps = set(Step) - {Step.DRAIN, Step.UNDRAIN}
    assert all(f"\n  {step.value} " in done.stdout for step in steps)  # each is told of before
    again = done.stdout[places[-2] :]
    assert "duplicate-address" not in again
    assert "10.0.0.1 and 10." in again
    assert "have one holder each now" in again
    assert "all 3 moves are done, but not verified" in done.stderr
    assert "Traceback" not in done.stderr
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
    with running(tmp_path, "demo", "--nodes", "400") as demo:
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
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    done = run(tmp_path, "demo", "--nodes", "500", preexec_fn=limit)
    assert done.returncode == 2
    assert re.search(r"500 nodes need \d+ open files, and the limit is 256: raise it", done.stderr)


def test_a_low_soft_limit_is_raised_within_the_hard_one(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    done = run(tmp_path, "demo", "--nodes", "100", preexec_fn=limit)
    assert done.returncode == 0, done.stderr


def test_the_help_says_what_the_exit_codes_mean(tmp_path: Path) -> None:
    done = run(tmp_path, "demo", "--help")
    assert done.returncode == 0
    for words in ("Exit codes", "what is missing", "usage"):
        assert words in done.stdout
