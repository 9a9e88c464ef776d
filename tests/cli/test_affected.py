"""`wgaudit affected`: its forms on stdout alone, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.state.recording import record
from tests.cli.command import one_line, wgaudit
from tests.fleets import Mesh, contested, trio


def recorded(mesh: Mesh, folder: Path) -> Path:
    """A recording of a small fleet."""
    record(mesh.snapshot(), folder / "seen.json.gz")
    return folder / "seen.json.gz"


@pytest.mark.parametrize(
    ("mesh", "target", "code"),
    [
        (contested(), "10.0.0.9", 1),
        (trio(), "10.0.0.2", 0),
        (trio().not_seen("edge-ams-1"), "10.0.0.2", 3),
        (trio(), "10.0.0.77", 2),
        (trio(), "missing-peer", 0),
    ],
)
def test_the_exit_code_says_whether_somebody_is_lost(
    mesh: Mesh, target: str, code: int, tmp_path: Path
) -> None:
    done = wgaudit("affected", target, "--replay", recorded(mesh, tmp_path), folder=tmp_path)
    assert done.returncode == code, done.stderr
    assert bool(done.stdout) == (code != 2)


def test_json_is_one_document_and_the_code_is_the_same(tmp_path: Path) -> None:
    done = wgaudit(
        "affected", "sin", "--format", "json", "--replay", recorded(contested(), tmp_path), folder=tmp_path
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["schema"] == "wgaudit.affected/1"


def test_a_list_is_written_into_a_file(tmp_path: Path) -> None:
    recording = recorded(contested(), tmp_path)
    done = wgaudit(
        "affected",
        "10.0.0.9",
        "--format",
        "csv",
        "--output",
        "who.csv",
        "--replay",
        recording,
        folder=tmp_path,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert len((tmp_path / "who.csv").read_text().splitlines()) == 6


def test_an_unknown_target_is_one_line_with_names_that_are_near(tmp_path: Path) -> None:
    done = wgaudit("affected", "edge-fra-2", "--replay", recorded(trio(), tmp_path), folder=tmp_path)
    assert "'edge-fra-1'" in one_line(done.stderr)
