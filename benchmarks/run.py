"""Run one part in its own process, so that none inherits another's heap; results go to a JSON file."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import CannotRun, Curve, Figure, Part, Results

REPOSITORY = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one part: results, or why there are none."""

    part: str
    results: Results | None = None
    lacks: str = ""
    """What this machine lacks for the part."""
    failed: str = ""
    """How the part failed; its traceback went to stderr."""

    @property
    def missed(self) -> list[Figure]:
        """Return exact figures that miss their target. Times are not judged: they depend on the machine."""
        figures = self.results.figures if self.results else ()
        return [figure for figure in figures if figure.exact and figure.met is False]


def run_apart(part: str, *, quick: bool) -> Outcome:
    """Run `benchmarks/<part>.py` in a new process of this interpreter."""
    with tempfile.TemporaryDirectory(prefix="wgaudit-bench-") as folder:
        told = Path(folder, "results.json")
        command = [sys.executable, "-m", "benchmarks.run", part, str(told), "quick" if quick else "full"]
        code = subprocess.run(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, check=False).returncode
        if code != 0:
            return Outcome(part, failed=f"exit code {code}")
        return read_outcome(part, json.loads(told.read_text(encoding="utf-8")))


def written_outcome(measure: Part, *, quick: bool) -> dict[str, Any]:
    """Serialise an outcome, in the process of a part."""
    try:
        return {"results": asdict(measure(quick))}
    except CannotRun as error:
        return {"lacks": str(error)}


def read_outcome(part: str, written: Mapping[str, Any]) -> Outcome:
    """Read what `written_outcome` serialised."""
    if "lacks" in written:
        return Outcome(part, lacks=written["lacks"])
    results = written["results"]
    figures = tuple(Figure(**{**one, "samples": tuple(one["samples"])}) for one in results["figures"])
    curves = tuple(
        Curve(**{**one, "points": tuple((n, value) for n, value in one["points"])})
        for one in results["curves"]
    )
    return Outcome(part, Results(figures, curves, tuple(results["notes"])))


def _main(part: str, told: Path, *, quick: bool) -> None:
    measure: Part = importlib.import_module(f"benchmarks.{part}").measure
    told.write_text(json.dumps(written_outcome(measure, quick=quick)), encoding="utf-8")


if __name__ == "__main__":
    try:
        _main(sys.argv[1], Path(sys.argv[2]), quick=sys.argv[3] == "quick")
    except KeyboardInterrupt:  # the parent got it too, and ends
        sys.exit(130)
