"""fallback-address: a pool's first address is held."""

from __future__ import annotations

import pytest

from auditor.judge import judge
from auditor.values.addresses import Prefix
from auditor.values.findings import Finding, Severity
from tests.fleets import Mesh, names, of, prefixes, roots, trio

IDENT = "fallback-address"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def test_one_holder_alone_is_a_warning() -> None:
    """It may be the only one whose read failed so far."""
    (finding,) = found(trio().node("x", "10.0.0.1"))
    assert finding.severity is Severity.WARNING
    assert (finding.subject, names(finding.nodes)) == ("10.0.0.1", ["x"])
    assert finding.probable_cause is None


def test_several_holders_are_one_finding_that_follows_from_the_contest() -> None:
    """And it says the guess."""
    report = judge(trio().node("x", "10.0.0.1").node("y", "10.0.0.1").node("z", "10.0.0.1").snapshot())
    (finding,) = of(report, IDENT)
    assert len(finding.nodes) == 3
    assert finding.probable_cause == "allocator-fallback"
    assert roots(report) == [("duplicate-address", "10.0.0.1")]


def test_a_device_alone_that_holds_it_is_found() -> None:
    """The allocator may have failed to write, too."""
    assert len(found(trio().holds("edge-fra-1", "10.0.0.1"))) == 1


@pytest.mark.parametrize(
    ("pool", "first"),
    [("10.64.0.0/10", "10.64.0.1"), ("fd00:1::/64", "fd00:1::1"), ("10.0.0.0/30", "10.0.0.1")],
)
def test_the_first_address_of_every_pool_is_known(pool: str, first: str) -> None:
    """IPv4 and IPv6."""
    mesh = Mesh(pools=prefixes(["172.16.0.0/12", pool])).node("x", first)
    assert [finding.subject for finding in found(mesh)] == [first]


def test_the_second_address_is_no_fallback() -> None:
    """Nor is the first one of a pool that is too small to allocate from."""
    assert (
        found(Mesh(pools=(Prefix("10.0.0.0/8"), Prefix("10.3.0.0/31"))).node("x", "10.0.0.2", "10.3.0.1"))
        == []
    )


def test_the_first_address_of_a_regions_prefix_is_no_fallback() -> None:
    """A fleet that fills each region from its first address up must be able to be clean."""
    assert found(Mesh(region_pools={"sin": Prefix("10.16.0.0/12")}).node("x-sin-1", "10.16.0.1")) == []
