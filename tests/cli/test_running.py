"""From report to exit code and one-line summary; where reports are written."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.cli import complaints, running
from auditor.cli.screen import shows_links, wants_colour
from auditor.errors import GapReason, ReportError, UsageError
from auditor.values.findings import Finding, Severity
from auditor.values.models import Gap
from auditor.values.report import Coverage, Report, Verdict

MOMENT = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
CLEAN = Report(Verdict.CLEAN, MOMENT, MOMENT + timedelta(seconds=3.21), Coverage(9, 9, 1), (), ())
WARNING = Finding("missing-peer", Severity.WARNING, "edge-sin-1", "It is no peer on 1 observer.")
BLIND = Gap("consul", GapReason.CONSUL_FILTERED, "left out what the token may not read")


def code(report: Report, fail_on: Severity = Severity.WARNING) -> int:
    """The exit code of a report."""
    return running.exit_code(report, fail_on)


def test_clean_is_0() -> None:
    assert code(CLEAN) == 0


def test_a_finding_at_the_limit_is_1() -> None:
    assert code(replace(CLEAN, findings=(WARNING,))) == 1


def test_a_finding_below_the_limit_is_0() -> None:
    assert code(replace(CLEAN, findings=(WARNING,)), Severity.ERROR) == 0


def test_a_finding_below_the_limit_does_not_hide_that_too_little_was_seen() -> None:
    assert code(replace(CLEAN, findings=(WARNING,), seen_enough=False), Severity.ERROR) == 3


def test_a_finding_that_was_gone_on_the_second_look_does_not_count() -> None:
    assert code(replace(CLEAN, findings=(replace(WARNING, confirmed=False),))) == 0


def test_a_finding_that_is_agreed_on_does_not_count() -> None:
    assert code(replace(CLEAN, findings=(replace(WARNING, agreed="shared until 2027-01-01: anycast"),))) == 0


def test_a_silenced_finding_counts_all_the_same() -> None:
    """A silence mutes alerts; it does not make the fleet clean."""
    assert code(replace(CLEAN, findings=(replace(WARNING, silenced="s1"),))) == 1


def test_a_finding_outweighs_that_too_little_was_seen() -> None:
    assert code(replace(CLEAN, findings=(WARNING,), seen_enough=False)) == 1


def test_too_little_seen_is_3() -> None:
    assert code(replace(CLEAN, seen_enough=False)) == 3


def test_the_summary_counts_by_severity_and_says_the_exit_code() -> None:
    report = replace(CLEAN, verdict=Verdict.FINDINGS, findings=(WARNING, WARNING), gaps=(BLIND,))
    assert running.summary(report, 1) == (
        "wgaudit: findings: 2 warning; 9 of 9 nodes seen, 1 gap, 3.2 s; exit code 1"
    )


def test_the_summary_says_how_many_registrations_were_unreadable() -> None:
    """They are why not all nodes were seen, and stand in no gap."""
    report = replace(CLEAN, coverage=Coverage(11, 7, unreadable=4))
    assert "7 of 11 nodes seen, 4 unreadable, no gaps" in running.summary(report, 1).replace(
        "0 gaps", "no gaps"
    )


def test_what_is_said_on_stderr_is_one_harmless_line(capsys: pytest.CaptureFixture[str]) -> None:
    complaints.say(running.summary(replace(CLEAN, cut_short="\x1b[2J\nall is well"), 3))
    assert "(cut short: \\x1b[2J\\x0aall is well)" in capsys.readouterr().err


def test_the_summary_of_a_sweep_that_was_cut_short_says_so() -> None:
    assert "(cut short: interrupted)" in running.summary(replace(CLEAN, cut_short="interrupted"), 3)


def test_a_report_in_a_file_is_its_owners_only(tmp_path: Path) -> None:
    running.deliver("report\n", tmp_path / "report.txt")
    assert (tmp_path / "report.txt").read_text() == "report\n"
    assert stat.S_IMODE((tmp_path / "report.txt").stat().st_mode) == 0o600


def test_a_report_may_go_through_a_pipe(tmp_path: Path) -> None:
    """A pipe cannot be replaced by a rename, and must still be there afterwards."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    running.deliver("report\n", pipe)
    assert os.read(reader, 100) == b"report\n"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_report_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"--output: cannot write .*: No such file or directory"):
        running.deliver("report\n", tmp_path / "nowhere" / "report.txt")


