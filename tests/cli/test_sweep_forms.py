"""The forms of `sweep --format`: each name renders a form of its own."""

from __future__ import annotations

import pytest

from auditor.cli.sweep import FORMATS, renderer
from auditor.reports.interface import Layout
from tests.reports import sample

BEGINNINGS = {
    "table": "FINDINGS  2 contested addresses",
    "json": "{",
    "markdown": "## FINDINGS: 2 contested addresses",
    "html": "<!DOCTYPE html>",
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_each_name_renders_its_form(name: str) -> None:
    assert renderer(name)(sample.incident(), Layout()).lstrip().startswith(BEGINNINGS[name])


def test_no_two_names_render_one_form() -> None:
    assert len({renderer(name) for name in FORMATS}) == len(FORMATS)
