"""Agreements on shared addresses that do nothing."""

from __future__ import annotations

from auditor.judge import judge
from auditor.service.agreements import idle_agreements
from auditor.settings.file import parse_config
from tests.fleets import contested


def idle(address: str, until: str) -> list[str]:
    """What is said of an agreement between the two nodes of the incident."""
    entry = {"address": address, "nodes": ["twin-fra", "twin-sin"], "reason": "anycast", "until": until}
    return list(idle_agreements(parse_config({"shared": [entry]}, "w.toml"), judge(contested().snapshot())))


def test_an_agreement_that_is_over_or_matches_nothing_is_said() -> None:
    assert idle("10.0.0.9", "2099-01-01") == []
    assert idle("10.0.0.9", "2020-01-01") == [
        "shared: 10.0.0.9 (twin-fra, twin-sin) is over since 2020-01-01; take it out, or agree anew"
    ]
    assert idle("10.0.0.77", "2099-01-01") == [
        "shared: 10.0.0.77 (twin-fra, twin-sin) matches nothing: the nodes do not share it"
    ]
