"""PURE: a story without the findings and gaps that the reader did not ask to see."""

from __future__ import annotations

from dataclasses import replace

from auditor.explain.story import Story
from auditor.reports.outline import gap_node
from auditor.reports.selection import Selection


def selected_story(story: Story, selection: Selection) -> Story:
    """Leave out findings and gaps. Who claims what and who is routed where stay whole: they are the story itself.

    Gaps of the registry stay too, and gaps have no check and no severity.
    """
    if not selection:
        return story
    return replace(
        story,
        findings=tuple(item for item in story.findings if selection.takes_finding(item, story.regions)),
        gaps=tuple(
            gap
            for gap in story.gaps
            if (node := gap_node(gap)) is None or selection.takes_node(node, story.region(node))
        ),
    )
