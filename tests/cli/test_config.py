"""`wgaudit config`: all faults with their lines, every value with its origin, and the schema."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from auditor.reports.json.config_v1 import ConfigV1
from tests.cli.command import one_line, wgaudit

GOOD = """[ssh]
known_hosts = "known_hosts"
agent = false
[[notifiers]]
name = "oncall"
type = "pagerduty"
routing_key = "0123456789abcdef0123456789ABCDEF"
"""


def write(folder: Path, text: str, mode: int = 0o600) -> None:
    """The configuration of that folder."""
    (folder / "known_hosts").touch()
    (folder / "wgaudit.toml").write_text(text)
    (folder / "wgaudit.toml").chmod(mode)


def test_a_good_configuration_is_said_to_have_no_fault(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    done = wgaudit("config", "check", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"ok  {tmp_path}/wgaudit.toml: no fault in 2 tables\n"


def test_every_fault_of_form_is_told_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, "[consul]\nprefx = 'x/'\n[ssh]\nport = 0\n")
    done = wgaudit("config", "check", "--config", "wgaudit.toml", folder=tmp_path)
    assert done.returncode == 2
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == ["wgaudit.toml:2", "wgaudit.toml:4"]


def test_what_is_not_there_and_what_is_not_known_is_told_with_its_line_and_each_once(tmp_path: Path) -> None:
    """Files, variables, and names that only this program knows: the form says nothing of these."""
    write(
        tmp_path,
        "[consul]\ntoken_file = 'no-token'\n[ssh]\nidentity_files = [\n  # the old one\n  'no-key',\n]\n"
        "known_hosts = 'known_hosts'\n[alerts]\nheartbeat_url_env = 'NOT_THERE'\n"
        "[[notifiers]]\nname = 'a'\ntype = 'pagerduty'\nrouting_key = 'short'\n"
        "[[notifiers]]\nname = 'b'\ntype = 'slack'\nurl = 'https://x.example/y'\nchecks = ['nonsense']\n",
    )
    done = wgaudit("config", "check", "--config", "wgaudit.toml", folder=tmp_path)
    assert done.returncode == 2
    told = [line.removeprefix("wgaudit: wgaudit.toml:").split(": ")[:2] for line in done.stderr.splitlines()]
    assert told == [
        ["2", "consul.token_file"],
        ["6", "ssh.identity_files[1]"],
        ["9", "alerts.heartbeat_url_env"],
        ["11", "notifiers.a"],
        ["15", "notifiers.b.checks"],
    ]
    assert "short" not in done.stderr


@pytest.mark.parametrize(("fallback", "code"), [("none", 0), ("local", 2)])
def test_known_hosts_are_wanted_of_an_auditor_only_if_it_looks_at_nodes_itself(
    tmp_path: Path, fallback: str, code: int
) -> None:
    collectors = f'[collectors]\nnats = "nats://127.0.0.1:1"\nregions = ["fra"]\nfallback = "{fallback}"\n'
    write(tmp_path, collectors)
    done = wgaudit("config", "check", folder=tmp_path)
    assert done.returncode == code
    assert ("ssh.known_hosts" in done.stderr) == (fallback == "local")


def test_a_witness_that_cannot_be_built_is_told_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, GOOD + "[[witnesses]]\ntype = 'nats'\nname = '{node.__class__}'\n")
    done = wgaudit("config", "check", "--config", "wgaudit.toml", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "wgaudit: wgaudit.toml:8: witnesses.name: {node.__class__} is not a plain name"
    )
    assert len(done.stderr.splitlines()) == 1


def test_a_configuration_that_is_nowhere_is_no_good_one(tmp_path: Path) -> None:
    """Else a check in the wrong folder would pass."""
    done = wgaudit("config", "check", folder=tmp_path, environment={"XDG_CONFIG_DIRS": str(tmp_path)})
    assert done.returncode == 2
    assert "wgaudit init" in one_line(done.stderr)


def test_show_leaves_out_defaults_and_other_tables_where_it_is_told_to(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    done = wgaudit("config", "show", "--set", "notifiers", folder=tmp_path)
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert lines == [
        ["name", "wgaudit.toml:5", '"oncall"'],
        ["type", "wgaudit.toml:6", '"pagerduty"'],
        ["routing_key", "wgaudit.toml:7", "(secret)"],
    ]


def test_show_refuses_a_key_that_is_none(tmp_path: Path) -> None:
    done = wgaudit("config", "show", "consul.prefx", folder=tmp_path)
    assert done.returncode == 2
    assert "consul.prefx" in one_line(done.stderr)


def test_no_line_of_it_is_wider_than_80_columns(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    done = wgaudit("config", "show", folder=tmp_path)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_show_as_json_is_one_document_of_its_schema_without_secrets(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    done = wgaudit("config", "show", "--format", "json", folder=tmp_path)
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads(ConfigV1.schema_text()))
    (key,) = (item for item in document["settings"] if item["key"] == "notifiers[1].routing_key")
    assert (key["value"], key["secret"], key["origin"]["line"]) == (None, True, 7)
    assert "0123456789" not in done.stdout


def test_the_schema_can_be_written_beside_the_configuration(tmp_path: Path) -> None:
    done = wgaudit("config", "schema", "--output", "wgaudit.schema.json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "wgaudit.schema.json").read_text())["title"] == "wgaudit.toml"
