"""The incident on a real mesh: a pair on the first address, a triple, and observers that disagree."""

from __future__ import annotations

import gzip
import json
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.lab.answers import ask_from_all
from tests.lab.mesh import Lab
from tests.lab.sweeps import Sweep
from tests.lab.topology import host

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]
CASE = "incident"
PAIR = "10.0.0.1"
TRIPLE = "10.20.0.7"


def duplicate(sweep: Sweep, address: str) -> dict[str, Any]:
    """The one finding that says that the address is claimed twice."""
    (finding,) = [each for each in sweep.findings("duplicate-address") if each["subject"] == address]
    return finding


def shown_routing(lab: Lab, address: str) -> dict[str, Counter[str]]:
    """By claimant: the regions of the observers whose real device routes the address to it."""
    claimants = {
        lab.topology.public_key(node): node.name for node in lab.topology.nodes if node.address == address
    }
    routing: dict[str, Counter[str]] = {name: Counter() for name in claimants.values()}
    for observer in lab.topology.nodes:
        if observer.address != address:
            for key, prefixes in lab.allowed_ips(observer.label).items():
                if host(address) in prefixes:
                    routing[claimants[key]][observer.region] += 1
    return routing


def test_the_incident_exits_with_1_and_nothing_was_left_unseen(sweep: Sweep) -> None:
    """All ten nodes answered, so the verdict rests on everything."""
    report = sweep.report

    assert (sweep.code, report["verdict"], report["gaps"]) == (1, "findings", [])
    assert (report["coverage"]["registered"], report["coverage"]["observed"]) == (10, 10)


@pytest.mark.parametrize(
    ("address", "nodes", "regions"),
    [
        (PAIR, ["edge-fra-1", "edge-sin-1"], ["fra", "sin"]),
        (TRIPLE, ["worker-ams-1", "worker-iad-1", "worker-nrt-1"], ["ams", "iad", "nrt"]),
    ],
)
def test_each_contested_address_is_one_critical_finding_with_its_nodes_and_regions(
    sweep: Sweep, address: str, nodes: list[str], regions: list[str]
) -> None:
    """Seen twice, and following from nothing else."""
    finding = duplicate(sweep, address)

    assert (finding["nodes"], finding["regions"]) == (nodes, regions)
    assert (finding["severity"], finding["confirmed"], finding["caused_by"]) == ("critical", True, None)


@pytest.mark.parametrize("address", [PAIR, TRIPLE])
def test_the_routing_counts_are_those_of_the_real_devices(lab: Lab, sweep: Sweep, address: str) -> None:
    """By claimant and by the observers' region, as `wg show` on every node has it."""
    routing = duplicate(sweep, address)["evidence"]["routing"]

    shown = shown_routing(lab, address)
    assert {pick["node"]: Counter(pick["regions"]) for pick in routing} == shown
    assert {pick["node"]: pick["observers"] for pick in routing} == {
        name: regions.total() for name, regions in shown.items()
    }


@pytest.mark.parametrize("address", [PAIR, TRIPLE])
def test_the_routing_counts_are_those_that_the_topology_configured(
    lab: Lab, sweep: Sweep, address: str
) -> None:
    """The same from the other side: from what the lab set, not from what devices show."""
    topology = lab.topology
    observers = [node.label for node in topology.nodes if node.address != address]

    routing = duplicate(sweep, address)["evidence"]["routing"]

    assert len(routing) > 1
    assert {pick["public_key"]: pick["observers"] for pick in routing} == {
        key: len(picks) for key, picks in topology.routing(address, observers).items()
    }


@pytest.mark.parametrize("address", [PAIR, TRIPLE])
def test_every_claimant_is_seen_in_the_registry_and_on_its_device(sweep: Sweep, address: str) -> None:
    """Two witnesses for each."""
    finding = duplicate(sweep, address)

    claims = {(claim["witness"], claim["node"]) for claim in finding["evidence"]["claims"]}
    assert claims == {(witness, node) for witness in ("registered", "device") for node in finding["nodes"]}


def by_hand(lab: Lab, address: str) -> dict[str, str | None]:
    """By each node that claims neither address: who answers a connection of its own, which knows nothing of wgaudit."""
    lab.answer()
    asking = {node.label for node in lab.topology.nodes if node.address not in (PAIR, TRIPLE)}
    return ask_from_all({label: path for label, path in lab.networks().items() if label in asking}, address)


