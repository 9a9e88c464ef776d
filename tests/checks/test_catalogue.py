"""All checks together: the contract's table, silence on healthy fleets, and untrusted text."""

from __future__ import annotations

import pytest

from auditor.checks.catalogue import BY_IDENT, CHECKS
from auditor.fleet.fleet import Fleet
from auditor.judge import judge
from auditor.values.addresses import Prefix
from auditor.values.findings import Severity
from tests.fleets import Mesh, contested, healthy, prefixes

CONTRACT = {
    "duplicate-address": "critical",
    "duplicate-public-key": "critical",
    "wrong-host": "critical",
    "split-routing": "critical",
    "answered-by-other": "critical",
    "displaced-allowed-ips": "error",
    "overlapping-allowed-ips": "error",
    "device-down": "error",
    "address-drift": "error",
    "key-drift": "error",
    "region-mismatch": "error",
    "retired-but-live": "error",
    "registration-vanished": "error",
    "self-routed-address": "error",
    "shadowed-addresses": "error",
    "one-way-peer": "error",
    "missing-peer": "warning",
    "several-endpoints": "warning",
    "unregistered-peer": "warning",
    "unregistered-allowed-ips": "warning",
    "fallback-address": "warning",
    "outside-pool": "warning",
    "invalid-registration": "error",
    "duplicate-node-name": "warning",
    "unsettled-registration": "warning",
}


def test_the_checks_are_those_of_the_contract_with_its_severities() -> None:
    """Scripts lean on both."""
    assert {check.ident: check.severity.value for check in CHECKS} == CONTRACT
    assert len(BY_IDENT) == len(CHECKS)


def test_severities_fall_along_the_order_of_precedence() -> None:
    """So that what leads an incident is never less severe than what follows."""
    ranks = [check.severity.rank for check in CHECKS]
    assert ranks == sorted(ranks)


def clean_fleets() -> dict[str, Mesh]:
    """Fleets with nothing wrong, each in a way that a naive check would trip over."""
    partial = healthy(topology="partial")
    partial.lacks("edge-fra-1", "edge-sin-1", "gate-ams-2").lacks("core-sin-2", "edge-fra-1", "edge-ams-1")
    gateways = Mesh()
    for number in range(2, 6):
        gateways.node(f"gate-{number}", f"10.0.0.{number}", f"10.{number}.0.0/24", f"fd00:{number}::/64")
    behind = healthy().node("net-only", "10.7.0.0/24")
    inside = healthy().node("router", "10.6.0.0/24").holds("router", "10.6.0.1")
    plan = healthy(
        name_pattern=r"^[a-z]+-(?P<region>[a-z]{3})-",
        region_pools={"fra": Prefix("10.0.128.0/24"), "sin": Prefix("10.0.129.0/24")},
    )
    pair = Mesh().node("a", "10.0.0.2").node("b", "10.0.0.3")
    foreign = healthy().holds("edge-fra-1", "10.0.0.2", "192.168.1.1")
    joining = healthy().node("new", "10.0.0.99").flying("new").not_seen("new")
    leaving = healthy().flying("edge-sin-1").lacks("edge-fra-1", "edge-sin-1")
    moving = (
        healthy().flying("edge-sin-1", addresses=prefixes(["10.0.0.33"])).holds("edge-sin-1", "10.0.0.33")
    )
    return {
        "full mesh": healthy(),
        "partial topology": partial,
        "every node a gateway": gateways,
        "only a network registered": behind,
        "a device address inside the registered network": inside,
        "regions that agree": plan,
        "two nodes": pair,
        "one node": Mesh().node("a", "10.0.0.2"),
        "an address of no pool beside the registered one": foreign,
        "a node that joins": joining,
        "a node that leaves": leaving,
        "a node that moves": moving,
    }


@pytest.mark.parametrize("name", sorted(clean_fleets()))
def test_nothing_is_found_in_a_fleet_with_nothing_wrong(name: str) -> None:
    """No check at all."""
    report = judge(clean_fleets()[name].snapshot())
    assert [(finding.check, finding.summary) for finding in report.findings] == []


HOSTILE = [
    "",
    "\x1b[31mred",
    "a\nb",
    "<!channel>",
    "[bold]x",
    "x" * 5000,
    "\udcff",
    "a@b",
    "🦄",
    "%s {0}",
    "\x00",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_or_region_brings_a_check_down(name: str) -> None:
    """Whatever stands in Consul: every check runs to its end and its findings have fingerprints."""
    mesh = contested(name_pattern="(?P<region>.)", region_pools={name: Prefix("10.0.0.0/16")})
    mesh.node(name, "10.0.0.1", "10.0.0.9", "10.4.0.0/16", region=name, dc=name).node(
        name, "10.4.0.1", dc="dc1"
    )
    mesh.broken(name, reason=name).says_region("twin-fra", name).rekeyed("twin-fra", "x").lacks(
        "watch-a", "watch-c"
    )
    mesh.peers_with("watch-b", "ghost", "10.0.0.9").answers_as("watch-c", "watch-b")
    report = judge(mesh.snapshot())
    assert len({finding.fingerprint for finding in report.findings}) == len(report.findings)


def test_every_finding_carries_its_checks_ident_and_severity() -> None:
    """Not what its file happened to write."""
    mesh = (
        contested()
        .node("clone", "10.0.0.1", key="twin-fra")
        .broken("oops")
        .peers_with("watch-a", "g", "10.0.0.0/16")
    )
    index = Fleet(mesh.snapshot())
    for check in CHECKS:
        for finding in check.findings(index):
            assert (finding.check, finding.severity) == (check.ident, Severity(CONTRACT[check.ident]))
            assert "\n" not in finding.summary
            assert finding.summary.endswith(".")
