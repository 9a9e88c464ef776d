"""A mesh that stays as it is, seen through gaps that come and go, and judged by the real checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.models import NotifyReason
from auditor.errors import GapReason
from auditor.judge import judge
from auditor.values.models import Gap
from auditor.values.report import Report
from tests.alerts.incidents import Watch
from tests.fleets import Mesh, contested, healthy


def held_on_devices() -> Mesh:
    """Two devices hold one address that the registry gives to neither."""
    mesh = contested().node("twin-sin", "10.0.0.8", region="sin").node("twin-fra", "10.0.0.7", region="fra")
    return mesh.holds("twin-sin", "10.0.0.9", "10.0.0.8").holds("twin-fra", "10.0.0.9", "10.0.0.7")


def across_datacenters() -> Mesh:
    """Each of two registries gives one address to a node of its own."""
    mesh = Mesh()
    for name, datacenter, address in (
        ("one", "dc1", "10.0.0.9"),
        ("two", "dc2", "10.0.0.9"),
        ("three", "dc1", "10.0.0.3"),
        ("four", "dc2", "10.0.0.4"),
    ):
        mesh.node(name, address, dc=datacenter, region=datacenter)
    return mesh.picks("three", "two@dc2").picks("four@dc2", "one")


def cloned() -> Mesh:
    """One key on two servers."""
    return healthy().node("clone-ams", "10.0.7.7", region="ams", key="edge-ams-1")


MESHES: dict[str, Callable[[], Mesh]] = {
    "contested": contested,
    "on devices": held_on_devices,
    "across datacenters": across_datacenters,
    "cloned": cloned,
}


def seen_through(make: Callable[[], Mesh], unseen: set[int], unread: str | None) -> Report:
    """The report of a sweep that did not reach these nodes, or did not read this datacenter's registry."""
    mesh = make()
    every = sorted(mesh.registrations)
    for number in unseen:
        mesh.unseen[every[number % len(every)]] = GapReason.CONNECT_TIMEOUT
    snapshot = mesh.snapshot()
    if unread is not None:
        snapshot = replace(
            snapshot,
            registrations=tuple(item for item in snapshot.registrations if item.node.datacenter != unread),
            observations=tuple(item for item in snapshot.observations if item.node.datacenter != unread),
            gaps=(*snapshot.gaps, Gap("consul", GapReason.CONSUL_TIMEOUT, "no answer", None, unread)),
        )
    return judge(snapshot)


sights = st.tuples(st.sets(st.integers(0, 7), max_size=4), st.sampled_from([None, None, None, "dc1", "dc2"]))


@pytest.mark.parametrize("name", MESHES)
@settings(max_examples=50, deadline=None)
@given(st.lists(sights, min_size=1, max_size=6))
def test_no_gap_ever_ends_or_changes_an_incident_that_goes_on(
    name: str, gaps: list[tuple[set[int], str | None]]
) -> None:
    """Whoever is not seen, and in whatever order: paged once, and nothing more."""
    make, watch = MESHES[name], Watch()
    first = watch.sweep(seen_through(make, set(), None))
    assert {item.reason for item in first.notifications} == {NotifyReason.FIRST_NOTIFICATION}
    for unseen, unread in gaps:
        made = watch.sweep(seen_through(make, unseen, unread))
        assert [
            (item.incident.check, item.incident.subject, item.reason) for item in made.notifications
        ] == []
        assert made.resolved == ()
    assert watch.sweep(seen_through(make, set(), None)).notifications == ()
    assert all(item.incident.not_seen_since is None for item in watch.log.standing.values())


@pytest.mark.parametrize("name", MESHES)
@settings(max_examples=40, deadline=None)
@given(st.lists(sights, max_size=4))
def test_whatever_was_hidden_before_a_mended_mesh_that_is_seen_whole_is_over_at_once(
    name: str, gaps: list[tuple[set[int], str | None]]
) -> None:
    """Every page gets its resolve, in one sweep."""
    watch = Watch()
    told = {
        item.incident.fingerprint
        for item in watch.sweep(seen_through(MESHES[name], set(), None)).notifications
    }
    for unseen, unread in gaps:
        watch.sweep(seen_through(MESHES[name], unseen, unread))
    made = watch.sweep(_mended(name))
    assert {item.incident.fingerprint for item in made.notifications} == told
    assert {item.reason for item in made.notifications} == {NotifyReason.RESOLVED}
    assert made.standing == {}


def _mended(name: str) -> Report:
    """The same nodes, each with an address and a key of its own."""
    mesh = Mesh()
    for number, node in enumerate(sorted(MESHES[name]().registrations)):
        mesh.node(node.name, f"10.0.5.{number + 2}", dc=node.datacenter)
    return judge(mesh.snapshot())
