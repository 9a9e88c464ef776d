"""`wgaudit diff`: recordings and sweeps of the history side by side."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import one_line, wgaudit
from tests.cli.fleet import HEALTHY, PAIR, TRIPLE, Fleet, contested, mark

Make = Callable[..., Fleet]

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"
INCIDENT, CLEAN = (FIXTURES / case / "snapshot.json.gz" for case in ("incident", "clean"))


def test_recordings_are_compared_without_any_configuration(tmp_path: Path) -> None:
    done = wgaudit("diff", INCIDENT, CLEAN, folder=tmp_path)
    assert done.returncode == 1
    assert "WENT  17 findings" in done.stdout
    assert "duplicate-address  10.0.0.1" in done.stdout
    assert "REGISTRATIONS" in done.stdout
    assert "different: 17 went, 10 other registrations; exit code 1" in one_line(done.stderr)
    same = wgaudit("diff", CLEAN, CLEAN, folder=tmp_path)
    assert (same.returncode, same.stdout.splitlines()[0]) == (0, "SAME")


def test_sweeps_of_the_history_are_compared_by_number_or_from_the_last(
    make_fleet: Make, tmp_path: Path
) -> None:
    fleet = make_fleet()
    fleet.sweep("--record", str(tmp_path / "first.json.gz"))
    fleet.register(contested(TRIPLE))
    fleet.sweep()
    fleet.register(HEALTHY)
    fleet.sweep()
    done = fleet.run("diff", "1", "last", "--format", "json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["schema"] == "wgaudit.diff/1"
    assert [document[side]["number"] for side in ("a", "b")] == [1, 3]
    assert {mark(PAIR), mark(TRIPLE)} <= {item["fingerprint"] for item in document["findings"]["went"]}
    assert document["registrations"] is None
    between = json.loads(fleet.run("diff", "last-1", "last", "--format", "json").stdout)
    assert [item["fingerprint"] for item in between["findings"]["went"]] == [mark(TRIPLE)]
    assert fleet.run("diff", str(tmp_path / "first.json.gz"), "1").returncode == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("7", "the history has no sweep 7; `wgaudit history` shows their numbers"),
        ("last-7", "the history has no sweep last-7"),
        ("none.json.gz", "none.json.gz"),
    ],
)
def test_a_side_that_is_not_there_is_one_line(make_fleet: Make, given: str, says: str) -> None:
    fleet = make_fleet()
    assert "there is no state database" in one_line(fleet.run("diff", "last", "last").stderr)
    fleet.sweep()
    done = fleet.run("diff", "last", given)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in one_line(done.stderr)


def test_a_complaint_about_the_configuration_is_made_once_for_both_sides(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.sweep()
    notifier = '\n[[notifiers]]\nname = "hook"\ntype = "webhook"\nurl = "http://127.0.0.1:9/word"\n'
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        Path(name).chmod(0o755)
        config = Path(name, "wgaudit.toml")
        config.write_text(fleet.config.read_text() + notifier)
        config.chmod(0o644)
        done = fleet.run("diff", "last", "last", "--config", config)
    assert done.stderr.count("everybody here may read it") == 1


def test_an_empty_side_is_told_as_such(tmp_path: Path) -> None:
    done = wgaudit("diff", "", CLEAN, folder=tmp_path)
    assert (done.returncode, "one of them is empty" in done.stderr) == (2, True)