@pytest.mark.parametrize("address", [PAIR, TRIPLE])
def test_the_sweep_names_which_real_server_answers_where(lab: Lab, sweep: Sweep, address: str) -> None:
    """Each claimant's own NATS server, by the regions of those who met it: the same as by hand."""
    met: dict[str | None, Counter[str]] = {}
    for observer, name in by_hand(lab, address).items():
        met.setdefault(name, Counter())[lab.topology.node(observer).region] += 1

    answers = duplicate(sweep, address)["evidence"]["answers"]

    assert len(met) > 1
    assert {each["node"]: Counter(each["regions"]) for each in answers} == met
    assert {each["region"] for each in answers} == {lab.topology.node(str(name)).region for name in met}
    assert sum(each["observers"] for each in answers) == 5


@pytest.mark.parametrize("address", [PAIR, TRIPLE])
def test_ask_names_for_each_observer_the_server_that_answers_it(lab: Lab, address: str) -> None:
    """All that can be asked, one by one, and the same as by hand."""
    asked = lab.run("ask", address, "--all", "--format", "json")

    assert asked.code == 1, asked.stderr
    (told,) = asked.report["addresses"]
    assert {each["observer"]: each["node"] for each in told["answers"]} == by_hand(lab, address)


def test_the_guesses_name_the_fallback_and_the_parallel_writers(sweep: Sweep) -> None:
    """The pair holds the pool's first address; the triple was written one after the other."""
    causes = {address: duplicate(sweep, address)["probable_cause"] for address in (PAIR, TRIPLE)}

    assert causes == {PAIR: "allocator-fallback", TRIPLE: "parallel-writers"}


def test_everything_else_follows_from_the_two_duplicates(sweep: Sweep) -> None:
    """Split routes, displaced peers and wrong regions are evidence of the two incidents, not pages of their own."""
    assert sweep.roots() == {("duplicate-address", PAIR), ("duplicate-address", TRIPLE)}
    followers = {finding["check"] for finding in sweep.report["findings"] if finding["caused_by"]}
    assert followers >= {"split-routing", "displaced-allowed-ips", "self-routed-address", "region-mismatch"}
    assert followers >= {"fallback-address"}


def test_the_table_shows_both_incidents_within_80_columns(lab: Lab) -> None:
    """For the person on call, through a pipe: no colour, no line too long."""
    table = lab.run("sweep", "--no-confirm")

    assert table.code == 1
    for word in (PAIR, TRIPLE, "edge-fra-1", "edge-sin-1", "worker-nrt-1"):
        assert word in table.stdout
    assert "\x1b" not in table.stdout
    assert max(map(len, table.stdout.splitlines())) <= 80
    assert "( on" not in table.stdout


def test_a_recorded_sweep_replays_to_the_same_report_and_holds_no_private_key(lab: Lab) -> None:
    """`--record` and `--replay` on real input; the file is for its owner only."""
    path = lab.folder / "incident.json.gz"

    recorded = lab.sweep("--record", str(path))
    replayed = lab.sweep("--replay", str(path))

    assert replayed.code == 1
    assert replayed.report == recorded.report
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = gzip.decompress(path.read_bytes()).decode()
    assert json.loads(text)
    assert lab.topology.public_key(lab.topology.nodes[0]) in text
    assert not [node for node in lab.topology.nodes if lab.topology.private_key(node) in text]


def test_explain_tells_of_an_address_who_claims_it(lab: Lab) -> None:
    """The whole story of one address from a fresh sweep."""
    story = lab.run("explain", PAIR)

    assert "edge-fra-1" in story.stdout, story.stderr
    assert "edge-sin-1" in story.stdout
    assert "worker-nrt-1" not in story.stdout.split("\n", 1)[0]


def test_the_sweep_leaves_nothing_on_the_nodes(lab: Lab) -> None:
    """It only looks: no new file in root's home, the same allowed-ips as before."""

    def state() -> list[tuple[str, list[Path], dict[str, set[str]]]]:
        labels = [node.label for node in lab.topology.nodes]
        return [(each, sorted(lab.node_folder(each).rglob("*")), lab.allowed_ips(each)) for each in labels]

    before = state()

    code = lab.sweep("--no-confirm").code

    assert (code, state()) == (1, before)
