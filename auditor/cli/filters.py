"""Options `--node`, `--region`, `--check`, `--severity`: what a page shows. They decide no verdict and no exit code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable
from typing import Any

import click

from auditor.checks.idents import Ident
from auditor.cli import complaints, completing
from auditor.errors import UsageError
from auditor.reports.selection import Selection, near
from auditor.values.findings import Severity
from auditor.values.models import NodeId
from auditor.values.report import Report
from auditor.values.text import listed

_OPTIONS = (
    click.option(
        "--node",
        "nodes",
        multiple=True,
        metavar="NAME",
        shell_complete=completing.nodes,
        help="Show what concerns this node; 'edge-*' takes several. May be given again, as the next three.",
    ),
    click.option(
        "--region",
        "regions",
        multiple=True,
        metavar="REGION",
        shell_complete=completing.regions,
        help="Show what concerns this region.",
    ),
    click.option(
        "--check",
        "checks",
        multiple=True,
        metavar="CHECK",
        shell_complete=completing.checks,
        help="Show findings of this check, and what they follow from.",
    ),
    click.option(
        "--severity",
        "severities",
        multiple=True,
        type=click.Choice([severity.value for severity in Severity]),
        help="Show findings of this severity.",
    ),
)


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options; it gets `selection`."""

    @functools.wraps(command)
    def selecting(
        *arguments: Any,
        nodes: tuple[str, ...],
        regions: tuple[str, ...],
        checks: tuple[str, ...],
        severities: tuple[str, ...],
        **options: Any,
    ) -> Any:
        unknown = [check for check in checks if check not in set(Ident)]
        if unknown:
            raise UsageError(
                f"--check: there is no check {unknown[0][:60]}{_perhaps(near(unknown[0], Ident))}"
            )
        selection = Selection(nodes, regions, checks, tuple(map(Severity, severities)))
        return command(*arguments, selection=selection, **options)

    for option in reversed(_OPTIONS):
        selecting = option(selecting)
    return selecting


def refuse_whole_form(selection: Selection, format_name: str, *filtered: str) -> None:
    """Raise `UsageError` for a selection of a form that has everything: programs that read it have their filters.

    filtered: the forms that show a part.
    """
    if selection and format_name not in filtered:
        raise UsageError(
            f"{selection.options[0]}: --format {format_name} has everything, and takes no filter"
        )


def known_in(report: Report) -> tuple[frozenset[NodeId], frozenset[str]]:
    """Gather the nodes and the regions that a report knows."""
    regions = {*report.node_regions.values(), *(item.region for item in report.coverage.regions)}
    return report.registered | report.retired | report.observed, frozenset(regions - {""})


def tell_strangers(selection: Selection, nodes: Collection[NodeId], regions: Iterable[str]) -> None:
    """Say on stderr which nodes and regions of the selection nobody has, and what looks like them: a line each."""
    for stranger in selection.strangers(nodes, regions):
        kind = stranger.option.removeprefix("--")
        complaints.say(
            f"wgaudit: {stranger.option}: no {kind} {stranger.value[:60]} was seen{_perhaps(stranger.near)}"
        )


def _perhaps(alike: tuple[str, ...]) -> str:
    return f"; did you mean {listed(alike, last=' or ')}?" if alike else ""
