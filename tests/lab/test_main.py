"""`python -m tests.lab`: a case in a terminal is the case that the tests see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]
REPOSITORY = Path(__file__).parents[2]


def test_a_case_in_which_consul_stops_stops_it_in_the_terminal_too_and_a_shell_follows(
    lab_parts: None,
) -> None:
    """The sweep's own exit code comes back: not enough was seen. What stands on stdin is done in the lab."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab", "--shell", "consul-stops"],
        cwd=REPOSITORY,
        input="who-answers 10.20.0.12\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("INCONCLUSIVE")
    assert "consul-unreachable" in done.stdout
    answering = [line for line in done.stdout.splitlines() if line.endswith("edge-sin-1 answers")]
    assert len(answering) == 6, done.stdout
