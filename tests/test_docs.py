"""The documents say what the code does: commands, options, checks, reasons, keys, defaults, examples, links."""

from __future__ import annotations

import functools
import importlib
import itertools
import json
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import click
import jsonschema
import pytest
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from alerts.models import AlertIdent, NotifyReason
from alerts.notifiers.webhook import signature
from auditor.checks.catalogue import CHECKS
from auditor.cli import running
from auditor.cli.examples import EXAMPLES
from auditor.cli.main import EXIT_USAGE, cli
from auditor.errors import GapReason
from auditor.gather.nats.follow_messages import following_schema
from auditor.gather.nats.messages import messages_schema
from auditor.judge import judge
from auditor.nodes.probe.probe import INSTALLED_SECONDS
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
from auditor.settings.json_schema import config_schema
from auditor.settings.mesh import RoamingSettings, SharedSettings
from auditor.settings.witnesses import WitnessSettings
from auditor.state.recording import replay
from tests.cli_reference import CLI_DOCUMENT, every_command, reference
from tests.json_schemas import CONFIG_SCHEMA, FOLLOWING_SCHEMA, MESSAGES_SCHEMA, documents, schema_file
from tests.man_pages import MAN, man_pages

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
FINDINGS = ROOT / "docs" / "findings.md"
GAPS = ROOT / "docs" / "gaps.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
ALERTS = ROOT / "docs" / "alerts.md"
SECURITY = ROOT / "docs" / "security.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
CHANGELOG = ROOT / "CHANGELOG.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DEPLOY = ROOT / "deploy" / "README.md"
DOCUMENTS = [README, CHANGELOG, CONTRIBUTING, DEPLOY, *sorted((ROOT / "docs").glob("*.md"))]
FOLDER_NOTES = [ROOT / "fixtures" / "README.md", ROOT / "benchmarks" / "README.md"]
LONGEST_README = 200  # lines

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


COMMANDS = {each.name: each for each in every_command()}


def options(command: click.Command) -> set[str]:
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in names if name.startswith("-")} | {"-h", "--help"}


def test_the_page_of_commands_is_what_the_program_generates() -> None:
    """Each command and option, with its help and default."""
    assert read(CLI_DOCUMENT) == reference(), "run `make docs`"


def test_each_command_has_its_man_page() -> None:
    """Written by `make docs`, with no page left of a command that is gone."""
    assert man_pages() == {path: read(path) for path in MAN.glob("*")}, "run `make docs`"


def test_each_command_has_an_example_of_its_own() -> None:
    """In auditor/cli/examples.py; a group that does nothing by itself needs none."""
    assert set(EXAMPLES) == {name for name, each in COMMANDS.items() if not each.is_only_a_group}
    calls = {name: [line for line in text.split("\n") if line.strip()] for name, text in EXAMPLES.items()}
    assert [name for name in calls if not all(f"wgaudit {name}" in line for line in calls[name])] == []


def test_the_help_of_each_command_ends_with_its_examples() -> None:
    lines = {
        name: [line.split("#")[0].strip() for line in text.strip().split("\n")]
        for name, text in EXAMPLES.items()
    }
    shown = {name: COMMANDS[name].command.get_help(COMMANDS[name].context) for name in lines}
    assert [name for name in lines if not all(line in shown[name] for line in lines[name])] == []


def test_the_help_of_each_command_fits_into_80_columns() -> None:
    """Its examples too, which nothing folds: a call that is folded cannot be copied."""
    shown = {name: each.command.get_help(each.context) for name, each in COMMANDS.items()}
    shown["wgaudit"] = cli.get_help(click.Context(cli, info_name="wgaudit"))
    assert [(name, line) for name in shown for line in shown[name].splitlines() if len(line) > 80] == []


def test_each_json_document_has_its_schema_in_the_docs() -> None:
    """Written by `make docs`, with no file left of a document that is gone."""
    assert {schema_file(each): each.schema_text() for each in documents()} == {
        path: read(path)
        for path in (ROOT / "docs").glob("*.schema.json")
        if path.name.split("-v")[0]
        not in ("report", "plan", "alert", CONFIG_SCHEMA.name, MESSAGES_SCHEMA.name, FOLLOWING_SCHEMA.name)
    }


def test_the_schema_of_the_configuration_is_the_settings() -> None:
    """Written by `make docs`."""
    assert read(CONFIG_SCHEMA) == config_schema()


