"""Run all parts or some: `python -m benchmarks` prints one table and writes `results.md` with its plots."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks import plots, results
from benchmarks.isolation import isolate
from benchmarks.run import Outcome, run_apart

PARTS = (
    "ssh",
    "known_hosts",
    "analysis",
    "growth",
    "watch",
    "collectors",
    "registry",
    "node_cpu",
    "reports",
    "allocate",
    "start",
)
"""Each is a file of this package with `measure(quick) -> Results`, in the order in which they run."""
FOLDER = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; return 0, 1 if an exact figure misses its target or a part failed, 2 for usage."""
    asked = _arguments(arguments)
    # A log is as wide as it needs to be; folded figures are hard to read.
    console = Console() if sys.stdout.isatty() else Console(width=140)
    say = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    if why := isolate():
        say.print(f"no network of its own: {why}")
    commit = results.commit()  # of the code that is measured, whatever is committed meanwhile
    parts = [part for part in PARTS if not asked.parts or part in asked.parts]
    outcomes = []
    for part in parts:
        say.print(f"measuring {part} …")
        outcomes.append(run_apart(part, quick=asked.quick))
    console.print(results.terminal(outcomes, quick=asked.quick))
    if asked.renew:
        say.print(f"renewed: {renew(outcomes, commit)}")
    elif not asked.quick:
        folder = asked.write or (FOLDER if len(parts) == len(PARTS) else None)
        if folder is None:
            say.print(
                "results.md is as it was: it is written by a run of all parts, or with --write FOLDER or --renew"
            )
        else:
            say.print(f"written: {write(outcomes, folder, commit)}")
    return exit_code(outcomes)


def write(outcomes: Sequence[Outcome], folder: Path, commit: str) -> Path:
    """Write `results.md` and the pictures beside it."""
    curves = [curve for one in outcomes if one.results for curve in one.results.curves]
    facts = {
        "Date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Commit": commit,
        **results.machine(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "results.md"
    text = results.markdown(outcomes, plots.draw(curves, folder), facts, results.software())
    file.write_text(text, encoding="utf-8")
    return file


def renew(outcomes: Sequence[Outcome], commit: str) -> Path:
    """Renew these parts in the `results.md` that is there, and leave the others and the pictures as they are."""
    file = FOLDER / "results.md"
    facts = {"Measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "Commit": commit}
    facts |= {name: value for name, value in results.machine().items() if name in ("CPU", "Cores")}
    facts["Load of the last 15 minutes"] = f"{os.getloadavg()[2]:.1f}"
    file.write_text(results.renewed(file.read_text(encoding="utf-8"), outcomes, facts), encoding="utf-8")
    return file


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return 1 if an exact figure misses its target, a part failed, or (in CI) a part could not run."""
    complete = os.environ.get("CI") == "true"
    return int(any(one.missed or one.failed or (complete and one.lacks) for one in outcomes))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="exact figures alone; judges no times")
    parser.add_argument("--write", metavar="FOLDER", type=Path, help="write results.md and plots there")
    parser.add_argument("--renew", action="store_true", help="renew these parts in results.md")
    asked = parser.parse_args(arguments)
    if asked.renew and (asked.quick or asked.write):
        parser.error("--renew goes with neither --quick nor --write")
    if unknown := [part for part in asked.parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return asked


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
