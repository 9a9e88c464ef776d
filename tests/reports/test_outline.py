"""The outline: each finding in exactly one group, gaps by reason and region, commands as words."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import GapReason
from auditor.reports.outline import (
    NO_REGION,
    RegistryView,
    claimants,
    gap_groups,
    merged,
    outline,
    registry_view,
)
from auditor.values.findings import Claim, Severity, Witness
from auditor.values.models import Gap, NodeId
from auditor.values.report import Report, Verdict
from tests.reports import sample
from tests.reports.strategies import reports


@settings(max_examples=50, deadline=None)
@given(reports())
def test_every_finding_is_in_exactly_one_group(report: Report) -> None:
    """Circles of causes included: nothing is lost, nothing is told twice."""
    grouped = outline(report)
    placed = [item.finding for item in grouped.leading]
    placed += [finding for item in grouped.leading for group in item.following for finding in group.findings]
    placed += [*grouped.agreed, *grouped.gone]
    assert Counter(map(id, placed)) == Counter(map(id, report.findings))
    assert grouped.following == len(report.standing) - len(grouped.leading)


@settings(max_examples=25, deadline=None)
@given(reports(), st.integers(-1, 8))
def test_what_is_beyond_the_limit_is_counted(report: Report, limit: int) -> None:
    grouped = outline(report)
    excerpt = grouped.excerpt(limit)
    written = [*excerpt.contested, *excerpt.rest]
    assert written == list(grouped.leading[: max(0, limit)])
    assert len(written) + excerpt.hidden == len(grouped.leading)


def test_what_follows_over_several_steps_stands_below_its_first_cause() -> None:
    first = sample.PAIR
    second = sample.follower("split-routing", "10.0.0.1", first)
    third = sample.follower("displaced-allowed-ips", "10.0.0.1 of edge-fra-1", second)
    (item,) = outline(sample.report(Verdict.FINDINGS, (third, second, first))).contested
    assert [(group.check, group.findings) for group in item.following] == [
        ("displaced-allowed-ips", (third,)),
        ("split-routing", (second,)),
    ]


def test_the_rest_is_sorted_by_severity_and_counted_by_it() -> None:
    report = sample.report(Verdict.FINDINGS, (sample.UNREGISTERED, sample.DRIFT, sample.PAIR))
    grouped = outline(report)
    assert [item.finding for item in grouped.rest] == [sample.DRIFT, sample.UNREGISTERED]
    assert list(grouped.severities.items()) == [
        (Severity.CRITICAL, 1),
        (Severity.ERROR, 1),
        (Severity.WARNING, 1),
    ]


def test_a_contested_address_proposes_its_story_as_words_whatever_its_subject_is() -> None:
    """To quote them is the form's part."""
    finding = replace(sample.PAIR, subject="$(reboot)")
    grouped = outline(sample.report(Verdict.FINDINGS, (finding, sample.DRIFT)))
    assert grouped.contested[0].next_steps[0].command == ("wgaudit", "explain", "$(reboot)")
    assert not grouped.rest[0].next_steps


def test_routed_claims_name_a_claimant_only_where_no_other_witness_does() -> None:
    """The counts of routing tell them better."""
    own = sample.claims("10.0.0.1/32", "edge-fra-1")
    routed = Claim(Witness.ROUTED, own[0].prefix, sample.key("ghost"), None, "peer of worker-1")
    assert [item.node for item in claimants((routed, *own))] == [sample.node("edge-fra-1")]
    assert [item.claims for item in claimants((routed,))] == [(routed,)]


def test_gaps_are_grouped_by_reason_with_regions_the_registrys_before_the_nodes() -> None:
    gaps = [
        Gap("ssh", GapReason.CONNECT_TIMEOUT, f"no answer in {number % 2} s", f"n{number}", "dc1")
        for number in range(5)
    ]
    gaps.append(Gap("consul", GapReason.CONSUL_FORBIDDEN, "403", None, "dc2"))
    registry, timeouts = gap_groups(gaps, lambda node: "fra" if node != NodeId("dc1", "n4") else NO_REGION)
    assert (registry.source, registry.regions, registry.datacenters) == ("consul", {NO_REGION: 1}, {"dc2": 1})
    assert (len(timeouts.gaps), timeouts.regions) == (5, {"fra": 4, NO_REGION: 1})
    assert timeouts.details == ("no answer in 0 s", "no answer in 1 s")


def test_a_suspect_registry_is_told_from_one_that_was_not_read_whole() -> None:
    """A guess stays a guess, unless something else says more; a node's gap is none of the registry."""
    suspect = Gap("consul", GapReason.REGISTRY_SUSPECT, "many live peers are not registered")
    forbidden = Gap("consul", GapReason.CONSUL_FORBIDDEN, "403")
    assert registry_view([sample.REFUSED]) is RegistryView.WHOLE
    assert registry_view([suspect, sample.REFUSED]) is RegistryView.SUSPECT
    assert registry_view([suspect, forbidden]) is RegistryView.INCOMPLETE


def test_counts_of_several_checks_add_up_under_the_worst_severity() -> None:
    counted = outline(sample.incident()).excerpt(0).counted
    both = merged(counted)
    assert both.severity is counted[0].severity is Severity.CRITICAL
    assert both.findings == sum(item.findings for item in counted)
    assert sum(both.regions.values()) == sum(sum(item.regions.values()) for item in counted)
