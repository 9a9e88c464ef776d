"""Route tables compared as values: every answer equals that of reading every line of every observer."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.fleet.fleet import Fleet
from auditor.fleet.observer_sets import ObserverGroup, Observers
from auditor.judge import judge
from auditor.values.addresses import Prefix, PublicKey, covers, is_host, network
from auditor.values.models import Observation, Snapshot
from auditor.values.route_table import RouteTable
from tests.fleets import Mesh, contested, healthy, key_of, names, prefixes, trio

P = Prefix


def counts(fleet: Fleet, prefix: str) -> dict[str, int]:
    """Picks by node name, "nobody" and "?" for keys without a node."""
    return {
        pick.node.name if pick.node else "?" if pick.public_key else "nobody": pick.observers
        for pick in fleet.routes.picks(P(prefix))
    }


def test_each_observer_of_a_contested_address_is_counted_where_its_table_sends_it() -> None:
    """The two claimants deliver to themselves and are not counted."""
    assert counts(Fleet(contested().snapshot()), "10.0.0.9/32") == {"twin-sin": 2, "twin-fra": 1}


def test_observers_are_counted_by_their_own_region() -> None:
    """Not by the region of the node that they route to."""
    sin, fra = Fleet(contested().snapshot()).routes.picks(P("10.0.0.9/32"))
    assert sin.regions == {"ams": 1, "sin": 1}
    assert fra.regions == {"ams": 1}
    assert names(sin.sample) == ["watch-a", "watch-b"]


def test_an_observer_that_has_the_address_on_no_peer_is_counted_as_nobody() -> None:
    """And stands last, however many they are."""
    mesh = contested()
    for watcher in ("watch-a", "watch-b"):
        mesh.lacks(watcher, "twin-fra", "twin-sin")
    picks = Fleet(mesh.snapshot()).routes.picks(P("10.0.0.9/32"))
    assert [(pick.public_key, pick.observers) for pick in picks] == [(key_of("twin-fra"), 1), (None, 2)]


def test_an_uncontested_address_goes_to_its_owner_from_everybody_else() -> None:
    """All observers but the owner itself."""
    assert counts(Fleet(trio().snapshot()), "10.0.0.2/32") == {"edge-fra-1": 2}


def test_where_the_exact_prefix_is_missing_the_longest_covering_one_gets_the_traffic() -> None:
    """10.9.0.7 is behind gate-ams-2's /24; the gateway itself delivers it and is no observer of it."""
    assert counts(Fleet(healthy().snapshot()), "10.9.0.7/32") == {"gate-ams-2": 5}


def test_a_gateway_is_no_observer_of_the_network_behind_itself() -> None:
    """Its own table never routes it, and that is right."""
    assert counts(Fleet(healthy().snapshot()), "10.9.0.0/24") == {"gate-ams-2": 5}


def test_a_wider_prefix_on_one_observer_only_moves_that_observer() -> None:
    """The /16 of a ghost beats nothing where the /24 is there, and takes over where it is not."""
    mesh = healthy().lacks("edge-fra-1", "gate-ams-2").peers_with("edge-fra-1", "ghost", "10.9.0.0/16")
    mesh.peers_with("edge-sin-1", "ghost", "10.9.0.0/16")
    assert counts(Fleet(mesh.snapshot()), "10.9.0.7/32") == {"gate-ams-2": 4, "?": 1}


def test_a_key_in_flight_counts_as_a_route_but_not_as_a_deviation() -> None:
    """Its observers do not route to nobody: they route to it."""
    mesh = trio().node("new", "10.0.0.9").flying("new")
    routes = Fleet(mesh.snapshot()).routes
    assert [(pick.public_key, pick.observers) for pick in routes.picks(P("10.0.0.9/32"))] == [
        (key_of("new"), 3)
    ]
    assert routes.deviating_prefixes == ()


def test_equal_tables_are_compared_once() -> None:
    """Once each distinct table, whatever the number of observers."""
    snapshot = trio().snapshot()
    observers = Fleet(snapshot).routes.observers
    assert len(observers) == 3
    assert len(observers.tables) == len({item.table for item in snapshot.observations}) == 1


