"""Cost of a watch that has nothing to tell, and time until it pages, against `sweep --alert` each minute.

A real Consul; N nodes as SSH servers in processes of their own (`followed_servers`), which follow and are swept alike;
a receiver in PagerDuty's place. The registry's change is a new server written with the address of another one, as in
the incident; a device's change is a node that takes another's address. CPU and memory are of wgaudit's process alone.

`python -m benchmarks.watch N SCALE` measures one size, and only a part of it: 500 and 0.4 take two minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from auditor.demo.demo_fleet import DEVICE, REGISTRY_PREFIX, DemoNode
from auditor.values.addresses import format_prefix
from benchmarks.figures import CannotRun, Figure, Results
from benchmarks.followed_servers import SERVERS, control, fleet_hosts, served, write_keys
from benchmarks.growth import exponent
from benchmarks.isolation import isolated
from benchmarks.meter import CommandCost, metered
from benchmarks.simulated import SimulatedFleet
from tests.fleets import key_of
from tests.parts.consul import HOW, ConsulServer, consul_binary

SIZES = (500, 2_000, 5_000)
WRITES = {500: 10, 2_000: 10, 5_000: 50}
"""Registrations that are written, by N."""
MOVES = {500: 5, 2_000: 5, 5_000: 10}
"""Devices that change, by N."""
IDLE = {500: 120.0, 2_000: 120.0, 5_000: 120.0}
"""Seconds for which nothing happens, by N: whole rounds."""
SWEEPS = {500: 2, 2_000: 1, 5_000: 1}
"""Sweeps in the cron way, by N, of which each is one minute's."""
FOLLOW_INTERVAL = 5.0
ROUND = 60.0
LARGEST = SIZES[-1]
PATIENCE = 60.0
"""Seconds after which a page is given up, and counts as having taken so long."""
_START = 600.0
"""Seconds for all nodes to be followed, and for the servers to be up."""
_QUIET = 20.0
"""Seconds after the last node was heard of, before the idle time begins."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class WatchCost:
    """Cost of a watch of one fleet, and its times to the page, in seconds."""

    nodes: int
    sweep_cpu: list[float] = field(default_factory=list)
    """CPU of each sweep with --alert."""
    idle_cpu: list[float] = field(default_factory=list)
    """CPU a second, of each minute in which nothing happened."""
    resident: int = 0
    """Bytes resident after that."""
    writes: list[float] = field(default_factory=list)
    moves: list[float] = field(default_factory=list)


def measure(quick: bool) -> Results:
    """Measure all sizes. Nothing if `quick`: all of it is time. Raises `CannotRun`."""
    if quick:
        return Results(())
    if consul_binary() is None:
        raise CannotRun(HOW)
    if not isolated():
        raise CannotRun("needs a network of its own: run it as root on Linux, with iproute2")
    return results([watched(nodes) for nodes in SIZES])


def results(costs: Sequence[WatchCost]) -> Results:
    """Make the figures of these sizes, the smallest first."""
    figures = [figure for cost in costs for figure in _figures(cost)]
    if len(costs) > 1:
        grown: dict[str, Callable[[WatchCost], float]] = {
            "idle CPU": lambda cost: statistics.median(cost.idle_cpu),
            "resident memory": lambda cost: cost.resident,
        }
        words = f"N={costs[0].nodes:,} → {costs[-1].nodes:,}"
        figures += [
            Figure(
                f"growth exponent of a watch's {name}, {words}",
                "",
                (exponent([(cost.nodes, value(cost)) for cost in costs]),),
                target=1.1,
            )
            for name, value in grown.items()
        ]
    return Results(tuple(figures))


def _figures(cost: WatchCost) -> list[Figure]:
    at, largest = f"N={cost.nodes:,}", cost.nodes >= LARGEST

    def target(value: float) -> float | None:
        return value if largest else None

    cron = statistics.median(cost.sweep_cpu) / ROUND
    idle = tuple(cost.idle_cpu)
    return [
        Figure(
            f"from the write to the page, {at}",
            "s",
            tuple(cost.writes),
            target=target(0.7),
            note="a new registration with an address that is taken, to PagerDuty's POST; Consul's own time included",
        ),
        Figure(
            f"the slowest of {len(cost.writes)} writes, {at}", "s", (max(cost.writes),), target=target(2.0)
        ),
        Figure(
            f"from a device's change to the page, slowest of {len(cost.moves)}, {at}",
            "s",
            (max(cost.moves),),
            target=target(FOLLOW_INTERVAL + 2.0),
            note=f"follow_interval {FOLLOW_INTERVAL:g} s; median {statistics.median(cost.moves):.1f} s",
        ),
        Figure(
            f"CPU of an idle watch against `sweep --alert` each minute, {at}",
            "×",
            tuple(one / cron for one in idle),
            target=target(1 / 10),
            note=f"{statistics.median(cost.sweep_cpu):.1f} s of CPU a sweep; rounds included",
        ),
        Figure(
            f"CPU of an idle watch, {at}", "% of a core", tuple(100 * one for one in idle), target=target(6.0)
        ),
        Figure(
            f"resident memory of a watch for each node, {at}",
            "KB",
            (cost.resident / cost.nodes / 1000,),
            target=target(90.0),
            note=f"{cost.resident / 1e6:.0f} MB, the whole process with its page",
        ),
    ]


def watched(nodes: int, *, scale: float = 1.0) -> WatchCost:
    """Measure one size. scale: how much of it, for a look while developing."""
    say = _Sayer(nodes)
    with tempfile.TemporaryDirectory(prefix="wgaudit-watch-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        fleet = SimulatedFleet(nodes, "peace")
        hosts = fleet_hosts(fleet)
        write_keys(folder, hosts)
        receiver = stack.enter_context(Receiver())
        (folder / "consul").mkdir()
        consul = stack.enter_context(ConsulServer(folder / "consul"))
        consul.put_many(fleet.records(hosts))
        stack.enter_context(served(folder, nodes))
        _write_config(folder, consul, receiver)
        say("servers are up")
        cost = WatchCost(nodes)
        for _ in range(max(1, round(SWEEPS[nodes] * scale))):
            cost.sweep_cpu.append(_sweep(folder).cpu)
        say(f"swept: {cost.sweep_cpu[-1]:.1f} s CPU")
        watch = stack.enter_context(_Watch(folder))
        watch.wait_until_followed(nodes)
        say(f"followed, {watch.cpu():.1f} s CPU")
        time.sleep(_QUIET)
        for _ in range(max(1, round(IDLE[nodes] * scale / ROUND))):
            began, before = time.monotonic(), watch.cpu()
            time.sleep(ROUND)
            cost.idle_cpu.append((watch.cpu() - before) / (time.monotonic() - began))
        cost.resident = watch.resident()
        say(
            f"idle: {[round(100 * one, 2) for one in cost.idle_cpu]} % of a core, {cost.resident / 1e6:.0f} MB"
        )
        ordered = [fleet.nodes[one] for one in sorted(fleet.nodes)]
        for number in range(max(1, round(WRITES[nodes] * scale))):
            cost.writes.append(_write(consul, receiver, ordered[number], number))
        say(f"written: {[round(one, 2) for one in cost.writes]}")
        for number in range(max(1, round(MOVES[nodes] * scale))):
            pair = ordered[-2 * number - 1], ordered[-2 * number - 2]
            cost.moves.append(_move(folder, receiver, fleet, pair))
        say(f"moved: {[round(one, 2) for one in cost.moves]}, {watch.resident() / 1e6:.0f} MB")
        return cost


def _write(consul: ConsulServer, receiver: Receiver, holder: DemoNode, number: int) -> float:
    """Register a new server with the address of another; return the seconds until the page, and take it back."""
    taken = format_prefix(holder.registered_address)
    key = f"{REGISTRY_PREFIX}new-{number:03}"
    value = {
        "public_key": key_of(f"new-{number}"),
        "ip": taken,
        "region": holder.registered_region,
        "endpoint": f"127.2.0.{number + 1}:51820",
        "ssh_host": f"127.2.0.{number + 1}:1",
    }
    began = time.monotonic()
    consul.put(key, json.dumps(value).encode())
    seconds = receiver.paged(taken, began)
    time.sleep(1.5)
    consul.delete(key)
    time.sleep(1.0)
    return seconds


def _move(folder: Path, receiver: Receiver, fleet: SimulatedFleet, pair: tuple[DemoNode, DemoNode]) -> float:
    """Let a device take the address of another node; return the seconds until the page, and take it back."""
    node, holder = pair
    place = sorted(fleet.nodes).index(node.name) % SERVERS
    taken = format_prefix(holder.registered_address)
    began = time.monotonic()
    _tell(control(folder, place), f"move {node.name} {taken}")
    seconds = receiver.paged(taken, began)
    _tell(control(folder, place), f"move {node.name} {format_prefix(node.registered_address)}")
    return seconds


def _tell(path: Path, line: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(f"{line}\n".encode())
        if not client.recv(100):
            raise RuntimeError(f"{path} did not do: {line}")


# -- what stands around it


class Receiver:
    """Receiver in PagerDuty's place: takes every event, and knows when each came."""

    def __init__(self) -> None:
        self._came = threading.Condition()
        self._pages: list[tuple[float, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                came = time.monotonic()
                event = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if event["event_action"] == "trigger":
                    with receiver._came:
                        receiver._pages.append((came, event["payload"]["summary"]))
                        receiver._came.notify_all()
                said = json.dumps(
                    {"status": "success", "message": "", "dedup_key": event["dedup_key"]}
                ).encode()
                self.send_response(202)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Receiver:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def paged(self, taken: str, since: float) -> float:
        """Wait for a page of the address `taken`; return the seconds since then, at most `PATIENCE`."""

        def found() -> float | None:
            times = [
                came
                for came, text in self._pages
                if came >= since and f"{taken}:" in f"{text}:".replace(" ", ":")
            ]
            return min(times) - since if times else None

        with self._came:
            if not self._came.wait_for(lambda: found() is not None, PATIENCE):
                sys.stderr.write(
                    f"  {taken}: no page within {PATIENCE:g} s; the last ones: {self._pages[-3:]}\n"
                )
            return found() or PATIENCE


class _Watch:
    """`wgaudit watch` as a process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "watch.log"

    def __enter__(self) -> _Watch:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [_program(), "watch", "--config", self._folder / "wgaudit.toml"],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(self._folder),
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def wait_until_followed(self, nodes: int) -> None:
        """Wait until it says that it follows them all. Raises `RuntimeError`."""
        give_up = time.monotonic() + _START
        while self._followed() < nodes:
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(
                    f"{self._followed()} of {nodes} followed: {self._log.read_text(errors='replace')[-3000:]}"
                )
            time.sleep(1.0)

    def cpu(self) -> float:
        """Return the seconds of CPU that it took so far, in user and kernel."""
        words = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / _TICKS

    def resident(self) -> int:
        """Return its resident bytes."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("/proc/PID/status tells no VmRSS")

    def _followed(self) -> int:
        connection = HTTPConnection("127.0.0.1", _PAGE, timeout=10)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        except OSError:
            return 0
        finally:
            connection.close()
        for line in text.splitlines():
            if line.startswith("wgaudit_watch_nodes{") and 'state="followed"' in line:
                return int(float(line.rpartition(" ")[2]))
        return 0


_PAGE = 9586


def _program() -> Path:
    return Path(sys.executable).with_name("wgaudit")


def _environment(folder: Path) -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}


def _sweep(folder: Path) -> CommandCost:
    output = folder / "sweep.json"
    cost = metered(
        [_program(), "sweep", "--alert", "--format", "json", "--config", folder / "wgaudit.toml"],
        folder=folder,
        environment=_environment(folder),
        output=output,
    )
    if cost.code != 0:
        said = output.with_name("sweep.json.err").read_text(errors="replace")
        raise RuntimeError(f"sweep: exit code {cost.code}: {said[-2000:]}\n{output.read_text()[:2000]}")
    return cost


def _write_config(folder: Path, consul: ConsulServer, receiver: Receiver) -> None:
    (folder / "wgaudit.toml").write_text(
        f'[consul]\nurl = "{consul.url}"\nprefix = "{REGISTRY_PREFIX}"\ntimeout = 60.0\n'
        f'[ssh]\nidentity_files = ["{folder}/id"]\nagent = false\nknown_hosts = "{folder}/known_hosts"\n'
        # Servers and client share this machine: a login may have to wait for the others' turn.
        "connect_timeout = 120.0\ncommand_timeout = 120.0\n"
        f'[mesh]\ndevice = "{DEVICE}"\n[coverage]\nminimum = 0.99\n'
        f'[state]\npath = "{folder}/state.db"\n'
        f'[watch]\nlisten = "127.0.0.1:{_PAGE}"\nfollow_interval = {FOLLOW_INTERVAL}\nround_interval = {ROUND}\n'
        '[[notifiers]]\nname = "oncall"\ntype = "pagerduty"\n'
        f'routing_key = "{"R0" + "k" * 30}"\napi = "{receiver.url}"\n',
        encoding="utf-8",
    )


class _Sayer:
    """Says on stderr how far it is."""

    def __init__(self, nodes: int) -> None:
        self._nodes, self._began = nodes, time.monotonic()

    def __call__(self, text: str) -> None:
        sys.stderr.write(f"  N={self._nodes:,}, {time.monotonic() - self._began:.0f} s: {text}\n")
        sys.stderr.flush()


def main() -> None:
    """Measure one size, or a part of it."""
    from benchmarks.isolation import isolate

    if why := isolate():
        raise SystemExit(why)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    cost = watched(int(sys.argv[1]), scale=float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
    for figure in results([cost]).figures:
        sys.stdout.write(
            f"{figure.name}: {figure.median:.3g} {figure.unit} (target {figure.target}) {figure.note}\n"
        )


if __name__ == "__main__":
    main()
