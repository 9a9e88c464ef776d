"""invalid-registration: reported, never dropped."""

from __future__ import annotations

from dataclasses import replace

from auditor.judge import judge
from auditor.reports.interface import Layout
from auditor.reports.terminal.table import render
from auditor.values.findings import Severity
from auditor.values.report import Verdict
from tests.fleets import of, trio

IDENT = "invalid-registration"


def test_each_unreadable_registration_is_an_error_with_its_reason_and_what_stood_there() -> None:
    """Never dropped."""
    report = judge(trio().broken("one", "not JSON").broken("two", "no address").snapshot())
    findings = of(report, IDENT)
    assert [finding.subject for finding in findings] == ["one", "two"]
    assert {finding.severity for finding in findings} == {Severity.ERROR}
    assert "not JSON" in findings[0].summary
    assert ("begins", "{oops") in findings[0].evidence.facts


def test_a_reason_that_is_a_question_gets_no_full_stop_behind_it() -> None:
    """`is consul.layout kv-fields?`"""
    reason = "key has a folder where a node is expected; is consul.layout kv-fields?"
    (finding,) = of(judge(trio().broken("one", reason).snapshot()), IDENT)
    assert finding.summary.endswith("is consul.layout kv-fields? Its node is not audited.")
    (plain,) = of(judge(trio().broken("one", "not JSON").snapshot()), IDENT)
    assert plain.summary.endswith("cannot be read: not JSON. Its node is not audited.")


def test_an_empty_value_is_called_empty() -> None:
    """It is no value without a name."""
    mesh = trio().broken("one", "empty value")
    mesh.invalid[0] = replace(mesh.invalid[0], excerpt="")
    report = judge(mesh.snapshot())
    (finding,) = of(report, IDENT)
    assert ("begins", "(empty)") in finding.evidence.facts
    assert "begins: (empty)" in render(report, Layout(width=80))


def test_its_node_counts_as_registered_and_not_as_seen() -> None:
    """Nobody could look at it."""
    report = judge(trio().broken("one").snapshot())
    assert (report.coverage.registered, report.coverage.observed) == (4, 3)
    assert report.verdict is Verdict.FINDINGS


def test_one_name_unreadable_in_two_datacenters_is_two_findings() -> None:
    """Each has its own fingerprint."""
    findings = of(judge(trio().broken("one", dc="dc1").broken("one", dc="dc2").snapshot()), IDENT)
    assert [finding.subject for finding in findings] == ["one@dc1", "one@dc2"]
    assert len({finding.fingerprint for finding in findings}) == 2
