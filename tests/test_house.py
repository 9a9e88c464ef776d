"""The house: its rooms, what may enter them, and that each name is given once."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("auditor", "alerts")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
    "contracts"
]

ROOMS = {
    "values",
    "disk",
    "documents",
    "settings",
    "fleet",
    "checks",
    "admission",
    "explain",
    "registry",
    "nodes",
    "witnesses",
    "gather",
    "state",
    "reports",
    "repair",
    "service",
    "watch",
    "cli",
    "demo",
}
TO_BE_BUILT = {"witnesses"}
LOOSE = {"errors", "judge"}

# The settings have a file for each section, named as it is; `file.py` reads them, as the registry has one too.
SHARED_WITH_SETTINGS = {"consul", "file", "sweep", "watch"}

# Contracts


class Plant(NamedTuple):
    """An import that a contract forbids, and the module that it is written into."""

    contract: str
    module: str
    imported: str


PURE = "Pure rooms do no input or output"
PURE_OF_ROOMS = "Pure rooms call no room that does input or output"
PURE_ALERTS = "Alerts are pure but for memory, delivery and notifiers"
EDGE = (
    "asyncio",
    "sqlite3",
    "sqlalchemy",
    "subprocess",
    "socket",
    "httpx",
    "requests",
    "asyncssh",
    "os",
    "pathlib",
)
PURE_ROOMS = (
    "auditor.values",
    "auditor.fleet",
    "auditor.checks",
    "auditor.admission",
    "auditor.explain",
    "auditor.reports",
    "auditor.reports.terminal",
    "auditor.repair.plan",
    "auditor.nodes.probe",
    "auditor.nodes.change",
)

PLANTS = [
    *(Plant(PURE, f"{room}.planted", imported) for room in PURE_ROOMS for imported in EDGE),
    *(Plant(PURE_OF_ROOMS, f"{room}.planted", "auditor.state.state_store") for room in PURE_ROOMS[1:]),
    *(Plant(PURE_ALERTS, "alerts.planted", imported) for imported in EDGE),
    *(
        Plant("Alerts see the auditor's values and errors, and nothing else of it", module, imported)
        for module in ("alerts.planted", "alerts.memory.planted", "alerts.notifiers.planted")
        for imported in ("auditor.repair", "auditor.judge", "auditor.state.files", "auditor.settings.file")
    ),
    Plant("Imports point inwards", "auditor.values.planted", "auditor.repair"),
    Plant("Imports point inwards", "auditor.registry.planted", "auditor.nodes.interface"),
    Plant("Imports point inwards", "auditor.repair.planted", "auditor.cli.main"),
    Plant("Only the services join audit and alerts", "auditor.reports.planted", "alerts.models"),
    Plant(
        "Only alerts.notifiers, the registry's follower and Nomad's client speak httpx",
        "auditor.registry.planted",
        "httpx",
    ),
    Plant(
        "Only reports and the watch are written as metrics", "auditor.service.planted", "prometheus_client"
    ),
    Plant("Only templates are made with Jinja2", "auditor.repair.planted", "jinja2"),
    Plant("Only auditor.watch.web serves HTTP", "auditor.watch.planted", "starlette"),
    Plant("Only auditor.watch.web serves HTTP", "auditor.service.planted", "uvicorn"),
    Plant("Only auditor.registry speaks to Consul", "auditor.repair.planted", "consul"),
    Plant("Only auditor.registry speaks to Consul", "alerts.notifiers.planted", "requests"),
    Plant("Only auditor.gather.nats speaks NATS", "auditor.gather.planted", "nats"),
    Plant("Only auditor.nodes.ssh and the demo's servers speak SSH", "auditor.gather.planted", "asyncssh"),
    *(
        Plant("Only the state and the memory of alerts speak to databases", "auditor.gather.planted", library)
        for library in ("sqlalchemy", "alembic", "psycopg", "sqlite3")
    ),
    Plant("Only reports.terminal and the command line draw", "auditor.reports.planted", "rich"),
    Plant("Only the command line speaks click", "auditor.gather.planted", "click"),
]
# Everything imports the loose modules, so these are planted apart: the others' answers stay readable.
LOOSE_PLANTS = [
    *(Plant(PURE, f"auditor.{name}", imported) for name in sorted(LOOSE) for imported in EDGE),
    Plant(PURE_OF_ROOMS, "auditor.judge", "auditor.state.state_store"),
]


def linted(folder: Path, plants: list[Plant]) -> Mapping[str, str]:
    """Plants all of them in a copy of the tree, and returns what each broken contract says."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for plant in plants:
        path = folder / f"{plant.module.replace('.', '/')}.py"
        with path.open("a", encoding="utf-8") as stream:
            stream.write(f"\nimport {plant.imported}\n")
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode == 0:
        return {}
    _, _, answer = done.stdout.partition("Broken contracts\n")
    assert answer, done.stdout + done.stderr
    pieces = re.split(r"^(.+)\n-+\n", answer, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What is said of the plants, by contract."""
    return linted(tmp_path_factory.mktemp("planted"), PLANTS)


@pytest.fixture(scope="module")
def broken_by_loose(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What is said of the plants in errors and judge, by contract."""
    return linted(tmp_path_factory.mktemp("loose"), LOOSE_PLANTS)


@pytest.mark.parametrize("contract", sorted({plant.contract for plant in PLANTS}))
def test_a_planted_import_breaks_its_contract(contract: str, broken: Mapping[str, str]) -> None:
    """In a new file that no contract names."""
    assert unseen(broken[contract], contract, PLANTS) == []


@pytest.mark.parametrize("contract", sorted({plant.contract for plant in LOOSE_PLANTS}))
def test_a_planted_import_in_a_loose_module_breaks_its_contract(
    contract: str, broken_by_loose: Mapping[str, str]
) -> None:
    assert unseen(broken_by_loose[contract], contract, LOOSE_PLANTS) == []


def unseen(answer: str, contract: str, plants: list[Plant]) -> list[Plant]:
    """The contract's plants that its text does not name."""
    return [
        plant
        for plant in plants
        if plant.contract == contract
        and not re.search(rf"{re.escape(plant.module)} -> {re.escape(plant.imported)}\b", answer)
    ]


def test_every_contract_has_a_plant() -> None:
    assert {plant.contract for plant in PLANTS} == {contract["name"] for contract in CONTRACTS}


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: str(contract["name"]))
def test_a_contract_names_folders_and_never_files(contract: Mapping[str, object]) -> None:
    """But for the two loose modules, so that a new file is inside the rule on the day it is written."""
    places = ("source_modules", "forbidden_modules", "protected_modules", "allowed_importers")
    names = [name for place in places for name in listed(contract.get(place, []))]
    ours = {name for name in names if name.partition(".")[0] in PACKAGES and "*" not in name}
    files = {name for name in ours if not (ROOT / name.replace(".", "/")).is_dir()}
    assert files <= {f"auditor.{name}" for name in LOOSE}


