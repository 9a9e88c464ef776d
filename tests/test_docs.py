"""The documents say what the code does: commands, options, checks, reasons, keys, defaults, examples, links."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click
import jsonschema
import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from alerts.models import NotifyReason
from alerts.notifiers.webhook import signature
from alerts.plan import BLIND_CHECK
from auditor.checks.catalogue import CHECKS
from auditor.checks.interface import Check
from auditor.cli import alerting, running
from auditor.cli.main import EXIT_USAGE, cli
from auditor.errors import GapReason
from auditor.judge import judge
from auditor.reports.interface import Layout
from auditor.reports.terminal.table import render
from auditor.settings.alerts import (
    AlertmanagerSettings,
    NotifierSettings,
    PagerDutySettings,
    SlackSettings,
    WebhookSettings,
)
from auditor.settings.file import Config, config_keys, parse_config
from auditor.settings.mesh import SharedSettings
from auditor.state.recording import replay

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
FINDINGS = ROOT / "docs" / "findings.md"
GAPS = ROOT / "docs" / "gaps.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
ALERTS = ROOT / "docs" / "alerts.md"
SECURITY = ROOT / "docs" / "security.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
CHANGELOG = ROOT / "CHANGELOG.md"
DEPLOY = ROOT / "deploy" / "README.md"
DOCUMENTS = [README, CHANGELOG, DEPLOY, *sorted((ROOT / "docs").glob("*.md"))]

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# At a line's start, from the environment, behind the user in a crontab, or as another user.
CALL = re.compile(r"(?:^|\.venv/bin/|(?<=\s)wgaudit\s+|(?<=\s)-- )(wgaudit(?:-by-hand)? [-a-z].*)")
NOT_SET = "not set"
REQUIRED = "required"


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


def commands(group: click.Group = cli, path: str = "") -> dict[str, click.Command]:
    """Each command by its words (`alerts test`), the groups among them."""
    context = click.Context(group)
    found = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            found[f"{path}{name}"] = command
        if isinstance(command, click.Group):
            found |= commands(command, f"{path}{name} ")
    return found


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
    name = words.pop(0)
    command = known[name]
    allowed = options(command)
    if isinstance(command, click.Group):
        # Its own options stand before the subcommand's name.
        following = [word for word in words if f"{name} {word}" in known]
        assert following or command.invoke_without_command, f"{document}: {line}: which one?"
        for word in following[:1]:
            allowed |= options(known[f"{name} {word}"])
    unknown = {word for word in words if word.startswith("-")} - allowed
    assert not unknown, f"{document}: {line}"


def test_the_exit_codes_in_the_readme_are_those_of_the_program() -> None:
    table = {cells[0]: cells[1] for cells in rows(sections(README)["Exit codes"])[1:]}
    meanings = {
        running.EXIT_CLEAN: "clean",
        running.EXIT_FINDINGS: "findings",
        EXIT_USAGE: "usage",
        running.EXIT_INCONCLUSIVE: "inconclusive",
        alerting.EXIT_NOT_HANDED_OVER: "not handed over",
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
    """Beside the checks stands what alerts tell of the audit itself, for a notification links to it."""
    assert set(sections(FINDINGS)) == {check.ident for check in CHECKS} | {BLIND_CHECK}


def test_the_section_on_blindness_says_what_to_do() -> None:
    section = sections(FINDINGS)[BLIND_CHECK]
    questions = ("What it means", "Why it happens", "Check by hand", "What to do", "False alarms")
    assert [question for question in questions if f"**{question}.**" not in section] == []


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
    """By dotted key, what stands in the column Default.

    A key that only one type of notifier has is `notifiers.TYPE.key`.
    """
    found = {}
    table = ""
    for line in prose(CONFIGURATION).splitlines():
        heading = re.fullmatch(r"#+ (.*)", line)
        if heading:
            name = re.fullmatch(r"`\[{1,2}([a-z.]+)\]{1,2}`", heading[1])
            kind = re.fullmatch(r'`type = "([a-z]+)"`', heading[1])
            table = name[1] if name else f"notifiers.{kind[1]}" if kind else ""
        elif table and line.startswith("| `"):
            key, default, _ = rows(line)[0]
            found[f"{table}.{key.strip('`')}"] = default.strip("`")
    return found


def entry_keys() -> dict[str, FieldInfo]:
    """The keys of tables that may stand several times (`[[notifiers]]`, `[[shared]]`), named as above."""
    kinds: dict[str, type[NotifierSettings]] = {
        "slack": SlackSettings,
        "pagerduty": PagerDutySettings,
        "alertmanager": AlertmanagerSettings,
        "webhook": WebhookSettings,
    }
    common = NotifierSettings.model_fields
    found = {f"notifiers.{key}": info for key, info in common.items()}
    found["notifiers.type"] = SlackSettings.model_fields["type"]
    for kind, settings in kinds.items():
        own = {key: info for key, info in settings.model_fields.items() if key not in {*common, "type"}}
        found |= {f"notifiers.{kind}.{key}": info for key, info in own.items()}
    return found | {f"shared.{key}": info for key, info in SharedSettings.model_fields.items()}


ENTRY_KEYS = entry_keys()
LISTS = ("notifiers.", "shared.")
PLAIN_KEYS = [key for key in config_keys() if not key.startswith(LISTS)]


def test_every_configuration_key_has_its_row_and_no_other_has() -> None:
    assert sorted(documented_defaults()) == sorted([*PLAIN_KEYS, *ENTRY_KEYS])


def test_the_keys_of_lists_of_tables_are_all_that_the_configuration_knows() -> None:
    """A type of notifier that is added must stand in this file's list of them too."""
    listed = {re.sub(r"^(notifiers)\..*\.", r"\1.", key) for key in ENTRY_KEYS}
    assert listed == {key for key in config_keys() if key.startswith(LISTS)}


