"""Plots of curves over the number of nodes: one PNG each for CPU, bytes and memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Curve

LARGEST = 60_000
"""Maximum size of one picture in bytes: pictures are kept with the source."""


def draw(curves: Sequence[Curve], folder: Path) -> list[Path]:
    """Write `cpu.png`, `bytes.png` …; both axes are logarithmic, so a slope is a growth exponent."""
    return [
        _draw([one for one in curves if one.plot == plot], folder / f"{plot.lower()}.png")
        for plot in dict.fromkeys(one.plot for one in curves)
    ]


def _draw(curves: Sequence[Curve], file: Path) -> Path:
    from matplotlib.figure import Figure  # only in make bench's environment
    from matplotlib.ticker import NullFormatter

    first = curves[0]
    figure = Figure(figsize=(7, 4.5), dpi=100, layout="constrained")
    axes = figure.subplots()
    for curve in curves:
        naive = "naive" in curve.name
        axes.plot(
            [n for n, _ in curve.points],
            [value for _, value in curve.points],
            marker="o",
            markersize=4,
            linestyle="--" if naive else "-",
            color="0.5" if naive else None,
            label=curve.name,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes = sorted({n for curve in curves for n, _ in curve.points})
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("nodes")
    axes.set_ylabel(f"{first.plot} ({first.unit})" if first.unit != first.plot else first.unit)
    axes.set_title(f"{first.plot} against the number of nodes")
    axes.grid(which="major", color="0.9")
    axes.legend(frameon=False)
    figure.savefig(file, metadata={"Software": None})
    if file.stat().st_size > LARGEST:
        raise RuntimeError(f"{file} is larger than {LARGEST:,} bytes")
    return file
