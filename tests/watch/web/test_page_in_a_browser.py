"""The watch's page in a real Chromium: live, quiet, accessible, on a phone and on a desk, in both themes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from auditor.values.report import Verdict
from tests.parts.browser import Browser, Theme
from tests.reports import sample
from tests.watch.web.scripted import LiteralRecord, fleet_view, notice, view, week_of_spans
from tests.watch.web.threaded_page import ThreadedPage

PHONE, DESK = 390, 1280
TAB = "\ue004"
RECORD = LiteralRecord(
    (notice("10.0.0.1"), notice("10.20.0.7", state="dead", notifier="team-chat")),
    week_of_spans(datetime.now(UTC)),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture(scope="module")
def page() -> Iterator[ThreadedPage]:
    with ThreadedPage(view(1, sample.incident()), RECORD) as served:
        yield served


@pytest.fixture(autouse=True)
def numbers(page: ThreadedPage) -> int:
    """Each test begins with the incident on a page that is served, under a number of its own."""
    page.begin()
    number = NUMBERS.pop(0)
    page.show(view(number, sample.incident()))
    return number


NUMBERS = list(range(10, 2_000, 10))


@pytest.mark.parametrize(("theme", "width"), [("light", DESK), ("dark", PHONE)])
@pytest.mark.parametrize("path", ["", "address/10.0.0.1", "node/edge-sin-1"])
def test_a_page_is_quiet_accessible_and_no_wider_than_the_window(
    browser: Browser, page: ThreadedPage, numbers: int, path: str, theme: Theme, width: int
) -> None:
    if path:
        page.show(fleet_view(numbers + 1))
    browser.open(page.url + path, theme, width)
    browser.run_until("document.querySelector('#live.live') !== null")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert [url for url in asked if not url.startswith(page.url)] == []
    if not path or theme == "dark":
        assert browser.violations() == []
    assert browser.console() == []
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(251, 251, 249)", "dark": "rgb(20, 23, 26)"}[theme]


def test_hostile_names_neither_run_nor_widen_the_page(
    browser: Browser, page: ThreadedPage, numbers: int
) -> None:
    page.show(view(numbers + 1, sample.hostile()))
    browser.open(page.url, "light", PHONE)
    browser.run_until("document.querySelector('#live.live') !== null")
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE
    assert browser.console() == []


def test_a_change_appears_within_a_second_and_is_marked(
    browser: Browser, page: ThreadedPage, numbers: int
) -> None:
    page.show(view(numbers + 1, sample.report(Verdict.FINDINGS, (sample.DRIFT,))))
    browser.open(page.url, "light", DESK)
    browser.run_until("document.querySelector('#live.live') !== null")
    took = []
    for turn in range(3):  # the best of three: this machine has other work
        new = replace(sample.PAIR, subject=f"10.8.0.{turn}", address=None)
        shown = time.monotonic()
        page.show(view(numbers + 2 + turn, sample.report(Verdict.FINDINGS, (new, sample.DRIFT))))
        browser.run_until(
            "[...document.querySelectorAll('article.changed .subject')].some(e => e.textContent === args[0])",
            new.subject,
        )
        took.append(time.monotonic() - shown)
    assert min(took) < 1.0
    assert browser.run("return document.querySelector('article.changed .fresh').textContent").startswith(
        "new at"
    )
    assert browser.run("return document.title").startswith("FINDINGS: 1 contested address")
    assert "10.8.0.2" in browser.run("return document.querySelector('.last-change').textContent")
    assert browser.console() == []


def test_a_change_leaves_the_reader_where_they_are(
    browser: Browser, page: ThreadedPage, numbers: int
) -> None:
    browser.open(page.url, "light", DESK)
    browser.run_until("document.querySelector('#live.live') !== null")
    link = 'a[href="/address/10.20.0.7"]'
    browser.run(
        f"document.querySelector('{link}').focus(); document.getElementById('told').dataset.mine = 'kept'"
    )
    before = browser.run("return scrollY")
    more = replace(sample.PAIR, subject="10.8.1.1")
    incident = sample.incident()
    page.show(view(numbers + 1, replace(incident, findings=(*incident.findings, more))))
    browser.run_until("document.querySelector('article.changed') !== null")
    assert browser.run("return document.activeElement.getAttribute('href')") == "/address/10.20.0.7"
    assert abs(browser.run("return scrollY") - before) < 900
    # What did not change is left alone.
    assert browser.run("return document.getElementById('told').dataset.mine") == "kept"


def test_what_is_no_link_and_was_reached_is_reached_still_after_a_change(
    browser: Browser, page: ThreadedPage, numbers: int
) -> None:
    browser.open(page.url, "light", DESK)
    browser.run_until("document.querySelector('#live.live') !== null")
    wide = "[...document.querySelectorAll('[data-part=findings] [tabindex]')]"
    browser.run(f"document.querySelector('[data-part=findings]').dataset.mine = 'old'; {wide}.at(-1).focus()")
    place = browser.run(f"return {wide}.indexOf(document.activeElement)")
    assert place >= 0
    incident = sample.incident()
    first, *others = incident.findings
    other = replace(first, statement="said otherwise")
    page.show(view(numbers + 1, replace(incident, findings=(other, *others))))
    browser.run_until("document.querySelector('[data-part=findings][data-mine]') === null")
    assert browser.run(f"return {wide}.indexOf(document.activeElement)") == place


def test_all_is_reached_by_the_keyboard(browser: Browser, page: ThreadedPage) -> None:
    browser.open(page.url, "light", DESK)
    wanted = browser.run("return document.querySelectorAll('a, [tabindex]').length")
    reached = []
    for _ in range(wanted):
        browser.press(TAB)
        reached.append(browser.run("const e = document.activeElement; return e.outerHTML"))
    assert len(set(reached)) == len(reached)
    assert not any(html.startswith("<body") for html in reached)


def test_a_lost_watch_is_said_at_once_and_found_again(
    browser: Browser, page: ThreadedPage, numbers: int
) -> None:
    browser.open(page.url, "light", PHONE)
    browser.run_until("document.querySelector('#live.live') !== null")
    page.end()
    browser.run_until(
        "document.querySelector('#live.lost') !== null && document.title.startsWith('LOST since')"
    )
    assert browser.run("return document.getElementById('live').textContent").startswith("Lost at ")
    assert "Below is what was known then." in browser.run(
        "return document.getElementById('live').textContent"
    )
    assert browser.violations() == []
    page.begin()
    page.show(view(numbers + 1, sample.clean()))
    browser.run_until("document.querySelector('#live.live') !== null && document.title.startsWith('CLEAN')")
    browser.console()  # the browser says there that it could not connect


def test_without_script_the_page_has_all_and_comes_again_by_itself(
    browser: Browser, page: ThreadedPage
) -> None:
    browser.open(page.url, "light", PHONE, script=False)
    text = browser.source()
    browser.open("about:blank", "light", PHONE)
    assert '<meta http-equiv="refresh" content="10"' in text
    assert "10.20.0.7" in text
    assert "As of" in text
