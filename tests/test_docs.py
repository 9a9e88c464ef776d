"""The documents say what the code does: commands, options, checks, reasons, keys, defaults, examples, links."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from auditor.checks.interface import Check
from auditor.checks.registry import CHECKS
from auditor.cli import running
from auditor.cli.main import EXIT_USAGE, cli
from auditor.config import Config, config_keys, parse_config
from auditor.errors import GapReason
from auditor.judge import judge
from auditor.reports.interface import Layout
from auditor.reports.table import render
from auditor.snapshot import replay

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
FINDINGS = ROOT / "docs" / "findings.md"
GAPS = ROOT / "docs" / "gaps.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
SECURITY = ROOT / "docs" / "security.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
CHANGELOG = ROOT / "CHANGELOG.md"
DOCUMENTS = [README, CHANGELOG, *sorted((ROOT / "docs").glob("*.md"))]

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# At a line's start, from the environment, or behind the user in a crontab.
CALL = re.compile(r"(?:^|\.venv/bin/|(?<=\s)wgaudit\s+)(wgaudit [-a-z].*)")
NOT_SET = "not set"


class Block(NamedTuple):
    """A fenced block of a document."""

    document: str
    language: str
    text: str
    before: str
    """The document up to the block."""


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path) -> Iterator[Block]:
    text = read(path)
    for match in FENCE.finditer(text):
        indent = len(match[1])
        body = "".join(line[indent:] + "\n" for line in match[3].splitlines())
        yield Block(path.name, match[2], body, text[: match.start()])


def prose(path: Path) -> str:
    """The document without its fenced blocks."""
    return FENCE.sub("", read(path))


def sections(path: Path, level: int = 2) -> dict[str, str]:
    """Heading and text of each section of a level."""
    parts = re.split(rf"^{'#' * level} (.+)$", prose(path), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """The cells of each table row, the heads left out."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


# Commands and options


def commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def options(command: click.Command) -> set[str]:
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in names if name.startswith("-")} | {"-h", "--help"}


@pytest.mark.parametrize("name", commands())
def test_each_command_stands_in_the_readme(name: str) -> None:
    assert f"wgaudit {name}" in read(README)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        (name, option)
        for name, command in {**commands(), "wgaudit": cli}.items()
        for option in sorted(options(command))
        if option.startswith("--")
    ],
)
def test_each_option_stands_in_the_readme(name: str, option: str) -> None:
    assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", read(README)), f"{name} {option}"


def command_lines() -> list[tuple[str, str]]:
    """Each call of wgaudit that a document shows, in a block or within a sentence."""
    found = []
    for path in DOCUMENTS:
        shown = [line for block in blocks(path) if block.language == "sh" for line in block.text.splitlines()]
        shown += re.findall(r"`([^`\n]+)`", prose(path))
        calls = [CALL.search(line) for line in shown]
        found += [(path.name, call[1]) for call in calls if call]
    return found


@pytest.mark.parametrize(("document", "line"), command_lines())
def test_each_command_line_in_the_documents_is_one_that_the_program_takes(document: str, line: str) -> None:
    """A renamed command or option must not live on in a document."""
    words = shlex.split(line, comments=True)[1:]
    groups = options(cli)
    while words and words[0] in groups:
        words.pop(0)
    if not words:
        return
    known = commands()
    assert words[0] in known, f"{document}: {line}"
    unknown = {word for word in words[1:] if word.startswith("-")} - options(known[words[0]])
    assert not unknown, f"{document}: {line}"


def test_the_exit_codes_in_the_readme_are_those_of_the_program() -> None:
    table = {cells[0]: cells[1] for cells in rows(sections(README)["Exit codes"])[1:]}
    meanings = {
        running.EXIT_CLEAN: "clean",
        running.EXIT_FINDINGS: "findings",
        EXIT_USAGE: "usage",
        running.EXIT_INCONCLUSIVE: "inconclusive",
    }
    assert {int(code) for code in table} == set(meanings)
    assert all(table[str(code)].startswith(meaning) for code, meaning in meanings.items())


# Checks and gaps


def check_row(check: Check, path: Path) -> list[str]:
    return next((cells for cells in rows(prose(path)) if cells[0].startswith(f"[{check.ident}](")), [])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.ident)
@pytest.mark.parametrize("path", [README, FINDINGS], ids=lambda path: path.name)
def test_each_check_has_its_row_with_severity_and_meaning(check: Check, path: Path) -> None:
    anchor = f"[{check.ident}]({'' if path == FINDINGS else 'docs/findings.md'}#{check.ident})"
    assert check_row(check, path) == [anchor, check.severity.value, check.says]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.ident)
def test_each_check_has_a_section_that_answers_the_same_questions(check: Check) -> None:
    """What it means, how it looks, why, how to check by hand, what to do, and when it is a false alarm."""
    section = sections(FINDINGS).get(check.ident, "")
    questions = (
        "What it means",
        "On the screen",
        "Why it happens",
        "Check by hand",
        "What to do",
        "False alarms",
    )
    assert [question for question in questions if f"**{question}.**" not in section] == []


def test_findings_has_no_section_for_a_check_that_is_not_there() -> None:
    assert set(sections(FINDINGS)) == {check.ident for check in CHECKS}


def screens() -> list[Block]:
    return [block for path in (FINDINGS, GAPS) for block in blocks(path) if block.language == "text"]


