"""Cost of starting the program: `wgaudit sweep --help` in its own process."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.figures import Figure, Results

RUNS = 9


def measure(quick: bool) -> Results:
    """Measure the CPU seconds of `wgaudit sweep --help`. Nothing if `quick`, which judges no times."""
    if quick:
        return Results(())
    program = Path(sys.executable).with_name("wgaudit")
    _seconds(program)  # writes the byte code and warms the page cache
    samples = tuple(_seconds(program) for _ in range(RUNS))
    note = "user and system time of the whole process"
    return Results((Figure("`wgaudit sweep --help`", "s CPU", samples, target=0.25, note=note),))


def _seconds(program: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([program, "sweep", "--help"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
