"""Cost for an auditor of looking through collectors, against looking itself over SSH, and how it grows with the fleet.

The auditor is `wgaudit sweep` as a process, the broker a real nats-server. In pairs, nodes are SSH servers in processes
of their own (`followed_servers`) and collectors are `wgaudit collector` processes, one a region; the auditor looks
itself, then through 1, 2 and 4 of them, and the reports must be equal. For the growth, collectors look at simulated
nodes (`simulated_collectors`): to the auditor that is the same.

`python -m benchmarks.collectors N FLEET RUNS` measures one size in pairs, `… --growth N FLEET REGIONS` one without SSH.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, func, select

from alerts.memory import tables as alert_tables
from auditor.demo.demo_fleet import DEVICE, REGISTRY_PREFIX
from auditor.gather.local import LocalCollector
from auditor.gather.sweep import SweepOptions, sweep
from auditor.judge import judge
from auditor.registry.file import FileRegistry, export_text
from auditor.reports import json_v1
from auditor.reports.interface import Layout
from auditor.service import threads
from auditor.settings.consul import ConsulSettings
from auditor.state import audit_tables
from benchmarks.figures import CannotRun, Figure, Results, ratios
from benchmarks.followed_servers import fleet_hosts, served, write_keys
from benchmarks.growth import exponent
from benchmarks.isolation import isolated
from benchmarks.meter import CommandCost, metered
from benchmarks.simulated import POLICY, SimulatedFleet, SimulatedNodes
from tests.parts.nats import HOW, NatsServer, have_nats

COLLECTORS = (1, 2, 4)
"""Collectors, each of a region of its own: the fleet is shared out among so many."""
PAIRED = {500: 5, 2_000: 5, 5_000: 3}
"""Runs of each side, by N."""
INCIDENT, INCIDENT_RUNS = 2_000, 3
"""N of the fleet with the incident in it, and its runs."""
GROWTH = (1_000, 2_000, 5_000, 10_000, 20_000)
GROWTH_RUNS = 3
LARGEST = 100_000
"""N that is measured once."""
REGIONS = 4
COUNTED = 2_000
"""N of the exact figures."""
TARGET = 1 / 5
"""The auditor's CPU through collectors, of that of looking itself."""
TARGET_FROM = 2_000
"""N from which the target holds: below, it is the start of the program that is measured."""
KINDS = {"peace": "at peace", "incident": "in the incident"}
_TICKS = os.sysconf("SC_CLK_TCK")
_OF_THE_RUN = ("started_at", "finished_at", "version")
"""Parts of a report that say when and by what it was made."""
_NOBODY = {"nobody": "127.0.0.1:1"}
"""Hosts of an auditor that logs in nowhere: it must have a known_hosts all the same."""

Report = dict[str, Any]


def measure(quick: bool) -> Results:
    """Measure what crosses and, unless `quick`, pairs and growth. Raises `CannotRun`."""
    if not have_nats():
        raise CannotRun(HOW)
    if missing := [name for name in ("nats", "nkeys") if find_spec(name) is None]:
        raise CannotRun(
            f"needs {', '.join(missing)} in the environment that runs it: make bench, make bench-quick"
        )
    figures = [figure for kind in KINDS for figure in counted_figures(kind, counted(COUNTED, kind))]
    if quick:
        return Results(tuple(figures))
    if not isolated():
        raise CannotRun("needs a network of its own: run it as root on Linux, with iproute2")
    pairs = [paired(nodes, "peace", COLLECTORS, runs) for nodes, runs in PAIRED.items()]
    pairs.append(paired(INCIDENT, "incident", COLLECTORS[-1:], INCIDENT_RUNS))
    grown = {nodes: [grown_look(nodes, "peace", REGIONS) for _ in range(GROWTH_RUNS)] for nodes in GROWTH}
    largest = grown_look(LARGEST, "peace", REGIONS)
    figures += [figure for pair in pairs for figure in paired_figures(pair)]
    return Results((*figures, *growth_figures({**grown, LARGEST: [largest]})), notes=_how())


# -- what crosses


