"""A region's pattern over foreign names: what it finds, what it refuses, and that no pair of the two hangs."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest

from auditor.errors import InvalidValue, SnapshotError
from auditor.judge import judge
from auditor.registry.file import FileRegistry
from auditor.settings.consul import ConsulSettings
from auditor.state.recording import from_json, replay
from auditor.values.models import AuditPolicy, Snapshot
from auditor.values.region_pattern import RegionPattern
from tests.fleets import FINISHED, STARTED

HOSTILE = Path(__file__).parents[1] / "cases/hostile"
HANGS = "^(a+)+$(?P<region>x)"
"""Python's own matcher takes longer than anybody waits, for forty letters and an end that does not fit."""


def test_a_region_is_what_its_group_matches() -> None:
    pattern = RegionPattern("^[a-z]+-(?P<region>[a-z]{3})-")
    assert (pattern.region("edge-fra-1"), pattern.region("gateway")) == ("fra", None)


def test_a_group_that_takes_no_part_says_nothing() -> None:
    assert RegionPattern("^(?:x-(?P<region>[a-z]+)|y)").region("y") is None


def test_a_name_that_is_no_text_is_matched_all_the_same() -> None:
    assert RegionPattern("-(?P<region>[a-z]{3})").region("\udcff-fra") == "fra"


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(?P<region>a)\1", "no backreferences"),
        ("(?=a)(?P<region>a)", "no lookaround"),
        ("(?P<region>a){5000}", "RE2"),
        ("(", "missing )"),
        ("a", "group named region"),
        ("(?P<region>a)" + "b" * 1000, "1013 characters"),
        ("(?P<region>\ud800)", "surrogate"),
    ],
)
def test_a_pattern_that_cannot_be_bounded_is_refused_with_its_reason(pattern: str, reason: str) -> None:
    with pytest.raises(InvalidValue, match=re.escape(reason)):
        RegionPattern(pattern)


def test_a_hostile_pattern_over_a_hostile_registry_ends_in_time() -> None:
    reading = asyncio.run(FileRegistry(HOSTILE / "kv-redos.json", ConsulSettings()).read())
    policy = AuditPolicy(name_pattern=HANGS)
    began = time.monotonic()
    judge(Snapshot(STARTED, FINISHED, policy, reading.registrations, reading.invalid))
    assert time.monotonic() - began < 5


def test_a_hostile_recording_is_judged_in_time() -> None:
    began = time.monotonic()
    snapshot = replay(HOSTILE / "rec-redos.json")
    assert snapshot.policy.name_pattern == HANGS
    judge(snapshot)
    assert time.monotonic() - began < 5


def test_a_recording_with_a_pattern_that_cannot_be_bounded_is_refused_by_name() -> None:
    text = (HOSTILE / "rec-redos.json").read_text().replace(HANGS, r"(?P<region>a)\\1")
    with pytest.raises(SnapshotError, match=r"policy\.name_pattern: not a regular expression that RE2 takes"):
        from_json(text.encode(), "a.json")
