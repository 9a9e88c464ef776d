"""Every case has a test: a file below tests/cases is named by a test module, or its folder or a pattern for it is."""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

from tests.cases import CASES

ROOT = Path(__file__).parent
FILES = sorted(path for path in CASES.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
RECIPES = {
    "nodes/10-account/password-expired": "needs PAM and an account of its own; sshd's sentences: test_accounts.py",
    "nodes/15-slow-login/pam.d-sshd-first-line": "needs PAM and 25 seconds",
}
"""Cases that are set-ups for a whole machine: no test brings them up."""


@cache
def texts() -> frozenset[str]:
    """What any test module says in a short text."""
    return frozenset(
        node.value
        for path in ROOT.rglob("*.py")
        if "fuzz" not in path.parts and path != Path(__file__)
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 100
    )


@cache
def patterns() -> frozenset[str]:
    """Those of them that may stand for several files."""
    return frozenset(text for text in texts() if "*" in text and not text.startswith("*"))


def named(case: Path) -> bool:
    """Whether a test names the file, its folder of a kind, or a pattern of its kind."""
    paths = {case.relative_to(CASES).as_posix(), case.parent.relative_to(CASES).as_posix()}
    names = {path for path in paths if "/" in path} | {case.name for mark in "-." if mark in case.name}
    return bool(names & texts()) or any(
        text.endswith(case.suffix or "-*") and fnmatchcase(case.name, text) for text in patterns()
    )


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.relative_to(CASES).as_posix())
def test_each_case_is_used(case: Path) -> None:
    name = case.relative_to(CASES).as_posix()
    assert name in RECIPES or named(case), f"no test names {name}"


def test_each_recipe_is_there() -> None:
    assert set(RECIPES) <= {case.relative_to(CASES).as_posix() for case in FILES}