@dataclass(slots=True)
class Crossed:
    """What crossed NATS in a look: every message is published once, and delivered once."""

    frames: dict[str, int] = field(default_factory=dict)
    """Bytes of the messages with the protocol's line of each, by the first two words of the subject."""
    messages: int = 0
    payloads: list[bytes] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Return the bytes of all."""
        return sum(self.frames.values())

    def add(self, subject: str, reply: str, payload: bytes) -> None:
        """Count a message."""
        words = [word for word in (subject, reply, str(len(payload))) if word]
        kind = ".".join(subject.split(".")[:2])
        self.frames[kind] = self.frames.get(kind, 0) + len(f"PUB {' '.join(words)}\r\n\r\n") + len(payload)
        self.messages += 1
        self.payloads.append(payload)

    def forms(self, *names: str) -> int:
        """Return the bytes of all items of these lists of messages, each with a comma."""
        lists = [message.get(name) for message in self._read() for name in names]
        return sum(len(_compact(item)) + 1 for one in lists if isinstance(one, list) for item in one)

    def texts(self) -> list[str]:
        """List the digests of the texts that crossed, in order."""
        return [
            message["digest"]
            for message in self._read()
            if message.get("kind") == "text" and not message["part"]
        ]

    def _read(self) -> Iterator[Mapping[str, Any]]:
        for payload in self.payloads:
            if payload.startswith(b"{"):
                yield json.loads(payload)


def _compact(item: object) -> bytes:
    return json.dumps(item, separators=(",", ":"), ensure_ascii=False).encode()


async def _spied(port: int, look: Callable[[], CommandCost]) -> tuple[CommandCost, Crossed]:
    """Look, and count what crosses the server meanwhile."""
    import nats
    from nats.aio.msg import Msg

    crossed = Crossed()

    async def count(message: Msg) -> None:
        crossed.add(message.subject, message.reply, message.data)

    client = await nats.connect(f"nats://127.0.0.1:{port}")
    try:
        await client.subscribe(">", cb=count, pending_msgs_limit=-1, pending_bytes_limit=-1)
        await client.flush()
        await client.flush()  # the library's ping overtakes a subscription
        cost = await asyncio.to_thread(look)
        await client.flush()
    finally:
        await client.drain()
    return cost, crossed


@dataclass(frozen=True, slots=True)
class Look:
    """One sweep of an auditor."""

    cost: CommandCost
    report: Report
    crossed: Crossed | None = None
    collectors_cpu: float = 0.0
    """CPU seconds of all collectors together."""
    server_cpu: float = 0.0
    """CPU seconds of nats-server, with what it tells the one that counts."""


def _rows(state: Path) -> Counter[str]:
    """Count the rows of all tables."""
    tables = (*audit_tables.TABLES.sorted_tables, *alert_tables.TABLES.sorted_tables)
    engine = create_engine(f"sqlite:///{state}")
    try:
        with engine.connect() as connection:
            counts = {
                table.name: connection.scalar(select(func.count()).select_from(table)) for table in tables
            }
    finally:
        engine.dispose()
    return Counter({name: number or 0 for name, number in counts.items()})


def _sweep(folder: Path, *options: str) -> tuple[CommandCost, Report]:
    """Sweep by the configuration in this folder: one that is named would stand in the report's next steps."""
    output = folder / "report.json"
    command: list[str | Path] = [
        _program(),
        "sweep",
        "--format",
        "json",
        "--full",
        "--confirm-after",
        "0",
        *options,
    ]
    cost = metered(command, folder=folder, environment=_environment(folder), output=output)
    if cost.code not in (0, 1):
        said = output.with_name("report.json.err").read_text(errors="replace")
        raise RuntimeError(f"sweep: exit code {cost.code}: {said[-2000:]}")
    report: Report = json.loads(output.read_text(encoding="utf-8"))
    return cost, {name: part for name, part in report.items() if name not in _OF_THE_RUN}


