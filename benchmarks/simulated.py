"""Simulated fleets of any size that answer with real bytes, with no network and no work that grows with N squared.

Each node answers as its probe would, byte for byte, and requests have their real size. So wgaudit's own code is
measured, from the bytes of an answer to the bytes of a report.

`python -m benchmarks.simulated N FLEET` makes one sweep in its own process and prints its cost.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from auditor.demo.demo_fleet import DEVICE, NAME_PATTERN, Contest, DemoFleet, DemoNode, build_fleet
from auditor.errors import GapReason, ProbeError
from auditor.fleet.deviations import NO_PREFIX
from auditor.gather.local import LocalCollector
from auditor.gather.sweep import SweepOptions, sweep
from auditor.judge import judge
from auditor.nodes.asking import look as look_at
from auditor.nodes.framing import Request
from auditor.nodes.probe.probe import (
    Mode,
    ProbeAnswer,
    format_answer,
    inline_request,
    packed_request,
    parse_answer,
)
from auditor.nodes.table_store import TableStore
from auditor.nodes.varying import Varying
from auditor.registry.file import FileRegistry, export_text
from auditor.reports import json_v1
from auditor.reports.interface import Layout
from auditor.reports.terminal import table
from auditor.service import threads
from auditor.settings.consul import ConsulSettings
from auditor.state.recording import record
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.models import AuditPolicy, Device, Observation, Registration, Snapshot
from auditor.values.route_table import RouteTable

CONTESTED_PAIRS = {"one pair": 1, "bad day": 12, "worst day": 50}
"""Contested pairs, for each of which each observer has its own winner."""
KINDS = ("peace", "incident", "one percent", *CONTESTED_PAIRS)
"""A healthy mesh; the demo's pair and triple; one observer in a hundred without one peer, each without a different
one; and contested pairs."""

POLICY = AuditPolicy(device=DEVICE, pools=(Prefix("10.0.0.0/8"),), name_pattern=NAME_PATTERN)
NAIVE_COMMAND = f"wg show {DEVICE} allowed-ips"

Change = Mapping[PublicKey, str | None]
"""How a table differs from the registry's: a key's other prefix, or `(none)`; None: no line at all."""


class SimulatedFleet:
    """A demo fleet, with the route table of each of its nodes in closed form."""

    def __init__(self, nodes: int, kind: str) -> None:
        fleet = build_fleet(nodes, incident=kind == "incident")
        self.contests: Sequence[Contest] = fleet.contests
        self._keeper: Callable[[DemoNode, Contest], str] = fleet.keeper
        if kind in CONTESTED_PAIRS:
            fleet, self.contests = _contested(fleet, CONTESTED_PAIRS[kind])
            self._keeper = _any_keeper
        self._fleet = fleet
        self.nodes: Mapping[str, DemoNode] = {node.name: node for node in fleet.nodes}
        self._lacking: dict[str, PublicKey] = {}
        if kind == "one percent":
            for position, node in enumerate(fleet.nodes[: nodes - nodes % 100 : 100]):
                self._lacking[node.name] = fleet.nodes[100 * position + 50].public_key
        by_key = sorted(fleet.nodes, key=lambda node: node.public_key)
        self._place = {node.public_key: place for place, node in enumerate(by_key)}
        self._expected = [_line(node.public_key, node.registered_address) for node in by_key]
        self._varying: dict[frozenset[str], dict[PublicKey, str]] = {}
        self._known_bases: dict[object, str] = {}
        self._known: dict[int, tuple[str, int]] = {}

    def change(self, observer: DemoNode) -> Change:
        """Return the differences of this observer's table from the registry."""
        change: dict[PublicKey, str | None] = {}
        for contest in self.contests:
            keeper = self._keeper(observer, contest)
            for name in contest.claimants:
                if name not in (keeper, observer.name):
                    change[self.nodes[name].public_key] = NO_PREFIX
        if observer.device_address != observer.registered_address:
            change[observer.public_key] = observer.device_address
        if observer.name in self._lacking:
            change[self._lacking[observer.name]] = None
        return change

    def text(self, observer: DemoNode) -> bytes:
        """Return the canonical table, computed each time so that the simulation holds none."""
        lines = list(self._expected)
        for key, prefix in self.change(observer).items():
            lines[self._place[key]] = b"" if prefix is None else _line(key, prefix)
        return b"".join(lines)

    def digest_and_size(self, observer: DemoNode) -> tuple[str, int]:
        """Return the table's digest and size in bytes; each distinct table's text is made once for it."""
        shape = hash(frozenset(self.change(observer).items()))
        known = self._known.get(shape)
        if known is None:
            text = self.text(observer)
            known = self._known[shape] = hashlib.sha256(text).hexdigest(), len(text)
        return known

    def divided(self, observer: DemoNode, ends: frozenset[str]) -> tuple[str, tuple[tuple[bytes, ...], ...]]:
        """Return the digest of the table's base, and the prefixes of keys that end so, as the probe tells them.

        Each distinct base's text is made once for it.
        """
        change = self.change(observer)
        varying = self._varying.get(ends)
        if varying is None:
            by_key = sorted(self.nodes.values(), key=lambda node: node.public_key)
            found = [node for node in by_key if node.public_key[39:43] in ends]
            varying = self._varying[ends] = {node.public_key: node.registered_address for node in found}
        shape = ends, frozenset(item for item in change.items() if item[1] is None or item[0] not in varying)
        prefixes = {key: change.get(key, address) for key, address in varying.items()}
        if shape not in self._known_bases:
            lines = list(self._expected)
            for key, prefix in ({**change, **dict.fromkeys(varying, "")}).items():
                absent = change.get(key, "") is None
                line = b"" if absent else f"{key}\n".encode() if key in varying else _line(key, prefix or "")
                lines[self._place[key]] = line
            self._known_bases[shape] = hashlib.sha256(b"".join(lines)).hexdigest()
        told = tuple((prefix.encode(),) for prefix in prefixes.values() if prefix is not None)
        return self._known_bases[shape], told

    def naive_bytes(self) -> int:
        """Return the bytes of having each reachable node print its allowed-ips, the command included.

        A device's own line is not printed; everything else is as long in the canonical text.
        """
        return sum(
            len(NAIVE_COMMAND)
            + self.digest_and_size(node)[1]
            - len(_line(node.public_key, node.device_address))
            for node in self.nodes.values()
            if node.reachable
        )

    def allowed_ips(self, observer: DemoNode) -> bytes:
        """Return what `wg show DEVICE allowed-ips` prints there: the canonical text without the device's own line."""
        own = _line(observer.public_key, observer.device_address)
        before, _, after = self.text(observer).partition(own)
        return before + after

    def move(self, name: str, address: Prefix) -> None:
        """Give a node's device another address than it had."""
        self.nodes = {**self.nodes, name: replace(self.nodes[name], device_address=address)}

    def records(self, ssh_hosts: Mapping[str, str] | None = None) -> Mapping[str, bytes]:
        """Return Consul's keys and values. `ssh_hosts`: each node's `host:port`, where they are reached at all."""
        return self._fleet.records(ssh_hosts or {name: f"{name}.example:22" for name in self.nodes})

    def export(self) -> str:
        """Return the registry as `consul kv export` prints it."""
        return export_text(self.records())