def without_what_differs(text: str) -> str:
    """Consul's indexes, times and ports are others in each recording."""
    text = re.sub(r"(?<=index )\d+", "N", text)
    text = re.sub(r"only \d+ apart", "only N apart", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, took [\d.]+ s", "TIME", text)
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)


@pytest.mark.parametrize("block", screens(), ids=lambda block: block.text.split("\n")[0].strip()[:60])
def test_each_screen_in_the_documents_is_part_of_the_report_on_a_recorded_sweep(block: Block) -> None:
    case = re.findall(r"`fixtures/(\w+)`", block.before)[-1]
    snapshot = replay(ROOT / "fixtures" / case / "snapshot.json.gz")
    report = render(judge(snapshot), Layout(width=80))
    assert without_what_differs(block.text) in without_what_differs(report)


def test_each_gap_reason_has_its_section_and_no_other_has() -> None:
    assert sorted(sections(GAPS)) == sorted(reason.value for reason in GapReason)


@pytest.mark.parametrize("reason", GapReason)
def test_each_gap_reason_says_what_to_do(reason: GapReason) -> None:
    text = sections(GAPS)[reason.value]
    assert "\nDo: " in text or "](findings.md#" in text


# The report that the README shows


def test_the_report_in_the_readme_is_what_the_demo_prints() -> None:
    """All of it, but for the time that it took and the port that refused."""
    shown = next(block for block in blocks(README) if block.text.startswith("FINDINGS"))
    program = Path(sys.executable).with_name("wgaudit")
    answer = subprocess.run(
        [program, "demo", "--no-progress"], capture_output=True, text=True, check=False, timeout=120
    )
    assert without_what_differs(shown.text) == without_what_differs(answer.stdout)


# Configuration


def documented_defaults() -> Mapping[str, str]:
    """By dotted key, what stands in the column Default."""
    found = {}
    table = ""
    for line in prose(CONFIGURATION).splitlines():
        heading = re.fullmatch(r"#+ (.*)", line)
        if heading:
            name = re.fullmatch(r"`\[(.+)\]`", heading[1])
            table = name[1] if name else ""
        elif table and line.startswith("| `"):
            key, default, _ = rows(line)[0]
            found[f"{table}.{key.strip('`')}"] = default.strip("`")
    return found


def test_every_configuration_key_has_its_row_and_no_other_has() -> None:
    assert sorted(documented_defaults()) == sorted(config_keys())


@pytest.mark.parametrize("key", config_keys())
def test_each_documented_default_is_the_codes(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read as TOML and validated like a file; a key without a default says so."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    text = documented_defaults()[key]
    tables = key.split(".")
    expected: object = Config()
    for part in tables:
        expected = getattr(expected, part)
    if text == NOT_SET:
        assert expected is None
        return
    document = tomllib.loads(f"{key} = {text}")
    value: object = parse_config(document, "docs/configuration.md")
    for part in tables:
        value = getattr(value, part)
    assert value == expected


def toml_blocks() -> list[Block]:
    return [block for path in DOCUMENTS for block in blocks(path) if block.language == "toml"]


@pytest.mark.parametrize("block", toml_blocks(), ids=lambda block: block.document)
def test_each_configuration_in_the_documents_can_be_read(block: Block) -> None:
    parse_config(tomllib.loads(block.text), block.document)


# Security


def test_the_sudoers_lines_allow_what_the_probe_asks_for_and_nothing_else() -> None:
    """One line a field, spelled out: a wildcard would also allow what prints private keys."""
    script = read(ROOT / "auditor" / "nodes" / "probe.sh")
    asked = set(
        re.findall(r"(?<!addr )\bshow(?:_or_tell)? ([a-z][a-z-]+)", re.sub(r"(?m)^ *#.*", "", script))
    )
    allowed = re.findall(r"^ *wgaudit ALL=\(root\) NOPASSWD: (.+)$", read(SECURITY), re.MULTILINE)
    assert sorted(allowed) == sorted(f"/usr/bin/wg show wg0 {field}" for field in asked)


# Architecture


@pytest.mark.parametrize(
    "room",
    [
        path.name + ("/" if path.is_dir() else "")
        for path in sorted((ROOT / "auditor").iterdir())
        if not path.name.startswith("__") and (path.is_dir() or path.suffix == ".py")
    ],
)
def test_each_room_stands_in_the_architecture_document(room: str) -> None:
    assert f"`{room}`" in sections(ARCHITECTURE)["Rooms"]


# Links and versions


def anchors(path: Path) -> set[str]:
    """The anchors that a heading gets where Markdown is rendered."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> list[tuple[Path, str]]:
    return [
        (path, target)
        for path in DOCUMENTS
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(path))
        if not target.startswith("https:")
    ]


@pytest.mark.parametrize(
    ("path", "target"), links(), ids=lambda value: value.name if isinstance(value, Path) else value
)
def test_each_link_leads_somewhere(path: Path, target: str) -> None:
    file, _, anchor = target.partition("#")
    there = (path.parent / file).resolve() if file else path
    assert there.exists(), f"{path.name}: no file {file}"
    if anchor:
        assert anchor in anchors(there), f"{path.name}: no heading for #{anchor} in {there.name}"


def test_no_two_headings_of_a_document_share_an_anchor() -> None:
    for path in DOCUMENTS:
        headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
        assert len(anchors(path)) == len(headings), path.name


def test_the_changelog_names_the_current_version() -> None:
    version = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]["version"]
    assert re.search(rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d$", read(CHANGELOG), re.MULTILINE)
