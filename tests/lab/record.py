"""Records cases, each as a snapshot into `fixtures/`: what tests and `--replay` use where there is no lab."""

# ruff: noqa: T201  (it talks to a terminal)

from __future__ import annotations

import gzip
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.lab.cases import CASES
from tests.lab.lossy import as_lost
from tests.lab.mesh import Lab, LabError

FIXTURES = "fixtures"
SNAPSHOT = "snapshot.json.gz"
SCRUBBED_FOLDER = "/etc/wgaudit"


def record(folder: Path, names: Iterable[str] = CASES) -> None:
    """Writes `<folder>/<case>/snapshot.json.gz` and a README line for each of these cases."""
    for name in names:
        case = CASES[name]
        target = folder.resolve() / name
        target.mkdir(parents=True, exist_ok=True)
        with Lab(case()) as lab:
            path = lab.folder / SNAPSHOT
            with as_lost(lab) as options:
                sweep = lab.planned_sweep("--record", str(path), *options)
            if sweep.code not in (0, 1, 3) or not path.exists():
                raise LabError(f"{name}: the sweep ended with {sweep.code}:\n{sweep.stderr[-2000:]}")
            # Reasons may name files of the lab; its folder is another one each time.
            text = gzip.decompress(path.read_bytes()).decode().replace(str(lab.folder), SCRUBBED_FOLDER)
        (target / SNAPSHOT).write_bytes(gzip.compress(text.encode(), mtime=0))
        description = " ".join((inspect.getdoc(case) or name).split())
        (target / "README.md").write_text(f"{description} Exit code {sweep.code}.\n")
        print(f"{name}: {sweep.report['verdict']}, exit code {sweep.code}", file=sys.stderr)
