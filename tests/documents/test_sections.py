"""The documents that travel with the program: one source, and a section for everything that has a name."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len

from alerts.models import AlertIdent
from auditor.checks.catalogue import BY_IDENT
from auditor.documents import __path__ as folder
from auditor.documents.sections import NAMES, known_idents, sections_of
from auditor.errors import GapReason
from auditor.reports.interface import Layout
from auditor.reports.terminal.document_page import render_section
from auditor.values.guide import Guide

DOCS = Path(__file__).parents[2] / "docs"


def page(ident: str, layout: Layout | None = None) -> str:
    """The pages of an ident."""
    return "".join(
        render_section(each, layout or Layout(width=80), known_idents()) for each in sections_of(ident)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_document_in_the_package_is_a_link_to_the_one_in_docs(name: str) -> None:
    """No copy that could grow old; building a wheel or an sdist puts the file in its place."""
    (where,) = folder
    link = Path(where) / f"{name}.md"
    assert link.is_symlink()
    assert link.resolve() == DOCS / f"{name}.md"


def test_every_check_alert_and_reason_is_explained_offline() -> None:
    assert {*BY_IDENT, *AlertIdent, *GapReason} <= known_idents()


def test_a_name_of_a_check_and_of_a_reason_has_both_sections() -> None:
    assert [each.place for each in sections_of("wrong-host")] == [
        "docs/findings.md#wrong-host",
        "docs/gaps.md#wrong-host",
    ]


def test_a_section_ends_where_the_next_one_begins_and_code_is_no_heading() -> None:
    (section,) = sections_of("duplicate-address")
    assert section.text.startswith("## duplicate-address\n")
    assert section.text.count("\n## ") == 0
    assert "**False alarms.**" in section.text
    (last,) = sections_of("registry-suspect")
    assert "# The way to a node" not in last.text


@pytest.mark.parametrize("columns", [40, 80])
def test_no_line_of_a_document_is_wider_than_the_screen(columns: int) -> None:
    for name in NAMES:
        assert max(map(cell_len, page(name, Layout(width=columns)).splitlines())) <= columns


def test_a_command_too_long_for_its_comment_has_it_above_and_can_be_copied() -> None:
    text = page("duplicate-address")
    assert (
        "\n# each claimant: its registration and indexes\nconsul kv get -detailed wireguard/nodes/worker-ams-1\n"
        in text
    )


def test_a_link_becomes_the_command_that_tells_of_it_or_the_path() -> None:
    text = " ".join(page("duplicate-address").split())
    assert "The runbook (`wgaudit explain a-duplicate-address`) has the steps" in text
    assert "configure agreed sharing (docs/alerts.md#agreed-sharing)" in text
    own = page("duplicate-address", Layout(guide=Guide(program=("wgaudit-by-hand",))))
    assert "`wgaudit-by-hand explain" in own


def test_where_a_browser_reads_it_is_said_if_that_is_configured() -> None:
    guide = Guide(docs_url="https://wiki.example/findings")
    assert page("key-drift", Layout(guide=guide)).endswith(
        "In a browser: https://wiki.example/findings#key-drift\n"
    )
    assert "browser" not in page("key-drift")


def test_a_screen_of_ascii_gets_nothing_else_and_no_colour_no_escape() -> None:
    for name in NAMES:
        assert page(name, Layout(ascii_only=True)).isascii()
        assert "\x1b" not in page(name)