@pytest.mark.parametrize(
    ("option", "terminal", "environment", "wanted"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("auto", False, {"FORCE_COLOR": "1"}, True),
        ("auto", True, {"FORCE_COLOR": "1", "TERM": "dumb"}, True),
        ("auto", True, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {}, False),
    ],
)
def test_colour_is_used_only_where_it_is_wanted(
    option: str, terminal: bool, environment: dict[str, str], wanted: bool
) -> None:
    """https://no-color.org: any value that is not empty; an option of the user's own goes first."""
    assert wants_colour(option, terminal, environment) is wanted  # type: ignore[arg-type]


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=300), st.integers(20, 100))
def test_folding_a_line_keeps_every_word_and_the_width(line: str, width: int) -> None:
    """A command between backticks stays whole, to be copied; only a word longer than the line goes beyond it."""
    rows = complaints.folded(line, width)
    assert "".join(rows).replace(" ", "") == line.replace(" ", "")
    assert all(len(row) <= width or len(complaints.folded(row.strip(), 1)) == 1 for row in rows)


def test_a_command_in_a_folded_line_can_be_copied() -> None:
    rows = complaints.folded("wgaudit: no such finding here; run `wgaudit history --all` to see them", 40)
    assert rows == ["wgaudit: no such finding here; run", "  `wgaudit history --all` to see them"]


def test_the_summary_names_a_configuration_that_no_option_named() -> None:
    assert "; configured by /etc/wgaudit/wgaudit.toml; exit" in running.summary(
        CLEAN, 0, Path("/etc/wgaudit/wgaudit.toml")
    )


@pytest.mark.parametrize(
    ("notified", "said"),
    [
        (None, "s; exit code 0"),
        ((), "s; nothing new to send; exit"),
        (("chat", "oncall"), "s; told chat, oncall; exit"),
    ],
)
def test_the_summary_says_who_was_alerted(notified: tuple[str, ...] | None, said: str) -> None:
    assert said in running.summary(CLEAN, 0, notified=notified)


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "screen", "TMUX": "/tmp/tmux"}, True),
        ({"TERM": "screen"}, False),
        ({"TERM": "linux"}, False),
        ({"TERM": "vt220"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_links_are_for_terminals_that_show_them_or_leave_them_out(
    environment: dict[str, str], wanted: bool
) -> None:
    assert shows_links(environment) is wanted


@pytest.mark.parametrize(
    ("parameters", "advised"), [([click.Option(["--output"])], True), ([], False)], ids=["with", "without"]
)
def test_output_is_advised_where_stdout_is_closed_if_the_command_has_it(
    parameters: list[click.Parameter], advised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", None)
    with (
        click.Context(click.Command("some", params=parameters)),
        pytest.raises(ReportError, match="stdout is closed") as raised,
    ):
        running.deliver("text", None)
    assert ("--output" in str(raised.value)) == advised


def test_one_file_for_two_options_is_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    """However its path is spelt: the second would replace the first."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="--output and --metrics both write"):
        running.check_folders(output=tmp_path / "a", metrics=tmp_path / "folder" / ".." / "a")
    running.check_folders(output=tmp_path / "a", metrics=tmp_path / "b", record=None)
    running.check_folders(output=Path("/dev/null"), metrics=Path("/dev/null"))


def test_a_recording_is_not_replaced_by_what_is_made_of_it(tmp_path: Path) -> None:
    """It may be the only one of the incident."""
    recording = tmp_path / "tonight.json.gz"
    recording.write_bytes(b"")
    with pytest.raises(UsageError, match="is the recording that is read; it would be lost"):
        running.check_folders(reads=recording, output=tmp_path / "." / recording.name)
    running.check_folders(reads=recording, output=tmp_path / "report")
