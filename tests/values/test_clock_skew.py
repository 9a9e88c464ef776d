"""How far two clocks are apart, told from one reading of the other one between two of our own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from auditor.values.clock_skew import are_apart, seconds_ahead, skew_words

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "after", "ahead", "words"),
    [
        (-0.1, 0.1, 0.0, "within 5 s of"),
        (-30.0, 30.0, 0.0, "within 5 s of"),  # an answer that was a minute under way says nothing
        (4.9, 5.1, 4.9, "within 5 s of"),
        (34.0, 94.0, 34.0, "34 s ahead of"),
        (-7300.0, -7200.0, -7200.0, "2.0 h behind"),
    ],
)
def test_no_more_is_said_than_is_certain(before: float, after: float, ahead: float, words: str) -> None:
    ours = [NOON + timedelta(seconds=seconds) for seconds in (before, after)]
    assert seconds_ahead(ours[0], NOON, ours[1]) == ahead
    assert skew_words(ahead) == words
    assert are_apart(ahead) == ("within" not in words)
