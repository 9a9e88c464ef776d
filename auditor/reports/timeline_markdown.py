"""Timeline as Markdown: the draft of a post-mortem, to be pasted into a ticket or a document."""

from __future__ import annotations

from auditor.explain.timeline_events import IncidentTimes, Timeline
from auditor.reports.timeline_sentences import SHORT_MARK, label, moment, remarks, sentence, times_of
from auditor.values.text import for_markdown, listed

_MOST_NAMES = 12


def render_timeline_markdown(timeline: Timeline) -> str:
    """Render a timeline; foreign text in it shows as text, and links nowhere."""
    of = ""
    if timeline.target is not None:
        of = f" of {timeline.target.check} {for_markdown(timeline.target.subject)}"
    lines = [
        f"# Timeline{of}",
        "",
        f"From {moment(timeline.since)} to {moment(timeline.until)}. All times are in UTC.",
    ]
    for note in timeline.notes:
        lines += ["", f"*{for_markdown(note)}*"]
    if timeline.incidents:
        lines += ["", "## Incidents"]
        for incident in timeline.incidents:
            lines += ["", *_incident(incident)]
    lines += ["", "## What happened", ""]
    if not timeline.events:
        return "\n".join([*lines, "Nothing is remembered of this time.", ""])
    lines += ["| Time (UTC) | What | |", "|---|---|---|"]
    lines += [
        f"| {moment(event.at)} | {label(event)} | {sentence(event, for_markdown)} |"
        for event in timeline.events
    ]
    return "\n".join([*lines, ""])


def _incident(incident: IncidentTimes) -> list[str]:
    finding = incident.finding
    subject = for_markdown(finding.subject)
    lines = [
        f"### {finding.severity.value} {finding.check} {subject} (`{finding.fingerprint[:SHORT_MARK]}`)",
        "",
        for_markdown(finding.summary, most=2000),
        "",
    ]
    if finding.nodes:
        named = listed([for_markdown(name) for name in finding.nodes], most=_MOST_NAMES)
        lines.append(f"- nodes: {named}")
    lines += [f"- {name}: {words}" for name, words in times_of(incident)]
    if incident.notifiers:
        lines.append(
            f"- through: {listed([for_markdown(name) for name in incident.notifiers], most=_MOST_NAMES)}"
        )
    lines += [f"- {words}" for words in remarks(incident)]
    return lines
