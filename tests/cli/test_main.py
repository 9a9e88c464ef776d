"""The command itself: its help, its errors as one line, its exit codes."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.cli import main as main_module
from auditor.errors import ConfigError
from auditor.values.text import harmless
from tests.cli.command import one_line, wgaudit

FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_help_names_every_command(tmp_path: Path) -> None:
    done = wgaudit("--help", folder=tmp_path)
    assert done.returncode == 0
    for name in main_module.COMMANDS:
        assert f"  {name} " in done.stdout


@pytest.mark.parametrize("name", main_module.COMMANDS)
def test_every_listed_command_has_help_of_its_own(tmp_path: Path, name: str) -> None:
    done = wgaudit(name, "--help", folder=tmp_path)
    assert done.returncode == 0
    assert f"Usage: wgaudit {name}" in done.stdout


def test_an_unknown_command_is_a_usage_error(tmp_path: Path) -> None:
    done = wgaudit("sweeep", folder=tmp_path)
    assert done.returncode == 2
    assert "No such command 'sweeep'" in done.stderr


def test_each_fault_of_a_configuration_has_a_line_of_its_own(tmp_path: Path) -> None:
    """With file, line, key, and the nearest name that is known; a key's own line end makes no other."""
    (tmp_path / "wgaudit.toml").write_text('"a\\nb" = 1\n[consul]\nprefx = "wireguard/nodes/"\ntimeout = 0\n')
    done = wgaudit("sweep", folder=tmp_path)
    assert done.returncode == 2
    first, *others = done.stderr.splitlines()
    assert 'wgaudit.toml:1: "a\\nb": unknown key; known here: ' in first
    assert [line.partition("wgaudit.toml:")[2] for line in others] == [
        "3: consul.prefx: unknown key; did you mean prefix?",
        "4: consul.timeout: must be greater than 0",
    ]


def test_a_configuration_that_was_named_must_be_there(tmp_path: Path) -> None:
    done = wgaudit("sweep", "--config", "nowhere.toml", folder=tmp_path)
    assert done.returncode == 2
    assert "--config: no file at nowhere.toml" in one_line(done.stderr)


def test_the_environment_may_name_the_configuration(tmp_path: Path) -> None:
    done = wgaudit("sweep", folder=tmp_path, environment={"WGAUDIT_CONFIG": "elsewhere.toml"})
    assert done.returncode == 2
    assert "$WGAUDIT_CONFIG: no file at elsewhere.toml" in one_line(done.stderr)


def test_text_that_is_no_toml_is_one_line_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "wgaudit.toml").write_text("[consul\n")
    done = wgaudit("sweep", folder=tmp_path)
    assert done.returncode == 2
    assert "wgaudit.toml:1:8: not valid TOML: " in one_line(done.stderr)


def test_a_bad_value_is_told_with_its_key_and_without_the_value(tmp_path: Path) -> None:
    """The value may be a secret that landed under the wrong key."""
    (tmp_path / "wgaudit.toml").write_text('[consul]\ntimeout = "planted-secret"\n')
    done = wgaudit("sweep", folder=tmp_path)
    assert done.returncode == 2
    assert "consul.timeout" in one_line(done.stderr)
    assert "planted-secret" not in done.stderr


def test_a_replay_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = wgaudit("sweep", "--replay", "nowhere.json.gz", folder=tmp_path)
    assert done.returncode == 2
    assert "cannot read nowhere.json.gz: No such file" in one_line(done.stderr)


def test_recording_a_replay_is_refused(tmp_path: Path) -> None:
    done = wgaudit("sweep", "--replay", "a", "--record", "b", folder=tmp_path)
    assert done.returncode == 2
    assert "--record has no meaning with --replay" in done.stderr


def test_a_surprise_inside_is_one_line_and_never_looks_like_findings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's own exit code for a traceback is 1, which here means findings."""

    def surprise(**_: object) -> None:
        raise LookupError("nobody thought of this")

    monkeypatch.setattr(main_module.cli, "main", surprise)
    assert main_module.main([]) == 3
    assert "internal error: LookupError" in one_line(capsys.readouterr().err)


def test_an_error_with_escape_sequences_in_it_prints_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hostile(**_: object) -> None:
        raise ConfigError("node \x1b[31mred\x1b[0m\nnext line")

    monkeypatch.setattr(main_module.cli, "main", hostile)
    assert main_module.main([]) == 2
    assert "\x1b" not in one_line(capsys.readouterr().err)


HOSTILE = "\x1b[31mred\n\u202egnp\u034f\u3164\udc80\u2028 "


@pytest.fixture(scope="module")
def hostile_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of the incident in which names, regions, reasons and the way it ended are made to deceive."""
    text = gzip.decompress((FIXTURES / "incident" / "snapshot.json.gz").read_bytes()).decode()
    name = json.loads(text)["registrations"][0]["name"]
    document = json.loads(text.replace(name, json.dumps(HOSTILE)[1:-1]))
    document["cut_short"] = HOSTILE
    for gap in document["gaps"]:
        gap["detail"] = HOSTILE
    for registration in document["registrations"][::2]:
        registration["region"] = registration["where"] = HOSTILE
    path = tmp_path_factory.mktemp("hostile") / "recorded.json"
    path.write_text(json.dumps(document), encoding="ascii")
    return path


@pytest.mark.parametrize(
    "words",
    [
        "-v sweep",
        "-v explain 10.0.0.1",
        f"explain {HOSTILE.splitlines()[0]}",
        "-v plan",
        "plan --format shell",
    ],
)
def test_nothing_that_a_terminal_acts_upon_is_printed_whatever_was_recorded(
    hostile_recording: Path, words: str
) -> None:
    """On stdout and stderr, the log and the one-line summary with them."""
    done = wgaudit(*words.split(" "), "--replay", hostile_recording, folder=hostile_recording.parent)
    lines = (done.stdout + done.stderr).split("\n")
    assert [line for line in lines if not harmless(line.strip(" "))] == []
    assert "internal error" not in done.stderr


def test_a_configuration_can_be_named_before_the_command(tmp_path: Path) -> None:
    """So that it can be part of `alerts.command`; the command's own option wins."""
    missing, other = str(tmp_path / "missing.toml"), str(tmp_path / "other.toml")
    before = wgaudit("--config", missing, "history", folder=tmp_path)
    both = wgaudit("--config", missing, "history", "--config", other, folder=tmp_path)
    assert (before.returncode, f"no file at {missing}" in before.stderr) == (2, True)
    assert f"no file at {other}" in both.stderr


def test_garbage_is_looked_for_rarely_and_not_once_more_at_the_end() -> None:
    script = (
        "import gc, sys\n"
        "from auditor.cli.main import run\n"
        "sys.argv = ['wgaudit', '--version']\n"
        "try:\n    run()\nfinally:\n    print(gc.get_threshold()[0] > 10_000, gc.get_freeze_count() > 10_000)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True True"
