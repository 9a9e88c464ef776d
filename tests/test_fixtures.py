"""Recorded snapshots replay, and the demo runs, to the exit code and the JSON report that they had, without root."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import wgaudit

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
CASES = sorted(path.parent.name for path in FIXTURES.glob("*/report.json"))
WHEN = ("started_at", "finished_at")


def reported(case: str, folder: Path) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON report that the program of today gives of the recording, or of the demo with that seed."""
    seed = case.removeprefix("demo-")
    arguments = (
        ("demo", "--seed", seed, "--no-progress")
        if seed != case
        else ("sweep", "--replay", str(FIXTURES / case / "snapshot.json.gz"))
    )
    done = wgaudit(*arguments, "--format", "json", folder=folder)
    report: dict[str, Any] = json.loads(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", done.stdout))
    return done.returncode, report


def differences(before: object, after: object, place: str = "report") -> Iterator[str]:
    """Where `after` says something else than `before`. A field that only `after` has is none."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield f"{place}.{key} is gone"
            elif key not in WHEN:
                yield from differences(value, after[key], f"{place}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(old, new, f"{place}[{number}]")
    elif before != after:
        yield f"{place}: {before!r} became {after!r}"


def test_each_recording_has_a_report() -> None:
    recorded = {path.parent.name for path in FIXTURES.glob("*/snapshot.json.gz")}

    assert recorded == {case for case in CASES if not case.startswith("demo-")}


@pytest.mark.parametrize("case", CASES)
def test_a_case_gives_the_report_and_the_exit_code_that_it_gave_before(case: str, tmp_path: Path) -> None:
    """A change that is meant stands in the CHANGELOG, and `fixtures/CASE/report.json` is made anew with it."""
    before = json.loads((FIXTURES / case / "report.json").read_text(encoding="utf-8"))

    code, report = reported(case, tmp_path)

    assert list(differences(before, report)) == []
    if case.startswith("demo-"):
        assert code == 0  # it found what was planted
    else:
        assert {0: "clean", 1: "findings", 3: "inconclusive"}[code] == report["verdict"]
        assert re.findall(r"Exit code (\d)\.", (FIXTURES / case / "README.md").read_text()) == [str(code)]


def test_a_changed_value_a_lost_field_and_a_shorter_list_are_seen_and_a_new_field_is_none() -> None:
    before = {"verdict": "clean", "gaps": [1, 2], "findings": [{"check": "a"}], "started_at": "x"}
    after = {"verdict": "findings", "gaps": [1], "findings": [{"new": 1}], "started_at": "y", "more": 1}

    assert [line.split(" ")[0] for line in differences(before, after)] == [
        "report.verdict:",
        "report.gaps:",
        "report.findings[0].check",
    ]
