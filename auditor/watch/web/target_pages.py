"""PURE: pages of one address or one node, out of the newest view: what `explain` and `affected` tell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from auditor.errors import InvalidValue, UsageError
from auditor.explain.affected import affected
from auditor.explain.story_builder import explain
from auditor.explain.targets import named_nodes
from auditor.reports.html.finding_views import FindingViews
from auditor.reports.html.story_views import story_outline, story_view
from auditor.reports.outline import outline
from auditor.values.addresses import Prefix, format_prefix, parse_prefix
from auditor.values.guide import Guide
from auditor.values.text import for_log
from auditor.watch.view import WatchView
from auditor.watch.web.rendering import NOW, node_link, page_links, plain_page, templates

_LONGEST_TARGET = 1_000
_LONGEST_TITLE = 100
_MOST_OTHERS = 60
_MOST_PICTURES = 4


class TargetKind(StrEnum):
    """Kind of a target, as its path says it."""

    ADDRESS = "address"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class TargetPage:
    """Page of a target, with its HTTP status: 404 where nothing of that name was seen, 300 where it is several."""

    text: str
    status: int = 200


def target_page(view: WatchView, kind: TargetKind, text: str, guide: Guide, token: str) -> TargetPage:
    """Make the page of an address or a node."""
    report, version = view.report, view.report.version
    title = f"{kind.value.capitalize()} {for_log(text, most=_LONGEST_TITLE)}"
    if len(text) > _LONGEST_TARGET:
        return TargetPage(plain_page(title, "That is longer than any name.", token, version=version), 404)
    target = text
    if kind is TargetKind.ADDRESS:
        try:
            target = format_prefix(parse_prefix(text))
        except InvalidValue as error:
            return TargetPage(plain_page(title, f"No address: {error}", token, version=version), 404)
    else:
        nodes = named_nodes(view.snapshot, text)
        if len(nodes) > 1:
            links = [(str(node), node_link(node, ambiguous=True)) for node in nodes]
            words = "A node of that name is in several datacenters:"
            return TargetPage(plain_page(title, words, token, version=version, links=links), 300)
        if nodes:
            target = str(nodes[0])
    try:
        story = explain(view.snapshot, report, target)
        found = affected(view.snapshot, report, target)
    except UsageError as error:
        return TargetPage(plain_page(title, str(error), token, version=version), 404)
    views = FindingViews(report, guide, page_links(report))
    whole = outline(report, guide)
    grouped = story_outline(story, whole)
    excerpt = grouped.excerpt(len(grouped.contested) + _MOST_OTHERS)
    context = views.context(whole, grouped, excerpt, pictures=_MOST_PICTURES, rows=_MOST_OTHERS)
    page = (
        templates()
        .get_template("target.html.j2")
        .render(
            context,
            view=view,
            story=story_view(story, found, views, _address_link),
            token=token,
            now=NOW,
            version=version,
        )
    )
    return TargetPage(page)


def _address_link(prefix: Prefix) -> str:
    return f"/address/{quote(format_prefix(prefix), safe='')}"
