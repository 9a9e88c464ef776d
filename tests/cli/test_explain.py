"""`wgaudit explain`: stories and documentation, of one call."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from auditor.state.recording import record
from tests.cli.command import one_line, wgaudit
from tests.fleets import contested

SCHEMA = Path(__file__).parents[2] / "docs" / "story-v1.schema.json"


def recorded(folder: Path) -> Path:
    """A recording of the small incident."""
    record(contested().snapshot(), folder / "seen.json.gz")
    return folder / "seen.json.gz"


def test_a_check_is_documented_without_a_configuration_a_registry_or_a_fleet(tmp_path: Path) -> None:
    (tmp_path / "wgaudit.toml").write_text("[nonsense")
    done = wgaudit("explain", "node-unseen", "consul-timeout", "runbook", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if line.startswith("docs/")] == [
        "docs/findings.md#node-unseen",
        "docs/gaps.md#consul-timeout",
        "docs/runbook.md",
    ]


def test_several_targets_are_told_in_their_order(tmp_path: Path) -> None:
    done = wgaudit(
        "explain", "watch-c", "split-routing", "10.0.0.9", "--replay", recorded(tmp_path), folder=tmp_path
    )
    assert done.returncode == 0
    at = [
        done.stdout.index(text)
        for text in ("watch-c (ams): registered", "\nsplit-routing\n", "10.0.0.9 is claimed")
    ]
    assert at == sorted(at)


def test_json_is_one_document_by_its_schema(tmp_path: Path) -> None:
    done = wgaudit(
        "explain",
        "watch-c",
        "10.0.0.9",
        "wrong-host",
        "--all",
        "--format",
        "json",
        "--replay",
        recorded(tmp_path),
        folder=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert [story["target"] for story in document["stories"]] == ["watch-c@dc1", "10.0.0.9"]
    assert document["stories"][0]["losses"][0]["loses"] == ["twin-sin"]
    assert {len(pick["everyone"]) for pick in document["stories"][1]["routing"][0]["picks"]} == {1, 2}
    assert [each["place"] for each in document["documents"]] == [
        "docs/findings.md#wrong-host",
        "docs/gaps.md#wrong-host",
    ]


def test_one_unknown_target_of_several_is_one_line_with_names_that_are_near(tmp_path: Path) -> None:
    done = wgaudit("explain", "10.0.0.9", "split-router", "--replay", recorded(tmp_path), folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'split-routing'" in one_line(done.stderr)
