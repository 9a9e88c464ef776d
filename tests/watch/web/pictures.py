"""Pictures of the watch's page for docs/, drawn by Chromium: `make pictures` writes them anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from auditor.reports.audit_health import AuditHealth
from auditor.values.report import Verdict
from auditor.watch.view import FollowedDatacenter, Sessions
from tests.parts.browser import Browser, Theme
from tests.reports import sample
from tests.watch.web.scripted import LiteralRecord, notice, view, week_of_spans
from tests.watch.web.threaded_page import ThreadedPage

DOCS = Path(__file__).parents[3] / "docs"
WIDTH, HEIGHT = 1280, 1040
FILES: dict[Theme, str] = {"light": "watch.png", "dark": "watch-dark.png"}


def draw() -> None:
    """Draw the page in both themes, half a minute into the incident."""
    now = datetime.now(UTC)
    before = replace(sample.report(Verdict.FINDINGS, (sample.DRIFT,)), finished_at=now)
    paged = replace(notice("10.0.0.1"), at=now - timedelta(seconds=31))
    record = LiteralRecord((paged, replace(paged, notifier="team-chat")), week_of_spans(now))
    shown = replace(
        view(1, before),
        started_at=now - timedelta(days=6),
        sessions=Sessions(38, 0, 2),
        datacenters=(
            FollowedDatacenter("sin", True, now - timedelta(seconds=4), 4711, 20),
            FollowedDatacenter("fra", True, now - timedelta(seconds=9), 99, 20),
        ),
        health=AuditHealth(state_readable=True, waiting=0, refused=0),
    )
    found = sample.incident()
    incident = replace(found, findings=tuple(item for item in found.findings if item.subject != "10.20.0.7"))
    with ThreadedPage(shown, record) as page, Browser() as browser:
        page.show(
            replace(
                shown,
                number=2,
                report=replace(incident, mesh="backbone", version=""),
                taken_at=now - timedelta(seconds=3),
            )
        )
        for theme, name in FILES.items():
            browser.open(page.url, theme, WIDTH)
            browser.run_until(
                "document.querySelector('#live.live') && document.querySelector('article.changed')"
            )
            browser.run("document.documentElement.style.overflow = 'hidden'")
            (DOCS / name).write_bytes(browser.picture(height=HEIGHT))


if __name__ == "__main__":
    draw()
