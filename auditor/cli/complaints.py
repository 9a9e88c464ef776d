"""Lines on stderr: harmless, one a complaint in a log, folded at words on a terminal."""

from __future__ import annotations

import re
import shutil
import sys

import click

from auditor.values.text import for_log, lines_for_log

_WIDEST = 160
_WORD = re.compile(r"[^\s`]*(?:`[^`]*`[^\s`]*)+|\S+")
"""A word; what stands between backticks is one, so that a command can be copied."""


def complain(text: str) -> None:
    """Print one line of ours on stderr; foreign text in it is escaped."""
    say(f"wgaudit: {text}")


def say(text: str) -> None:
    """Print one line on stderr; foreign text in it is escaped."""
    _print(_fitting(for_log(text)))


def say_lines(text: str) -> None:
    """Print several lines on stderr; foreign text in them is escaped."""
    _print("\n".join(map(_fitting, lines_for_log(text).split("\n"))))


def _fitting(line: str) -> str:
    """Fold a line at the width of the terminal; anywhere else a line stays one, as logs and their readers want it."""
    if sys.stderr is None or not sys.stderr.isatty():
        return line
    return "\n".join(folded(line, min(shutil.get_terminal_size().columns, _WIDEST)))


def folded(line: str, width: int) -> list[str]:
    """Fold a line at its words, those below indented by two more; a word that is too long for a line has its own.

    width: columns.
    """
    if len(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    rows, row = [], ""
    for word in _WORD.findall(line):
        if row and len(row) + 1 + len(word) > width:
            rows.append(row)
            row = f"{indent}  {word}"
        else:
            row = f"{row} {word}" if row else f"{indent}{word}"
    return [*rows, row]


def _print(text: str) -> None:
    try:
        click.echo(text, err=True)
    except UnicodeEncodeError:
        click.echo(text.encode("ascii", "backslashreplace").decode(), err=True)
