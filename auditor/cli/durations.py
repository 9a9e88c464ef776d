"""Durations and times as people type them: `2h`, `1d`, `1h30m`, ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from auditor.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_duration(text: str) -> timedelta | None:
    """Read a duration such as 90s, 30m, 2h, 1d or 1h30m; None where it is none."""
    parts = re.findall(r"([0-9]{1,6})([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))


def parse_utc(text: str) -> datetime:
    """Read ISO 8601; without an offset it is in UTC, as every page writes it. Raises `ValueError`, `OverflowError`."""
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).astimezone(UTC)


def parse_past(text: str, now: datetime, option: str) -> datetime:
    """Read a time: so long ago (2h, 1d), or ISO 8601; without an offset it is in UTC, as every page writes it.

    option: named in the `UsageError` that is raised where it is no time.
    """
    length = parse_duration(text)
    try:
        if length is not None:
            return now - length
        return parse_utc(text)
    except (ValueError, OverflowError):
        raise UsageError(f"{option} {text[:40]}: say it like 2h, 1d or 2026-12-01T03:00") from None
