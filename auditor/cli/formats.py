"""Options that commands share: `--format`, the forms of an outcome, and `--width` and `--colour` of its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

MEANINGS = {
    "table": "a page for people",
    "csv": "one row each, for a spreadsheet",
    "hosts": "one host a line, for ssh-keyscan -f -",
    "json": "one JSON document (its schema is in docs/)",
    "markdown": "text for an incident's channel or ticket",
    "html": "one page for a browser, with the split-brain picture",
    "prometheus": "metrics in Prometheus' text form",
    "wide": "the same with hosts and whole keys",
}
"""By form: what it is."""


def format_option(*names: str, short: str = "") -> Callable[[Decorated], Decorated]:
    """Make the option for these forms, of which the first is the default; the command gets `format_name`.

    short: a letter for it, such as `-o`.
    """
    meanings = "; ".join(f"{name}: {MEANINGS[name]}" for name in names)
    return click.option(
        *filter(None, [short]),
        "--format",
        "format_name",
        type=click.Choice(names),
        default=names[0],
        show_default=True,
        help=f"{meanings}.",
    )


def screen_options(command: Decorated) -> Decorated:
    """Add the options of the page: the command gets `width`, columns or None, and `colour`."""
    coloured = click.option(
        "--colour",
        "--color",
        type=click.Choice(("auto", "always", "never")),
        default="auto",
        show_default=True,
        help="Colours. auto: on a terminal, and as NO_COLOR and FORCE_COLOR say.",
    )(command)
    return click.option(
        "--width", type=click.IntRange(min=40), help="Columns of the page. Default: the terminal's, else 80."
    )(coloured)
