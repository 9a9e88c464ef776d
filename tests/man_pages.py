"""Write docs/man/, a page for each command, with click-man: part of `make docs`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import click
from click_man.man import ManPage

from auditor.cli.examples import EXAMPLES
from auditor.cli.main import cli
from tests.cli_reference import Command, every_command

MAN = Path(__file__).parent.parent / "docs" / "man"
TOP = "wgaudit"


def man_pages() -> dict[Path, str]:
    """Return the text of every page by its file."""
    known = list(every_command())
    top = Command("", cli, click.Context(cli, info_name=TOP))
    return {_file(each.name): _page(each, known) for each in (top, *known)}


def write_man_pages() -> None:
    """Write every page, and remove those of commands that are gone."""
    pages = man_pages()
    MAN.mkdir(exist_ok=True)
    for path in MAN.glob("*.1"):
        if path not in pages:
            path.unlink()
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")


def _file(name: str) -> Path:
    return MAN / f"{f'{TOP} {name}'.strip().replace(' ', '-')}.1"


def _page(each: Command, known: list[Command]) -> str:
    page = ManPage(f"{TOP} {each.name}".strip())
    page.date, page.version = "", TOP
    page.short_help = _escaped(each.command.get_short_help_str(limit=500))
    page.description = "\n\n".join(_paragraph(text) for text in _paragraphs(each.command.help or ""))
    page.synopsis = " ".join(each.command.collect_usage_pieces(each.context))
    records = [option.get_help_record(each.context) for option in each.command.params]
    page.options = [(record[0], _escaped(record[1])) for record in records if record is not None]
    page.commands = [
        (other.name.split()[-1], _escaped(other.command.get_short_help_str(limit=500)))
        for other in known
        if other.name.split()[:-1] == each.name.split()
    ]
    return str(page) + _examples(each.name)


def _paragraphs(text: str) -> list[str]:
    return inspect.cleandoc(text).split("\n\n")


def _paragraph(text: str) -> str:
    """Keep the lines of a paragraph that click keeps, too."""
    if text.startswith("\b\n"):
        return f".nf\n{_escaped(text[2:])}\n.fi"
    return _escaped(text)


def _examples(name: str) -> str:
    if name not in EXAMPLES:
        return ""
    return f".SH EXAMPLES\n.EX\n{_escaped(inspect.cleandoc(EXAMPLES[name]))}\n.EE\n"


def _escaped(text: str) -> str:
    r"""Escape what roff reads more into: backslashes, hyphens that are to be copied, a line's first dot or quote."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)