@pytest.mark.parametrize("key", PLAIN_KEYS)
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


@pytest.mark.parametrize("key", ENTRY_KEYS)
def test_each_documented_default_of_a_list_of_tables_is_the_codes(key: str) -> None:
    text = documented_defaults()[key]
    info = ENTRY_KEYS[key]
    assert (text == REQUIRED) == info.is_required()
    if info.is_required():
        return
    default = info.get_default()
    assert (text == NOT_SET) == (default is None)
    if default is not None:
        documented = tomllib.loads(f"value = {text}")["value"]
        assert documented == (list(default) if isinstance(default, tuple) else default)


def toml_blocks(*paths: Path) -> list[Block]:
    return [block for path in paths for block in blocks(path) if block.language == "toml"]


@pytest.mark.parametrize("block", toml_blocks(*DOCUMENTS), ids=lambda block: block.document)
def test_each_configuration_in_the_documents_can_be_read(block: Block) -> None:
    parse_config(tomllib.loads(block.text), block.document)


def test_the_webhooks_body_in_the_document_is_one_that_the_schema_allows() -> None:
    schema = json.loads(read(ROOT / "docs" / "alert-v1.schema.json"))
    shown = next(block for block in blocks(ALERTS) if block.language == "json")
    jsonschema.validate(json.loads(shown.text), schema)


def shown_check() -> Callable[[bytes, dict[str, str], bytes], bool]:
    """The receiver's function that docs/alerts.md shows, as it stands there."""
    shown = next(block for block in blocks(ALERTS) if block.language == "python")
    names: dict[str, Any] = {}
    exec(shown.text, names)  # noqa: S102  (our own document)
    check: Callable[[bytes, dict[str, str], bytes], bool] = names["sent_by_wgaudit"]
    return check


def test_the_check_of_a_signature_in_the_document_takes_what_the_webhook_signs() -> None:
    body, stamp = b'{"schema": "wgaudit.alert/1"}', str(int(time.time()))
    signed = {
        "X-Wgaudit-Timestamp": stamp,
        "X-Wgaudit-Signature": signature(SecretStr("swordfish"), stamp, body),
    }
    check = shown_check()
    assert check(b"swordfish", signed, body)
    assert not check(b"swordfish", signed, body + b" ")
    assert not check(b"starfish", signed, body)


def test_the_check_of_a_signature_in_the_document_refuses_an_old_call() -> None:
    stamp = str(int(time.time()) - 600)
    signed = {
        "X-Wgaudit-Timestamp": stamp,
        "X-Wgaudit-Signature": signature(SecretStr("swordfish"), stamp, b"{}"),
    }
    assert not shown_check()(b"swordfish", signed, b"{}")


# Security


def test_the_sudoers_lines_allow_what_the_probe_asks_for_and_nothing_else() -> None:
    """One line a field, spelled out: a wildcard would also allow what prints private keys."""
    script = read(ROOT / "auditor" / "nodes" / "probe" / "probe.sh")
    asked = set(
        re.findall(r"(?<!addr )\bshow(?:_or_tell)? ([a-z][a-z-]+)", re.sub(r"(?m)^ *#.*", "", script))
    )
    allowed = re.findall(r"^ *wgaudit ALL=\(root\) NOPASSWD: (.+)$", read(SECURITY), re.MULTILINE)
    assert sorted(allowed) == sorted(f"/usr/bin/wg show wg0 {field}" for field in asked)


# Architecture


def rooms() -> list[str]:
    """Modules and packages of both packages; those of `alerts` with its name before them."""
    return [
        prefix + path.name + ("/" if path.is_dir() else "")
        for prefix, package in (("", "auditor"), ("alerts/", "alerts"))
        for path in sorted((ROOT / package).iterdir())
        if not path.name.startswith("__") and (path.is_dir() or path.suffix == ".py")
    ]


@pytest.mark.parametrize("room", rooms())
def test_each_room_stands_in_the_architecture_document(room: str) -> None:
    assert f"`{room}`" in sections(ARCHITECTURE)["Rooms"]


# Alerts


def test_each_reason_for_a_notification_has_its_row() -> None:
    """What a plan can say; a test's own reason is told of where `alerts test` is."""
    shown = {cells[0].strip("`") for cells in rows(sections(ALERTS)["Who is told what"])[1:]}
    assert shown == {reason.value for reason in NotifyReason} - {NotifyReason.TEST.value}


def test_there_is_an_example_of_each_type_of_notifier() -> None:
    configured = [parse_config(tomllib.loads(block.text), "docs/alerts.md") for block in toml_blocks(ALERTS)]
    kinds = {notifier.type for config in configured for notifier in config.notifiers}
    assert {key.split(".")[1] for key in ENTRY_KEYS if key.count(".") == 2} <= kinds


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
    """But in the changelog, where each version has its Added and Changed, and which nobody links into."""
    for path in set(DOCUMENTS) - {CHANGELOG}:
        headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
        assert len(anchors(path)) == len(headings), path.name


def test_the_changelog_names_the_current_version() -> None:
    version = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]["version"]
    assert re.search(rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d$", read(CHANGELOG), re.MULTILINE)
