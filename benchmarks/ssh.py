"""CommandCost of a whole sweep over real SSH connections for the client, against the tools people would use instead."""

from __future__ import annotations

import compileall
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, Results, ratios
from benchmarks.isolation import loopback_bytes
from benchmarks.meter import CommandCost
from benchmarks.peers import (
    ANSIBLE_COMMAND,
    ANSIBLE_RAW,
    CLUSH,
    COMMAND,
    FORKS,
    PARALLEL_SSH,
    WGAUDIT,
    FleetTool,
    require_peers,
)
from benchmarks.sshd import KEX, SshdFleet

HOSTS = 500
RUNS = 5
QUICK_HOSTS = 40
CLIENTS = (WGAUDIT, PARALLEL_SSH, CLUSH, ANSIBLE_RAW, ANSIBLE_COMMAND)
TARGETS: Mapping[FleetTool, tuple[str, float]] = {
    CLUSH: ("client CPU a host, against clush", 1 / 5),
    ANSIBLE_RAW: ("client CPU a host, against ansible -m raw", 1 / 20),
    ANSIBLE_COMMAND: ("client CPU a host, against ansible -m command", 1 / 35),
    PARALLEL_SSH: ("client CPU a host, against parallel-ssh", 1.0),
}
REPOSITORY = Path(__file__).parent.parent


_WHERE_IT_GOES = (
    (
        "Where wgaudit's CPU goes (py-spy over the whole process, 500 nodes; shares, for py-spy itself costs time): "
        "about a quarter is the start, of which asyncssh and cryptography are two fifths; a quarter is "
        "the SSH library's Python for what is received, some 18 packets a connection; the writes and the event "
        "loop's turns come next, then the handshake's cryptography. No single function has more than a few percent. "
        "The peer does the same in C and checks no host key. What was tried and brought less than the noise: "
        "a frozen garbage collector, and leaving the writes uncoalesced."
    ),
)


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of a client that asks every node once."""

    cost: CommandCost
    transferred: int
    """Bytes over loopback."""


def measure(quick: bool) -> Results:
    """Measure whole client processes, start-up and children included, over real connections to healthy nodes."""
    with tempfile.TemporaryDirectory(prefix="wgaudit-bench-") as name:
        folder = Path(name)
        counted = _counted(_new(folder / "counted"))
        if quick:
            return Results(counted)
        compared = _against_peers(_new(folder / "compared"))
        missed = any(figure.met is False for figure in compared)
        return Results((*compared, *counted), notes=(*_how(), *(_WHERE_IT_GOES if missed else ())))


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _counted(folder: Path) -> tuple[Figure, ...]:
    with SshdFleet(folder, QUICK_HOSTS, counting=True) as fleet:
        WGAUDIT.run(fleet, folder / "run")
        logins, readings = fleet.logins, fleet.calls("allowed-ips")
    note = f"one sweep of {QUICK_HOSTS} nodes behind a real sshd, counted there"
    return (
        _count("SSH connections a node", logins / QUICK_HOSTS, note),
        _count("tables read on nodes, beyond one each", readings - QUICK_HOSTS, note),
    )


def _count(name: str, value: float, note: str) -> Figure:
    return Figure(name, "", (value,), target=1, exact=True, note=note)


def _against_peers(folder: Path) -> tuple[Figure, ...]:
    require_peers()
    for package in ("auditor", "alerts"):
        compileall.compile_dir(REPOSITORY / package, quiet=1)  # as an installation does, once
    with SshdFleet(_new(folder / "all"), HOSTS) as fleet:
        runs = _interleaved(CLIENTS, fleet, folder)
    with SshdFleet(_new(folder / "one"), 1) as fleet:
        starts = [WGAUDIT.run(fleet, folder / f"start-{number}").cpu for number in range(RUNS)]
    cpu = {client: [run.cost.cpu for run in runs[client]] for client in CLIENTS}
    compared = [
        Figure(name, "×", ratios(cpu[WGAUDIT], cpu[peer]), target=target, note=_note(peer))
        for peer, (name, target) in TARGETS.items()
    ]
    start = Figure(
        "of wgaudit's, its start (a sweep of one node)",
        "ms",
        tuple(seconds / HOSTS * 1000 for seconds in starts),
        note=f"paid once, here divided by {HOSTS}: imports, settings, keys, registry, report",
    )
    return (*compared, start, *_costs(runs))


def _interleaved(
    clients: Sequence[FleetTool], fleet: SshdFleet, folder: Path
) -> Mapping[FleetTool, list[_Run]]:
    """Run each client in turn, `RUNS` times, so that changes on the machine affect all alike."""
    runs: dict[FleetTool, list[_Run]] = {client: [] for client in clients}
    for number in range(RUNS):
        for place, client in enumerate(clients):
            before = loopback_bytes()
            cost = client.run(fleet, folder / f"run-{number}-{place}")
            runs[client].append(_Run(cost, loopback_bytes() - before))
    return runs


def _costs(runs: Mapping[FleetTool, Sequence[_Run]]) -> list[Figure]:
    """Return each client's cost per host, without a target."""

    def samples(client: FleetTool, value: Callable[[_Run], float]) -> tuple[float, ...]:
        return tuple(value(run) / HOSTS for run in runs[client])

    figures = []
    for client, done in runs.items():
        user = statistics.median(run.cost.user for run in done) / HOSTS * 1000
        system = statistics.median(run.cost.system for run in done) / HOSTS * 1000
        peak = statistics.median(run.cost.peak for run in done) / 1024
        note = f"{user:.2f} ms in the program, {system:.2f} ms in the kernel; largest process {peak:.0f} MB"
        milliseconds = samples(client, lambda run: run.cost.cpu * 1000)
        figures.append(Figure(f"client CPU a host, {client.name}", "ms", milliseconds, note=note))
    for client in runs:
        transferred = samples(client, lambda run: run.transferred)
        note = "both directions, TCP and SSH handshakes included, counted by the loopback interface"
        figures.append(Figure(f"bytes a host on the wire, {client.name}", "bytes", transferred, note=note))
    return figures


def _note(peer: FleetTool) -> str:
    checked = "does not check host keys" if peer is PARALLEL_SSH else "checks host keys"
    return f"{HOSTS} real connections; the peer {checked}, wgaudit does"


def _how() -> tuple[str, ...]:
    return (
        (
            f"{HOSTS} nodes, each an address of 127.0.0.0/8 behind one sshd in a network namespace, with stubs in "
            "place of `wg` and `ip`. CPU is that of the whole client process from its start, with all that it "
            "starts and leaves behind, user and system time; sshd and the nodes are not in it."
        ),
        (
            f"All clients use {KEX} (the only key exchange that the server offers), ed25519 keys, and else their "
            "own defaults: clush asks 64 hosts at a time, parallel-ssh 100, ansible "
            f"{FORKS} (`-f {FORKS}`). ansible is given its interpreter, checks host keys, and has its ControlMaster."
        ),
        (
            f"The peers run `{COMMAND}`, which prints 1,024 bytes, and do nothing with the answers. wgaudit reads "
            "the registry (a file in the form of `consul kv export`), has each node make a digest of its table of "
            f"{HOSTS} lines, audits the fleet and reports."
        ),
        (
            "Bytes on loopback: packets are larger than on a real network, so there are fewer headers. wgaudit "
            'sends its probe along to each node (`probe = "inline"`); `probe = "installed"` saves that.'
        ),
    )