def test_the_schema_of_collectors_messages_is_the_codes() -> None:
    """Written by `make docs`."""
    assert read(MESSAGES_SCHEMA) == messages_schema()
    assert read(FOLLOWING_SCHEMA) == following_schema()


def command_lines() -> list[tuple[str, str]]:
    """Each call of wgaudit that a document shows, in a block or within a sentence."""
    found = []
    for path in DOCUMENTS:
        shown = [line for block in blocks(path) if block.language == "sh" for line in block.text.splitlines()]
        shown += re.findall(r"`([^`\n]+)`", prose(path))
        calls = [CALL.search(line) for line in shown]
        found += [(path.name, call[1]) for call in calls if call]
    return found


def test_each_command_line_in_the_documents_is_one_that_the_program_takes() -> None:
    """A renamed command or option must not live on in a document."""
    wrong = [(document, line, fault) for document, line in command_lines() if (fault := fault_of(line))]
    assert wrong == []


def fault_of(line: str) -> str:
    """What the program would refuse in a call; empty if nothing."""
    # Behind a pipe stand other programs' words.
    words = list(itertools.takewhile(lambda word: word != "|", shlex.split(line, comments=True)))[1:]
    while words and words[0] in options(cli):
        words.pop(0)
    if not words:
        return ""
    name = words.pop(0)
    if name not in COMMANDS:
        return f"no command {name}"
    command = COMMANDS[name].command
    allowed = options(command)
    if isinstance(command, click.Group):
        # Its own options stand before the subcommand's name.
        following = [word for word in words if f"{name} {word}" in COMMANDS]
        if not following and not command.invoke_without_command:
            return f"{name} needs a subcommand"
        for word in following[:1]:
            allowed |= options(COMMANDS[f"{name} {word}"].command)
    unknown = sorted({word for word in words if word.startswith("-")} - allowed)
    return f"no option {', '.join(unknown)}" if unknown else ""


def test_the_exit_codes_in_the_readme_are_those_of_the_program() -> None:
    table = {cells[0]: cells[1] for cells in rows(sections(README)["Exit codes"])[1:]}
    meanings = {
        running.EXIT_CLEAN: "clean",
        running.EXIT_FINDINGS: "findings",
        EXIT_USAGE: "usage",
        running.EXIT_INCONCLUSIVE: "inconclusive",
        running.EXIT_NOT_HANDED_OVER: "not handed over",
    }
    assert {int(code) for code in table} == set(meanings)
    assert all(table[str(code)].startswith(meaning) for code, meaning in meanings.items())


# Checks and gaps


def test_each_check_has_its_row_with_severity_and_meaning() -> None:
    expected = [[f"[{check.ident}](#{check.ident})", check.severity.value, check.says] for check in CHECKS]
    assert sorted(rows(prose(FINDINGS))[1:]) == sorted(expected)


def test_each_check_has_a_section_that_answers_the_same_questions() -> None:
    """What it means, how it looks, why, how to check by hand, what to do, and when it is a false alarm."""
    questions = (
        "What it means",
        "On the screen",
        "Why it happens",
        "Check by hand",
        "What to do",
        "False alarms",
    )
    unanswered = [
        (check.ident, question)
        for check in CHECKS
        for question in questions
        if f"**{question}.**" not in sections(FINDINGS).get(check.ident, "")
    ]
    assert unanswered == []


def test_findings_has_no_section_for_a_check_that_is_not_there() -> None:
    """Beside the checks stands what alerts tell of the audit itself, for a notification links to it."""
    assert set(sections(FINDINGS)) == {check.ident for check in CHECKS} | set(AlertIdent)


@pytest.mark.parametrize("ident", AlertIdent)
def test_the_section_of_an_alert_without_finding_says_what_to_do(ident: AlertIdent) -> None:
    section = sections(FINDINGS)[ident]
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


@functools.cache
def recorded_report(case: str) -> str:
    return without_what_differs(
        render(judge(replay(ROOT / "fixtures" / case / "snapshot.json.gz")), Layout(width=80))
    )


@pytest.mark.parametrize("block", screens(), ids=lambda block: block.text.split("\n")[0].strip()[:60])
def test_each_screen_in_the_documents_is_part_of_the_report_on_a_recorded_sweep(block: Block) -> None:
    case = re.findall(r"`fixtures/([\w-]+)`", block.before)[-1]
    assert without_what_differs(block.text) in recorded_report(case)


def test_each_gap_reason_has_its_section_and_no_other_has() -> None:
    assert sorted(sections(GAPS)) == sorted(reason.value for reason in GapReason)


