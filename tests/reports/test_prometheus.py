"""Metrics of a sweep: what is counted, what has no metric where it is not known, and labels that have a bound."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from auditor.reports.audit_health import AuditHealth
from auditor.reports.prometheus import LONGEST_LABEL, MOST_CONTESTED, exposition
from auditor.values.report import Report, Verdict
from tests.reports import sample

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
ADDRESSED = "wgaudit_contested_address_info"
BOUNDED = {"check", "severity", "verdict", "source", "reason", "state", "version", "mesh"}
"""Labels whose values are few, whatever the fleet."""


def samples(report: Report, health: AuditHealth | None = None) -> Samples:
    """Each sample of the text, as Prometheus' own parser reads it."""
    families = text_string_to_metric_families(exposition(report, health or AuditHealth()))
    listed = [sample for family in families for sample in family.samples]
    read = {(item.name, frozenset(item.labels.items())): item.value for item in listed}
    assert len(read) == len(listed), "a series stands there twice"
    return read


def value(read: Samples, name: str, **labels: str) -> float | None:
    return read.get((name, frozenset(labels.items())))


@pytest.mark.parametrize(
    ("report", "verdict"),
    [(sample.clean(), "clean"), (sample.incident(), "findings"), (sample.inconclusive(), "inconclusive")],
    ids=["clean", "findings", "inconclusive"],
)
def test_one_verdict_is_1_and_the_others_are_0(report: Report, verdict: str) -> None:
    read = samples(report)
    assert {each.value: value(read, "wgaudit_verdict", verdict=each.value) for each in Verdict} == {
        each.value: float(each.value == verdict) for each in Verdict
    }


def test_findings_are_counted_by_check_and_severity_and_what_is_not_there_is_0() -> None:
    read = samples(sample.incident())
    assert value(read, "wgaudit_findings", check="duplicate-address", severity="critical") == 2
    assert value(read, "wgaudit_findings", check="displaced-allowed-ips", severity="error") == 2
    assert value(read, "wgaudit_findings", check="wrong-host", severity="critical") == 0
    standing = sample.incident().standing
    assert sum(each for (name, _), each in read.items() if name == "wgaudit_findings") == len(standing)


def test_one_cause_is_one_incident() -> None:
    """What follows from it is a finding, and no incident."""
    read = samples(sample.incident())
    assert value(read, "wgaudit_incidents", check="duplicate-address", severity="critical") == 2
    assert value(read, "wgaudit_incidents", check="displaced-allowed-ips", severity="error") == 0
    leading = [finding for finding in sample.incident().standing if finding.caused_by is None]
    assert sum(each for (name, _), each in read.items() if name == "wgaudit_incidents") == len(leading)


def test_findings_that_do_not_count_are_not_counted() -> None:
    agreed = replace(sample.PAIR, agreed="anycast")
    read = samples(sample.report(Verdict.FINDINGS, (agreed, sample.GONE)))
    assert value(read, "wgaudit_contested_addresses") == 0
    assert {each for (name, _), each in read.items() if name == "wgaudit_findings"} == {0}


def test_gaps_are_counted_by_source_and_reason() -> None:
    read = samples(sample.every_gap())
    counted = {labels: each for (name, labels), each in read.items() if name == "wgaudit_gaps"}
    assert sum(counted.values()) == len(sample.every_gap().gaps)
    assert value(read, "wgaudit_gaps", source="ssh", reason="connect-refused") == 1


def test_coverage_is_never_rounded_up() -> None:
    coverage = replace(sample.clean().coverage, registered=100_000, observed=99_999, distinct_tables=7)
    read = samples(replace(sample.clean(), coverage=coverage))
    assert value(read, "wgaudit_coverage_ratio") == pytest.approx(0.99999)
    assert value(read, "wgaudit_nodes_registered") == 100_000
    assert value(read, "wgaudit_nodes_observed") == 99_999
    assert value(read, "wgaudit_distinct_route_tables") == 7


def test_a_clean_sweep_is_the_last_clean_one_and_another_says_what_the_state_remembers() -> None:
    name = "wgaudit_last_clean_sweep_timestamp_seconds"
    before = sample.FINISHED - timedelta(days=1)
    health = AuditHealth(state_readable=True, last_clean_at=before)
    assert value(samples(sample.clean(), health), name) == sample.FINISHED.timestamp()
    assert value(samples(sample.incident(), health), name) == before.timestamp()
    assert value(samples(sample.incident()), name) is None
    read = samples(sample.incident())
    assert value(read, "wgaudit_last_sweep_timestamp_seconds") == sample.FINISHED.timestamp()
    assert value(read, "wgaudit_sweep_duration_seconds") == pytest.approx(12.345)


def test_what_is_not_known_of_the_alerts_has_no_metric_and_is_never_0() -> None:
    unknown = {name for name, _ in samples(sample.incident(), AuditHealth(state_readable=False))}
    assert not unknown & {"wgaudit_alerts_undelivered", "wgaudit_alerts_handed_over"}
    assert value(samples(sample.clean(), AuditHealth(state_readable=False)), "wgaudit_state_readable") == 0
    known = samples(sample.clean(), AuditHealth(True, None, waiting=3, refused=0, handed_over=False))
    assert value(known, "wgaudit_alerts_undelivered", state="waiting") == 3
    assert value(known, "wgaudit_alerts_undelivered", state="refused") == 0
    assert value(known, "wgaudit_alerts_handed_over") == 0


def test_every_sample_has_the_name_of_the_mesh_where_it_has_one() -> None:
    read = samples(replace(sample.incident(), mesh="backbone", version="1.2.3"))
    assert {dict(labels).get("mesh") for _, labels in read} == {"backbone"}
    assert value(read, "wgaudit_build_info", version="1.2.3", mesh="backbone") == 1
    assert not [labels for _, labels in samples(sample.incident()) if "mesh" in dict(labels)]


def test_contested_addresses_are_all_counted_and_the_first_of_them_named() -> None:
    many = tuple(
        replace(sample.PAIR, subject=f"10.0.{number}.1", identity=(f"10.0.{number}.1",))
        for number in range(MOST_CONTESTED + 5)
    )
    read = samples(sample.report(Verdict.FINDINGS, many))
    named = [dict(labels) for name, labels in read if name == ADDRESSED]
    assert value(read, "wgaudit_contested_addresses") == MOST_CONTESTED + 5
    assert len(named) == MOST_CONTESTED
    assert f"first {MOST_CONTESTED} contested" in exposition(sample.incident(), AuditHealth())
    assert named[0]["nodes"] == "edge-fra-1, edge-sin-1"
    assert named[0]["regions"] == "fra, sin"


@pytest.mark.parametrize("report", [sample.hostile(), sample.huge(200, 100)], ids=["hostile", "huge"])
def test_labels_have_few_short_harmless_values_whatever_the_fleet_is_called(report: Report) -> None:
    """The number of series is bounded, and no name can end its line."""
    read = samples(replace(report, mesh="\x1b[31m" + "m" * 900))
    for name, labels in read:
        assert name == ADDRESSED or set(dict(labels)) <= BOUNDED
        assert all(len(text) <= LONGEST_LABEL and text.isprintable() for text in dict(labels).values())
    assert sum(name == ADDRESSED for name, _ in read) <= MOST_CONTESTED


def test_no_metric_says_when_it_was_created() -> None:
    assert "_created" not in exposition(sample.incident(), AuditHealth())
