"""`wgaudit explain TARGET …`: all that was seen of an address, a node, a key or a finding, and what a check means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import complaints, completing, filters, formats, running, screen, settings
from auditor.reports.selection import Selection

if TYPE_CHECKING:
    from auditor.documents.sections import DocumentSection
    from auditor.explain.story import Story
    from auditor.reports.interface import Layout
    from auditor.settings.file import Config
    from auditor.values.report import Report


@click.command("explain")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True, shell_complete=completing.targets)
@settings.config_option
@formats.format_option("table", "json")
@settings.replay_option
@click.option("--all", "everyone", is_flag=True, help="Name all observers, however many there are.")
@filters.filter_options
@click.option("--endpoints", is_flag=True, help="Also ask for peers' endpoints: shows where a ghost lives.")
@formats.screen_options
@click.option("--no-progress", is_flag=True, help="No progress on stderr.")
def command(
    targets: tuple[str, ...],
    config_path: Path | None,
    format_name: str,
    replay: Path | None,
    everyone: bool,
    selection: Selection,
    endpoints: bool,
    width: int | None,
    colour: screen.Colour,
    no_progress: bool,
) -> int:
    """Tell the whole story of an address, a node, a key or a finding, or what a check means.

    TARGET is a mesh address (10.0.0.1), a node (edge-sin-1, or edge-sin-1@dc1), a public key (its first six
    characters do, where they are unique), or a fingerprint (its first four do): looks at the fleet, or at a recording
    with --replay. Or it is a check (duplicate-address), audit-blind, node-unseen, the reason of a gap
    (consul-timeout), or the runbook or a section of it (runbook, a-duplicate-address): prints its documentation, and
    looks at nothing. A node that is called so is named with its datacenter.

    Exit codes: 0 there is something to say of each; 2 usage, configuration, or nothing of that name was seen.
    """
    from auditor.documents.sections import known_idents, sections_of

    idents = known_idents()
    asked = [target for target in targets if target not in idents]
    sections = {target: sections_of(target) for target in targets if target in idents}
    stories: dict[str, Story] = {}
    report: Report | None = None
    if asked:
        from auditor.cli.look import audited, refuse_mistyped
        from auditor.explain.story_builder import explain_each

        if replay is None:
            refuse_mistyped(asked, idents, "explain")
        audit, guide = audited(config_path, replay, progress=not no_progress, endpoints=endpoints)
        report = audit.report
        built = explain_each(audit.snapshot, report, asked, everyone=everyone, idents=idents)
        stories = dict(zip(asked, built, strict=True))
        if replay is None:
            stories = _with_past(stories, settings.read_config(config_path)[0])
        filters.tell_strangers(selection, *filters.known_in(audit.report))
    else:
        # What the documents say needs no configuration; a link, and the reader's own command, come from it.
        guide = settings.guide(settings.found_config(config_path), config_path)
    layout = screen.layout(width, colour, limit=50, guide=guide, selection=selection)
    if format_name == "json":
        from auditor.reports.json.story_v1 import story_document
        from auditor.reports.selected_story import selected_story

        parts = [section for target in sections for section in sections[target]]
        shown_stories = [selected_story(story, selection) for story in stories.values()]
        running.deliver(story_document(shown_stories, parts, guide, report).text(), None)
        return 0
    shown: list[Sequence[DocumentSection] | Story] = [
        stories[target] if target in stories else sections[target] for target in dict.fromkeys(targets)
    ]
    running.deliver(_pages(shown, layout, idents), None)
    return 0


def _with_past(stories: Mapping[str, Story], config: Config) -> dict[str, Story]:
    """Add what alerted sweeps noticed of registrations."""
    from auditor.service.registration_past import past_changes

    past = past_changes(config, {story.target for story in stories.values()}, complaints.complain)
    return {asked: replace(story, changes=past.get(story.target, ())) for asked, story in stories.items()}


def _pages(shown: Sequence[Sequence[DocumentSection] | Story], layout: Layout, idents: frozenset[str]) -> str:
    """Render all targets, in the order in which they were asked for."""
    from auditor.explain.story import Story

    pages = []
    for each in shown:
        if isinstance(each, Story):
            from auditor.reports.terminal.story_page import render_explain

            pages.append(render_explain(each, layout))
        else:
            from auditor.reports.terminal.document_page import render_section

            pages += [render_section(section, layout, idents) for section in each]
    between = f"\n{('-' if layout.ascii_only else '─') * layout.columns}\n\n"
    return between.join(pages)
