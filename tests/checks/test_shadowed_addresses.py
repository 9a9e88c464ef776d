"""shadowed-addresses: a node's own route hides mesh addresses from it."""

from __future__ import annotations

from dataclasses import replace

from auditor.errors import GapReason, GapScope
from auditor.judge import judge
from auditor.values.addresses import Prefix
from auditor.values.findings import Finding, Severity
from auditor.values.hidden_addresses import RouteKind, ShadowingRoute
from auditor.values.report import Verdict
from tests.fleets import Mesh, check_causes, names, of, trio

IDENT = "shadowed-addresses"


def route(
    prefix: str = "10.0.0.0/24",
    *hidden: str,
    device: str = "docker0",
    kind: RouteKind = RouteKind.UNICAST,
    number: int = 0,
) -> ShadowingRoute:
    sample = tuple(Prefix(f"{address}/32") for address in hidden)
    return ShadowingRoute(Prefix(prefix), kind, device, number or len(sample), sample)


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    report = judge(mesh.snapshot())
    check_causes(report)
    return of(report, IDENT)


def addresses(mesh: Mesh, *others: str) -> list[str]:
    return [mesh.registrations[mesh.find(name)].addresses[0].removesuffix("/32") for name in others]


def test_a_bridge_is_named_with_its_network_the_nodes_behind_it_and_what_to_do() -> None:
    mesh = trio()
    first, *others = (node.name for node in mesh.machines)
    (finding,) = found(mesh.shadows(first, route("10.0.0.0/24", *addresses(mesh, *others))))
    assert finding.severity is Severity.ERROR
    assert finding.subject == "10.0.0.0/24 on docker0"
    assert names(finding.nodes) == [first]
    assert f"{first} sends 10.0.0.0/24 to docker0 and not to wg0" in finding.summary
    assert f"nothing from there reaches {others[1]} and {others[0]} through the mesh" in finding.summary
    assert "Move what is behind docker0 to a network outside the pools" in finding.summary
    assert {claim.node.name for claim in finding.evidence.claims if claim.node} == set(others)


def test_the_same_bridge_on_many_nodes_is_one_finding_with_one_fingerprint() -> None:
    mesh = trio()
    first, second, third = (node.name for node in mesh.machines)
    shadow = route("10.0.0.0/24", *addresses(mesh, third))
    (alone,) = found(mesh.shadows(first, shadow))
    (both,) = found(mesh.shadows(second, shadow))
    assert alone.fingerprint == both.fingerprint
    assert names(both.nodes) == [first, second]
    assert both.evidence.observers == 2


def test_what_hides_nobody_who_is_registered_is_no_finding() -> None:
    """Nor is its own address that hides from a node."""
    mesh = trio()
    first, *_ = (node.name for node in mesh.machines)
    assert found(mesh.shadows(first, route("10.0.99.0/24", "10.0.99.7"))) == []
    assert found(mesh.shadows(first, route("10.0.0.0/24", *addresses(mesh, first)))) == []


def test_a_node_that_does_not_tell_is_no_finding_and_no_gap() -> None:
    """One with an installed probe of an older version."""
    report = judge(trio().snapshot())
    assert (of(report, IDENT), report.gaps) == ([], ())


def test_routes_that_could_not_be_read_are_a_gap_that_the_verdict_does_not_hang_on() -> None:
    snapshot = trio().snapshot()
    first, *others = snapshot.observations
    report = judge(
        replace(snapshot, observations=(replace(first, routes_unread="ip route: exit 1"), *others))
    )
    (gap,) = report.gaps
    assert (gap.reason, gap.node, gap.scope) == (
        GapReason.ROUTES_UNREAD,
        first.node.name,
        GapScope.WITNESS,
    )
    assert report.verdict is Verdict.CLEAN


def test_more_than_are_named_are_looked_up_in_the_registry() -> None:
    mesh = trio()
    first, second, third = (node.name for node in mesh.machines)
    wide = route("10.0.0.0/8", *addresses(mesh, second), number=2)
    (finding,) = found(mesh.shadows(first, wide))
    assert third in finding.summary


def test_a_route_that_leads_nowhere_and_an_address_of_another_device_are_worded_so() -> None:
    mesh = trio()
    first, second, _ = (node.name for node in mesh.machines)
    (address,) = addresses(mesh, second)
    (nowhere,) = found(
        mesh.shadows(first, route(f"{address}/32", address, device="", kind=RouteKind.BLACKHOLE))
    )
    assert f"sends {address} nowhere, by a route of the kind blackhole" in nowhere.summary
    (own,) = found(mesh.shadows(first, route(f"{address}/32", address, device="lo", kind=RouteKind.LOCAL)))
    assert f"{first} has {address} on lo" in own.summary


def test_a_device_whose_link_is_down_has_no_routes_that_could_be_longer() -> None:
    mesh = trio()
    first, second, _ = (node.name for node in mesh.machines)
    mesh.shadows(first, route("10.0.0.0/8", *addresses(mesh, second), device="eth1")).link_down(first)
    assert found(mesh) == []


def test_a_bridge_that_is_gone_on_the_second_look_does_not_count() -> None:
    mesh = trio()
    first, second, _ = (node.name for node in mesh.machines)
    hidden = addresses(mesh, second)
    (finding,) = of(
        judge(trio().shadows(first, route("10.0.0.0/24", *hidden)).snapshot(again=trio().shadows(first))),
        IDENT,
    )
    assert finding.confirmed is False
    shadowed = trio().shadows(first, route("10.0.0.0/24", *hidden))
    (finding,) = of(judge(shadowed.snapshot(again=shadowed)), IDENT)
    assert finding.confirmed is True
