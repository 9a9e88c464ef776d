"""Measure the cost of one command, with everything that it started and left running.

Run as a program, it is a small parent process that adopts children which outlive their own parent, so that their CPU
is counted too (ansible leaves an ssh process for each host).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>
_PATIENCE = 5.0
"""Seconds that a leftover process gets to end after SIGTERM."""


@dataclass(frozen=True, slots=True)
class CommandCost:
    """Resources used by one command and all of its descendants."""

    code: int
    """Exit code; negative for a signal."""
    user: float
    """Seconds of CPU in the program."""
    system: float
    """Seconds of CPU in the kernel."""
    peak: int
    """Peak memory of its largest process, in KiB."""

    @property
    def cpu(self) -> float:
        """Seconds of CPU."""
        return self.user + self.system


def metered(
    command: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str], output: Path
) -> CommandCost:
    """Run the command in `folder`; stdout goes to `output`, stderr to `output.err`. Raises `OSError`."""
    told = output.with_name(f"{output.name}.cost")
    told.unlink(missing_ok=True)
    with output.open("wb") as out, output.with_name(f"{output.name}.err").open("wb") as err:
        subprocess.run(
            [sys.executable, __file__, told, *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            check=True,
        )
    return CommandCost(**json.loads(told.read_text(encoding="utf-8")))


def _main(told: Path, command: Sequence[str]) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl: what the command leaves behind could not be counted")
    code = subprocess.Popen(command, stdin=subprocess.DEVNULL).wait()
    _end_children()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    told.write_text(
        json.dumps({"code": code, "user": used.ru_utime, "system": used.ru_stime, "peak": used.ru_maxrss}),
        encoding="utf-8",
    )


def _end_children() -> None:
    """End leftover processes and count their CPU, then those that were orphaned by that."""
    mine = Path(f"/proc/self/task/{os.getpid()}/children")
    number, patience = signal.SIGTERM, time.monotonic() + _PATIENCE
    while children := mine.read_text(encoding="ascii").split():
        for child in children:
            os.kill(int(child), number)
        time.sleep(0.02)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return  # nobody is left
        if time.monotonic() > patience:
            number = signal.SIGKILL


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2:])
