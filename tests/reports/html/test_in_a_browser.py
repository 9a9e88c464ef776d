"""The HTML report in a real Chromium, in both themes: it says nothing, asks for nothing, and is accessible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.reports.html.html_report import render
from auditor.reports.interface import Layout
from auditor.values.report import Report, Verdict
from tests.parts.browser import Browser, Theme
from tests.reports import sample

THEMES: tuple[Theme, ...] = ("light", "dark")
PHONE, DESK = 390, 1280


def many() -> Report:
    """More contested addresses than are drawn, one of them asked, findings that are muted, more than is written out."""
    contested = [replace(sample.PAIR, subject=f"10.9.0.{number}") for number in range(14)]
    answered = sample.answered(*sample.ANSWERS, disagreement=sample.DISAGREEMENT)
    contested[0] = answered.findings[0]
    contested[13] = replace(contested[13], agreed="shared until 2027-06-30: anycast")
    drifts = [replace(sample.DRIFT, subject=f"worker-{number}") for number in range(60)]
    silenced = replace(sample.UNREGISTERED, silenced="s-3 until 2026-03-02: racks are moved")
    return sample.report(Verdict.FINDINGS, (*contested, *drifts, silenced, sample.GONE), answered.gaps)


PAGES = {
    "incident": sample.incident,
    "clean": sample.clean,
    "inconclusive": sample.every_gap,
    "hostile": sample.hostile,
    "many": many,
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, make in PAGES.items():
        (folder / f"{name}.html").write_text(render(make(), Layout()), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in PAGES}


@pytest.mark.parametrize(
    ("name", "theme"),
    [
        *(("incident", theme) for theme in THEMES),
        ("clean", "light"),
        ("inconclusive", "dark"),
        ("many", "dark"),
    ],
)
def test_a_page_is_quiet_and_accessible(
    browser: Browser, pages: dict[str, Path], name: str, theme: Theme
) -> None:
    """No message on the console, no request, nothing that axe-core finds; the theme is the reader's."""
    browser.open(pages[name], theme, PHONE if theme == "dark" else DESK)
    assert browser.requests() == [pages[name].as_uri()]
    assert browser.violations() == []
    assert browser.console() == []
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(251, 251, 249)", "dark": "rgb(20, 23, 26)"}[theme]


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_the_window(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    browser.open(pages[name], "light", width)
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_the_picture_and_its_table_have_names(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["incident"], "light", DESK)
    assert browser.accessible_names("svg[role=img]")[0] == (
        "Who sends 10.0.0.1 where: 36 observers of 5 regions, 2 servers "
        "12 observers (33%) send to edge-fra-1: fra 6 and iad 6. 23 observers (64%) send to edge-sin-1: nrt 8, "
        "sin 7, ams 6 and fra 2. 1 observer (3%) sends to nobody: iad 1."
    )
    assert browser.accessible_names("table")[0] == "Observers of 10.0.0.1 by region, and whom they send to"
    assert browser.accessible_names("nav") == ["On this page"]


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("name", ["incident", "hostile", "many"])
def test_no_label_of_the_picture_is_cut_off_or_covered(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    """As the browser lays it out, with its own fonts."""
    browser.open(pages[name], "light", width)
    faults = browser.run(
        """
        const faults = [];
        for (const picture of document.querySelectorAll("svg.split-brain")) {
            const frame = picture.getBoundingClientRect();
            const labels = [...picture.querySelectorAll("text.who, text.many")].map(
                text => [text.textContent, text.getBoundingClientRect()]);
            for (const [words, box] of labels) {
                if (box.left < frame.left - 1 || box.right > frame.right + 1) faults.push("outside: " + words);
                for (const [others, other] of labels) {
                    const beside = box.right <= other.left || other.right <= box.left;
                    const apart = box.bottom - 4 <= other.top || other.bottom - 4 <= box.top;
                    if (words !== others && !beside && !apart) faults.push(words + " on " + others);
                }
            }
        }
        return faults;
        """
    )
    assert faults == []
