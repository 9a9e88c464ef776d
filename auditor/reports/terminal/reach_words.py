"""Words for whom observers reach and lose: shared by the pages of `affected` and of `explain`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.text import Text

from auditor.explain.reach import Group, Loss, RoutedKey
from auditor.reports.report_words import OBSTACLES
from auditor.reports.terminal.page import Page
from auditor.values.addresses import format_prefix
from auditor.values.models import NodeId
from auditor.values.text import count, listed

_MOST_LINES = 3
"""Addresses that one observer reaches nobody at, each on a line of its own; more of them share a paragraph."""


class Named(Protocol):
    """Value that knows names and regions of its nodes."""

    def name(self, node: NodeId) -> str:
        """Name a node."""
        ...

    def region(self, node: NodeId) -> str:
        """Return a node's region; "" where it is not known."""
        ...


def reached_words(page: Page, named: Named, group: Group) -> str:
    """Name whom a group reaches, with the wider prefix and the obstacle on the way; `nobody`."""
    if not group.destinations:
        return "nobody"
    words = listed([_destination(page, named, each) for each in group.destinations])
    return f"{words} by {page.name(group.by)}" if group.by is not None else words


def _destination(page: Page, named: Named, key: RoutedKey) -> str:
    if not key.nodes:
        return f"{page.key(key.public_key)}, a key that no node is known to have"
    names = " or ".join(with_region(page, named, node) for node in key.nodes)
    return f"{names}, {OBSTACLES[key.obstacle]}" if key.obstacle is not None else names


def with_regions(page: Page, named: Named, nodes: Sequence[NodeId]) -> str:
    """Name nodes, each with its region."""
    names = [with_region(page, named, node) for node in nodes]
    return listed(names, most=len(names)) if names else ""


def with_region(page: Page, named: Named, node: NodeId) -> str:
    """Name a node with its region: `edge-sin-1 (sin)`."""
    region = named.region(node)
    return f"{page.name(named.name(node))} ({page.name(region)})" if region else page.name(named.name(node))


def losses_block(page: Page, named: Named, node: NodeId, losses: Sequence[Loss], lead: str = "") -> None:
    """Write a line for each address of which the node, as an observer, loses a claimant.

    lead: begins each line. Many addresses that it reaches nobody at share a paragraph.
    """
    nowhere = [loss for loss in losses if not loss.group.destinations and not loss.group.itself]
    together = nowhere if len(nowhere) > _MOST_LINES else []
    for loss in losses:
        if loss not in together:
            target = "itself" if loss.group.itself else reached_words(page, named, loss.group)
            words = Text(f"{lead}{page.name(format_prefix(loss.address))} {page.arrow} {target}, not ")
            page.line(words.append(with_regions(page, named, loss.group.lost_by(node)), "red"), 2)
    if together:
        page.line(f"{lead}{count(len(together), 'address', 'addresses')} on no peer there:", 2)
        lost = [
            f"{page.name(format_prefix(loss.address))} {with_regions(page, named, loss.group.loses)}"
            for loss in together
        ]
        page.line(", ".join(lost), 4)
