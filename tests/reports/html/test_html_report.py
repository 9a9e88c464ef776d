"""The HTML report: one file that loads nothing, in which every finding is found and no foreign text is markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings

from auditor.reports.html.finding_views import MOST_PICTURES
from auditor.reports.html.html_report import render
from auditor.reports.html.templating import style_hash, stylesheet
from auditor.reports.interface import Layout
from auditor.reports.selection import Selection
from auditor.values.guide import Guide
from auditor.values.report import Report, Verdict
from tests.reports import sample
from tests.reports.strategies import reports

LAYOUT = Layout()
VOID = {"meta", "link"}
SCRIPT = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Elements of a page, each with its attributes; complains of tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def words(text: str) -> str:
    """The text of a page, on one line."""
    return " ".join(Page(text).words.split())


SAMPLES = {
    "incident": sample.incident,
    "clean": sample.clean,
    "inconclusive": sample.inconclusive,
    "unread registry": sample.unread_registry,
    "every gap": sample.every_gap,
    "hostile": sample.hostile,
}


def test_the_verdict_comes_first_and_what_comes_next_last() -> None:
    text = words(render(sample.incident(), LAYOUT))
    assert text.index("Findings 2 contested addresses, 3 more findings · 38 of 40 nodes seen · 2 gaps") < 200
    assert "2 critical, 2 error, 1 warning; 6 more follow from these" in text
    body = text[text.index("In the pictures") :]
    order = ["Claimed by", "36 observers send it to", "Other findings", "Gone on the second look", "Not seen"]
    order += ["In flight", "Coverage", "What comes next"]
    assert sorted(order, key=body.index) == order


def test_each_picture_has_a_title_a_description_and_a_table() -> None:
    page = Page(render(sample.incident(), LAYOUT))
    pictures = [item for item in page.all("svg") if item.get("role") == "img"]
    ids = {item["id"] for _, item in page.elements if "id" in item}
    assert len(pictures) == 2
    for picture in pictures:
        assert set((picture["aria-labelledby"] or "").split()) <= ids
    assert len(page.all("caption")) == 2


def test_ids_are_unique() -> None:
    page = Page(render(sample.incident(), LAYOUT))
    ids = [item["id"] for _, item in page.elements if "id" in item]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", SAMPLES)
def test_the_page_is_one_file_without_script_or_outside_reference(name: str) -> None:
    page = Page(render(SAMPLES[name](), LAYOUT))
    assert page.all("script") == []
    for _, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on") or key in ("src", "style")]
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))


def test_the_policy_allows_this_very_stylesheet_and_nothing_else() -> None:
    text = render(sample.incident(), LAYOUT)
    css = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(css) == 1
    policy = Page(text).all("meta")[1]["content"]
    assert policy == (
        f"default-src 'none'; style-src '{style_hash(css[0])}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_the_documentation_is_linked_only_where_a_browser_can_read_it() -> None:
    guide = Guide(docs_url="https://wiki.example.net/wgaudit")
    links = [item["href"] for item in Page(render(sample.incident(), Layout(guide=guide))).all("a")]
    assert "https://wiki.example.net/wgaudit#address-drift" in links
    assert "docs/findings.md#address-drift" in words(render(sample.incident(), LAYOUT))


def test_commands_are_those_that_the_reader_can_run() -> None:
    guide = Guide(program=("ssh", "audit-1", "wgaudit"), recording="tonight.json.gz")
    text = words(render(sample.incident(), Layout(guide=guide)))
    assert "ssh audit-1 wgaudit explain 10.0.0.1 --replay tonight.json.gz" in text


def test_mesh_and_version_stand_on_the_page() -> None:
    text = words(render(replace(sample.incident(), mesh="prod-eu", version="9.9.9"), LAYOUT))
    assert "wgaudit · mesh prod-eu · 2026-03-01" in text
    assert "Made by wgaudit 9.9.9." in text


def test_foreign_text_is_no_markup() -> None:
    finding = replace(sample.DRIFT, statement=SCRIPT, subject=f'"{SCRIPT}')
    text = render(sample.report(Verdict.FINDINGS, (finding,)), LAYOUT)
    assert "<script" not in text
    assert SCRIPT in words(text)


def test_foreign_text_hides_and_reorders_nothing() -> None:
    text = render(sample.hostile(), LAYOUT)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e\ufeff\ud800-\udfff]", text)


def test_an_ascii_layout_is_ascii_and_the_same_page() -> None:
    plain = render(sample.hostile(), Layout(ascii_only=True))
    assert plain.isascii()
    assert words(plain) == words(render(sample.hostile(), LAYOUT))
    assert stylesheet("page.css").isascii()


@settings(max_examples=25)
@given(reports())
def test_any_report_is_a_page_without_script(report: Report) -> None:
    page = Page(render(report, LAYOUT))
    assert page.all("script") == []
    for name in ("main", "header", "footer", "h1", "style"):
        assert len(page.all(name)) == 1


def test_of_many_contested_addresses_the_first_are_drawn_and_the_others_are_rows() -> None:
    many = [replace(sample.PAIR, subject=f"10.9.{n // 250}.{n % 250}") for n in range(300)]
    text = render(sample.report(Verdict.FINDINGS, many, registered=5_000, observed=5_000), LAYOUT)
    page = Page(text)
    assert len([item for item in page.all("svg") if item.get("role") == "img"]) == MOST_PICTURES
    assert "288 further contested addresses The first 12 are drawn above; these are not." in words(text)
    assert "10.9.1.49" in page.words
    assert len(text) < 600_000


def test_other_findings_beyond_the_limit_are_counted_with_the_command_for_all() -> None:
    text = words(render(sample.huge(), Layout(limit=10, guide=Guide(recording="x.json.gz"))))
    assert "2,988 findings more." in text
    assert "wgaudit sweep --replay x.json.gz --format html --limit 3000" in text


def test_silenced_and_agreed_findings_say_so() -> None:
    silenced = replace(sample.DRIFT, silenced="s-3 until 2026-03-02: racks are moved")
    agreed = replace(sample.PAIR, agreed="shared until 2027-06-30: anycast")
    text = words(render(sample.report(Verdict.FINDINGS, (silenced, agreed)), LAYOUT))
    assert "Silenced These count; their alerts are muted. worker-nrt-3 · address-drift · s-3 until" in text
    assert "Agreed sharing 1, not counted. 10.0.0.1 · edge-fra-1, edge-sin-1 · shared until" in text


def test_a_selection_leaves_out_findings_and_says_so_but_changes_no_verdict() -> None:
    layout = Layout(selection=Selection(nodes=("worker-nrt-*",)))
    text = words(render(sample.incident(), layout))
    assert "Findings 2 contested addresses, 3 more findings" in text
    assert "Filtered by --node worker-nrt-*: 2 of 5 findings and 1 of 2 gaps shown." in text
    assert "db-sin-2" not in text
