"""Cost of the analysis, from the nodes' answers to the report: against a plain script, and in the incident.

wgaudit's side is everything from the bytes of each node's answer to the report: reading answers, checking tables,
comparing them, the second look, the verdict. The plain script is the obvious first attempt: it reads the output of
`wg show wg0 allowed-ips` of each node into a dict of sets, compares it with the registry and keeps which key has
which address. Both are measured in CPU time of this process; neither reads the registry.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from auditor.demo.demo_fleet import DEVICE, REGISTRY_PREFIX
from auditor.fleet.fleet import Fleet
from auditor.fleet.showing import asked_first
from auditor.judge import find, judge
from auditor.nodes.probe.probe import parse_answer
from auditor.registry.records import KvItem, read_kv
from auditor.settings.consul import ConsulFields
from auditor.values.models import Observation, Registration, SecondLook, Snapshot
from auditor.values.report import Report
from auditor.values.route_table import RouteTable
from benchmarks.figures import Figure, Results, ratios
from benchmarks.simulated import POLICY, SimulatedFleet, SimulatedNodes, exclude_from_collection

RUNS = 5
AT_ONE_PERCENT = ((3_000, 10.0), (5_000, 20.0))
"""N, and how many times faster than the plain script the analysis must be."""
IN_THE_INCIDENT = (5_000, 10_000)
_THEN = datetime(2026, 1, 1, tzinfo=UTC)


def measure(quick: bool) -> Results:
    """Measure ratios of CPU time, run by run. Nothing if `quick`: all of it is time."""
    if quick:
        return Results(())
    figures: list[Figure] = []
    for nodes, target in AT_ONE_PERCENT:
        figures += _against_the_script(nodes, target)
    for nodes in IN_THE_INCIDENT:
        figures += _incident_against_peace(nodes)
    return Results(tuple(figures))


def _against_the_script(nodes: int, target: float) -> list[Figure]:
    fleet = SimulatedFleet(nodes, "one percent")
    heard = collect_answers(fleet)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(RUNS):
        ours.append(_seconds(heard))
        theirs.append(_seconds_of_the_script(fleet, heard))
    name = f"analysis with 1% deviating observers, N={nodes:,}"
    return [
        Figure(
            f"{name}, against a dict-of-sets script",
            "×",
            ratios(theirs, ours),
            target=target,
            kind="at least",
            note="how many times faster; each deviating observer lacks another peer",
        ),
        Figure(name, "ms", tuple(1000 * one for one in ours)),
        Figure(f"{name}, by the script", "ms", tuple(1000 * one for one in theirs)),
    ]


def _incident_against_peace(nodes: int) -> list[Figure]:
    peace, incident = (collect_answers(SimulatedFleet(nodes, kind)) for kind in ("peace", "incident"))
    at_peace, in_it = [], []
    for _ in range(RUNS):
        at_peace.append(_seconds(peace))
        in_it.append(_seconds(incident))
    return [
        Figure(
            f"analysis in the incident against the same fleet at peace, N={nodes:,}",
            "×",
            ratios(in_it, at_peace),
            target=2.0,
            note="the second look included; every observer deviates",
        ),
        Figure(f"analysis at peace, N={nodes:,}", "ms", tuple(1000 * one for one in at_peace)),
        Figure(f"analysis in the incident, N={nodes:,}", "ms", tuple(1000 * one for one in in_it)),
    ]


# -- ours


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """One node's answer: its digest, and its table's text if the digest was new."""

    registration: Registration
    digest: bytes
    text: bytes | None


@dataclass(frozen=True, slots=True)
class FleetAnswers:
    """The answers of a whole fleet."""

    registrations: tuple[Registration, ...]
    answers: tuple[NodeAnswer, ...]


def collect_answers(fleet: SimulatedFleet) -> FleetAnswers:
    """Return the bytes that a sweep of the fleet would receive."""
    items = [KvItem(key, value) for key, value in fleet.records().items()]
    registrations = read_kv("kv-json", "", REGISTRY_PREFIX, items, ConsulFields()).registrations
    nodes, answers, fetched = SimulatedNodes(fleet), [], set()
    for registration in registrations:
        node = fleet.nodes[registration.node.name]
        if node.reachable:
            digest, _ = fleet.digest_and_size(node)
            text = None if digest in fetched else nodes.printed("text", node)
            fetched.add(digest)
            answers.append(NodeAnswer(registration, nodes.printed("digest", node), text))
    return FleetAnswers(registrations, tuple(answers))


def analyse(heard: FleetAnswers) -> Report:
    """Make a report from bytes, as `sweep` and `judge` do together, second look included."""
    tables: dict[str, RouteTable] = {}
    observations = _observed(heard.answers, tables)
    snapshot = Snapshot(
        _THEN, _THEN, POLICY, heard.registrations, observations=tuple(observations), tables=tables
    )
    findings = find(Fleet(snapshot))
    if findings:
        asked = {node for finding in findings for node in asked_first(finding)}
        again = [item for item in heard.answers if item.registration.node in asked]
        digests = [replace(item, text=None) for item in again]
        snapshot = replace(
            snapshot, second_look=SecondLook(tuple(sorted(asked)), tuple(_observed(digests, tables)))
        )
    return judge(snapshot)


def _observed(answers: Sequence[NodeAnswer], tables: dict[str, RouteTable]) -> list[Observation]:
    observations = []
    for item in answers:
        answer = parse_answer(item.digest, DEVICE)
        digest = answer.digest or ""
        if item.text is not None:
            answer = parse_answer(item.text, DEVICE)
            if answer.table is not None:
                digest = answer.table.digest
                tables[digest] = answer.table
        node = item.registration.node
        observations.append(Observation(node, answer.device, digest, host_key=f"SHA256:{node.name}"))
    return observations


def _seconds(heard: FleetAnswers) -> float:
    exclude_from_collection()
    start = time.process_time()
    analyse(heard)
    return time.process_time() - start


# -- the plain script


@dataclass(slots=True)
class PlainScript:
    """A plain script that reads one observer after the other; with `keep` it also keeps what it read."""

    registrations: Sequence[Registration]
    keep: bool = False
    tables: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    expected: Mapping[str, set[str]] = field(init=False)
    holders: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Keys by address, over all observers."""
    wrong: list[tuple[str, str]] = field(default_factory=list)
    """Observer and key, where the observer's peer differs from the registration."""

    def __post_init__(self) -> None:
        self.expected = {
            item.public_key: set(item.addresses) for item in self.registrations if item.public_key is not None
        }

    def read(self, observer: str, own_key: str, allowed_ips: bytes) -> None:
        """Read one observer's output."""
        table: dict[str, set[str]] = {}
        for line in allowed_ips.decode().splitlines():
            key, prefixes = line.split("\t")
            table[key] = set() if prefixes == "(none)" else set(prefixes.split())
        for key, registered in self.expected.items():
            if key != own_key and table.get(key) != registered:
                self.wrong.append((observer, key))
        for key, held in table.items():
            if key not in self.expected:
                self.wrong.append((observer, key))
            for prefix in held:
                self.holders[prefix].add(key)
        if self.keep:
            self.tables[observer] = table

    @property
    def duplicates(self) -> dict[str, set[str]]:
        """Return the addresses that more than one key has."""
        return {prefix: keys for prefix, keys in self.holders.items() if len(keys) > 1}


def _seconds_of_the_script(fleet: SimulatedFleet, heard: FleetAnswers) -> float:
    """Measure the script without making its input, which is made per observer: all at once would be 1.5 GB."""
    script, seconds = PlainScript(heard.registrations), 0.0
    exclude_from_collection()
    for node in fleet.nodes.values():
        printed = fleet.allowed_ips(node)
        start = time.process_time()
        script.read(node.name, node.public_key, printed)
        seconds += time.process_time() - start
    return seconds
