"""outside-pool: a registered address that lies in no pool, or is a network or broadcast address."""

from __future__ import annotations

import pytest

from auditor.judge import judge
from auditor.values.findings import Finding, Severity
from tests.fleets import Mesh, of, prefixes, roots

IDENT = "outside-pool"


def found(*addresses: str, pools: tuple[str, ...] = ("10.0.0.0/8", "fd00::/16")) -> list[Finding]:
    """The findings of this check on one node with these addresses."""
    return of(judge(Mesh(pools=prefixes(pools)).node("x", *addresses).snapshot()), IDENT)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("192.0.2.1", "in none of the pools"),
        ("fd01::1", "in none of the pools"),
        ("192.168.5.0/24", "in none of the pools"),
        ("10.0.0.0", "network address"),
        ("10.255.255.255", "broadcast address"),
        ("fd00::", "network address"),
    ],
)
def test_an_address_that_no_node_should_have_is_a_warning_with_its_reason(address: str, why: str) -> None:
    """IPv4 and IPv6."""
    (finding,) = found(address)
    assert finding.severity is Severity.WARNING
    assert why in finding.summary


@pytest.mark.parametrize(
    "address", ["10.0.0.2", "10.0.0.255", "10.1.0.0/24", "fd00::2", "fd00:ffff::", "10.1.0.0"]
)
def test_an_address_within_a_pool_is_fine(address: str) -> None:
    """Only the pool's own first and last one are special."""
    assert found(address) == []


@pytest.mark.parametrize("route", ["0.0.0.0/0", "::/0", "128.0.0.0/1", "192.168.5.0/24", "2000::/3"])
def test_a_route_behind_a_node_that_has_its_own_address_in_a_pool_is_fine(route: str) -> None:
    """An exit gateway, or a local network."""
    assert found("10.0.0.2", route) == []


def test_a_hosts_address_outside_the_pools_is_found_beside_one_inside() -> None:
    """It is no network behind the node."""
    assert len(found("10.0.0.2", "192.168.5.7")) == 1


def test_the_last_address_of_an_ipv6_pool_is_no_broadcast_address() -> None:
    """There is none in IPv6."""
    assert found("fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff") == []


def test_a_pool_of_two_addresses_has_no_network_address() -> None:
    """A point-to-point /31 uses both."""
    assert found("10.3.0.0", "10.3.0.1", pools=("10.3.0.0/31",)) == []


def test_a_contested_address_outside_the_pools_is_one_incident() -> None:
    """It follows from the contest."""
    report = judge(Mesh().node("x", "192.0.2.1").node("y", "192.0.2.1").snapshot())
    assert len(of(report, IDENT)) == 1
    assert roots(report) == [("duplicate-address", "192.0.2.1")]
