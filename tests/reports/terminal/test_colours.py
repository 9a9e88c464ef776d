"""Colours of a terminal: readable on white and on black, whatever page they stand on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.color import EIGHT_BIT_PALETTE, Color
from rich.console import Console

from auditor.cli.screen import has_few_colours
from auditor.reports.terminal import colours
from auditor.reports.terminal.colours import READABLE, theme

PAGES = Path(colours.__file__).parent
LEAST_CONTRAST = 4


def luminance(colour: str) -> float:
    """Relative luminance of one of the 256 colours (WCAG 2, 0 to 1)."""
    shares = [part / 255 for part in EIGHT_BIT_PALETTE[Color.parse(colour).number or 0]]
    red, green, blue = (
        share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("name", READABLE)
def test_a_colour_contrasts_with_white_and_with_black(name: str) -> None:
    light = luminance(READABLE[name])
    assert min(1.05 / (light + 0.05), (light + 0.05) / 0.05) >= LEAST_CONTRAST


def test_every_style_of_a_page_has_its_readable_colour() -> None:
    """A style that the theme does not know would be the terminal's own yellow, on white."""
    names = "|".join(READABLE)
    style = re.compile(rf'"((?:(?:not|bold|dim|underline|reverse) )*(?:{names}))"')
    used = {
        found
        for page in PAGES.glob("*.py")
        if page.name != "colours.py"
        for found in style.findall(page.read_text())
    }
    assert used
    assert {name for name in used if name not in theme(few_colours=False).styles} == set()


def test_a_terminal_of_16_colours_keeps_its_own() -> None:
    console = Console(theme=theme(few_colours=True), color_system="standard")
    assert console.get_style("bold yellow").color == Color.parse("yellow")


@pytest.mark.parametrize(
    ("environment", "few"),
    [
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "linux"}, True),
        ({"TERM": "screen", "COLORTERM": "truecolor"}, False),
        ({}, False),
    ],
)
def test_a_terminal_says_how_many_colours_it_has(environment: dict[str, str], few: bool) -> None:
    """Without a terminal a person asked for colours, to look at them with another program."""
    assert has_few_colours(environment) is few
