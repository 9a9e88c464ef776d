"""Times as people type them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from auditor.cli.durations import parse_past
from auditor.errors import UsageError

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("1d12h", NOW - timedelta(hours=36)),
        ("2026-02-28", datetime(2026, 2, 28, tzinfo=UTC)),
        ("2026-02-28T23:30", datetime(2026, 2, 28, 23, 30, tzinfo=UTC)),
        ("2026-02-28T23:30+02:00", datetime(2026, 2, 28, 21, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_so_long_ago_or_iso_in_utc(text: str, at: datetime) -> None:
    assert parse_past(text, NOW, "--since") == at


@pytest.mark.parametrize("text", ["", "2", "h", "yesterday", "999999w", "0001-01-01T00:00+14:00"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"--since .*: say it like 2h, 1d or"):
        parse_past(text, NOW, "--since")
