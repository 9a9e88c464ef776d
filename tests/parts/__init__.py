"""Real parts that tests run against: where they are found, how they are started, what if they are missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

SHELLS = (("dash",), ("bash", "--posix"), ("bash",), ("busybox", "sh"))
AWKS = (("mawk",), ("gawk",), ("busybox", "awk"))
"""Every kind of node's own, as the words that start it; `command_of` finds them on this machine."""
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"])
"""Where programs are looked for: sbin, too, which is not on every user's path."""


def require(part: str, present: bool, how: str) -> None:
    """Goes on if the part is there; else fails in CI and skips, loudly, elsewhere. `how` says how to get it."""
    if present:
        return
    import pytest  # benchmarks/ starts the same parts where there is none

    message = f"{part} is not on this machine: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def program_path(name: str) -> str:
    """The path of a program that a test can't do without; where it is missing, `require` decides."""
    path = shutil.which(name, path=SYSTEM_PATH)
    require(name, path is not None, "tests/parts/install as root on Debian")
    assert path is not None
    return path


def command_of(words: Sequence[str]) -> list[str]:
    """A shell's or awk's words with the path of its program in front."""
    name, *rest = words
    return [program_path(name), *rest]
