"""Growth of a whole sweep's cost with the number of nodes: CPU, bytes and memory, in peace and in the incident.

A sweep is everything but the network: the registry's file, each node's answer as bytes, the store of tables,
checks, second look, verdict, both reports. Each runs in its own process. Bytes are those of commands,
of their standard input, and of answers, in both directions, as the SSH channels carry them.

`python -m benchmarks.growth N` prints the cost of the plain script for N nodes, in its own process.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.analysis import PlainScript, collect_answers
from benchmarks.figures import Curve, Figure, Results
from benchmarks.simulated import (
    CONTESTED_PAIRS,
    SimulatedFleet,
    SweepCost,
    look,
    look_in_new_process,
    peak_memory,
)

SIZES = (500, 1_000, 2_000, 4_000, 8_000)
WIRE = 5_000
"""N of the figures about bytes."""
LARGE = 10_000
"""N of the figure about peak memory."""
RUNS = 5
SCRIPT_SIZES = (250, 500, 1_000)
"""N at which the plain script is measured: at 5,000 it would hold 25 million entries."""
KINDS = {"peace": "at peace", "incident": "in the incident"}
MB = 1e6

# A table is one of six by who won the pair and the triple; each of five claimants, and the node whose
# device has another address than the registered one, has a table of its own.
CONTESTED = (500, 1_000, 2_000, WIRE)
"""N of the figures about many contested pairs against one."""
TABLES = {"peace": 1, "incident": 2 * 3 + 5 + 1}
BYTES_TARGET = {"peace": 1 / 100, "incident": 1 / 50}


def measure(quick: bool) -> Results:
    """Measure the exact figures and, unless `quick`, CPU and memory, with the curves."""
    costs = {kind: {nodes: _look(nodes, kind) for nodes in (*SIZES, WIRE)} for kind in KINDS}
    figures = [figure for kind, by_size in costs.items() for figure in exact_figures(kind, by_size)]
    pairs = {kind: {nodes: _look(nodes, kind) for nodes in CONTESTED} for kind in CONTESTED_PAIRS}
    figures += exact_contested_figures(pairs)
    if quick:
        return Results(tuple(figures))
    timed = {kind: {nodes: _fresh(nodes, kind) for nodes in SIZES} for kind in KINDS}
    for kind in KINDS:
        figures += _growth_figures(kind, timed[kind])
        figures.append(_memory_figure(kind))
    figures += _contested_figures({kind: {n: _fresh(n, kind) for n in CONTESTED} for kind in CONTESTED_PAIRS})
    return Results(tuple(figures), (*_our_curves(timed), *_script_curves(timed["peace"])))


def exact_figures(kind: str, costs: Mapping[int, SweepCost]) -> list[Figure]:
    """Return the figures that are the same on every machine for one kind of fleet: by N, what a sweep moved and held.

    `WIRE` must be among the sizes; the growth is over all of them.
    """
    words, wire, sizes = KINDS[kind], costs[WIRE], sorted(costs)
    growth = exponent([(nodes, costs[nodes].bytes_moved) for nodes in sizes])
    sweep = f"N={WIRE:,}, {words}"
    return [
        Figure(
            f"bytes over the wire against sending full tables, {sweep}",
            "×",
            (wire.bytes_moved / wire.naive_bytes,),
            target=BYTES_TARGET[kind],
            exact=True,
            note=f"{wire.bytes_moved / MB:,.1f} MB against {wire.naive_bytes / MB:,.1f} MB",
        ),
        Figure(f"bytes over the wire, {sweep}", "MB", (wire.bytes_moved / MB,), exact=True),
        Figure(
            f"table texts fetched, {sweep}",
            "",
            (wire.texts,),
            target=TABLES[kind],
            exact=True,
            note=f"{wire.tables} distinct tables on {wire.nodes:,} nodes",
        ),
        Figure(
            f"lines of route tables held for each node, {sweep}",
            "",
            (wire.lines / wire.nodes,),
            target=TABLES[kind],
            exact=True,
        ),
        Figure(
            f"growth exponent of bytes, N={sizes[0]:,} → {sizes[-1]:,}, {words}",
            "",
            (growth,),
            target=1.1,
            exact=True,
        ),
    ]


def exact_contested_figures(costs: Mapping[str, Mapping[int, SweepCost]]) -> list[Figure]:
    """Return the figures about bytes by kind of `CONTESTED_PAIRS` and N: each kind against the first, one pair."""
    (_, one), *more = costs.items()
    figures = []
    for kind, by_size in more:
        words = f"{CONTESTED_PAIRS[kind]} contested pairs"
        figures += [
            Figure(
                f"bytes over the wire, {words} against one, N={nodes:,}",
                "×",
                (cost.bytes_moved / one[nodes].bytes_moved,),
                target=2,
                exact=True,
                note=f"{cost.bytes_moved / MB:,.1f} MB, {cost.texts} texts of {cost.tables:,} distinct tables",
            )
            for nodes, cost in by_size.items()
        ]
        figures.append(
            Figure(
                f"growth exponent of bytes, N={min(by_size):,} → {max(by_size):,}, {words}",
                "",
                (exponent([(nodes, cost.bytes_moved) for nodes, cost in by_size.items()]),),
                target=1.1,
                exact=True,
            )
        )
    return figures


def _contested_figures(costs: Mapping[str, Mapping[int, Sequence[SweepCost]]]) -> list[Figure]:
    (_, one), *more = costs.items()
    figures = []
    for kind, by_size in more:
        words = f"{CONTESTED_PAIRS[kind]} contested pairs"
        for nodes, runs in by_size.items():
            pairs = tuple(zip(runs, one[nodes], strict=True))
            figures += [
                Figure(
                    f"client CPU, {words} against one, N={nodes:,}",
                    "×",
                    tuple(many.cpu / single.cpu for many, single in pairs),
                    target=2,
                ),
                Figure(
                    f"peak memory, {words} against one, N={nodes:,}",
                    "×",
                    tuple(many.peak_memory / single.peak_memory for many, single in pairs),
                    target=1.5,
                ),
            ]
        grown: dict[str, Callable[[SweepCost], float]] = {
            "client CPU": lambda cost: cost.cpu,
            "peak memory": lambda cost: cost.peak_memory,
        }
        figures += [
            Figure(
                f"growth exponent of {name}, N={min(by_size):,} → {max(by_size):,}, {words}",
                "",
                tuple(
                    exponent([(nodes, value(by_size[nodes][run])) for nodes in by_size])
                    for run in range(RUNS)
                ),
                target=1.1,
            )
            for name, value in grown.items()
        ]
    return figures


def exponent(points: Sequence[tuple[int, float]]) -> float:
    """Return the growth exponent by least squares on logarithms: 1 grows like N, 2 like its square."""
    nodes, values = [math.log(n) for n, _ in points], [math.log(value) for _, value in points]
    return statistics.linear_regression(nodes, values).slope


def _growth_figures(kind: str, timed: Mapping[int, Sequence[SweepCost]]) -> list[Figure]:
    words = f"N={SIZES[0]:,} → {SIZES[-1]:,}, {KINDS[kind]}"

    def grown(value: Callable[[SweepCost], float]) -> tuple[float, ...]:
        runs = range(RUNS)
        return tuple(exponent([(nodes, value(timed[nodes][run])) for nodes in SIZES]) for run in runs)

    return [
        Figure(
            f"growth exponent of client CPU, {words}",
            "",
            grown(lambda cost: cost.cpu),
            target=1.1,
            note="whole sweep with both reports, simulated nodes, without imports",
        ),
        Figure(
            f"growth exponent of peak memory, {words}",
            "",
            grown(lambda cost: cost.peak_memory),
            target=1.1,
            note="the whole process",
        ),
        Figure(
            f"growth exponent of what the sweep adds to peak memory, {words}",
            "",
            grown(lambda cost: cost.peak_memory - cost.start_memory),
            target=1.1,
            note="without Python, its modules and the simulation",
        ),
    ]


def _memory_figure(kind: str) -> Figure:
    peaks = [look_in_new_process(LARGE, kind, keep=True).peak_memory / MB for _ in range(RUNS)]
    return Figure(
        f"peak memory of a sweep of {LARGE:,} nodes, {KINDS[kind]}",
        "MB",
        tuple(peaks),
        target=400,
        note="whole process with imports, both reports and --record; simulated nodes",
    )


def _our_curves(timed: Mapping[str, Mapping[int, Sequence[SweepCost]]]) -> list[Curve]:
    def curve(plot: str, unit: str, kind: str, value: Callable[[SweepCost], float]) -> Curve:
        points = [(n, statistics.median(map(value, costs))) for n, costs in timed[kind].items()]
        return Curve(plot, f"wgaudit, {KINDS[kind]}", unit, tuple(points))

    curves = []
    for kind in KINDS:
        curves.append(curve("CPU", "s", kind, lambda cost: cost.cpu))
        curves.append(curve("bytes", "MB", kind, lambda cost: cost.bytes_moved / MB))
        curves.append(curve("memory", "MB", kind, lambda cost: cost.peak_memory / MB))
    return curves


def _script_curves(timed: Mapping[int, Sequence[SweepCost]]) -> list[Curve]:
    script = [(nodes, _script_in_new_process(nodes)) for nodes in SCRIPT_SIZES]
    sent = tuple((nodes, costs[0].naive_bytes / MB) for nodes, costs in timed.items())
    return [
        Curve("CPU", "dict-of-sets script", "s", tuple((n, cost["cpu"]) for n, cost in script)),
        Curve("bytes", "full tables", "MB", sent),
        Curve("memory", "dict-of-sets script", "MB", tuple((n, cost["peak"] / MB) for n, cost in script)),
    ]


def _look(nodes: int, kind: str) -> SweepCost:
    with tempfile.TemporaryDirectory() as folder:
        return look(SimulatedFleet(nodes, kind), Path(folder))


def _fresh(nodes: int, kind: str) -> list[SweepCost]:
    return [look_in_new_process(nodes, kind) for _ in range(RUNS)]


def _script_in_new_process(nodes: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.growth", str(nodes)],
        cwd=Path(__file__).parent.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    cost: dict[str, float] = json.loads(done.stdout)
    return cost


def main() -> None:
    """Run the plain script over a healthy fleet, keeping every table, and print its cost as JSON."""
    fleet = SimulatedFleet(int(sys.argv[1]), "peace")
    script, seconds = PlainScript(collect_answers(fleet).registrations, keep=True), 0.0
    for node in fleet.nodes.values():
        printed = fleet.allowed_ips(node)
        start = time.process_time()
        script.read(node.name, node.public_key, printed)
        seconds += time.process_time() - start
    sys.stdout.write(json.dumps({"cpu": seconds, "peak": peak_memory()}) + "\n")


if __name__ == "__main__":
    main()