class SimulatedNodes:
    """The fleet's nodes as a node source that counts the bytes in both directions."""

    def __init__(self, fleet: SimulatedFleet) -> None:
        self._fleet = fleet
        self._requests: dict[object, Request] = {
            mode: packed_request(inline_request(mode, device=DEVICE)) for mode in ("digest", "text")
        }
        self.sent = 0
        """Bytes of all commands and of their standard input."""
        self.received = 0
        self.cpu = 0.0
        """CPU seconds of the simulated nodes themselves."""
        self.texts = 0
        """Tables that came as text."""

    def expect(self, registrations: Iterable[Registration]) -> None:
        """Do nothing: simulated nodes are not reached over a network."""

    async def observe(self, registration: Registration, tables: TableStore) -> Observation:
        """Ask for the digest, and for the text only if it is new, as the SSH source does."""
        node = self._fleet.nodes[registration.node.name]
        if not node.reachable:
            raise ProbeError(GapReason.CONNECT_REFUSED, f"{node.name}.example:22: refused")

        async def ask(mode: Mode, varying: Varying | None = None) -> ProbeAnswer:
            return await self._ask(mode, node, varying)

        answer, digest, _ = await look_at(ask, tables)
        return Observation(
            registration.node, answer.device, digest, host_key=f"SHA256:{registration.node.name}"
        )

    async def _ask(self, mode: Mode, node: DemoNode, varying: Varying | None) -> ProbeAnswer:
        request = self._requests.get(varying or mode)
        if request is None:
            ends = () if varying is None else varying.ends
            request = packed_request(inline_request(mode, device=DEVICE, varying=ends))
            self._requests[varying] = request
        self.sent += len(request.command.encode()) + len(request.stdin)
        await asyncio.sleep(0)  # others run meanwhile, as they do while a node is waited for
        start = time.process_time()
        data = self.printed(mode, node, () if varying is None else varying.ends)
        self.cpu += time.process_time() - start
        self.received += len(data)
        return parse_answer(data, DEVICE)

    def printed(self, mode: Mode, node: DemoNode, ends: Sequence[str] = ()) -> bytes:
        """Return the node's output. By default no region command is sent, so no region comes back."""
        device = Device(DEVICE, node.public_key, (node.device_address,))
        if mode == "text":
            self.texts += 1
            return format_answer(ProbeAnswer(device, table=RouteTable(self._fleet.text(node))))
        digest, _ = self._fleet.digest_and_size(node)
        if mode == "digest":
            return format_answer(ProbeAnswer(device, digest=digest))
        base, prefixes = self._fleet.divided(node, frozenset(ends))
        return format_answer(ProbeAnswer(device, digest=digest, base=base, varying=prefixes))


