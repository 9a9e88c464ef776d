"""PURE: pages of the watch as HTML: a view, its last change and what the state remembers, put into words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from jinja2 import Environment

from auditor.reports.html.finding_views import FindingViews, PageLinks
from auditor.reports.html.templating import environment, name_words, text_words
from auditor.reports.outline import outline
from auditor.values.addresses import format_prefix
from auditor.values.findings import Finding
from auditor.values.guide import Guide
from auditor.values.leaders import TellingRole
from auditor.values.models import NodeId
from auditor.values.past_sweeps import PastNotice, PastSpan
from auditor.values.report import Report
from auditor.values.text import count
from auditor.watch.view import Sessions, WatchView
from auditor.watch.web.page_changes import LastChange
from auditor.watch.web.week_plots import DAYS, WIDTH, week

MOST_NOTICES = 20
"""Notifications that the page lists, the newest ones."""
NOW = "{now}"
"""Place in a page where the time stands at which it is sent: a page is made once, and sent often."""
_MOST_PICTURES = 8
_MOST_ROWS = 92
_MOST_OTHERS = 60
_MOST_DATACENTERS = 50
_PACKAGE = "auditor.watch.web"


@dataclass(frozen=True, slots=True)
class RememberedPast:
    """What the state remembered when it was last asked."""

    notices: tuple[PastNotice, ...] = ()
    fault: str = ""
    """Why they could not be read; "": they were."""
    spans: tuple[PastSpan, ...] = ()
    spans_fault: str = ""


@dataclass(frozen=True, slots=True)
class NoticeView:
    """Notification as a row of a table."""

    at: datetime
    whom: str
    what: str
    subject: str
    link: str
    outcome: str
    tone: str


@dataclass(frozen=True, slots=True)
class GlanceView:
    """One line of what is seen at a glance, beside the verdict."""

    label: str
    words: str
    at: datetime | None = None
    """Time that stands behind the words, with its age."""
    tone: str = ""


_ROLE_TONES = {TellingRole.LEADS: "taken", TellingRole.FOLLOWS: "", TellingRole.ALONE: "waits"}


def templates() -> Environment:
    """Return the environment of the page's templates."""
    made = environment(_PACKAGE)
    made.filters.setdefault("clock", _clock)
    made.filters.setdefault("clock_beside", _clock_beside)
    return made


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _clock_beside(at: datetime, other: datetime) -> str:
    """Write a time without its date, where it is that of another time on the page."""
    at = at.astimezone(UTC)
    return f"{at:%H:%M:%S} UTC" if at.date() == other.astimezone(UTC).date() else _clock(at)


# -- links


def page_links(report: Report) -> PageLinks:
    """Link findings and nodes of a report to pages of their own."""

    def of_node(node: NodeId) -> str:
        return node_link(node, ambiguous=node.name in report.ambiguous_names)

    def of_finding(finding: Finding) -> str:
        if finding.address is not None:
            return f"/address/{quote(format_prefix(finding.address), safe='')}"
        return of_node(finding.nodes[0]) if finding.nodes else ""

    return PageLinks(of_finding, of_node)


def node_link(node: NodeId, *, ambiguous: bool) -> str:
    """Return the path of a node's page; "" where no URL can spell its name."""
    # Browsers take dots alone for folders, however they are spelt.
    name = str(node) if ambiguous or not node.name.strip(".") else node.name
    try:
        spelt = quote(name, safe="")
    except UnicodeEncodeError:
        return ""
    return f"/node/{spelt}" if spelt.strip(".") else ""


# -- pages


