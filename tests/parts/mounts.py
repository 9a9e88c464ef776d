"""A small file system of our own, in a mount namespace of our own: to be filled up, or made read-only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.parts import require

UNSHARE = ["unshare", "--mount", "--propagation", "private"]
if os.geteuid() != 0:
    UNSHARE = ["unshare", "--mount", "--user", "--map-root-user"]


def run_on_own_disk(folder: Path, size: str, program: str) -> str:
    """What a Python program prints whose folder is an empty tmpfs of this size (`64k`, `1m`).

    The program finds the folder in `DISK`, and `remount("ro")` makes it read-only. It must end well.
    """
    probe = subprocess.run([*UNSHARE, "true"], check=False, capture_output=True, text=True)
    require("a mount namespace", probe.returncode == 0, "run as root, or allow user namespaces")
    start = (
        "import os, subprocess\n"
        "from pathlib import Path\n"
        f"DISK = Path({str(folder)!r})\n"
        "def remount(mode):\n"
        "    subprocess.run(['mount', '-o', 'remount,' + mode, str(DISK)], check=True)\n"
        f"subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size={size}', 'tmpfs', str(DISK)], check=True)\n"
    )
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-c", start + program],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
