"""`python -m tests.lab`: a case in a terminal is the case that the tests see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]
REPOSITORY = Path(__file__).parents[2]


def test_a_case_in_which_consul_stops_stops_it_in_the_terminal_too(lab_parts: None) -> None:
    """The sweep's own exit code comes back: not enough was seen."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab", "consul-stops"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("INCONCLUSIVE")
    assert "consul-unreachable" in done.stdout