def observers(*nodes: str, without: frozenset[str] = frozenset()) -> ObserverGroup:
    """Holders of three tables, dealt out one after the other."""
    mesh = Mesh()
    for node in nodes:
        mesh.node(node, f"10.0.0.{ord(node) % 256}")
    seen = sorted((mesh.observe(mesh.find(node)) for node in nodes), key=lambda item: item.node)
    seen = [replace(item, table=f"table {2 - number % 3}") for number, item in enumerate(seen)]
    everybody = Observers(seen, lambda _: "")
    members = everybody.everyone
    for node in without:
        members &= ~everybody.named(mesh.find(node))
    return ObserverGroup(everybody, members)


def test_observers_of_several_tables_are_named_in_their_own_order() -> None:
    """Not in that of the tables, and the sample is the beginning of the whole."""
    group = observers(*"gfedcba")
    assert names(item.node for item in group) == list("abcdefg")
    assert names(group.first()) == list("abc")
    assert names(group.first(5)) == list("abcde")


def test_observers_whom_it_does_not_concern_are_neither_counted_nor_named() -> None:
    """Wherever they stand."""
    group = observers(*"abcdefg", without=frozenset("acg"))
    assert len(group) == 4
    assert names(item.node for item in group) == list("bdef")
    assert names(group.first()) == list("bde")
    assert not observers(*"ab", without=frozenset("ab"))


def test_many_observers_are_named_in_the_same_order_as_a_few() -> None:
    """Thousands are not sorted for the first of them."""
    nodes = [chr(number) for number in range(0x4E00, 0x4E00 + 200)]
    group = observers(*reversed(nodes), without=frozenset(nodes[:5]))
    assert len(group) == 195
    assert names(group.first()) == nodes[5:8]
    assert names(item.node for item in group) == nodes[5:]


def test_a_table_as_expected_differs_in_nothing() -> None:
    """Own lines included, all nodes of a healthy mesh hold the same text."""
    deviations = Fleet(trio().snapshot()).routes.deviations
    assert not deviations.prefixes
    assert not deviations.absent_keys
    assert not deviations.extra_keys


def test_a_peer_that_shows_none_is_idle_and_not_absent() -> None:
    """It is there, without an address."""
    routes = Fleet(trio().empties("edge-fra-1", "edge-sin-1").snapshot()).routes
    assert set(routes.deviations.idle_keys) == {key_of("edge-sin-1")}
    assert not routes.deviations.absent_keys


def test_a_literal_table_is_read_as_it_stands() -> None:
    """Tabs, `(none)` and an own line, without the builder in between."""
    sin, fra, ghost = key_of("edge-sin-1"), key_of("edge-fra-1"), key_of("ghost")
    text = f"{sin}\t(none)\n{fra}\t10.0.0.2/32\n{ghost}\t10.0.0.3/32\n{ghost}\t10.7.0.0/16\n".encode()
    snapshot = trio().snapshot()
    table = RouteTable(text)
    first, *others = snapshot.observations
    changed = replace(
        snapshot,
        observations=(replace(first, table=table.digest), *others),
        tables={**snapshot.tables, table.digest: table},
    )
    fleet = Fleet(changed)
    shown = by_observer(fleet, first)
    assert shown["extra"] == {P("10.0.0.3/32"): {ghost}, P("10.7.0.0/16"): {ghost}}
    assert shown["missing"] == {P("10.0.0.3/32"): {sin}, P("10.0.0.4/32"): {key_of("edge-ams-1")}}
    assert shown["absent_keys"] == {key_of("edge-ams-1")}
    assert shown["extra_keys"] == {sin, ghost}
    assert not any(by_observer(fleet, others[0]).values())


@pytest.mark.parametrize(
    ("wide", "narrow", "answer"),
    [
        ("10.0.0.0/8", "10.0.0.1/32", True),
        ("10.0.0.1/32", "10.0.0.0/8", False),
        ("10.0.0.0/8", "10.0.0.0/8", True),
        ("0.0.0.0/0", "fd00::1/128", False),
        ("::/0", "10.0.0.1/32", False),
        ("fd00::/8", "fd00::1/128", True),
    ],
)
def test_a_network_covers_only_what_lies_in_it_and_is_of_its_family(
    wide: str, narrow: str, answer: bool
) -> None:
    """The standard library raises on mixed families."""
    assert covers(network(P(wide)), network(P(narrow))) is answer