def _by_collectors(folder: Path, server: NatsServer, collectors: Sequence[int] = ()) -> Look:
    """Sweep through the collectors, which are these processes where their CPU is measured."""
    before = [_cpu(pid) for pid in (server.pid, *collectors)]
    reports: list[Report] = []

    def look() -> CommandCost:
        cost, report = _sweep(folder)
        reports.append(report)
        return cost

    cost, crossed = asyncio.run(_spied(server.port, look))
    after = [_cpu(pid) for pid in (server.pid, *collectors)]
    used = [new - old for new, old in zip(after, before, strict=True)]
    return Look(cost, reports[0], crossed, sum(used[1:]), used[0])


# -- exact


@dataclass(frozen=True, slots=True)
class Counted:
    """Looks at one fleet of simulated nodes, by the auditor itself and through collectors."""

    nodes: int
    alone: Report
    look: Look
    rows: tuple[Counter[str], Counter[str]]
    """Rows of the state by table, after a first and a second `sweep --alert`."""


def counted(nodes: int, kind: str) -> Counted:
    """Look at a fleet through `REGIONS` collectors, and by itself."""
    with tempfile.TemporaryDirectory(prefix="wgaudit-collectors-") as name, contextlib.ExitStack() as stack:
        folder, fleet = Path(name), SimulatedFleet(nodes, kind)
        regions = _regions(REGIONS)
        write_keys(folder, _NOBODY)
        export = _write_registry(folder, fleet.records(), regions)
        server = stack.enter_context(NatsServer(folder / "nats", name="bench", monitoring=False))
        stack.enter_context(_simulated(server.port, nodes, kind, regions))
        auditor = _write_config(folder / "auditor", export, _elsewhere(server, regions))
        look = _by_collectors(auditor, server)
        registry, local = FileRegistry(export, ConsulSettings()), LocalCollector(SimulatedNodes(fleet))
        policy = replace(POLICY, name_pattern=None)  # names say other regions than the collectors'
        snapshot = threads.run(sweep(registry, local, policy, SweepOptions(confirm_after=0.0)))
        alone: Report = json.loads(json_v1.render(judge(snapshot), Layout(full=True)))
        rows = []
        for _ in range(2):
            _sweep(auditor, "--alert")
            rows.append(_rows(auditor / "state.db"))
        return Counted(
            nodes,
            {key: part for key, part in alone.items() if key not in _OF_THE_RUN},
            look,
            (rows[0], rows[1]),
        )


def counted_figures(kind: str, found: Counted) -> list[Figure]:
    """Return the figures that are the same on every machine."""
    crossed = found.look.crossed
    if crossed is None:
        raise RuntimeError("nothing was counted")
    at, texts = f"N={found.nodes:,}, {KINDS[kind]}", crossed.texts()
    different = [key for key, part in found.alone.items() if found.look.report.get(key) != part]
    return [
        Figure(
            f"parts of the report that differ from looking itself, {REGIONS} collectors, {at}",
            "",
            (len(different),),
            target=0,
            exact=True,
            note=f"JSON with all observers but for its times: {', '.join(different) or 'none'}; "
            f"{len(found.alone['findings'])} findings",
        ),
        Figure(
            f"table texts that cross NATS more than once, {at}",
            "",
            (len(texts) - len(set(texts)),),
            target=0,
            exact=True,
            note=f"{len(set(texts))} texts crossed, of {found.alone['coverage']['distinct_tables']} distinct tables",
        ),
        Figure(
            f"bytes a node that cross NATS for it alone, {at}",
            "bytes",
            ((crossed.forms("nodes") + crossed.forms("observations", "gaps", "differences")) / found.nodes,),
            target=900,
            exact=True,
            note="its registration and its result as JSON; not the envelopes, the registry's addresses and the texts",
        ),
        Figure(
            f"rows of the state a node, {at}",
            "",
            (found.rows[0].total() / found.nodes,),
            target=3,
            exact=True,
            note=", ".join(f"{number:,} {name}" for name, number in found.rows[0].most_common(4)),
        ),
        Figure(
            f"rows that a further `sweep --alert` adds, {at}",
            "",
            (found.rows[1].total() - found.rows[0].total(),),
            target=5,
            exact=True,
            note=", ".join(f"{number} {name}" for name, number in (found.rows[1] - found.rows[0]).items()),
        ),
    ]


