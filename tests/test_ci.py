"""What CI runs: in which order, what it does where a bare Debian can't be had, and that nothing fails unseen."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.parts import require

RUN = Path(__file__).parents[1] / ".ci/run"


class Clone:
    """A clone with nothing in it but `.ci/run`; programs and the neighbour only write down that they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        (folder / "clone/.ci").mkdir(parents=True)
        shutil.copy(RUN, folder / "clone/.ci/run")
        for name in ("make", "debootstrap", "unshare"):
            self.program(self.programs / name, f'echo "{name} $*"')

    def program(self, path: Path, script: str) -> None:
        """Puts a program there."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def bare(self, script: str) -> None:
        """Puts what makes a bare Debian beside the clone."""
        require("root", os.geteuid() == 0, "run as root: nobody else makes a bare Debian")
        self.program(self.folder / "shared/bare-debian", script)

    def run(self) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        return subprocess.run(
            ["bash", ".ci/run"],
            cwd=self.folder / "clone",
            env={"PATH": f"{self.programs}:{os.environ['PATH']}", "PAUSE": "0", "CI": "true"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_without_the_neighbour_it_says_so_and_runs_everything_here(clone: Clone) -> None:
    done = clone.run()
    assert done.returncode == 0
    assert "NOT TRIED: a bare Debian 13 (there is no ../shared/bare-debian" in done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("make")] == [
        "make bench-quick",
        "make test",
    ]


def test_the_tests_here_come_last(clone: Clone) -> None:
    clone.bare('echo "bare $*"')
    done = clone.run()
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith(".ci/run")]
    assert lines[:2] == ["make bench-quick", "bare trixie true"]
    assert lines[2].startswith("bare trixie make demo && CI=true make test ")
    assert "--ignore=tests/lab" in lines[2]
    assert lines[3:] == ["make test"]


def test_a_bare_debian_that_could_not_be_made_is_tried_once_more(clone: Clone) -> None:
    clone.bare('echo "bare $*"; [ "$2" != true ] || [ -e ../again ] || { : >../again; exit 1; }')
    assert clone.run().returncode == 0

    clone.bare("exit 1")
    done = clone.run()
    assert done.returncode != 0
    assert "make test" not in done.stdout


def test_what_fails_there_fails_all(clone: Clone) -> None:
    clone.bare('[ "$2" = true ]')
    done = clone.run()
    assert done.returncode != 0
    assert "make test" not in done.stdout
