"""overlapping-allowed-ips: prefixes of different keys overlap, and the longest one wins."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.judge import judge
from auditor.values.addresses import Prefix
from auditor.values.findings import Finding, Severity
from tests.fleets import Mesh, healthy, key_of, of, prefixes, roots, trio

IDENT = "overlapping-allowed-ips"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def test_a_registered_network_over_anothers_address_is_an_error() -> None:
    """With what it covers."""
    (finding,) = found(healthy().node("inside", "10.9.0.7"))
    assert finding.severity is Severity.ERROR
    assert finding.subject == "10.9.0.0/24 of gate-ams-2"
    assert ("covers", "10.9.0.7") in finding.evidence.facts


def test_a_wide_prefix_on_devices_alone_that_takes_nothing_is_no_overlap() -> None:
    """The longer prefixes win; that nobody registered it is said."""
    report = judge(trio().peers_with("edge-ams-1", "edge-fra-1", "10.0.0.2", "10.0.0.0/16").snapshot())
    assert roots(report) == [("unregistered-allowed-ips", "10.0.0.0/16 of edge-fra-1")]
    assert of(report, IDENT) == []


@pytest.mark.parametrize("topology", ["full", "partial"])
def test_a_wide_prefix_that_takes_a_registered_host_is_found_with_the_observers_that_send_there(
    topology: Literal["full", "partial"],
) -> None:
    """One has the longer prefix as well, and one has not."""
    mesh = trio(topology=topology).peers_with("edge-sin-1", "edge-fra-1", "10.0.0.2", "10.0.0.0/16")
    mesh.lacks("edge-ams-1", "edge-sin-1").peers_with("edge-ams-1", "edge-fra-1", "10.0.0.2", "10.0.0.0/16")
    (finding,) = found(mesh)
    assert finding.subject == "10.0.0.0/16 of edge-fra-1"
    assert [node.name for node in finding.evidence.sample] == ["edge-ams-1"]
    assert ("takes", "10.0.0.3") in finding.evidence.facts


def test_a_network_over_a_network_is_found() -> None:
    """The longer one is inside."""
    mesh = Mesh().node("x", "10.0.0.2", "10.8.0.0/16").node("y", "10.0.0.3", "10.8.4.0/24")
    (finding,) = found(mesh)
    assert finding.subject == "10.8.0.0/16 of x"


def test_of_two_networks_with_one_first_address_the_wider_one_covers_the_other() -> None:
    """Not the other way round as well."""
    mesh = Mesh().node("x", "10.0.0.2", "10.8.0.0/16").node("y", "10.0.0.3", "10.8.0.0/24")
    assert [finding.subject for finding in found(mesh)] == ["10.8.0.0/16 of x"]


def test_ipv6_overlaps_like_ipv4() -> None:
    """And the families do not mix."""
    mesh = (
        Mesh().node("x", "fd00::2", "fd00:1::/32").node("y", "fd00:1::5", "10.0.0.2").node("z", "10.0.0.0/15")
    )
    assert sorted(finding.subject for finding in found(mesh)) == ["10.0.0.0/15 of z", "fd00:1::/32 of x"]


def test_a_nodes_own_addresses_inside_its_network_do_not_overlap() -> None:
    """One key."""
    assert found(Mesh().node("x", "10.8.0.1", "10.8.0.0/24").node("y", "10.0.0.2")) == []


def test_neighbouring_networks_do_not_overlap() -> None:
    """Up to the last address of one and from the first of the other."""
    mesh = Mesh().node("x", "10.0.0.2", "10.8.0.0/24").node("y", "10.8.1.0").node("z", "10.7.255.255")
    assert found(mesh) == []


def test_a_ghost_with_a_wide_prefix_is_a_ghost() -> None:
    """It takes from nobody."""
    mesh = (
        trio()
        .peers_with("edge-fra-1", "ghost", "10.0.0.0/16")
        .peers_with("edge-sin-1", "ghost", "10.0.0.0/16")
    )
    report = judge(mesh.snapshot())
    assert [(item.check, item.subject) for item in report.findings] == [
        ("unregistered-peer", key_of("ghost"))
    ]


def test_a_ghost_whose_wide_prefix_takes_a_host_is_one_incident() -> None:
    """All of it follows from the split."""
    mesh = trio().lacks("edge-fra-1", "edge-sin-1").peers_with("edge-fra-1", "ghost", "10.0.0.0/16")
    report = judge(mesh.snapshot())
    assert len(of(report, IDENT)) == 1
    assert roots(report) == [("split-routing", "10.0.0.3")]


def test_what_no_registration_has_inside_a_registered_network_is_no_overlap() -> None:
    """The registry gives it to nobody else: it is a drift, or a route that nobody registered."""
    mesh = (
        healthy()
        .holds("edge-fra-1", "10.0.0.2", "10.9.0.7")
        .peers_with("edge-sin-1", "edge-ams-1", "10.9.0.8")
    )
    assert found(mesh) == []


def test_a_registration_without_a_readable_key_is_covered_too() -> None:
    """Its address is claimed all the same."""
    (finding,) = found(healthy().node("inside", "10.9.0.7").unread("inside", "public_key"))
    assert ("covers", "10.9.0.7") in finding.evidence.facts


# -- routes: a default route, and in a partial topology what holds a whole pool

DEFAULTS = [
    ("0.0.0.0/0",),
    ("::/0",),
    ("0.0.0.0/1", "128.0.0.0/1"),
    ("::/1", "8000::/1"),
    ("0.0.0.0/0", "::/0"),
]


@pytest.mark.parametrize("routes", DEFAULTS)
def test_an_exit_gateways_registered_default_route_is_no_finding(routes: tuple[str, ...]) -> None:
    """Whether all have it or, as most do, only some."""
    mesh = healthy().node("exit", "10.0.0.9", *routes)
    assert judge(mesh.snapshot()).findings == ()
    mesh.peers_with("edge-fra-1", "exit", "10.0.0.9").empties("edge-sin-1", "exit")
    mesh.peers_with("edge-sin-1", "exit", "10.0.0.9")
    assert judge(mesh.snapshot()).findings == ()


@pytest.mark.parametrize("routes", DEFAULTS)
def test_a_default_route_on_devices_alone_is_no_finding(routes: tuple[str, ...]) -> None:
    """Nobody registers the exit."""
    mesh = healthy().node("exit", "10.0.0.9").peers_with("edge-fra-1", "exit", "10.0.0.9", *routes)
    assert judge(mesh.snapshot()).findings == ()


def test_two_exit_gateways_are_no_duplicate() -> None:
    """Each observer uses one of them, and the other one is not displaced."""
    mesh = healthy().node("exit-1", "10.0.0.8", "0.0.0.0/0").node("exit-2", "10.0.0.9", "0.0.0.0/0")
    assert judge(mesh.snapshot()).findings == ()


def test_an_exit_that_is_reached_by_its_default_route_alone_is_not_displaced() -> None:
    """Its own address lies in it."""
    mesh = healthy().node("exit", "10.0.0.9").peers_with("edge-fra-1", "exit", "0.0.0.0/0")
    assert judge(
        mesh.empties("edge-sin-1", "exit").peers_with("edge-sin-1", "exit", "::/0").snapshot()
    ).findings
    mesh = healthy().node("exit", "10.0.0.9").empties("edge-fra-1", "exit")
    assert judge(mesh.peers_with("edge-fra-1", "exit", "0.0.0.0/0").snapshot()).findings == ()


@pytest.mark.parametrize("registered", [True, False])
def test_a_hub_that_carries_the_whole_pool_of_a_partial_topology_is_no_finding(registered: bool) -> None:
    """Spokes know the hub alone, by the pool's prefix."""
    mesh = trio(topology="partial").node("hub", "10.0.0.9", *(("10.0.0.0/8",) if registered else ()))
    for spoke in ("edge-fra-1", "edge-sin-1", "edge-ams-1"):
        mesh.edit(spoke, lambda _: []).peers_with(spoke, "hub", "10.0.0.0/8")
    assert judge(mesh.snapshot()).findings == ()