def listed(value: object) -> list[str]:
    assert isinstance(value, list)
    return [str(item) for item in value]


# Rooms


def test_the_auditor_has_the_rooms_of_its_plan_and_two_loose_modules() -> None:
    folders = {path.parent.name for path in (ROOT / "auditor").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "auditor").glob("*.py")} - {"__init__"}
    assert folders <= ROOMS
    assert ROOMS - folders <= TO_BE_BUILT
    assert modules == LOOSE


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    TopologicalSorter(imports).prepare()


# Names


def modules_by_name() -> Mapping[str, list[str]]:
    names: dict[str, list[str]] = defaultdict(list)
    for path in SOURCES:
        relative = path.relative_to(ROOT)
        if path.stem != "__init__":
            names[path.stem].append(str(relative))
    return names


def test_no_two_modules_have_one_name() -> None:
    """But a command's file, each room's interface, and the models of the two packages."""
    twins = {
        name: others
        for name, paths in modules_by_name().items()
        if len(others := [path for path in paths if not path.startswith("auditor/cli/")]) > 1
    }
    assert twins.pop("models") == ["alerts/models.py", "auditor/values/models.py"]
    twins.pop("interface")
    assert twins.keys() <= SHARED_WITH_SETTINGS


def test_a_module_of_the_command_line_shares_its_name_only_if_it_is_a_command() -> None:
    main = (ROOT / "auditor" / "cli" / "main.py").read_text(encoding="utf-8")
    shared = {
        name
        for name, paths in modules_by_name().items()
        if len(paths) > 1 and any(path.startswith("auditor/cli/") for path in paths)
    }
    assert {name for name in shared if f'"{name.replace("_", "-")}"' not in main} == set()


@cache
def names_of(path: Path) -> tuple[tuple[str, str], ...]:
    """Every name that a module gives, and the kind of what it names."""
    return tuple(_names(ast.parse(path.read_bytes())))


def _names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield "class", node.name
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield "function", node.name
        elif isinstance(node, ast.arg):
            yield "argument", node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield "variable", node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield "attribute", node.attr


def test_no_two_classes_have_one_name() -> None:
    """Private ones counted: a reader who searches for a class finds one."""
    classes = Counter(name for path in SOURCES for kind, name in names_of(path) if kind == "class")
    assert {name for name, times in classes.items() if times > 1} == set()


BANNED_WORDS = {"Desk", "Hands", "Patience", "Way"}
BANNED_NAMES = {"told", "goes_by", "in_the_librarys_way"}
BANNED_FUNCTIONS = {"shown", "order"}


def test_names_that_puzzle_do_not_come_back() -> None:
    """Names are plain English of the field."""
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCES
        for kind, name in [*names_of(path), ("module", path.stem.title())]
        if name != "One_Way_Peer"  # a check's ident, which is its file's name
        if BANNED_WORDS & set(re.findall(r"[A-Z][a-z]+", name))
        or name in BANNED_NAMES
        or (kind == "function" and name.lstrip("_") in BANNED_FUNCTIONS)
    }
    assert found == set()
