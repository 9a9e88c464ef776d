"""JSON Schema of the configuration: takes what the program takes, and refuses what an editor should mark."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import date
from pathlib import Path

import jsonschema
import pytest

from auditor.settings.faults import known_keys
from auditor.settings.file import Config
from auditor.settings.json_schema import config_schema

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads(config_schema())
BLOCKS = [
    pytest.param(text, id=f"{path.name}-{number}")
    for path in sorted((*(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").rglob("*.md"), ROOT / "README.md"))
    for number, text in enumerate(
        re.findall(r"```toml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    )
]
FILES = [
    pytest.param(path.read_text(encoding="utf-8"), id=str(path.relative_to(ROOT)))
    for path in sorted((ROOT / "deploy").rglob("*.toml"))
]


def document(text: str) -> object:
    """The content of a TOML file as an editor's checker has it: dates are texts."""

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [plain(entry) for entry in value]
        return value.isoformat() if isinstance(value, date) else value

    return plain(tomllib.loads(text))


def faults(text: str) -> list[str]:
    """What the schema has against a file."""
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(document(text))]


def test_it_is_a_schema_of_the_draft_that_it_names() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", [*BLOCKS, *FILES])
def test_each_example_configuration_is_taken(text: str) -> None:
    assert faults(text) == []


@pytest.mark.parametrize(
    "text",
    [
        '[consul]\nprefx = "wireguard/nodes/"',
        "[ssh]\nport = 70000",
        '[mesh]\ntopology = "ring"',
        '[[notifiers]]\nname = "x"\ntype = "pager"',
        "[nonsense]",
    ],
)
def test_a_misspelt_key_and_a_value_out_of_range_are_marked(text: str) -> None:
    assert faults(text) != []


def test_every_key_says_what_it_means() -> None:
    """The notifiers' `type` speaks for itself."""
    tables = SCHEMA["$defs"].values()
    told = {
        key
        for table in tables
        for key, words in table.get("properties", {}).items()
        if "description" in words or "$ref" in words
    }
    assert {key.rpartition(".")[2] for key in known_keys(Config)} - told == {"type"}


def test_no_default_depends_on_this_machine() -> None:
    """Else docs/config.schema.json would differ from home to home."""
    assert str(Path.home()) not in config_schema()
