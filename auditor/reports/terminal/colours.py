"""Colours that can be read on a light and on a dark terminal alike, under the plain names that pages use."""

from __future__ import annotations

from itertools import product
from types import MappingProxyType

from rich.theme import Theme

READABLE = MappingProxyType(
    {
        "red": "color(161)",
        "yellow": "color(130)",
        "green": "color(28)",
        "cyan": "color(30)",
        "blue": "color(63)",
        "magenta": "color(164)",
        "dim": "color(243)",
    }
)
"""By name: the colour of the 256 that terminals agree on whose contrast with white and with black is at least 4.

What a terminal shows for the name itself is its own choice: yellow is hardly seen on white, blue hardly on black, and
faint text on either.
"""
_WITH = ("", "bold ", "not bold ", "not dim bold ")


def theme(few_colours: bool) -> Theme:
    """Give the names their readable colours; on a terminal of 16 colours they stay its own."""
    if few_colours:
        return Theme(inherit=False)
    styles = {
        f"{attributes}{name}": f"{attributes}{colour}"
        for attributes, (name, colour) in product(_WITH, READABLE.items())
    }
    return Theme(styles, inherit=False)