def test_in_a_full_mesh_a_hubs_registered_pool_gives_addresses_to_two() -> None:
    """There the registry says that it is the hub's."""
    (finding,) = found(trio().node("hub", "10.0.0.9", "10.0.0.0/8"))
    assert finding.subject == "10.0.0.0/8 of hub"


def test_a_registered_host_that_leaves_by_the_exit_is_found_and_leads_the_peer_that_is_missing() -> None:
    """The observer has no longer prefix: its traffic goes out in the open, perhaps."""
    report = judge(
        healthy().node("exit", "10.0.0.9", "0.0.0.0/0").lacks("edge-fra-1", "edge-sin-1").snapshot()
    )
    assert roots(report) == [(IDENT, "0.0.0.0/0 of exit")]
    (finding,) = of(report, IDENT)
    assert ("takes", "10.0.0.3") in finding.evidence.facts
    assert len(of(report, "missing-peer")) == 1


def test_an_observer_that_knows_the_exit_alone_is_one_incident() -> None:
    """It lacks all peers, and everything leaves by the exit."""
    mesh = healthy().node("exit", "10.0.0.9").edit("edge-fra-1", lambda _: [])
    report = judge(mesh.peers_with("edge-fra-1", "exit", "10.0.0.9", "0.0.0.0/0").snapshot())
    assert roots(report) == [(IDENT, "0.0.0.0/0 of exit")]


