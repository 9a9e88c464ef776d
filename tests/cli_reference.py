"""Generate docs/cli.md from the program's own click commands: part of `make docs`.

The document is written whole; nothing in it is edited by hand. Usage, arguments, options and defaults come from
click; examples come from auditor/cli/examples.py, which has some lines for each command.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from auditor.cli.examples import EXAMPLES
from auditor.cli.main import cli

CLI_DOCUMENT = Path(__file__).parent.parent / "docs" / "cli.md"

PREFACE = """\
# Commands

Every command with its options. This page is generated from the program (`make docs`); a test fails where they differ.
The same text is printed by `wgaudit COMMAND --help`.

- `--verbose` stands before the command: `wgaudit --verbose sweep`. `--help` works anywhere.
- The report goes to stdout, everything else to stderr. With `--format json`, stdout is one JSON document.
- Commands that take `--config` read the [configuration](configuration.md) of `--config FILE`, else of
  `$WGAUDIT_CONFIG`, else the first file found in the [usual places](configuration.md).
- [Exit codes](../README.md#exit-codes) of a sweep are in the README; those of the other commands are below.
  A second Ctrl-C ends any command at once with exit code 130.
"""


class Command(NamedTuple):
    """One command of the program, with the words that call it."""

    name: str
    """`sweep`, `alerts test` …"""
    command: click.Command
    context: click.Context

    @property
    def is_only_a_group(self) -> bool:
        """Whether it does nothing without a subcommand."""
        return isinstance(self.command, click.Group) and not self.command.invoke_without_command


def every_command(
    group: click.Group = cli, path: str = "", parent: click.Context | None = None
) -> Iterator[Command]:
    """Yield each command, a group before its own, in the order of `--help`."""
    here = parent or click.Context(group, info_name="wgaudit")
    for name in group.list_commands(here):
        command = group.get_command(here, name)
        if command is None:
            raise LookupError(f"{path}{name} is listed and cannot be loaded")
        context = click.Context(command, info_name=name, parent=here)
        yield Command(f"{path}{name}", command, context)
        if isinstance(command, click.Group):
            yield from every_command(command, f"{path}{name} ", context)


def reference() -> str:
    """Render the whole document."""
    known = list(every_command())
    parts = [PREFACE, _overview(known), "## wgaudit\n\n" + _options(cli, click.Context(cli))]
    parts += [_section(each) for each in known]
    return "\n".join(parts)


def _overview(known: list[Command]) -> str:
    rows = [
        f"| [`wgaudit {each.name}`](#{_anchor(each.name)}) | {_cell(each.command.get_short_help_str(limit=200))} |"
        for each in known
        if not each.is_only_a_group
    ]
    return "| Command | Does |\n|---|---|\n" + "\n".join(rows) + "\n"


def _anchor(name: str) -> str:
    return f"wgaudit {name}".replace(" ", "-")


def _section(each: Command) -> str:
    parts = [f"## wgaudit {each.name}\n", _prose(each.command.help or "")]
    if not each.is_only_a_group:
        usage = " ".join(each.command.collect_usage_pieces(each.context))
        parts.append(f"```text\nwgaudit {each.name} {usage}\n```\n")
    parts.append(_options(each.command, each.context))
    if each.name in EXAMPLES:
        parts.append(f"```sh\n{inspect.cleandoc(EXAMPLES[each.name])}\n```\n")
    return "\n".join(part for part in parts if part)


def _prose(text: str) -> str:
    """Render a docstring: paragraphs folded, options and names as code."""
    paragraphs = [_coded(" ".join(each.split())) for each in inspect.cleandoc(text).split("\n\n")]
    folded = [textwrap.fill(each, 119, break_long_words=False, break_on_hyphens=False) for each in paragraphs]
    return "\n\n".join(folded) + "\n"


def _options(command: click.Command, context: click.Context) -> str:
    """Render the options as a table; empty if there are none but `--help`."""
    rows = []
    for option in command.params:
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        if record is not None:
            names, text = record
            names = names.replace("INTEGER RANGE", "N").replace("INTEGER", "N")
            rows.append(f"| `{names.replace('|', chr(92) + '|')}` | {_cell(text)} |")
    return "| Option | Meaning |\n|---|---|\n" + "\n".join(rows) + "\n" if rows else ""


def _cell(text: str) -> str:
    """Render a help text, with click's `[default: 50; x>=1]` as `(default: 50; ≥ 1)`."""
    text = re.sub(r"\[((?:default|required|x|\d+<).*)\]$", r"(\1)", text)
    text = re.sub(r"\bx>=(\d)", r"≥ \1", re.sub(r"\bx>(\d)", r"> \1", text))
    text = re.sub(r"\b(\d+)<=x<=(\d+)", r"\1 to \2", text)
    return _coded(" ".join(text.split())).replace("|", r"\|")


def _coded(text: str) -> str:
    """Mark options, placeholders in angle brackets and bare asterisks as code, so that Markdown keeps them."""
    parts = text.split("`")
    for index in range(0, len(parts), 2):
        parts[index] = re.sub(r"(?<![\w`-])(--[a-z][a-z-]+)", r"`\1`", parts[index])
        parts[index] = re.sub(r"(\(\?P<\w+>…\))", r"`\1`", parts[index])
    return "`".join(parts)