# -- pairs


@dataclass(slots=True)
class Paired:
    """Sweeps of one fleet of SSH servers, by the auditor itself and by collectors, run by run."""

    nodes: int
    kind: str
    alone: list[Look] = field(default_factory=list)
    by: dict[int, list[Look]] = field(default_factory=dict)
    """By the number of collectors."""


def paired(nodes: int, kind: str, numbers: Sequence[int], runs: int) -> Paired:
    """Measure a fleet. Raises `RuntimeError` where a report is another one than that of looking itself."""
    pair, began = Paired(nodes, kind, by={number: [] for number in numbers}), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wgaudit-collectors-") as name, contextlib.ExitStack() as stack:
        folder, fleet = Path(name), SimulatedFleet(nodes, kind)
        hosts = fleet_hosts(fleet)
        write_keys(folder, hosts)
        stack.enter_context(served(folder, nodes, kind))
        server = stack.enter_context(NatsServer(folder / "nats", name="bench", monitoring=False))
        sides = []
        for number in numbers:
            regions = _regions(number)
            export = _write_registry(folder, fleet.records(hosts), regions)
            pids = [stack.enter_context(_collector(folder, server, region)) for region in regions]
            auditor = _write_config(folder / f"by-{number}", export, _elsewhere(server, regions))
            sides.append((number, auditor, pids))
        local = _write_config(folder / "itself", export)
        for run in range(runs):
            cost, report = _sweep(local)
            pair.alone.append(Look(cost, report))
            _say(nodes, began, f"{kind}, run {run + 1}: itself {cost.cpu:.1f} s")
            for number, auditor, pids in sides:
                look = _by_collectors(auditor, server, pids)
                pair.by[number].append(look)
                _say(
                    nodes,
                    began,
                    f"{number} collectors: auditor {look.cost.cpu:.1f} s, they {look.collectors_cpu:.1f} s, "
                    f"nats-server {look.server_cpu:.1f} s",
                )
                same_registry = number == numbers[-1]
                if (
                    look.report != report
                    if same_registry
                    else _by_no_region(look.report) != _by_no_region(report)
                ):
                    raise RuntimeError(f"{number} collectors report otherwise than the auditor itself")
    return pair


def paired_figures(pair: Paired) -> list[Figure]:
    """Return the figures of one size."""
    nodes, at = pair.nodes, f"N={pair.nodes:,}" + ("" if pair.kind == "peace" else f", {KINDS[pair.kind]}")
    alone = [look.cost.cpu for look in pair.alone]

    def a_node(seconds: Sequence[float]) -> tuple[float, ...]:
        return tuple(one / nodes * 1000 for one in seconds)

    figures = [
        Figure(
            f"auditor's CPU a node, looking itself, {at}",
            "ms",
            a_node(alone),
            note="the whole process, its start included",
        )
    ]
    for number, looks in pair.by.items():
        words = f"{number} {'collector' if number == 1 else 'collectors'}, {at}"
        auditor = [look.cost.cpu for look in looks]
        server = a_node([look.server_cpu for look in looks])
        crossed = [look.crossed for look in looks if look.crossed is not None]
        figures += [
            Figure(
                f"auditor's CPU through collectors against looking itself, {words}",
                "×",
                ratios(auditor, alone),
                target=TARGET if nodes >= TARGET_FROM else None,
                note="run by run; every report equal",
            ),
            Figure(f"auditor's CPU a node, {words}", "ms", a_node(auditor)),
            Figure(
                f"collectors' CPU a node, {words}",
                "ms",
                a_node([look.collectors_cpu for look in looks]),
                note=f"all together; nats-server {statistics.median(server):.2f} ms",
            ),
            Figure(
                f"bytes a node over NATS, {words}",
                "bytes",
                tuple(one.total / nodes for one in crossed),
                note=_shares(crossed[-1]),
            ),
        ]
    return figures


