"""Real parts that tests run against: where they are found, how they are started, what if they are missing."""

from __future__ import annotations

import os


def require(part: str, present: bool, how: str) -> None:
    """Goes on if the part is there; else fails in CI and skips, loudly, elsewhere. `how` says how to get it."""
    if present:
        return
    import pytest  # benchmarks/ starts the same parts where there is none

    message = f"{part} is not on this machine: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
