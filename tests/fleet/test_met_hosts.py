"""Places at which one key is met at once: what holds whoever met it where."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auditor.fleet.met_hosts import met_freshly, places_at_once
from auditor.values.meetings import host_of
from auditor.values.models import NodeId
from tests.fleets import key_of

NODES = st.sampled_from(
    [NodeId("", f"edge-{region}-{n}") for region in ("ams", "fra", "sin") for n in (1, 2)]
)
HOSTS = st.sampled_from(
    [
        "198.18.0.1",
        "198.18.0.2",
        "203.0.113.9",
        "10.1.2.3",
        "10.9.9.9",
        "2001:db8::1",
        "2001:db8:1::1",
        "name",
    ]
)
MET = st.dictionaries(HOSTS, st.frozensets(NODES, min_size=1), max_size=6)


def region_of(node: NodeId) -> str:
    return node.name.split("-")[1]


@given(MET, st.sets(HOSTS.filter(lambda host: host != "name")))
def test_there_are_no_places_or_several_and_each_host_is_in_one_at_most(met, registered) -> None:  # type: ignore[no-untyped-def]
    places = places_at_once(met, registered, "sin", region_of)
    assert len(places) != 1
    hosts = [host for place in places for host in place.hosts]
    assert len(hosts) == len(set(hosts))
    assert set(hosts) <= met.keys()
    for place in places:
        assert set(place.observers) == set().union(*(met[host] for host in place.hosts))
        assert place.registered == any(host in registered for host in place.hosts) or ":" in place.hosts[0]


@given(MET, st.randoms(use_true_random=False))
def test_the_order_of_hosts_does_not_matter(met, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(met.items())
    random.shuffle(shuffled)
    assert places_at_once(met, ["198.18.0.1"], "sin", region_of) == places_at_once(
        dict(shuffled), ["198.18.0.1"], "sin", region_of
    )


@given(MET)
def test_registering_all_hosts_leaves_one_place(met) -> None:  # type: ignore[no-untyped-def]
    assert places_at_once(met, [host for host in met if host != "name"], "sin", region_of) == ()


@given(
    st.sampled_from(["198.18.0.1:51820", "[::ffff:198.18.0.1]:9", "[fe80::1%eth0]:1", "[2001:db8::1]:51820"])
)
def test_a_host_is_an_address_alone(endpoint: str) -> None:
    assert host_of(endpoint) in ("198.18.0.1", "fe80::1", "2001:db8::1")


def test_only_sessions_that_live_are_met() -> None:
    keys = [key_of(name) for name in "abc"]
    met = met_freshly(
        [(key, "198.18.0.1:1") for key in keys], {keys[0]: 0, keys[1]: 181}, lambda _: frozenset()
    )
    assert list(met) == [(keys[0], "198.18.0.1")]