def _shares(crossed: Crossed) -> str:
    parts = sorted(crossed.frames.items(), key=lambda item: -item[1])
    said = ", ".join(
        f"{size / crossed.total:.0%} {kind}" for kind, size in parts if size > crossed.total / 100
    )
    return f"{crossed.messages:,} messages: {said}"


def _by_no_region(report: Report) -> Report:
    """Return a report without its counts by region: another number of collectors has other regions."""
    coverage = {name: part for name, part in report["coverage"].items() if name != "regions"}
    return {**report, "coverage": coverage}


# -- growth


def grown_look(nodes: int, kind: str, regions: int) -> Look:
    """Look once at a fleet of simulated nodes."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wgaudit-collectors-") as name, contextlib.ExitStack() as stack:
        folder, names = Path(name), _regions(regions)
        write_keys(folder, _NOBODY)
        export = _write_registry(folder, SimulatedFleet(nodes, kind).records(), names)
        server = stack.enter_context(NatsServer(folder / "nats", name="bench", monitoring=False))
        stack.enter_context(_simulated(server.port, nodes, kind, names))
        auditor = _write_config(folder / "auditor", export, _elsewhere(server, names))
        look = _by_collectors(auditor, server)
        if (seen := look.report["coverage"]["observed"]) < nodes - 1:
            raise RuntimeError(f"{seen:,} of {nodes:,} nodes seen: {look.report['gaps'][:3]}")
        _say(nodes, began, f"grown: auditor {look.cost.cpu:.1f} s, {look.cost.peak / 1024:.0f} MiB")
        return look


def growth_figures(grown: Mapping[int, Sequence[Look]]) -> list[Figure]:
    """Return the figures by N."""
    figures = []
    for nodes, looks in grown.items():
        at = f"N={nodes:,}, simulated nodes"
        crossed = [look.crossed.total for look in looks if look.crossed is not None]
        figures += [
            Figure(
                f"auditor's CPU a node through collectors, {at}",
                "ms",
                tuple(look.cost.cpu / nodes * 1000 for look in looks),
                note=f"{statistics.median(look.cost.cpu for look in looks):.1f} s in all",
            ),
            Figure(
                f"auditor's peak memory, {at}", "MB", tuple(look.cost.peak * 1024 / 1e6 for look in looks)
            ),
            Figure(
                f"bytes a node over NATS, {at}",
                "bytes",
                tuple(one / nodes for one in crossed),
                note=f"{crossed[0] / 1e6:.1f} MB in all",
            ),
        ]
    values: dict[str, Callable[[Look], float]] = {
        "auditor's CPU": lambda look: look.cost.cpu,
        "auditor's peak memory": lambda look: look.cost.peak,
        "bytes over NATS": lambda look: look.crossed.total if look.crossed else 0,
    }
    sizes = sorted(grown)
    if len(sizes) > 1:
        figures += [
            Figure(
                f"growth exponent of {name}, N={sizes[0]:,} → {sizes[-1]:,}",
                "",
                (exponent([(n, statistics.median(map(value, grown[n]))) for n in sizes]),),
                target=1.1,
                note="medians by N; simulated nodes",
            )
            for name, value in values.items()
        ]
    return figures


# -- what stands around it


def _regions(number: int) -> list[str]:
    # Each number of collectors has regions of its own: those of one region share its jobs.
    return [f"{place + 1}-of-{number}" for place in range(number)]


def _simulated(
    port: int, nodes: int, kind: str, regions: Sequence[str]
) -> contextlib.AbstractContextManager[None]:
    from benchmarks.simulated_collectors import simulated_collectors  # needs the extra, as `measure` says

    return simulated_collectors(port, nodes, kind, regions)


def _write_registry(folder: Path, records: Mapping[str, bytes], regions: Sequence[str]) -> Path:
    """Write the registry with its nodes shared out among these regions, one after the other."""
    shared = {
        key: json.dumps({**json.loads(value), "region": regions[place % len(regions)]}).encode()
        for place, (key, value) in enumerate(records.items())
    }
    path = folder / f"registry-{len(regions)}.json"
    path.write_text(export_text(shared), encoding="utf-8")
    return path


def _elsewhere(server: NatsServer, regions: Sequence[str]) -> str:
    return f'nats = "nats://127.0.0.1:{server.port}"\nregions = {json.dumps(regions)}\ntimeout = 3600.0\n'


def _ssh(folder: Path) -> str:
    return (
        f'[ssh]\nidentity_files = ["{folder}/id"]\nagent = false\nknown_hosts = "{folder}/known_hosts"\n'
        # Servers, collectors and auditor share this machine: a login may have to wait for the others' turn.
        "connect_timeout = 300.0\ncommand_timeout = 300.0\n"
    )


def _write_config(folder: Path, export: Path, collectors: str = "") -> Path:
    """Write an auditor's configuration into a new folder, beside that of the keys. Returns the folder."""
    folder.mkdir()
    text = (
        f'[consul]\nfile = "{export}"\nprefix = "{REGISTRY_PREFIX}"\n'
        f'[mesh]\ndevice = "{DEVICE}"\npools = ["10.0.0.0/8"]\n'
        f'[state]\npath = "{folder}/state.db"\n{_ssh(folder.parent)}'
    )
    text += f"[collectors]\n{collectors}" if collectors else ""
    (folder / "wgaudit.toml").write_text(text, encoding="utf-8")
    return folder