def watch_page(view: WatchView, change: LastChange, past: RememberedPast, guide: Guide, token: str) -> str:
    """Render the page of one view."""
    report = view.report
    whole = outline(report, guide)
    excerpt = whole.excerpt(len(whole.contested) + _MOST_OTHERS)
    links = page_links(report)
    views = FindingViews(report, guide, links, explain_each=True, fresh=change.marks())
    drawn_week = week(past.spans, view.taken_at)
    step = WIDTH / DAYS
    return (
        templates()
        .get_template("watch.html.j2")
        .render(
            views.context(whole, whole, excerpt, pictures=_MOST_PICTURES, rows=_MOST_ROWS),
            view=view,
            token=token,
            now=NOW,
            version=report.version,
            change=change,
            change_words=change.words(),
            past=past,
            notices=[_notice(report, notice, links) for notice in past.notices[:MOST_NOTICES]],
            most_notices=MOST_NOTICES,
            all_notices=guide.spelled(guide.command("timeline")),
            sessions=_sessions(view.sessions),
            glance=_glance(view, past),
            most_datacenters=_MOST_DATACENTERS,
            week={
                "plots": drawn_week.plots,
                "days": drawn_week.days,
                "unseen": drawn_week.unseen,
                "midnight": lambda day: round(drawn_week.first / 100 * WIDTH + day * step, 1),
            },
        )
    )


def plain_page(
    title: str, words: str, token: str, *, version: str = "", links: Sequence[tuple[str, str]] = ()
) -> str:
    """Render a page of a few words."""
    return (
        templates()
        .get_template("plain.html.j2")
        .render(title=title, words=words, token=token, now=NOW, version=version, links=links)
    )


def _sessions(sessions: Sessions) -> str:
    words = [f"{count(sessions.followed, 'session')} open"]
    if sessions.by_rounds:
        words.append(f"{sessions.by_rounds:,} looked at each round")
    words.append(f"{sessions.gone:,} not seen")
    return ", ".join(words)


def _glance(view: WatchView, past: RememberedPast) -> list[GlanceView]:
    """Say at a glance whether people were told, and whether all is followed."""
    lines = []
    unread = [item for item in view.datacenters if not item.readable]
    if view.datacenters:
        words = (
            f"{count(len(unread), 'datacenter')} cannot be read, last answer"
            if unread
            else "followed, last answer"
        )
        answering = [item for item in view.datacenters if item.name] or view.datacenters
        oldest = min(item.arrived_at for item in answering)
        lines.append(GlanceView("Registry", words, oldest, "refused" if unread else "taken"))
    known = view.sessions.followed + view.sessions.by_rounds + view.sessions.gone
    seen = known - view.sessions.gone
    lines.append(
        GlanceView(
            "Nodes", f"{seen:,} of {known:,} followed", None, "waits" if view.sessions.gone else "taken"
        )
    )
    health = view.health
    if health.waiting is not None or health.refused is not None:
        waiting, refused = health.waiting or 0, health.refused or 0
        words = (
            f"{waiting:,} waiting, {refused:,} refused for good" if waiting or refused else "all handed over"
        )
        lines.append(
            GlanceView("Alerts", words, None, "refused" if refused else "waits" if waiting else "taken")
        )
    else:
        lines.append(GlanceView("Alerts", "not known, there is no state that can be read", None, "waits"))
    if health.leader is not None:
        lines.append(GlanceView("Leads", health.leader.words, None, _ROLE_TONES[health.leader.role]))
    newest = next((notice for notice in past.notices if notice.accepted), None)
    if newest is not None:
        lines.append(
            GlanceView("Last told", f"{name_words(newest.notifier)}: {name_words(newest.subject)}", newest.at)
        )
    return lines


_OUTCOMES = {
    "accepted": ("taken", "taken"),
    "pending": ("waits", "waits"),
    "dead": ("refused for good", "refused"),
    "dropped": ("not sent: it was over before", ""),
    "closed": ("not sent: replaced by a newer one", ""),
}


def _notice(report: Report, notice: PastNotice, links: PageLinks) -> NoticeView:
    outcome, tone = _OUTCOMES.get(notice.state, (notice.state, ""))
    if notice.state in ("pending", "dead") and notice.answer:
        outcome += f": {text_words(notice.answer)}"
    finding = next((item for item in report.standing if item.fingerprint == notice.fingerprint), None)
    return NoticeView(
        notice.at,
        name_words(notice.notifier),
        f"{name_words(notice.check)} {'' if notice.firing else 'is over'}".strip(),
        name_words(notice.subject),
        links.of_finding(finding) if finding is not None else "",
        outcome,
        tone,
    )