def test_each_gap_reason_says_what_to_do() -> None:
    told = {
        reason: text
        for reason, text in sections(GAPS).items()
        if "\nDo: " in text or "](findings.md#" in text
    }
    assert sorted(told) == sorted(sections(GAPS))


# The README


def test_the_readme_is_short_and_names_the_systems_that_are_tested() -> None:
    assert len(read(README).splitlines()) <= LONGEST_README
    assert re.search(r"Debian 12 \(Python 3\.11\).*Debian 13 \(Python 3\.13\)", read(README), re.DOTALL)


def test_the_readme_begins_with_the_two_commands() -> None:
    first = next(blocks(README))
    assert [line.split("#")[0].strip() for line in first.text.splitlines()] == ["make demo", "make test"]


def test_the_report_in_the_readme_is_what_the_demo_prints() -> None:
    """Its parts, in the demo's order, but for the time that it took and the port that refused; `…` is left out."""
    shown = next(block for block in blocks(README) if block.text.startswith("FINDINGS"))
    program = Path(sys.executable).with_name("wgaudit")
    answer = subprocess.run(
        [program, "demo", "--no-progress"], capture_output=True, text=True, check=False, timeout=120
    )
    printed = without_what_differs(answer.stdout)
    parts = re.split(r"^ *…\n", without_what_differs(shown.text), flags=re.MULTILINE)
    places = [printed.find(part.strip("\n")) for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places == sorted(places)


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


NOTIFIERS: dict[str, type[NotifierSettings]] = {
    "slack": SlackSettings,
    "pagerduty": PagerDutySettings,
    "alertmanager": AlertmanagerSettings,
    "webhook": WebhookSettings,
}


PLAIN_LISTS: dict[str, type[BaseModel]] = {
    "shared": SharedSettings,
    "roaming": RoamingSettings,
    "witnesses": WitnessSettings,
}
"""Lists of tables whose entries have one form."""


def entry_keys() -> dict[str, FieldInfo]:
    """The keys of tables that may stand several times (`[[notifiers]]`, `[[shared]]` …), named as above."""
    common = NotifierSettings.model_fields
    found = {f"notifiers.{key}": info for key, info in common.items()}
    found["notifiers.type"] = SlackSettings.model_fields["type"]
    for kind, settings in NOTIFIERS.items():
        own = {key: info for key, info in settings.model_fields.items() if key not in {*common, "type"}}
        found |= {f"notifiers.{kind}.{key}": info for key, info in own.items()}
    for name, entry in PLAIN_LISTS.items():
        found |= {f"{name}.{key}": info for key, info in entry.model_fields.items()}
    return found


ENTRY_KEYS = entry_keys()
LISTS = ("notifiers.", *(f"{name}." for name in PLAIN_LISTS))
PLAIN_KEYS = [key for key in config_keys() if not key.startswith(LISTS)]


def test_every_configuration_key_has_its_row_and_no_other_has() -> None:
    assert sorted(documented_defaults()) == sorted([*PLAIN_KEYS, *ENTRY_KEYS])


def test_the_keys_of_lists_of_tables_are_all_that_the_configuration_knows() -> None:
    """A type of notifier that is added must stand in this file's list of them too."""
    listed = {re.sub(r"^(notifiers)\..*\.", r"\1.", key) for key in ENTRY_KEYS}
    assert listed == {key for key in config_keys() if key.startswith(LISTS)}


def test_each_documented_default_is_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read as TOML and validated like a file; a key without a default says so."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    documented = {key: text for key, text in documented_defaults().items() if key in PLAIN_KEYS}
    without = {key for key, text in documented.items() if text == NOT_SET}
    assert without == {key for key in PLAIN_KEYS if value_at(Config(), key) is None}
    read_back = {
        key: value_at(parse_config(tomllib.loads(f"{key} = {text}"), CONFIGURATION.name), key)
        for key, text in documented.items()
        if key not in without
    }
    assert read_back == {key: value_at(Config(), key) for key in read_back}


def value_at(config: Config, key: str) -> object:
    """What a configuration has at a dotted key."""
    value: object = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def test_each_documented_default_of_a_list_of_tables_is_the_codes() -> None:
    documented = {key: text for key, text in documented_defaults().items() if key in ENTRY_KEYS}
    assert documented == {key: text_of_default(info, documented[key]) for key, info in ENTRY_KEYS.items()}


def text_of_default(info: FieldInfo, documented: str) -> str:
    """The text that a default must have; `documented` itself where it is another spelling of it in TOML."""
    if info.is_required():
        return REQUIRED
    default = info.get_default(call_default_factory=True)
    if default is None:
        return NOT_SET
    plain = list(default) if isinstance(default, tuple) else default
    return documented if tomllib.loads(f"value = {documented}")["value"] == plain else repr(plain)


def documented_meanings() -> Mapping[str, str]:
    """By the keys of `documented_defaults`, what stands in the column Meaning."""
    found = [rows(line)[0][2] for line in prose(CONFIGURATION).splitlines() if line.startswith("| `")]
    lines = [line for line in prose(CONFIGURATION).splitlines() if line.startswith("| `")]
    assert len(lines) == len(documented_defaults())
    return dict(zip(documented_defaults(), found, strict=True))


def bounds(key: str) -> tuple[float, float] | None:
    """The least and the greatest value that the code takes for a key; None where it is no number with two ends."""
    *tables, name = key.split(".")
    if key in ENTRY_KEYS:
        kind = tables[1] if len(tables) > 1 else "slack"
        model: type[BaseModel] = NOTIFIERS[kind] if tables[0] == "notifiers" else PLAIN_LISTS[tables[0]]
    else:
        model = Config
        for table in tables:
            model = cast(type[BaseModel], model.model_fields[table].annotation)
    schema = model.model_json_schema()["properties"][name]
    for one in (schema, *schema.get("anyOf", ())):
        if "minimum" in one and "maximum" in one:
            return float(one["minimum"]), float(one["maximum"])
    return None


def test_each_range_in_the_documents_is_the_codes() -> None:
    """What is written `1 to 40` is what the code takes; a notifier's number with two ends has its range written."""
    written = {
        key: [tuple(float(end.replace(",", "")) for end in pair) for pair in found]
        for key, meaning in documented_meanings().items()
        if (found := re.findall(r"([\d.,]*\d) to (\d[\d.,]*\d|\d)", meaning))
    }
    known = {key: [limits] for key in documented_meanings() if (limits := bounds(key))}
    told = {key for key in known if key in written or key.startswith("notifiers.")}
    assert written == {key: known[key] for key in told}


def toml_blocks(*paths: Path) -> list[Block]:
    return [block for path in paths for block in blocks(path) if block.language == "toml"]


def test_each_configuration_in_the_documents_can_be_read() -> None:
    for block in toml_blocks(*DOCUMENTS):
        parse_config(tomllib.loads(block.text), f"{block.document}: {block.text}")


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
    code = re.sub(r"(?m)^ *#.*", "", script)
    asked = set(re.findall(r'(?:\bshow "\$device"|(?<!may )\bask) ([a-z][a-z-]+)', code))
    allowed = re.findall(r"^ *wgaudit ALL=\(root\) NOPASSWD: (.+)$", read(SECURITY), re.MULTILINE)
    assert sorted(allowed) == sorted(
        f"/usr/bin/timeout -s KILL {INSTALLED_SECONDS} wg show wg0 {field}" for field in asked
    )


# Architecture, and what any document names of the tree


def rooms() -> set[str]:
    """Every folder of `auditor`, its loose modules, and every folder and module of `alerts`."""
    auditor, alerts = ROOT / "auditor", ROOT / "alerts"
    packages = {f"{path.parent.relative_to(auditor)}/" for path in auditor.rglob("__init__.py")} - {"./"}
    loose = {path.name for path in auditor.glob("*.py")}
    notified = {f"{path.parent.relative_to(ROOT)}/" for path in alerts.rglob("__init__.py")} - {"alerts/"}
    notified |= {str(path.relative_to(ROOT)) for path in alerts.glob("*.py")}
    return {room for room in packages | loose | notified if "__init__" not in room}


def test_each_room_has_its_row_in_the_architecture_document_and_no_other_has() -> None:
    described = {cells[0].strip("`") for cells in rows(sections(ARCHITECTURE)["Rooms"]) if cells[0] != "Room"}
    assert described == rooms()


def test_each_file_that_a_rooms_row_names_is_in_that_room() -> None:
    missing = [
        (room, file)
        for room, holds, *_ in rows(sections(ARCHITECTURE)["Rooms"])
        for file in re.findall(r"`(\w+\.(?:py|sh))`", holds)
        if not any((ROOT / base / room.strip("`") / file).is_file() for base in ("auditor", "."))
    ]
    assert missing == []


def test_each_contract_on_imports_has_its_row_in_the_architecture_document() -> None:
    contracts = tomllib.loads(read(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    described = {cells[0] for cells in rows(sections(ARCHITECTURE)["Who may import whom"])[1:]}
    assert described == {contract["name"] for contract in contracts}
    (floors,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    shown = next(block.text for block in blocks(ARCHITECTURE) if block.text.startswith(floors[0]))
    assert shown.split("\n")[:-1] == [re.sub(r"[()]", "", floor) for floor in floors]


PATH = re.compile(r"(?<![\w./-])((?:auditor|alerts|tests|docs|fixtures|benchmarks|deploy|\.ci)/[\w./*<>-]*)")
MODULE = re.compile(r"(?<![\w./-])((?:auditor|alerts|tests)(?:\.[A-Za-z_]\w*)+)")


def test_each_path_that_a_document_names_is_there() -> None:
    """In a sentence or a command; CASE, NAME and `<name>` stand for any name."""
    missing = [
        (document.name, path)
        for document in [*DOCUMENTS, *FOLDER_NOTES]
        for path in PATH.findall(read(document))
        if not any(ROOT.glob(re.sub(r"<[\w-]+>|\b[A-Z]{3,}\b", "*", path.rstrip("./")) or path))
    ]
    assert missing == []


def test_each_module_that_a_document_names_is_there() -> None:
    """With its class or function, where one is named; keys of the configuration look alike and are none."""
    missing = [
        (document.name, name)
        for document in [*DOCUMENTS, *FOLDER_NOTES]
        for name in MODULE.findall(read(document))
        if name not in config_keys()
        and not name.endswith((".md", ".json", ".py"))
        and not is_importable(name)
    ]
    assert missing == []


def is_importable(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return hasattr(importlib.import_module(module), attribute) if "." in module else False
    return True


def test_each_name_of_the_code_in_the_guide_for_contributors_is_defined_somewhere() -> None:
    """`build_registry`, `FORMATS`, `Witness` …: where a new part is registered."""
    sources = "".join(
        read(path) for folder in ("auditor", "alerts", "tests") for path in (ROOT / folder).rglob("*.py")
    )
    named = set(re.findall(r"`([A-Z][A-Za-z]+|[a-z]+_[a-z_]+)`", prose(CONTRIBUTING)))
    undefined = {
        name
        for name in named - {"SecretStr"}
        if not re.search(rf"^ *(?:class |def |async def )?{name}\b *(?:[(:=]|$)", sources, re.MULTILINE)
    }
    assert undefined == set()


def test_each_make_target_that_a_document_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    named = {
        target
        for document in [*DOCUMENTS, *FOLDER_NOTES]
        for target in re.findall(r"(?:`|^)make ([a-z-]+)", read(document), re.MULTILINE)
    }
    assert named - targets == set()


# Alerts


def test_each_reason_for_a_notification_has_its_row() -> None:
    """What a plan can say; a test's own reason is told of where `alerts test` is."""
    shown = {cells[0].strip("`") for cells in rows(sections(ALERTS)["What is sent, and when"])[1:]}
    assert shown == {reason.value for reason in NotifyReason} - {NotifyReason.TEST.value}


def test_there_is_an_example_of_each_type_of_notifier() -> None:
    configured = [parse_config(tomllib.loads(block.text), "docs/alerts.md") for block in toml_blocks(ALERTS)]
    kinds = {notifier.type for config in configured for notifier in config.notifiers}
    assert {key.split(".")[1] for key in ENTRY_KEYS if key.count(".") == 2} <= kinds


# Links and versions


@functools.cache
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


def test_each_link_leads_somewhere() -> None:
    assert [(path.name, target) for path, target in links() if not leads_somewhere(path, target)] == []


def leads_somewhere(path: Path, target: str) -> bool:
    """Whether the file is there, and has the heading."""
    file, _, anchor = target.partition("#")
    there = (path.parent / file).resolve() if file else path
    return there.exists() and (not anchor or anchor in anchors(there))


def test_no_two_headings_of_a_document_share_an_anchor() -> None:
    """But in the changelog, where each version has its Added and Changed, and which nobody links into."""
    for path in set(DOCUMENTS) - {CHANGELOG}:
        headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
        assert len(anchors(path)) == len(headings), path.name


def test_the_changelog_names_the_current_version() -> None:
    version = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]["version"]
    assert re.search(rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d$", read(CHANGELOG), re.MULTILINE)
