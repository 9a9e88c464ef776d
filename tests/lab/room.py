"""The commands that a lab's shell has beside those of this machine.

`who-answers` knows nothing of wgaudit: the tests hold `wgaudit ask` against it.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from tests.lab.mesh import Lab

_REPOSITORY = Path(__file__).parents[2]
SHELL = ("bash", "--norc", "--noprofile")


def shell_room(lab: Lab) -> dict[str, str]:
    """Writes `wgaudit` and `who-answers` into the lab's folder; the environment in which a shell finds them."""
    commands = {
        "wgaudit": [lab.command()[-1]],
        "who-answers": [
            *("env", f"PYTHONPATH={_REPOSITORY}", sys.executable, "-m", "tests.lab.answers"),
            *(str(lab.folder), str(lab.control_pid)),
        ],
    }
    folder = lab.folder / "bin"
    folder.mkdir(exist_ok=True)
    for name, words in commands.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{lab.environment()['PATH']}", "PS1": "lab$ "}
