"""Runs `wgaudit` and kills it at one entry of its journal: killed.py JOURNAL STEP EVENT before|after ARGUMENT…

A kill from outside comes at any moment; the two that matter are the one before an entry is written, when what it
says has happened already, and the one after it, when what it announces has not happened yet.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from auditor.cli.main import main


def die_at(journal: Path, step: str, event: str, when: str) -> None:
    """From now on writing the first such entry ends this process with SIGKILL."""
    write = os.write

    def watched(descriptor: int, data: bytes) -> int:
        if Path(f"/proc/self/fd/{descriptor}").readlink() != journal:
            return write(descriptor, data)
        entry = json.loads(bytes(data))
        if (entry["step"], entry["event"]) != (step, event):
            return write(descriptor, data)
        if when == "after":
            write(descriptor, data)
        os.kill(os.getpid(), signal.SIGKILL)
        raise SystemError("SIGKILL was survived")

    os.write = watched  # type: ignore[assignment]


if __name__ == "__main__":
    path, *moment = sys.argv[1:5]
    die_at(Path(path).resolve(), *moment)
    sys.exit(main(sys.argv[5:]))