# -- the whole comparison, line by line, as nobody would do it for a thousand nodes

ADDRESSES = (
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.1.1",
    "fd00::1",
    "10.0.0.0/24",
    "10.0.0.0/16",
    "fd00::/64",
)


@st.composite
def fleets(draw: st.DrawFn) -> Snapshot:
    """Small fleets with random registrations, devices, peers, orders, ghosts and changes in flight."""
    mesh = Mesh(topology=draw(st.sampled_from(["full", "partial"])))
    names = [f"n{number}" for number in range(draw(st.integers(1, 6)))]
    addresses = st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=3, unique=True)
    for name in names:
        key = draw(st.sampled_from([name, name, name, "shared"]))
        mesh.node(name, *draw(addresses), region=draw(st.sampled_from(["fra", "sin", None])), key=key)
    some = st.sampled_from(names)
    for _ in range(draw(st.integers(0, 6))):
        observer, other = draw(some), draw(some)
        fault = draw(st.sampled_from(["picks", "lacks", "ghost", "empties", "holds", "rekeyed", "flying"]))
        match fault:
            case "picks":
                mesh.picks(observer, other)
            case "lacks":
                mesh.lacks(observer, other)
            case "ghost":
                mesh.peers_with(observer, draw(st.sampled_from(["ghost", other])), *draw(addresses))
            case "empties":
                mesh.empties(observer, other)
            case "holds":
                hosts = st.sampled_from([item for item in ADDRESSES if "/" not in item])
                mesh.holds(observer, *draw(st.lists(hosts, max_size=2, unique=True)))
            case "rekeyed":
                mesh.rekeyed(observer, draw(st.sampled_from(["new", other])))
            case "flying":
                mesh.flying(observer)
    return mesh.snapshot()


Lines = dict[PublicKey, set[Prefix]]


def lines_of(snapshot: Snapshot, observer: Observation) -> Lines:
    """Every line of one observer's table."""
    lines: Lines = defaultdict(set)
    for line in snapshot.tables[observer.table].text.decode().splitlines():
        key, _, prefix = line.partition("\t")
        lines[PublicKey(key)] |= {P(prefix)} - {P("(none)")}
    return lines


def expected_of(fleet: Fleet) -> Lines:
    """What every table should hold, by key."""
    lines: Lines = defaultdict(set)
    for item in fleet.registrations:
        if item.public_key not in fleet.in_flight_keys:
            lines[item.public_key] |= set(item.addresses)
    return lines


def naive_pick(fleet: Fleet, observer: Observation, lines: Lines, prefix: Prefix) -> set[PublicKey | None]:
    """Where one observer sends a prefix; nowhere if it delivers it itself."""
    own = observer.device.public_key
    if prefix in observer.device.addresses:
        return set()
    behind = {item for item in expected_of(fleet)[own] if not is_host(item)}
    everything = {item for allowed in lines.values() for item in allowed} | behind
    wide = [item for item in everything if item != prefix and covers(network(item), network(prefix))]
    for candidate in (prefix, *sorted(wide, key=lambda item: -network(item).prefixlen)):
        if candidate in behind:
            return set()
        keys = {key for key, allowed in lines.items() if candidate in allowed}
        if keys:
            return set(keys) if candidate == prefix else {min(keys)}
    return {None}


QUESTIONS = tuple(prefixes((*ADDRESSES, "10.0.0.200", "10.0.200.0/24", "192.0.2.1", "fd00::77")))


@settings(max_examples=50, deadline=None)
@given(fleets())
def test_picks_equal_a_count_over_every_line_of_every_observer(snapshot: Snapshot) -> None:
    """By key and by the observers' region, for addresses that are there and for some that are not."""
    fleet = Fleet(snapshot)
    for prefix in QUESTIONS:
        naive: dict[PublicKey | None, Counter[str]] = defaultdict(Counter)
        for observer in fleet.witnesses:
            for target in naive_pick(fleet, observer, lines_of(snapshot, observer), prefix):
                naive[target][fleet.region(observer.node)] += 1
        assert {pick.public_key: pick.regions for pick in fleet.routes.picks(prefix)} == naive, prefix


