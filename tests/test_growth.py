"""What a sweep moves and holds grows with the fleet, at peace and in the incident: counted, never timed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from auditor.checks.catalogue import CHECKS
from auditor.demo.demo_fleet import build_fleet
from auditor.explain.reach import Reach
from auditor.fleet.fleet import Fleet
from auditor.fleet.observer_sets import Observers
from auditor.judge import judge
from auditor.nodes.probe.probe import Mode, parse_answer
from auditor.nodes.varying import Varying
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.models import NodeId, Observation, Snapshot
from auditor.values.route_table import RouteTable
from benchmarks.analysis import PlainScript, analyse, collect_answers
from benchmarks.growth import KINDS, WIRE, exact_contested_figures, exact_figures, exponent
from benchmarks.simulated import CONTESTED_PAIRS, SimulatedFleet, SimulatedNodes, SweepCost, look
from benchmarks.simulated import KINDS as FLEETS
from tests.demo.snapshots import snapshot_of
from tests.fleets import Mesh, key_of

SIZES = (500, 1_000, WIRE)


@pytest.fixture(scope="module", params=KINDS)
def swept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[int, SweepCost]]:
    """What whole sweeps of simulated fleets cost, by their size."""
    folder = tmp_path_factory.mktemp("sweeps")
    return request.param, {size: look(SimulatedFleet(size, request.param), folder) for size in SIZES}


# -- what crosses the wire and what is held


def test_every_exact_figure_of_the_benchmark_reaches_its_target(
    swept: tuple[str, dict[int, SweepCost]],
) -> None:
    """Bytes against full tables, texts fetched, lines held, growth of bytes: as benchmarks/results.md says."""
    figures = exact_figures(*swept)
    assert {figure.name: figure.median for figure in figures if figure.met is False} == {}
    assert sum(figure.met is True for figure in figures) == 4


def test_many_contested_pairs_move_at_most_twice_the_bytes_of_one(tmp_path: Path) -> None:
    """Though nearly every node has a table of its own. It grows with the fleet, as one pair does."""
    costs = {
        kind: {nodes: look(SimulatedFleet(nodes, kind), tmp_path) for nodes in (500, 1_000)}
        for kind in CONTESTED_PAIRS
    }
    figures = exact_contested_figures(costs)
    assert {figure.name: figure.median for figure in figures if figure.met is False} == {}
    assert max(cost.texts for by_size in costs.values() for cost in by_size.values()) <= 16


def test_no_more_texts_are_fetched_than_there_are_distinct_tables(
    swept: tuple[str, dict[int, SweepCost]],
) -> None:
    """Whatever the number of nodes, and with a second look."""
    _, costs = swept
    assert max(cost.texts - cost.tables for cost in costs.values()) <= 0


def test_the_number_of_distinct_tables_does_not_grow_with_the_fleet(
    swept: tuple[str, dict[int, SweepCost]],
) -> None:
    """One at peace; in the incident every table deviates, yet in one of a dozen ways."""
    kind, costs = swept
    assert max(cost.tables for cost in costs.values()) <= (1 if kind == "peace" else 12)


def test_bytes_grow_no_faster_than_the_fleet(swept: tuple[str, dict[int, SweepCost]]) -> None:
    """Between every two sizes, not only over all: a term in N² would show at the end first."""
    _, costs = swept
    for smaller, larger in pairwise(SIZES):
        assert exponent([(size, costs[size].bytes_moved) for size in (smaller, larger)]) <= 1.1


def test_tables_are_held_as_one_text_and_the_lines_in_which_they_differ(
    swept: tuple[str, dict[int, SweepCost]],
) -> None:
    """A pair and a triple: each table differs from the first one in a dozen lines at most."""
    _, costs = swept
    assert all(cost.nodes <= cost.lines <= cost.nodes + 12 * cost.tables for cost in costs.values())


def test_a_recording_holds_each_table_once(tmp_path: Path) -> None:
    """However many observers hold it, and though there was a second look."""
    look(SimulatedFleet(300, "incident"), tmp_path, keep=True)
    document = json.loads(gzip.decompress((tmp_path / "kept.json.gz").read_bytes()))
    held = {item["table"] for item in document["observations"]}
    assert document["second_look"]["observations"]
    assert held == document["tables"].keys()
    line = max(document["registrations"], key=lambda item: item["name"])["public_key"] + "\t"
    assert json.dumps(document["tables"]).count(json.dumps(line)[1:-1]) == len(held)


# -- no loop over observers × peers


class Counted(Observers):
    """Observers that count how often one of them is looked at."""

    looks = 0

    def members(self, of: int) -> Iterator[Observation]:
        for item in super().members(of):
            self.looks += 1
            yield item


def counted(fleet: Fleet) -> Counted:
    """Put such observers in the place of the fleet's own."""
    fleet.routes.observers = Counted(fleet.witnesses, fleet.region)
    return fleet.routes.observers


def bad_night(size: int) -> Snapshot:
    """One table that all hold: a third of its keys not registered, others missing, others without address."""
    mesh = Mesh()
    for number in range(size):
        mesh.node(f"n{number:05}", f"10.{number >> 8}.{number & 255}.2")
    snapshot = mesh.snapshot_of_one_table(mesh.table(NodeId("dc1", "n00000")))
    lines = {}
    for number in range(size):
        key = key_of(f"n{number:05}")
        address = "(none)" if number % 6 == 0 else f"10.{number >> 8}.{number & 255}.2/32"
        if number % 6 != 1:
            lines[key] = f"{key}\t{address}\n"
    table = RouteTable("".join(sorted(lines.values())).encode())
    return replace(
        snapshot,
        registrations=tuple(item for item in snapshot.registrations if int(item.node.name[1:]) % 3 != 2),
        observations=tuple(replace(item, table=table.digest) for item in snapshot.observations),
        tables={table.digest: table},
    )


