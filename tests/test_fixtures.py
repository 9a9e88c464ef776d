"""The recorded snapshots replay to the verdicts that they were recorded with, without root or a lab."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
CASES = sorted(path.parent.name for path in FIXTURES.glob("*/snapshot.json.gz"))


def replay(case: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON report of `wgaudit sweep --replay`."""
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "wgaudit", "sweep", "--format", "json"),
            *("--replay", FIXTURES / case / "snapshot.json.gz"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    report = json.loads(done.stdout)
    assert isinstance(report, dict)
    return done.returncode, report


@pytest.mark.parametrize("case", CASES)
def test_a_fixture_replays_to_the_exit_code_that_its_readme_gives(case: str) -> None:
    """So the README lines stay true, and no change of a check goes unnoticed."""
    said = re.search(r"Exit code (\d)\.", (FIXTURES / case / "README.md").read_text())

    code, report = replay(case)

    assert said is not None
    assert code == int(said[1])
    assert {0: "clean", 1: "findings", 3: "inconclusive"}[code] == report["verdict"]


def test_the_recorded_incident_shows_the_pair_and_the_triple() -> None:
    """The same two incidents as on the real mesh, and nothing else that leads."""
    _, report = replay("incident")

    leading = {
        finding["subject"]: finding["nodes"] for finding in report["findings"] if not finding["caused_by"]
    }
    assert leading == {
        "10.0.0.1": ["edge-fra-1", "edge-sin-1"],
        "10.20.0.7": ["worker-ams-1", "worker-iad-1", "worker-nrt-1"],
    }
