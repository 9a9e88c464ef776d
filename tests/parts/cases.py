"""The inputs under tests/cases: small files as real nodes, people and attackers write them."""

from __future__ import annotations

from pathlib import Path

_CASES = Path(__file__).parents[1] / "cases"


def case_file(name: str) -> Path:
    """The path of a case, such as `nodes/13-scope-link/ip-addr`."""
    return _CASES / name


def case_text(name: str) -> str:
    """The text of a case."""
    return case_file(name).read_text(encoding="utf-8")