def test_no_check_looks_at_every_observer_once_for_each_peer() -> None:
    """What thousands of observers lack or have too much is counted by table: each holder a few times in all."""
    snapshot = bad_night(600)
    fleet = Fleet(snapshot)
    observers = counted(fleet)
    found = {check.ident: len(list(check.run(fleet))) for check in CHECKS}
    assert (found["unregistered-peer"], found["missing-peer"], found["displaced-allowed-ips"]) == (
        200,
        100,
        100,
    )
    assert observers.looks < 20 * len(snapshot.observations)


def test_whom_observers_lose_is_told_by_table_and_not_by_looking_at_each_of_them_for_each_address() -> None:
    """Holders are listed only where somebody asks for names."""
    snapshot = bad_night(600)
    fleet = Fleet(snapshot)
    observers = counted(fleet)
    reach = Reach(fleet)
    places = [reach.place(address) for address in reach.troubled]
    assert sum(group.number for place in places for group in place.losing) > 100 * len(snapshot.observations)
    assert observers.looks < 20 * len(snapshot.observations)


def test_findings_count_observers_as_a_look_at_each_would() -> None:
    """A peer's own device is no observer of it."""
    report = judge(bad_night(60))
    counts = {
        (item.check, item.evidence.observers) for item in report.findings if item.evidence.observers > 1
    }
    assert {count for check, count in counts if check in ("missing-peer", "unregistered-peer")} == {59}
    assert {count for check, count in counts if check == "displaced-allowed-ips"} == {59}


def test_fleets_over_one_registry_compare_each_table_once() -> None:
    """The second look's fleet takes over what the first one found out."""
    snapshot = bad_night(30)
    first = Fleet(snapshot)
    again = Fleet(replace(snapshot, observations=snapshot.observations[:3]), first.registered)
    assert first.routes.deviations.missing.keys() == again.routes.deviations.missing.keys()
    assert first.registered.expected.texts_compared == 1
    assert len(again.routes.observers) == 3


# -- the simulation itself


@pytest.mark.parametrize("size", [15, 40, 127])
def test_the_simulated_tables_are_those_that_the_kernels_rule_gives(size: int) -> None:
    """The closed form against the demo's fleet, written write by write."""
    fleet, simulated = build_fleet(size), SimulatedFleet(size, "incident")
    snapshot = snapshot_of(fleet)
    for observation in snapshot.observations:
        node = fleet.node(observation.node.name)
        text = simulated.text(node)
        assert text == snapshot.tables[observation.table].text
        assert simulated.digest_and_size(node) == (observation.table, len(text))
        printed = fleet.peer_table(node).allowed_ips().encode()
        assert sorted(simulated.allowed_ips(node).splitlines()) == sorted(printed.splitlines())


def test_what_full_tables_would_take_is_what_each_node_would_print() -> None:
    """The command and its output, for each node that can be reached."""
    fleet = SimulatedFleet(60, "incident")
    printed = [len(fleet.allowed_ips(node)) for node in fleet.nodes.values() if node.reachable]
    assert fleet.naive_bytes() == sum(printed) + len(printed) * len("wg show wg0 allowed-ips")


@pytest.mark.parametrize("kind", FLEETS)
@pytest.mark.parametrize("mode", ["digest", "text", "base"])
def test_a_simulated_node_prints_what_the_probe_would(kind: str, mode: Mode) -> None:
    """Its digest is that of its text, and its base and prefixes give that text."""
    fleet = SimulatedFleet(120, kind)
    nodes = SimulatedNodes(fleet)
    ends = sorted(node.public_key[39:43] for node in list(fleet.nodes.values())[:20])
    for node in fleet.nodes.values():
        answer = parse_answer(nodes.printed(mode, node, ends if mode == "base" else ()), "wg0")
        digest = answer.digest or (answer.table.digest if answer.table else "")
        assert digest == fleet.digest_and_size(node)[0]
        assert answer.device.public_key == node.public_key
        if answer.base is not None:
            table = Varying(ends, [RouteTable(fleet.text(node))]).table(answer.base, answer.varying)
            assert table is not None
            assert table.text == fleet.text(node)


def test_the_plain_script_and_the_audit_find_the_same() -> None:
    """So that the benchmark compares two ways to one result."""
    fleet = SimulatedFleet(300, "one percent")
    heard = collect_answers(fleet)
    script = PlainScript(heard.registrations)
    for node in fleet.nodes.values():
        script.read(node.name, node.public_key, fleet.allowed_ips(node))
    findings = analyse(heard).findings
    assert {(item.evidence.sample[0].name, _key(item.evidence.facts)) for item in findings} == set(
        script.wrong
    )
    assert len(script.wrong) == 3
    assert script.duplicates == {}


def test_the_plain_script_finds_the_contested_addresses_too() -> None:
    """Its observers give them to different keys."""
    fleet = SimulatedFleet(300, "incident")
    heard = collect_answers(fleet)
    script = PlainScript(heard.registrations)
    for node in fleet.nodes.values():
        script.read(node.name, node.public_key, fleet.allowed_ips(node))
    contested = {item.subject for item in analyse(heard).findings if item.check == "duplicate-address"}
    assert {Prefix(f"{address}/32") for address in contested} == set(script.duplicates)


def _key(facts: tuple[tuple[str, str], ...]) -> PublicKey:
    return PublicKey(dict(facts)["registered key"])
