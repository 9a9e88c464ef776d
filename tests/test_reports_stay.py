"""The JSON report of every fixture and of the demo stays as it was, but for fields that are added."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
CASES = sorted(path.parent.name for path in FIXTURES.glob("*/report.json"))
WHEN = ("started_at", "finished_at")


def reported(case: str) -> object:
    """The report that the program of today gives of the fixture, or of the demo with that seed."""
    seed = case.removeprefix("demo-")
    arguments = (
        ("demo", "--seed", seed, "--no-progress")
        if seed != case
        else ("sweep", "--replay", str(FIXTURES / case / "snapshot.json.gz"))
    )
    command = [Path(sys.executable).with_name("wgaudit"), *arguments, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return json.loads(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", done.stdout))


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


@pytest.mark.parametrize("case", CASES)
def test_a_report_says_what_it_said_before(case: str) -> None:
    """A change that is meant stands in the CHANGELOG, and `fixtures/CASE/report.json` is made anew with it."""
    before = json.loads((FIXTURES / case / "report.json").read_text(encoding="utf-8"))

    assert list(differences(before, reported(case))) == []


def test_a_changed_value_a_lost_field_and_a_shorter_list_are_seen_and_a_new_field_is_none() -> None:
    before = {"verdict": "clean", "gaps": [1, 2], "findings": [{"check": "a"}], "started_at": "x"}
    after = {"verdict": "findings", "gaps": [1], "findings": [{"new": 1}], "started_at": "y", "more": 1}

    assert [line.split(" ")[0] for line in differences(before, after)] == [
        "report.verdict:",
        "report.gaps:",
        "report.findings[0].check",
    ]
