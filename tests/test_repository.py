"""Rules that the tree itself must keep: pins, names, what is never run, what start-up may cost."""

from __future__ import annotations

import ast
import re
import resource
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*(ROOT / "auditor").rglob("*.py"), *(ROOT / "alerts").rglob("*.py")])
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
MODULES = [*SOURCES, *BENCHMARKS]
SCRIPTS = sorted((ROOT / "auditor").rglob("*.sh"))
REQUIREMENTS = (
    "requirements.txt",
    "requirements-watch.txt",
    "requirements-collectors.txt",
    "requirements-postgres.txt",
    "requirements-dev.txt",
    "benchmarks/requirements.txt",
)
INCLUDE = re.compile(r"-r (\.\./)?requirements(-watch|-collectors|-postgres)?\.txt")

HELP_BUDGET = 0.3  # seconds of CPU, user and system
HEAVY = ("asyncssh", "consul", "cryptography", "pydantic", "requests", "rich")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def pins(file: str) -> dict[str, str]:
    """Name and version of each line of a requirements file that is a pin."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    matches = [re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.+!]+)", line) for line in lines]
    return {canonicalize_name(match[1]): match[2] for match in matches if match}


def direct_dependencies() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(text) for text in project["dependencies"]]


# Requirements


@pytest.mark.parametrize("file", REQUIREMENTS)
def test_requirements_hold_exact_versions_and_nothing_else(file: str) -> None:
    """No ranges, no addresses, no options: each line is a comment, the one include, or `name==version`."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    others = [line for line in lines if line and not line.startswith("#") and not INCLUDE.fullmatch(line)]
    assert len(others) == len(pins(file)), f"{file}: not only pins, or one twice"


@pytest.mark.parametrize("file", REQUIREMENTS)
def test_no_requirement_says_where_to_download(file: str) -> None:
    """Where packages come from is the machine's business, comments included."""
    text = (ROOT / file).read_text(encoding="utf-8")
    assert not re.search(r"https?:|--(extra-)?index|--find-links|@", text)


@pytest.mark.parametrize("file", REQUIREMENTS[1:])
def test_what_wgaudit_runs_on_is_pinned_once(file: str) -> None:
    """Tools and peers fit what wgaudit runs on; they do not move it."""
    assert not set(pins(file)) & set(pins("requirements.txt"))


@pytest.mark.parametrize("needed", direct_dependencies(), ids=str)
def test_each_dependency_is_pinned_to_a_version_that_the_project_allows(needed: Requirement) -> None:
    version = pins("requirements.txt").get(canonicalize_name(needed.name))
    assert version is not None, f"{needed.name} is missing from requirements.txt; run make pins"
    assert needed.specifier.contains(version)


def test_what_the_dependencies_need_is_pinned_too() -> None:
    """The whole tree below pyproject.toml's dependencies, as the installed packages declare it."""
    waiting = direct_dependencies()
    seen: dict[str, str] = {}
    while waiting:
        needed = waiting.pop()
        name = canonicalize_name(needed.name)
        if name in seen:
            continue
        seen[name] = metadata.version(name)
        for text in metadata.requires(name) or ():
            further = Requirement(text)
            if further.marker is None or any(
                further.marker.evaluate({"extra": extra}) for extra in (needed.extras or {""})
            ):
                waiting.append(further)
    pinned = pins("requirements.txt")
    assert {name: pinned.get(name) for name in seen} == seen


@pytest.mark.parametrize("needed", direct_dependencies(), ids=str)
def test_each_dependency_has_its_reason_in_the_architecture_document(needed: Requirement) -> None:
    document = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = [line for line in document.splitlines() if re.search(rf"`{re.escape(needed.name)}`", line)]
    assert lines, f"docs/architecture.md has no line with `{needed.name}` and why it is needed"


# Modules


def test_each_module_says_what_it_is_for() -> None:
    silent = [name_of(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_bytes()))]
    assert not silent, "these need a docstring"


def test_no_module_is_named_after_nothing() -> None:
    """A catch-all name invites everything and says nothing."""
    catch_all = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [name_of(path) for path in MODULES if catch_all & set(path.with_suffix("").parts[-3:])]


def test_no_handler_swallows_everything() -> None:
    """`except Exception: pass`, a bare one, or `suppress(Exception)`: the incident began with one."""
    assert not [
        f"{name_of(path)}: {ast.unparse(node)}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_bytes()))
        if swallows(node)
    ]


def swallows(node: ast.AST) -> bool:
    if isinstance(node, ast.ExceptHandler):
        empty = all(
            isinstance(statement, ast.Pass | ast.Continue)
            or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
            for statement in node.body
        )
        return empty and (node.type is None or catches_everything(node.type))
    if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "suppress":
        return any(catches_everything(argument) for argument in node.args)
    return False


def catches_everything(caught: ast.expr) -> bool:
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException") for kind in kinds)


# Commands that print private and preshared keys


KEY_PRINTING = re.compile(r"\bwg\b[^\n;|&]*\b(dump|showconf)\b|\bshow\s+\S+\s+dump\b")


def written_texts(path: Path) -> Iterator[str]:
    """What a file could run: a script's lines; a module's texts, argument lists as one, no docstrings."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".sh":
        yield from (line for line in source.splitlines() if not line.lstrip().startswith("#"))
        return
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple):
            yield " ".join(text_of(element) for element in node.elts)
        elif isinstance(node, ast.Call):
            yield " ".join(text_of(argument) for argument in node.args)
        elif isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in docstrings:
            yield text_of(node)


def text_of(node: ast.expr) -> str:
    """The node as text; what is only known at run time is `_`."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
        return node.value.decode("latin-1")
    return "_"


def test_no_command_asks_a_node_for_its_private_keys() -> None:
    """`wg show … dump` and `wg showconf` print private and preshared keys: they are never run."""
    assert not [
        f"{name_of(path)}: {text}"
        for path in [*SOURCES, *SCRIPTS]
        for text in written_texts(path)
        if KEY_PRINTING.search(text)
    ]


@pytest.mark.parametrize(
    "code",
    [
        'run("wg show wg0 dump")',
        'run(f"wg show {device} dump")',
        'run("wg", "show", device, "dump")',
        'command = ["sudo", "-n", "wg", "showconf", device]',
        'SCRIPT = b"set -e; $WG show all dump | sort"',
    ],
)
def test_the_rule_above_sees_each_way_to_write_such_a_command(code: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(code, encoding="utf-8")
    assert [text for text in written_texts(tmp_path / "module.py") if KEY_PRINTING.search(text)]


# Start-up


def test_help_loads_none_of_the_heavy_libraries() -> None:
    """What a command needs is imported by that command: `--help` and completion stay instant."""
    program = "import sys, auditor.cli.main; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(answer.stdout.split())


def test_help_is_answered_within_its_cpu_budget() -> None:
    """The median of five, in CPU time: another program on the machine must not decide this test."""
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([Path(sys.executable).with_name("wgaudit"), "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert statistics.median(costs) < HELP_BUDGET, f"CPU seconds of five runs: {costs}"
