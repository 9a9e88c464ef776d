"""Runs the installed `wgaudit` as its users do: a process, with its exit code, stdout and stderr."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

WGAUDIT = Path(sys.executable).with_name("wgaudit")


def wgaudit(
    *arguments: str | Path,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    text: str = "",
) -> subprocess.CompletedProcess[str]:
    """One run in `folder`, which is also the home: nobody's own configuration or keys play a part."""
    return subprocess.run(
        [WGAUDIT, *arguments],
        cwd=folder,
        env=clean_environment(folder, environment),
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def started(
    *arguments: str | Path, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """The same, while it runs: for who wants to meet or to kill it. What it says goes to a pipe."""
    return subprocess.Popen(
        [WGAUDIT, *arguments],
        cwd=folder,
        env=clean_environment(folder, environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def clean_environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a run: little of ours, and a home of its own."""
    plain = {
        name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "COVERAGE")
    }
    return {**plain, "HOME": str(folder), "PYTHONWARNINGS": "error", **(more or {})}


def one_line(stderr: str) -> str:
    """The one line that an error is; fails if there is more, or a traceback."""
    lines = stderr.strip().splitlines()
    assert len(lines) == 1, stderr
    assert "Traceback" not in stderr
    return lines[0]