@contextlib.contextmanager
def _collector(folder: Path, server: NatsServer, region: str) -> Iterator[int]:
    """Run `wgaudit collector` for a region. Yields its process."""
    own = folder / "collector.toml"
    own.write_text(
        f'[mesh]\ndevice = "{DEVICE}"\n{_ssh(folder)}[collectors]\nnats = "nats://127.0.0.1:{server.port}"\n',
        encoding="utf-8",
    )
    process = subprocess.Popen(
        [_program(), "collector", "--region", region, "--config", own],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(folder),
    )
    stream = process.stderr
    if stream is None:
        raise RuntimeError("a pipe was asked for")
    said: list[str] = []
    try:
        for line in stream:
            said.append(line)
            if "collects for" in line:
                break
        else:
            raise RuntimeError(f"the collector does not start: {''.join(said)}")
        threading.Thread(target=said.extend, args=(stream,), daemon=True).start()
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _cpu(pid: int) -> float:
    """Return the seconds of CPU that a process took so far, in user and kernel."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICKS


def _program() -> Path:
    return Path(sys.executable).with_name("wgaudit")


def _environment(folder: Path) -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}


def _say(nodes: int, began: float, text: str) -> None:
    sys.stderr.write(f"  N={nodes:,}, {time.monotonic() - began:.0f} s: {text}\n")
    sys.stderr.flush()


def _how() -> tuple[str, ...]:
    return (
        (
            "Pairs: real SSH sessions to servers in four processes of their own, a real nats-server without TLS, "
            "`wgaudit collector` processes, all on one machine. The auditor's CPU is that of its whole process by "
            "getrusage, start and imports included; collectors and nats-server are in none of it."
        ),
        (
            "Bytes are those of NATS's own protocol, each message counted once, as a further subscriber saw them; "
            "each goes in to the server once and out once. TCP's headers are not in it."
        ),
        (
            "Simulated nodes: the collectors are processes of the benchmark that run wgaudit's service of collectors "
            "over nodes in memory. The auditor is the same program and cannot tell."
        ),
    )


def main() -> None:
    """Measure one size."""
    from benchmarks.isolation import isolate

    if why := isolate():
        raise SystemExit(why)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    first, *rest = sys.argv[1:]
    if first == "--growth":
        figures = growth_figures({int(rest[0]): [grown_look(int(rest[0]), rest[1], int(rest[2]))]})
    elif first == "--counted":
        figures = counted_figures(rest[1], counted(int(rest[0]), rest[1]))
    else:
        numbers = COLLECTORS if rest[0] == "peace" else COLLECTORS[-1:]
        figures = paired_figures(paired(int(first), rest[0], numbers, int(rest[1])))
    for figure in figures:
        sys.stdout.write(
            f"{figure.name}: {figure.median:.4g} {figure.unit} (target {figure.target}) {figure.note}\n"
        )


if __name__ == "__main__":
    main()
