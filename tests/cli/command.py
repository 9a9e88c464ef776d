"""Runs the installed `wgaudit` as its users do: a process, with its exit code, stdout and stderr."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cli.warm_start import Run, starter

WGAUDIT = Path(sys.executable).with_name("wgaudit")


def wgaudit(
    *arguments: str | Path,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    text: str = "",
) -> subprocess.CompletedProcess[str]:
    """One run in `folder`, which is also the home: nobody's own configuration or keys play a part.

    A process of its own, forked from one that has started already: see `warm_start`.
    """
    assert not any(name.startswith(("PYTHON", "LC_", "LANG")) for name in environment or ()), (
        "Python has started"
    )
    words = list(map(str, arguments))
    with contextlib.ExitStack() as stack:
        stdin, stdout, stderr = (stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
        stdin.write(text)
        stdin.seek(0)
        code = starter().run(words, folder, clean_environment(folder, environment), (stdin, stdout, stderr))
        for file in (stdout, stderr):
            file.seek(0)
        return subprocess.CompletedProcess([str(WGAUDIT), *words], code, stdout.read(), stderr.read())


def started(*arguments: str | Path, folder: Path, environment: Mapping[str, str] | None = None) -> Run:
    """The same, while it runs: for who wants to meet or to kill it. What it says goes to a pipe."""
    return Run(list(map(str, arguments)), folder, clean_environment(folder, environment))


def installed(
    *arguments: str | Path,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> subprocess.Popen[str]:
    """The same as a process that begins with the command's own file and arguments.

    prefix: words before it, as of `nsenter`, which becomes it.
    """
    return subprocess.Popen(
        [*prefix, WGAUDIT, *arguments],
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
