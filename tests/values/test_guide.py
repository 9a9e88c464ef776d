"""Commands that reports and alerts propose."""

from __future__ import annotations

import shlex

import pytest

from auditor.cli.main import COMMANDS, cli
from auditor.values.guide import REPLAYABLE, Guide

HERE = Guide(config="/etc/w.toml", recording="it's tonight.json.gz")
AWAY = Guide(program=("ssh", "audit-1", "wgaudit"), docs_url="https://docs.example.net/findings")


def test_a_command_names_its_target_first_and_then_the_files_that_it_needs() -> None:
    command = HERE.command("explain", target="10.0.0.1")
    assert command == (
        *("wgaudit", "explain", "10.0.0.1"),
        *("--config", "/etc/w.toml", "--replay", "it's tonight.json.gz"),
    )
    assert shlex.split(HERE.spelled(command) or "") == list(command)


def test_a_sentence_names_a_command_of_a_group_as_the_reader_runs_it() -> None:
    assert HERE.mention("alerts list") == "`wgaudit alerts list --config /etc/w.toml`"
    assert AWAY.mention("silence expire", target="3f9c") == "`ssh audit-1 wgaudit silence expire 3f9c`"


def test_a_command_that_takes_no_recording_names_none() -> None:
    assert HERE.command("history") == ("wgaudit", "history", "--config", "/etc/w.toml")


def test_the_commands_that_take_a_recording_are_those_that_are_given_one() -> None:
    """`plan`, for one, would otherwise look at the fleet anew; and `history` would refuse its line."""
    context = cli.make_context("wgaudit", ["--help"], resilient_parsing=True)
    taking = {
        name
        for name in COMMANDS.keys() & REPLAYABLE
        for option in cli.get_command(context, name).params  # type: ignore[union-attr]
        if "--replay" in option.opts
    }
    assert taking == COMMANDS.keys() & REPLAYABLE


def test_a_target_that_looks_like_an_option_is_none() -> None:
    assert Guide().command("explain", target="--help") == ("wgaudit", "explain", "--", "--help")


def test_the_readers_own_words_begin_each_command() -> None:
    assert AWAY.spelled(AWAY.command("explain", target="10.0.0.1")) == "ssh audit-1 wgaudit explain 10.0.0.1"


@pytest.mark.parametrize("target", ["$(reboot)", "a b", "a;reboot", "`id`", "a'b", "a\nb", "*"])
def test_what_a_second_shell_would_read_anew_is_not_spelt(target: str) -> None:
    """ssh hands its words to a shell on the other side, without the quotes of this one."""
    assert AWAY.spelled(AWAY.command("explain", target=target)) is None
    assert shlex.split(Guide().spelled(("wgaudit", "explain", "$(reboot)")) or "")[2] == "$(reboot)"


def test_documentation_is_a_link_where_a_browser_reads_it_and_else_a_path() -> None:
    assert AWAY.documentation("key-drift") == "https://docs.example.net/findings#key-drift"
    assert Guide().documentation("key-drift") == "docs/findings.md#key-drift"
