"""A file for what is delivered: that both databases remember alike is tested with the memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.state.places import StatePlace


@pytest.fixture
def place(tmp_path: Path) -> StatePlace:
    """Where there is no state yet."""
    return tmp_path / "wgaudit.db"
