"""Keys made short, and the numbers beside the bars."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from auditor.reports.interface import Layout
from auditor.reports.report_words import percent
from auditor.reports.terminal.page import Page, bar, pasteable, short_keys
from tests.reports.strategies import words


def test_keys_are_shortened_to_what_tells_them_apart() -> None:
    """Eight characters do, unless two keys share them."""
    alike, other = "A" * 20, "A" * 19 + "B"
    lengths = short_keys([alike, other, "C" * 44])
    assert lengths == {alike: 20, other: 20, "C" * 44: 8}


@given(st.lists(st.text("AB", min_size=44, max_size=44), min_size=1, max_size=20, unique=True))
def test_shortened_keys_stay_unique(keys: list[str]) -> None:
    """No shortened key is the start of another key."""
    lengths = short_keys(keys)
    shortened = {key[: lengths[key]] for key in keys}
    assert len(shortened) == len(keys)
    assert all(
        not key.startswith(short) or key[: lengths[key]] == short for short in shortened for key in keys
    )


@pytest.mark.parametrize(
    ("part", "whole", "length"), [(0, 9, 0), (1, 10_000, 1), (5, 10, 5), (9_999, 10_000, 9), (7, 7, 10)]
)
def test_a_bar_is_never_empty_for_something_nor_full_for_less_than_all(
    part: int, whole: int, length: int
) -> None:
    """One observer of ten thousand still shows."""
    assert len(bar(part, whole, 10)) == length


def test_coverage_is_never_rounded_up_to_all() -> None:
    """9,999 of 10,000 is not 100%."""
    assert percent(9_999, 10_000) == "99.9%"
    assert percent(10_000, 10_000) == "100%"


@given(st.lists(words, min_size=1, max_size=4), st.integers(40, 160))
def test_rows_never_exceed_the_width(cells: list[str], width: int) -> None:
    """Wide characters, long words and narrow columns included."""
    from rich.text import Text

    page = Page(Layout(width=width))
    page.row([*((Text(page.name(cell)), 6) for cell in cells), (Text(page.clean(cells[0])), 0)], 2)
    assert max(cell_len(line) for line in page.text().splitlines()) <= width


@pytest.mark.parametrize("target", ["10.0.0.1", "fdaa::1", "edge-sin-1", "10.1.0.0/24"])
def test_plain_targets_go_into_a_command_as_they_are(target: str) -> None:
    """Addresses and ordinary names need no quotes."""
    assert pasteable(target)


@pytest.mark.parametrize("target", ["$(reboot)", "a b", "-rf", "x;y", "", "`id`", "a\n"])
def test_a_target_that_a_shell_would_read_is_not_offered_for_pasting(target: str) -> None:
    """A node's name must not become a command."""
    assert not pasteable(target)
