"""`wgaudit demo --watch`: somebody is paged for a duplicate that was just written, and devices and routes follow."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from auditor.cli.main import main
from tests.demo.test_command import leftovers, processes_on_nodes, run, running


def test_it_tells_when_whom_and_what_followed_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = run(tmp_path, "demo", "--watch", "--nodes", "15", "--after", "0.5", "--seconds", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    words = " ".join(done.stdout.split())
    story = (
        r"Its page: http://127\.0\.0\.1:\d+/",
        r"\+0\.000 s written to the registry: \S+ has 10\.",
        r"\+\d\.\d{3} s the person on call is told: first-notification: duplicate-address 10\.",
        r"own device has it now",
        r"the watch shows the device",
        r"every server has set its peers",
        r"the watch shows who routes where",
        r"wgaudit explain 10\.\S+ --config /",
    )
    places = [found.start() for text in story if (found := re.search(text, words))]
    assert len(places) == len(story), done.stdout
    assert places == sorted(places)
    assert done.stderr.count("new: critical duplicate-address") == 1
    assert done.stderr.splitlines()[-1].endswith("Z ended")
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert leftovers(tmp_path) == []
    assert processes_on_nodes(tmp_path) == []


def test_ctrl_c_ends_watch_and_fleet(tmp_path: Path) -> None:
    with running(tmp_path, "demo", "--watch", "--nodes", "15", "--after", "3600") as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "Its page" in line:
                break
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 1  # nobody was told of anything
    assert errors.splitlines()[-1].endswith("Z ended")
    assert leftovers(tmp_path) == []
    assert processes_on_nodes(tmp_path) == []


@pytest.mark.parametrize("options", [["--repair"], ["--keep"], ["--format", "json"]])
def test_it_goes_with_no_option_of_a_sweep(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--watch", *options]) == 2
    assert "--watch has a page and a log" in capsys.readouterr().err


def test_its_end_is_for_a_watch_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seconds", "3"]) == 2
    assert "--seconds goes with --watch" in capsys.readouterr().err
