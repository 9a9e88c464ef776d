"""A real part ends with the tests that started it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.parts.with_parent import with_parent

REPOSITORY = Path(__file__).parents[2]
TESTS = """
import subprocess
from tests.parts.with_parent import with_parent
print(subprocess.Popen(with_parent(["sh", "-c", "echo started; exec sleep 600"])).wait())
"""


def test_a_part_ends_when_the_process_that_started_it_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TESTS], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline() == "started\n"
        tests.kill()
        assert tests.stdout.read() == "", "the pipe ends with the last who holds it"


def test_a_part_that_another_thread_starts_outlives_the_thread() -> None:
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(with_parent, ["consul"]).result() == ["consul"]
