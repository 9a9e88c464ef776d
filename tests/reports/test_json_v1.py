"""The JSON report: the contract that other people's scripts lean on, field by field."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator, FormatChecker

from auditor.judge import judge
from auditor.reports.interface import Layout
from auditor.reports.json_v1 import ReportV1, render, schema_text
from auditor.state.recording import replay
from auditor.values.report import Coverage, Report, Verdict
from tests.reports import sample
from tests.reports.strategies import reports

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "report-v1.schema.json"
REPORTS = (sample.incident, sample.clean, sample.inconclusive, sample.every_gap, sample.hostile)


@cache
def validator() -> Draft202012Validator:
    """Holds documents against the published schema."""
    schema = json.loads(SCHEMA_FILE.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


def rendered(report: Report) -> Any:
    """The document that a reader of the report gets."""
    return json.loads(render(report))


def test_the_published_schema_is_the_one_of_the_code() -> None:
    """To renew it: python -m auditor.reports.json_v1 > docs/report-v1.schema.json"""
    assert json.loads(SCHEMA_FILE.read_text()) == json.loads(schema_text())


@pytest.mark.parametrize("make", REPORTS)
def test_reports_keep_to_the_published_schema(make: Any) -> None:
    """The incident, a clean fleet, gaps of every reason, hostile names."""
    validator().validate(rendered(make()))


@settings(max_examples=30, deadline=None)
@given(reports())
def test_any_report_keeps_to_the_schema_and_comes_back_whole(report: Report) -> None:
    """No value breaks the document, and no field is in it that the schema does not know."""
    text = render(report)
    validator().validate(json.loads(text))
    read = ReportV1.model_validate_json(text)
    assert read.model_dump(mode="json", by_alias=True, exclude_unset=True) == json.loads(text)


@settings(max_examples=30, deadline=None)
@given(reports())
def test_the_document_is_ascii_without_control_characters(report: Report) -> None:
    """It can be written to any stream and looked at in any terminal."""
    text = render(report)
    assert text.isascii()
    assert all(line.isprintable() for line in text.splitlines())


def test_stdout_gets_one_document_and_a_newline() -> None:
    """Nothing before it, nothing after it."""
    text = render(sample.incident())
    assert text.startswith("{")
    assert text.endswith("}\n")
    assert not text.endswith("\n\n")


def test_the_contracts_fields_are_all_there() -> None:
    """Those of the first release; fields may be added, none may go."""
    document = rendered(sample.incident())
    assert document["schema"] == "wgaudit.report/1"
    assert document.keys() >= {
        "schema", "verdict", "started_at", "finished_at", "coverage", "gaps", "findings"
    }  # fmt: skip
    assert document["coverage"].keys() >= {"registered", "observed", "share"}
    assert document["gaps"][0].keys() >= {"source", "scope", "node", "datacenter", "reason", "detail"}
    finding = document["findings"][0]
    assert finding.keys() >= {
        "check", "severity", "fingerprint", "subject", "nodes", "regions", "summary", "confirmed",
        "caused_by", "evidence", "docs",
    }  # fmt: skip
    assert finding["evidence"].keys() >= {"claims", "routing"}
    assert finding["evidence"]["routing"][0].keys() >= {"public_key", "node", "observers", "regions"}


def test_a_finding_of_the_incident_reads_as_in_the_contract() -> None:
    """Names, regions, fingerprint, docs, and the claim with its Consul indexes."""
    finding = rendered(sample.incident())["findings"][0]
    assert finding["check"] == "duplicate-address"
    assert finding["severity"] == "critical"
    assert finding["fingerprint"] == sample.PAIR.fingerprint
    assert finding["nodes"] == ["edge-fra-1", "edge-sin-1"]
    assert finding["regions"] == ["fra", "sin"]
    assert finding["confirmed"] is True
    assert finding["caused_by"] is None
    assert finding["docs"] == "docs/findings.md#duplicate-address"
    assert finding["evidence"]["claims"][1] == {
        "witness": "registered",
        "address": "10.0.0.1/32",
        "public_key": sample.key("edge-sin-1"),
        "node": "edge-sin-1",
        "datacenter": "dc1",
        "where": "wireguard/nodes/edge-sin-1",
        "create_index": 4712,
        "modify_index": 4732,
    }


def test_observers_that_route_to_nobody_have_a_null_key() -> None:
    """Told apart from a key without a node."""
    nobody = rendered(sample.incident())["findings"][0]["evidence"]["routing"][2]
    assert nobody == {
        "public_key": None,
        "node": None,
        "observers": 1,
        "regions": {"iad": 1},
        "sample": ["worker-iad-9"],
    }


def test_a_region_that_is_not_known_is_called_unknown() -> None:
    """And adds up with a region of that name, so that the counts sum to the observers."""
    pick = sample.pick("edge-sin-1", {"": 2, "unknown": 3, "sin": 1})
    finding = replace(sample.PAIR, evidence=replace(sample.PAIR.evidence, routing=(pick,)))
    routing = rendered(sample.report(Verdict.FINDINGS, (finding,)))["findings"][0]["evidence"]["routing"]
    assert routing[0]["regions"] == {"sin": 1, "unknown": 5}


def test_what_follows_from_a_finding_points_to_it() -> None:
    """caused_by is a fingerprint of the same document."""
    findings = rendered(sample.incident())["findings"]
    fingerprints = {finding["fingerprint"] for finding in findings}
    causes = [finding["caused_by"] for finding in findings if finding["caused_by"]]
    assert len(causes) == 6
    assert set(causes) <= fingerprints


def test_times_are_utc_and_end_in_z() -> None:
    """Whatever zone they came in."""
    tokyo = timezone(timedelta(hours=9))
    report = replace(sample.clean(), started_at=datetime(2026, 3, 1, 9, 0, 0, 5000, tokyo))
    document = rendered(report)
    assert document["started_at"] == "2026-03-01T00:00:00.005Z"
    assert document["finished_at"] == "2026-03-01T02:59:42.345Z"


def test_a_time_without_a_zone_is_refused() -> None:
    """Guessing one would put a wrong time into a page."""
    naive = sample.STARTED.replace(tzinfo=None)
    with pytest.raises(ValueError, match="timezone"):
        render(replace(sample.clean(), started_at=naive))


@pytest.mark.parametrize(
    ("registered", "observed", "share"),
    [(9, 8, 0.889), (0, 0, 0.0), (3, 3, 1.0), (3, 0, 0.0), (10_000, 9_999, 0.999)],
)
def test_share_has_three_decimals_and_is_one_only_if_all_were_seen(
    registered: int, observed: int, share: float
) -> None:
    """A script that compares it with 1 must not read "all seen" from 9,999 of 10,000."""
    report = replace(sample.clean(), coverage=Coverage(registered, observed))
    assert rendered(report)["coverage"]["share"] == share


def test_a_gap_without_a_node_has_null_in_its_place() -> None:
    """The key is there all the same."""
    gap = rendered(sample.unread_registry())["gaps"][0]
    assert gap == {
        "source": "consul",
        "scope": "registry",
        "node": None,
        "datacenter": "dc2",
        "reason": "consul-forbidden",
        "detail": "GET wireguard/nodes/ answered 403",
    }


def test_a_name_in_two_datacenters_is_given_with_its_datacenter() -> None:
    """Else a reader would take two nodes for one."""
    report = replace(sample.incident(), ambiguous_names=frozenset({"edge-sin-1"}))
    assert rendered(report)["findings"][0]["nodes"] == ["edge-fra-1", "edge-sin-1@dc1"]


def test_a_name_that_is_no_text_is_shown_and_does_not_break_the_document() -> None:
    """A lone surrogate cannot be encoded; it comes as visible text."""
    text = render(sample.hostile())
    assert "lone\\\\udc80surrogate" in text
    text.encode("utf-8")


def test_delete_is_escaped_too() -> None:
    """The one control character that JSON itself would let through to a terminal."""
    report = replace(sample.clean(), cut_short="a\x7fb")
    assert "\x7f" not in render(report)
    assert rendered(report)["cut_short"] == "a\x7fb"


def test_findings_that_were_gone_on_the_second_look_are_in_it_marked() -> None:
    """Readers decide; the verdict does not count them."""
    gone = [f for f in rendered(sample.incident())["findings"] if f["confirmed"] is False]
    assert [finding["subject"] for finding in gone] == ["worker-iad-5"]


def test_a_sweep_that_was_cut_short_says_why() -> None:
    """And null where it ran to its end."""
    assert rendered(replace(sample.clean(), cut_short="deadline"))["cut_short"] == "deadline"
    assert rendered(sample.clean())["cut_short"] is None


def test_10000_nodes_with_3000_findings_and_10000_gaps_render_within_two_cpu_seconds() -> None:
    """Nothing is left out of it, and no sweep waits for it."""
    report = sample.huge()
    report = replace(report, gaps=report.gaps[:1] * 10_000)
    began = time.process_time()
    text = render(report)
    assert time.process_time() - began < 2.0
    document = json.loads(text)
    assert (len(document["findings"]), len(document["gaps"])) == (3_000, 10_000)


def test_the_same_report_gives_the_same_text() -> None:
    """Byte for byte: a replay can be compared."""
    assert render(sample.incident()) == render(sample.incident())


def test_readers_with_an_older_schema_accept_fields_that_came_later() -> None:
    """The schema is open: fields are added without a new version."""
    document = rendered(sample.incident())
    document["added_later"] = 1
    document["findings"][0]["added_later"] = {"x": []}
    validator().validate(document)


def test_the_groups_hold_the_findings_as_the_table_shows_them() -> None:
    """Scripts count contested addresses, and not what follows from them."""
    document = rendered(sample.incident())
    groups = document["groups"]
    checks = {finding["fingerprint"]: finding["check"] for finding in document["findings"]}
    assert [checks[mark] for mark in groups["contested"]] == ["duplicate-address"] * 2
    assert "duplicate-address" not in [checks[mark] for mark in groups["other"]]
    assert sum(groups["severities"].values()) == len(groups["contested"]) + len(groups["other"])
    assert sum(group["count"] for group in groups["gaps"]) == len(document["gaps"])
    assert {tuple(finding["next"]) for finding in document["findings"] if finding["next"]} == {
        ("wgaudit", "explain", sample.PAIR.subject),
        ("wgaudit", "explain", sample.TRIPLE.subject),
    }


@pytest.mark.parametrize("case", ["incident", "drift", "faults"])
def test_a_full_report_names_every_observer_and_the_other_one_has_no_such_field(case: str) -> None:
    """In the routing, or else beside it; as many as are counted."""
    report = judge(replay(SCHEMA_FILE.parents[1] / "fixtures" / case / "snapshot.json.gz"))
    assert "everyone" not in render(report)
    document = json.loads(render(report, Layout(full=True)))
    validator().validate(document)
    assert document["findings"]
    for evidence in (finding["evidence"] for finding in document["findings"]):
        for shown in evidence["routing"] or [evidence]:
            assert len(set(shown["everyone"])) == shown["observers"]
            assert set(shown["sample"]) <= set(shown["everyone"])