@dataclass(frozen=True, slots=True)
class SweepCost:
    """SweepCost of one whole sweep: registry, nodes, verdict, both reports."""

    nodes: int
    cpu: float
    """CPU seconds of this process, without imports, making the fleet, and what its nodes do."""
    sent: int
    received: int
    naive_bytes: int
    texts: int
    """Tables that were fetched as text."""
    tables: int
    """Distinct tables that observers hold."""
    lines: int
    """Lines of all tables held at the end, a base and the differences from it included."""
    findings: int
    start_memory: int
    """Peak memory before the sweep, in bytes: Python, its modules, and the made fleet."""
    peak_memory: int
    """Peak memory of the whole process."""

    @property
    def bytes_moved(self) -> int:
        """Return the bytes in both directions."""
        return self.sent + self.received


def look(fleet: SimulatedFleet, folder: Path, *, keep: bool = False) -> SweepCost:
    """Make one whole sweep; with `keep`, also record it in `folder`."""
    export = folder / "registry.json"
    export.write_text(fleet.export())
    registry = FileRegistry(export, ConsulSettings())
    nodes = SimulatedNodes(fleet)
    exclude_from_collection()
    start_memory, start = peak_memory(), time.process_time()
    snapshot = threads.run(sweep(registry, LocalCollector(nodes), POLICY, SweepOptions(confirm_after=0.0)))
    if keep:
        record(snapshot, folder / "kept.json.gz")
    report = judge(snapshot)
    (folder / "report.json").write_text(json_v1.render(report))
    (folder / "report.txt").write_text(table.render(report, Layout()))
    cpu = time.process_time() - start - nodes.cpu
    gc.unfreeze()
    return SweepCost(
        nodes=len(fleet.nodes),
        cpu=cpu,
        sent=nodes.sent,
        received=nodes.received,
        naive_bytes=fleet.naive_bytes(),
        texts=nodes.texts,
        tables=report.coverage.distinct_tables,
        lines=_lines_held(snapshot),
        findings=len(report.findings),
        start_memory=start_memory,
        peak_memory=peak_memory(),
    )


def look_in_new_process(nodes: int, kind: str, *, keep: bool = False) -> SweepCost:
    """Call `look` in a new process, so that its memory is measured alone."""
    command = [sys.executable, "-m", "benchmarks.simulated", str(nodes), kind, *(["--keep"] if keep else [])]
    done = subprocess.run(
        command, cwd=Path(__file__).parent.parent, check=True, capture_output=True, text=True
    )
    return SweepCost(**json.loads(done.stdout))


def exclude_from_collection() -> None:
    """Exclude the benchmark's own objects from Python's garbage collection."""
    gc.collect()
    gc.freeze()


def peak_memory() -> int:
    """Return this process's peak memory in bytes. Not `ru_maxrss`, which starts at the parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status tells no VmHWM")


def _lines_held(snapshot: Snapshot) -> int:
    tables = snapshot.tables.values()
    bases = {table.base for table in tables}
    return sum(base.count(b"\n") for base in bases) + sum(
        len(item.without) + len(item.plus) for item in tables
    )


def _contested(fleet: DemoFleet, pairs: int) -> tuple[DemoFleet, tuple[Contest, ...]]:
    """Return the fleet with contested pairs, none of which shares a node with another."""
    nodes = {node.name: node for node in fleet.nodes}
    contests = []
    for number in range(pairs):
        first, second = fleet.nodes[2 * number : 2 * number + 2]
        nodes[second.name] = replace(
            second, registered_address=first.registered_address, device_address=first.registered_address
        )
        contests.append(Contest(first.registered_address, (first.name, second.name)))
    ordered = tuple(nodes[name] for name in sorted(nodes))
    return DemoFleet(fleet.seed, ordered, None, nodes), tuple(contests)


def _any_keeper(observer: DemoNode, contest: Contest) -> str:
    """Return the claimant that won on this observer, random per observer and address."""
    others = [name for name in contest.claimants if name != observer.name]
    return others[hashlib.sha256(f"{observer.name} {contest.address}".encode()).digest()[0] % len(others)]


def _line(key: PublicKey, prefix: str) -> bytes:
    return f"{key}\t{prefix}\n".encode()


def main() -> None:
    """Make one sweep and print its cost as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nodes", type=int)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--keep", action="store_true", help="also record the sweep")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cost = look(SimulatedFleet(asked.nodes, asked.kind), Path(folder), keep=asked.keep)
    sys.stdout.write(json.dumps(asdict(cost)) + "\n")


if __name__ == "__main__":
    main()
