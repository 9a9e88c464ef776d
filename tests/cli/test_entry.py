"""An interrupt while Python still loads what a command needs: one line, and the exit code of any interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ENTRY = (sys.executable, "-c", "from auditor.cli.entry import begin; begin()")
SLOW = """
import time
print("loading", flush=True)
try:
    time.sleep(60)
except BaseException:
    raise ImportError("it makes another error of it")
"""


def interrupted(folder: Path, library: str, *command: str) -> tuple[int, str]:
    """Exit code and stderr of a command that is interrupted while it loads this library."""
    (folder / f"{library}.py").write_text(SLOW)
    with subprocess.Popen(
        [*command, "demo"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    return process.returncode, errors


@pytest.mark.parametrize("library", ["click", "asyncssh"])
def test_an_interrupt_while_a_command_still_loads_is_one_line(tmp_path: Path, library: str) -> None:
    """The command line's own library, and one that the command needs."""
    assert interrupted(tmp_path, library, *ENTRY) == (130, "wgaudit: interrupted\n")


def test_an_interrupt_that_is_not_meant_for_it_is_none(tmp_path: Path) -> None:
    """As for what a script starts in the background."""
    shell = 'trap "" INT; exec "$@"'
    (tmp_path / "asyncssh.py").write_text(SLOW.replace("time.sleep(60)", "input()"))
    with subprocess.Popen(
        ["sh", "-c", shell, "sh", *ENTRY, "demo"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate("\n", timeout=30)
    assert process.returncode != 130
    assert "interrupted" not in errors
