"""The way of one who wires it into pipelines: exit codes, one document on stdout, early readers, no stray escapes."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from auditor.cli.main import COMMANDS
from tests.cli.command import WGAUDIT, clean_environment, wgaudit
from tests.test_docs import ROOT
from tests.ways.terminal import at_a_terminal

INCIDENT, CLEAN, BLIND = (
    str(ROOT / "fixtures" / name / "snapshot.json.gz") for name in ("incident", "clean", "unreachable")
)
OFFLINE = {
    "sweep": ("--replay", INCIDENT),
    "explain": ("10.0.0.1", "--replay", INCIDENT),
    "affected": ("10.0.0.1", "--replay", INCIDENT),
    "ask": ("10.0.0.1",),
    "nodes": ("--replay", INCIDENT),
    "alerts": ("list",),
    "silence": ("list",),
    "history": (),
    "timeline": (),
    "diff": (INCIDENT, CLEAN),
    "plan": ("--replay", INCIDENT),
    "apply": ("missing.json",),
    "drain": ("edge-sin-1", "--yes"),
    "undrain": ("--all", "--yes"),
    "adopt": ("--replay", INCIDENT),
    "verify": ("edge-sin-1",),
    "check": ("missing.json",),
    "allocate": ("--help",),
    "release": ("--help",),
    "restore": ("edge-sin-1",),
    "demo": ("--help",),
    "init": ("--yes", "--no-registry"),
    "config": ("show",),
    "doctor": (),
    "completion": ("bash",),
    "probe-script": (),
    "watch": ("--help",),
    "collector": ("--help",),
    "collectors": (),
}
"""By command: words with which it runs without a fleet."""


def _csv(text: str) -> None:
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) > 1
    assert len({len(row) for row in rows}) == 1


def _markdown(text: str) -> None:
    assert text.startswith(("#", "**"))


def _html(text: str) -> None:
    assert text.lower().startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")


def _prometheus(text: str) -> None:
    assert any(family.name == "wgaudit_findings" for family in text_string_to_metric_families(text))


FORMS: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "csv": _csv,
    "markdown": _markdown,
    "html": _html,
    "prometheus": _prometheus,
}


def test_the_table_has_each_command() -> None:
    assert set(OFFLINE) == set(COMMANDS)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}], ids=["dumb", "no-color"])
def test_no_command_writes_an_escape_sequence_to_a_terminal_without_colours(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Progress may move the cursor of a terminal that can; a replay has none."""
    written = {
        name: at_a_terminal(name, *words, folder=tmp_path, environment=environment).written
        for name, words in OFFLINE.items()
    }
    assert [name for name, text in written.items() if "\x1b" in text] == []


def test_no_command_writes_an_escape_sequence_into_a_pipe(tmp_path: Path) -> None:
    done = {name: wgaudit(name, *words, folder=tmp_path) for name, words in OFFLINE.items()}
    assert [name for name, each in done.items() if "\x1b" in each.stdout + each.stderr] == []
    assert [name for name, each in done.items() if "Traceback" in each.stderr] == []


def test_force_color_colours_a_pipe_and_a_form_for_programs_stays_plain(tmp_path: Path) -> None:
    forced = {"FORCE_COLOR": "1"}
    page = wgaudit("sweep", "--replay", INCIDENT, folder=tmp_path, environment=forced)
    assert "\x1b[" in page.stdout
    for form in ("json", "markdown"):
        words = ("sweep", "--replay", INCIDENT, "--format", form)
        assert "\x1b" not in wgaudit(*words, folder=tmp_path, environment=forced).stdout, form


def test_the_exit_code_is_the_verdict_whatever_the_form(tmp_path: Path) -> None:
    for recording, code in ((CLEAN, 0), (INCIDENT, 1), (BLIND, 3)):
        for form in ("table", "json"):
            done = wgaudit("sweep", "--replay", recording, "--format", form, folder=tmp_path)
            assert done.returncode == code, (recording, form, done.stderr)
    assert wgaudit("sweep", "--replay", "missing.json.gz", folder=tmp_path).returncode == 2


@pytest.mark.parametrize("form", FORMS)
def test_stdout_is_one_document_and_the_summary_is_on_stderr(tmp_path: Path, form: str) -> None:
    done = wgaudit("sweep", "--replay", INCIDENT, "--format", form, folder=tmp_path)
    FORMS[form](done.stdout)
    assert "exit code 1" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", ["explain", "affected", "nodes", "plan"])
def test_each_command_about_a_sweep_has_one_json_document(tmp_path: Path, command: str) -> None:
    done = wgaudit(command, *OFFLINE[command], "--format", "json", folder=tmp_path)
    assert json.loads(done.stdout)["schema"].startswith("wgaudit.")


def test_metrics_are_written_beside_the_page(tmp_path: Path) -> None:
    metrics = tmp_path / "wgaudit.prom"
    assert wgaudit("sweep", "--replay", INCIDENT, "--metrics", metrics, folder=tmp_path).returncode == 1
    _prometheus(metrics.read_text())
    assert metrics.stat().st_mode & 0o777 == 0o644


def test_diff_ends_with_0_for_the_same_and_with_1_for_another(tmp_path: Path) -> None:
    assert wgaudit("diff", INCIDENT, INCIDENT, folder=tmp_path).returncode == 0
    assert wgaudit("diff", INCIDENT, CLEAN, folder=tmp_path).returncode == 1
    assert wgaudit("diff", INCIDENT, "missing.json.gz", folder=tmp_path).returncode == 2


def test_a_reader_that_goes_away_changes_neither_verdict_nor_summary(tmp_path: Path) -> None:
    """As `wgaudit sweep | head -1` does."""
    with subprocess.Popen(
        [WGAUDIT, "sweep", "--replay", INCIDENT, "--format", "json"],
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 1
    assert len(said.splitlines()) == 1
    assert "exit code 1" in said