def test_a_displaced_host_that_leaves_by_the_exit_follows_from_its_displacement() -> None:
    """One cause, one page; it names where the traffic goes."""
    mesh = healthy().node("exit", "10.0.0.9", "0.0.0.0/0").empties("edge-fra-1", "edge-sin-1")
    report = judge(mesh.snapshot())
    assert roots(report) == [("displaced-allowed-ips", "10.0.0.3 of edge-sin-1")]
    assert "it is routed to exit instead" in report.findings[0].summary


def test_a_registered_default_route_covers_no_drift() -> None:
    """An address that the exit holds and nobody registered is none of a network behind it."""
    mesh = healthy().node("exit", "10.0.0.9", "0.0.0.0/0").holds("exit", "10.0.0.9", "10.0.0.77")
    assert roots(judge(mesh.snapshot())) == [("address-drift", "exit")]


def test_a_ghost_with_a_default_route_is_a_ghost() -> None:
    """A route of nobody's is no route to trust."""
    report = judge(trio().peers_with("edge-fra-1", "ghost", "0.0.0.0/0").snapshot())
    assert roots(report) == [("unregistered-peer", key_of("ghost"))]
    assert "with 0.0.0.0/0" in report.findings[0].summary


def test_a_node_that_is_registered_with_a_default_route_alone_is_missed_as_a_peer() -> None:
    """It is expected, though no line of it is."""
    report = judge(healthy().node("exit", "0.0.0.0/0").lacks("edge-fra-1", "exit").snapshot())
    assert roots(report) == [("missing-peer", "exit")]


def test_a_hub_that_carries_a_planned_region_is_in_its_own_region() -> None:
    """Its route says nothing of where it is."""
    mesh = trio(topology="partial", region_pools={"sin": Prefix("10.7.0.0/16")})
    assert judge(mesh.node("hub", "10.0.0.9", "10.7.0.0/16", region="fra").snapshot()).findings == ()


@st.composite
def fleets_with_default_routes(draw: st.DrawFn) -> Mesh:
    """A healthy fleet of any topology in which some nodes are an exit, by registration or on some devices."""
    mesh = Mesh(topology=draw(st.sampled_from(["full", "partial"])))
    count = draw(st.integers(2, 5))
    for number in range(2, count + 2):
        addresses = [f"10.0.0.{number}"]
        addresses += draw(st.lists(st.sampled_from([f"fd00::{number}", f"10.{number}.0.0/24"]), unique=True))
        addresses += draw(st.sampled_from([(), *DEFAULTS]))
        mesh.node(f"node-{number}", *addresses, region=draw(st.sampled_from(["fra", "sin"])))
    everybody = list(mesh.registrations.values())
    for observer in everybody:
        exit_ = draw(st.sampled_from(everybody))
        routes = draw(st.sampled_from([(), *DEFAULTS]))
        # As `wg set` does: the peer keeps what it has, and the default route moves to it.
        if exit_ is not observer:
            own = (*exit_.addresses, *prefixes(routes))
            mesh.edit(observer.node, lambda peers, key=exit_.public_key, own=own: [*peers, (key, own)])  # type: ignore[misc]
    return mesh


@given(fleets_with_default_routes())
def test_a_default_route_on_any_table_of_a_healthy_fleet_adds_no_finding(mesh: Mesh) -> None:
    """It takes from nobody what a longer prefix gives."""
    assert judge(mesh.snapshot()).findings == ()
