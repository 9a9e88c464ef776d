"""Who is affected: every observer of an address, a node, a region, a check or a finding."""

from __future__ import annotations

import pytest

from auditor.errors import UsageError
from auditor.explain.affected import Affected, affected
from auditor.explain.reach import Group, Obstacle
from auditor.judge import judge
from auditor.values.models import Snapshot
from tests.fleets import Mesh, contested, healthy, key_of, names, trio


def of(target: str, mesh: Mesh | Snapshot) -> Affected:
    """The observers of a target in a small fleet."""
    snapshot = mesh.snapshot() if isinstance(mesh, Mesh) else mesh
    return affected(snapshot, judge(snapshot), target)


def rows(found: Affected) -> set[tuple[str, str, str, str]]:
    """One row an address and observer: whom it reaches and whom it loses."""
    return {
        (
            place.address.removesuffix("/32"),
            observer.name,
            "itself" if group.itself else "+".join(names(group.reached)) or "nobody",
            "+".join(names(group.lost_by(observer))),
        )
        for place in found.places
        for group in place.groups
        for observer in group.list_observers()
    }


def only(groups: tuple[Group, ...], observer: str) -> Group:
    """The group that an observer is in."""
    (group,) = [each for each in groups if observer in names(each.list_observers())]
    return group


def test_each_observer_of_a_contested_address_is_named_with_whom_it_reaches_and_loses() -> None:
    """The claimants too: each holds the address itself and loses the other one."""
    found = of("10.0.0.9", contested())
    assert rows(found) == {
        ("10.0.0.9", "watch-a", "twin-sin", "twin-fra"),
        ("10.0.0.9", "watch-b", "twin-sin", "twin-fra"),
        ("10.0.0.9", "watch-c", "twin-fra", "twin-sin"),
        ("10.0.0.9", "twin-fra", "itself", "twin-sin"),
        ("10.0.0.9", "twin-sin", "itself", "twin-fra"),
    }
    assert len(found.losing) == found.observers == 5


def test_an_observer_without_the_address_on_any_peer_reaches_nobody() -> None:
    assert ("10.0.0.9", "watch-a", "nobody", "twin-fra+twin-sin") in rows(
        of("10.0.0.9", contested().lacks("watch-a", "twin-fra", "twin-sin"))
    )


def test_a_wider_prefix_that_carries_the_address_to_another_node_is_named() -> None:
    mesh = (
        trio().node("gate-ams-2", "10.0.1.4", "10.0.0.0/24", region="ams").lacks("edge-fra-1", "edge-sin-1")
    )
    (place,) = of("10.0.0.3", mesh).places
    group = only(place.groups, "edge-fra-1")
    assert (group.by, names(group.reached), names(group.loses)) == (
        "10.0.0.0/24",
        ["gate-ams-2"],
        ["edge-sin-1"],
    )


def test_in_a_partial_topology_a_peer_that_is_not_there_is_no_loss() -> None:
    assert of("10.0.0.3", trio(topology="partial").lacks("edge-fra-1", "edge-sin-1")).losing == set()


def test_an_address_that_everybody_reaches_names_them_and_loses_nobody() -> None:
    found = of("10.0.0.2", trio())
    assert {row[1:] for row in rows(found)} == {
        ("edge-ams-1", "edge-fra-1", ""),
        ("edge-sin-1", "edge-fra-1", ""),
        ("edge-fra-1", "itself", ""),
    }
    assert found.losing == set()


def test_a_route_to_a_key_that_the_node_does_not_have_any_more_reaches_nobody() -> None:
    (place,) = of("10.0.0.2", trio().rekeyed("edge-fra-1", "new")).places
    group = only(place.groups, "edge-sin-1")
    assert [each.obstacle for each in group.destinations] == [Obstacle.OTHER_KEY]
    assert (names(group.reached), names(group.loses)) == ([], ["edge-fra-1"])


def test_a_node_whose_link_is_down_is_lost_by_everybody() -> None:
    (place,) = of("edge-fra-1", trio().link_down("edge-fra-1")).places
    group = only(place.groups, "edge-sin-1")
    assert [each.obstacle for each in group.destinations] == [Obstacle.LINK_DOWN]
    assert names(group.loses) == ["edge-fra-1"]