@settings(max_examples=50, deadline=None)
@given(fleets())
def test_a_sample_names_only_observers_that_route_it_there(snapshot: Snapshot) -> None:
    """And is never empty."""
    fleet = Fleet(snapshot)
    for prefix in QUESTIONS:
        for pick in fleet.routes.picks(prefix):
            assert pick.sample
            for node in pick.sample:
                observer = fleet.observed[node]
                lines = lines_of(snapshot, observer)
                assert pick.public_key in naive_pick(fleet, observer, lines, prefix)


def by_observer(fleet: Fleet, observer: Observation) -> dict[str, object]:
    """Each field of the deviations, as far as it is this observer's."""
    deviations, itself = fleet.routes.deviations, fleet.routes.observers.named(observer.node)
    shown: dict[str, object] = {}
    for field in ("missing", "extra", "passing"):
        lines = {
            prefix: {key for key, members in by_key.items() if members & itself}
            for prefix, by_key in getattr(deviations, field).items()
        }
        shown[field] = {prefix: keys for prefix, keys in lines.items() if keys}
    for field in ("absent_keys", "idle_keys", "extra_keys"):
        shown[field] = {key for key, members in getattr(deviations, field).items() if members & itself}
    return shown


@settings(max_examples=50, deadline=None)
@given(fleets())
def test_deviations_equal_a_comparison_of_every_line_of_every_observer(snapshot: Snapshot) -> None:
    """Missing, extra, absent, idle: each observer's own, whether it shares its table or not."""
    fleet = Fleet(snapshot)
    expected = expected_of(fleet)
    for observer in fleet.witnesses:
        shown = by_observer(fleet, observer)
        lines = lines_of(snapshot, observer)
        missing: dict[Prefix, set[PublicKey]] = defaultdict(set)
        surplus: dict[bool, dict[Prefix, set[PublicKey]]] = {True: defaultdict(set), False: defaultdict(set)}
        for key, wanted in expected.items():
            for prefix in wanted - lines.get(key, set()):
                missing[prefix].add(key)
        for key, allowed in lines.items():
            for prefix in allowed - expected.get(key, set()):
                surplus[key in fleet.in_flight_keys][prefix].add(key)
        assert shown["missing"] == missing
        assert shown["extra"] == surplus[False]
        assert shown["passing"] == surplus[True]
        assert shown["absent_keys"] == expected.keys() - lines.keys()
        idle = {key for key, allowed in lines.items() if not allowed} - fleet.in_flight_keys
        assert shown["idle_keys"] == idle
        for prefix in QUESTIONS:
            assert fleet.routes.keys_at(observer.node, prefix) == {
                key for key, allowed in lines.items() if prefix in allowed
            }
        for key in {*expected, *lines} - fleet.in_flight_keys:
            assert fleet.routes.has_peer(observer.node, key) == (key in lines)


@settings(max_examples=50, deadline=None)
@given(fleets())
def test_every_observer_is_in_the_group_of_where_it_sends_a_prefix(snapshot: Snapshot) -> None:
    """In one group, found by tables; the same as a look at each observer's own table gives."""
    fleet = Fleet(snapshot)
    for prefix in QUESTIONS:
        groups = fleet.routes.sent(prefix)
        grouped = [(node, sent) for sent in groups for node in sent.nodes]
        assert [len(sent.nodes) for sent in groups] == [sent.number for sent in groups]
        assert sorted(node for node, _ in grouped) == sorted(item.node for item in fleet.witnesses)
        for node, sent in grouped:
            observer = fleet.observed[node]
            expected = naive_pick(fleet, observer, lines_of(snapshot, observer), prefix)
            assert (sent.keys, sent.itself) == (expected - {None}, not expected), prefix
            alone = fleet.routes.sent_by(observer, prefix)
            assert (alone.keys, alone.by, alone.itself) == (sent.keys, sent.by, sent.itself)


@settings(max_examples=50, deadline=None)
@given(fleets())
def test_a_pick_and_a_finding_name_as_many_observers_as_they_count(snapshot: Snapshot) -> None:
    """All of them, by name, each once, the sample among them."""
    findings = judge(snapshot).findings
    groups = [pick for finding in findings for pick in finding.evidence.routing]
    for shown in (*groups, *(finding.evidence for finding in findings if not finding.evidence.routing)):
        everyone = shown.everyone() if shown.everyone is not None else shown.sample
        assert len(set(everyone)) == shown.observers
        assert set(shown.sample) <= set(everyone)
