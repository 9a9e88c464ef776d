"""Reports made of arbitrary text, for properties that hold whatever a node or Consul says."""

from __future__ import annotations

import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from auditor.errors import GapReason
from auditor.values.addresses import Prefix
from auditor.values.findings import (
    Claim,
    Evidence,
    Finding,
    Guess,
    GuessedCause,
    Pick,
    Severity,
    Sureness,
    Witness,
)
from auditor.values.models import Gap, NodeId
from auditor.values.report import Coverage, Report, Verdict
from auditor.values.witness_answers import AnswerSource, Reached
from tests.reports.sample import HOSTILE_NAMES, key

# Every code point there is, lone surrogates included.
words = st.text(st.characters(exclude_categories=()), max_size=50) | st.sampled_from(HOSTILE_NAMES)
nodes = st.builds(NodeId, st.sampled_from(("", "dc1", "dc2")) | words, words)
keys = st.integers(0, 6).map(lambda number: key(str(number)))
prefixes = st.sampled_from((Prefix("10.0.0.1/32"), Prefix("10.1.0.0/24"), Prefix("fdaa::1/128")))
indexes = st.none() | st.integers(0, 2**63)
claims = st.builds(
    Claim, st.sampled_from(Witness), prefixes, keys, st.none() | nodes, words, indexes, indexes
)


@st.composite
def picks(draw: st.DrawFn) -> Pick:
    """Observers by region, and their sum."""
    regions = draw(st.dictionaries(st.just("") | words, st.integers(1, 20_000), max_size=5))
    sample = tuple(draw(st.lists(nodes, max_size=3)))
    public_key = draw(st.none() | keys)
    owner = draw(st.none() | nodes) if public_key else None
    return Pick(public_key, owner, sum(regions.values()), regions, sample)


@st.composite
def answers(draw: st.DrawFn) -> Reached:
    """Observers that met a server, or got no answer."""
    regions = draw(st.dictionaries(st.just("") | words, st.integers(1, 20_000), min_size=1, max_size=4))
    reason = draw(st.none() | st.sampled_from(GapReason))
    return Reached(
        draw(st.sampled_from(AnswerSource)),
        draw(words) if reason is None else "",
        draw(st.none() | nodes) if reason is None else None,
        sum(regions.values()),
        regions,
        draw(st.none() | words),
        reason,
    )


evidence_facts = st.lists(st.tuples(words, words), max_size=3).map(tuple)
evidence = st.builds(
    Evidence,
    claims=st.lists(claims, max_size=4).map(tuple),
    routing=st.lists(picks(), max_size=4).map(tuple),
    observers=st.integers(0, 20_000),
    sample=st.lists(nodes, max_size=3).map(tuple),
    facts=evidence_facts,
    answers=st.lists(answers(), max_size=4).map(tuple),
)
findings = st.builds(
    Finding,
    check=st.sampled_from(("duplicate-address", "split-routing", "address-drift", "missing-peer"))
    | st.text(string.ascii_lowercase + "-", min_size=1, max_size=30),
    severity=st.sampled_from(Severity),
    subject=words | st.sampled_from(("10.0.0.1", "10.0.0.2")),
    statement=words,
    answers_statement=words,
    disagreement=words,
    nodes=st.lists(nodes, max_size=4).map(tuple),
    regions=st.lists(words, max_size=4).map(tuple),
    evidence=evidence,
    guess=st.none()
    | st.builds(Guess, st.sampled_from(GuessedCause), st.sampled_from(Sureness), words, evidence_facts),
    confirmed=st.sampled_from((True, False, None)),
    agreed=st.none() | words,
    silenced=st.none() | words,
)
gaps = st.builds(
    Gap,
    st.sampled_from(("consul", "file", "ssh", "witness", "sweep")),
    st.sampled_from(GapReason),
    words,
    st.none() | words,
    st.none() | words,
)


def crowded(finding: Finding, times: int) -> Finding:
    """The same finding about so many times as many nodes, claims and keys, no two of them alike."""

    def other(node: NodeId | None, number: int) -> NodeId | None:
        return node and NodeId(node.datacenter, f"{node.name}{number}")

    evidence = finding.evidence
    claims = tuple(
        replace(claim, node=other(claim.node, number), public_key=key(f"{claim.public_key}{number}"))
        for number in range(times)
        for claim in evidence.claims
    )
    routing = tuple(
        replace(pick, node=other(pick.node, number), public_key=key(f"{pick.public_key}{number}"))
        for number in range(times)
        for pick in evidence.routing
        if pick.public_key is not None
    )
    return replace(
        finding,
        nodes=tuple(NodeId(dc, f"{name}{number}") for number in range(times) for dc, name in finding.nodes),
        regions=tuple(f"{region}{number}" for number in range(times) for region in finding.regions),
        statement=finding.statement * times,
        evidence=replace(
            evidence,
            claims=claims,
            routing=routing,
            observers=evidence.observers * times,
            facts=evidence.facts * times,
        ),
    )


moments = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """A report whose findings may follow from each other, in circles too."""
    made = draw(st.lists(findings, max_size=6))
    causes = [finding.fingerprint for finding in made]
    linked = [replace(finding, caused_by=draw(st.none() | st.sampled_from(causes))) for finding in made]
    registered = draw(st.integers(0, 20_000))
    started = draw(moments)
    named = draw(st.lists(nodes, max_size=3))
    return Report(
        verdict=draw(st.sampled_from(Verdict)),
        started_at=started,
        finished_at=started + timedelta(seconds=draw(st.floats(0, 4000))),
        coverage=Coverage(registered, draw(st.integers(0, registered)), draw(st.integers(0, 50)), 0),
        findings=tuple(linked),
        gaps=tuple(draw(st.lists(gaps, max_size=5))),
        in_flight=tuple(named),
        cut_short=draw(st.none() | words),
        node_regions=dict.fromkeys(named, draw(words)),
        node_keys={node: draw(keys) for node in named},
        ambiguous_names=frozenset(draw(st.lists(words, max_size=2))),
    )