def test_one_key_on_two_nodes_is_told_and_counts_as_no_certain_loss() -> None:
    mesh = trio().node("copy-fra-1", "10.0.0.8", region="fra", key="edge-fra-1")
    (place,) = of("10.0.0.8", mesh).places
    group = only(place.groups, "edge-sin-1")
    assert [each.obstacle for each in group.destinations] == [Obstacle.SHARED_KEY]
    assert names(group.reached) == ["copy-fra-1", "edge-fra-1"]


def test_who_reaches_a_claimant_whose_key_cannot_be_read_is_not_told_to_be_lost() -> None:
    mesh = trio().unread("edge-fra-1", "public_key").not_seen("edge-fra-1")
    assert of("10.0.0.2", mesh).losing == set()


def test_of_a_node_it_is_told_who_reaches_it_and_what_it_loses_itself() -> None:
    found = of("watch-c", contested())
    assert found.kind == "node"
    assert {row[0] for row in rows(found)} == {"10.0.1.99"}
    (own,) = found.own
    assert [(loss.address, names(loss.group.reached), names(loss.group.loses)) for loss in own.losses] == [
        ("10.0.0.9/32", ["twin-fra"], ["twin-sin"])
    ]


def test_of_a_region_it_is_told_who_loses_its_nodes_and_whom_its_observers_lose() -> None:
    mesh = contested().lacks("watch-c", "watch-a")
    assert {row[:2] for row in rows(of("sin", mesh))} == {
        ("10.0.0.9", name) for name in ("watch-a", "watch-b", "watch-c", "twin-fra", "twin-sin")
    }
    assert rows(of("ams", mesh)) == {
        ("10.0.0.9", "watch-a", "twin-sin", "twin-fra"),
        ("10.0.0.9", "watch-c", "twin-fra", "twin-sin"),
        ("10.0.1.97", "watch-c", "nobody", "watch-a"),
    }


def test_of_a_check_it_is_told_who_loses_somebody_by_its_findings() -> None:
    mesh = contested().lacks("watch-c", "watch-a")
    assert rows(of("missing-peer", mesh)) == {("10.0.1.97", "watch-c", "nobody", "watch-a")}
    assert of("key-drift", mesh).places == ()


def test_of_a_node_with_an_old_list_of_peers_it_is_told_whom_it_loses() -> None:
    mesh = healthy().lacks("edge-fra-1", "edge-sin-1", "edge-ams-1", "core-fra-2", "core-sin-2")
    finding = next(item for item in judge(mesh.snapshot()).findings if item.subject == "peers of edge-fra-1")
    (own,) = of(finding.fingerprint, mesh).own
    assert own.node.name == "edge-fra-1"
    assert {name for loss in own.losses for name in names(loss.group.loses)} == {
        "edge-sin-1",
        "edge-ams-1",
        "core-fra-2",
        "core-sin-2",
    }


@pytest.mark.parametrize("length", [4, 20])
def test_a_fingerprint_or_its_beginning_names_the_finding(length: int) -> None:
    mesh = contested()
    finding = judge(mesh.snapshot()).findings[0]
    found = of(finding.fingerprint[:length], mesh)
    assert (found.kind, found.target, found.findings) == ("fingerprint", finding.fingerprint, (finding,))
    assert rows(found) == rows(of("10.0.0.9", mesh))


def test_a_key_stands_for_the_addresses_of_its_node() -> None:
    assert rows(of(key_of("edge-fra-1")[:12], trio())) == rows(of("10.0.0.2", trio()))


def test_nodes_that_were_not_seen_are_named_for_whom_they_reach_is_not_known() -> None:
    found = of("10.0.0.9", contested().not_seen("watch-a"))
    assert names(found.unseen) == ["watch-a"]
    assert "watch-a" not in {row[1] for row in rows(found)}


@pytest.mark.parametrize(
    ("target", "near"),
    [
        ("edge-fra-9", "edge-fra-1"),
        ("10.0.0.30", "10.0.0.3"),
        ("missing-peers", "missing-peer"),
        ("smi", "sin"),
    ],
)
def test_an_unknown_target_is_refused_with_names_that_are_near(target: str, near: str) -> None:
    with pytest.raises(UsageError, match=rf"affected: the sweep saw no .* '{target}'.*'{near}'"):
        of(target, trio())
