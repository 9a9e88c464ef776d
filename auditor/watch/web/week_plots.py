"""PURE: the last seven days as small plots: numbers for a template to draw.

A plot is 336 wide, one for each half-hour, and 60 high; the page stretches it, while its words keep their size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from auditor.reports.report_words import percent
from auditor.values.past_sweeps import PastSpan
from auditor.values.text import duration

STEP = timedelta(minutes=30)
DAYS = 7
WIDTH = int(timedelta(days=DAYS) / STEP)
HEIGHT = 60
_INSET = 3.0  # pixels above and below, so that a line at the edge is whole


@dataclass(frozen=True, slots=True)
class WeekPlot:
    """Plot of one value over seven days."""

    ident: str
    title: str
    words: str
    """Its numbers, for those who do not see it; under its title."""
    top: str
    bottom: str
    """Values at its edges."""
    line: str = ""
    """Path of SVG; "" where there is no value."""
    area: str = ""
    """Path of SVG that is filled; "": nothing is."""


@dataclass(frozen=True, slots=True)
class Week:
    """Seven days until now, as plots over one axis."""

    plots: tuple[WeekPlot, ...]
    days: tuple[str, ...]
    """Names of its days, each at its midnight, oldest first."""
    first: float
    """Place of the first midnight, 0 to 100."""
    unseen: str
    """How much of it no round has seen; "": none."""


Value = Callable[[PastSpan], float | None]


def week(spans: Sequence[PastSpan], now: datetime) -> Week:
    """Draw the spans of the seven days before now."""
    begin = now - timedelta(days=DAYS)
    placed = {place: span for span in spans if 0 <= (place := int((span.begins_at - begin) / STEP)) < WIDTH}
    midnight = begin.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    first = (midnight - begin) / timedelta(days=DAYS)
    unseen = WIDTH - len(placed)
    return Week(
        (_findings(placed), _coverage(placed), _page_times(placed)),
        tuple(f"{midnight + timedelta(days=day):%a %d}" for day in range(DAYS)),
        round(first * 100, 2),
        ""
        if not unseen
        else f"no round in {duration(unseen * STEP.total_seconds())} of them"
        if placed
        else "",
    )


def _findings(placed: dict[int, PastSpan]) -> WeekPlot:
    most = max((span.most_findings for span in placed.values()), default=0)
    top = max(most, 1)
    line, area = _stepped(placed, lambda span: span.most_findings / top)
    words = "no round yet"
    if placed:
        last = placed[max(placed)].most_findings
        words = f"last {last:,}, most {most:,}" + (
            _when(placed, lambda span: span.most_findings == most) if most else ""
        )
    return WeekPlot("standing", "Standing findings", words, f"{top:,}", "0", line, area)


def _coverage(placed: dict[int, PastSpan]) -> WeekPlot:
    line, _ = _stepped(placed, lambda span: span.least_share)
    words = "no round yet"
    if placed:
        least = min(span.least_share for span in placed.values())
        when = _when(placed, lambda span: span.least_share == least) if least < 1 else ""
        words = f"last {_share(placed[max(placed)].least_share)}, least {_share(least)}{when}"
    return WeekPlot("coverage-week", "Nodes seen", words, "100%", "0%", line)


def _share(share: float) -> str:
    return percent(int(share * 100_000), 100_000)


def _page_times(placed: dict[int, PastSpan]) -> WeekPlot:
    times = {place: span.longest_page for place, span in placed.items() if span.longest_page is not None}
    longest = max(times.values(), default=0.0)
    top = max(longest, 1.0)
    line = "".join(f"M{place + 0.5} {HEIGHT}V{_y(seconds / top)}" for place, seconds in sorted(times.items()))
    words = "nobody was told in these days"
    if times:
        when = _when(placed, lambda span: span.longest_page == longest)
        words = f"last {duration(times[max(times)])}, longest {duration(longest)}{when}"
    return WeekPlot("page-times", "From the news to the page", words, duration(top), "0 s", line)


def _when(placed: dict[int, PastSpan], so: Callable[[PastSpan], bool]) -> str:
    found = next((placed[place] for place in sorted(placed, reverse=True) if so(placed[place])), None)
    return f" on {found.begins_at.astimezone(UTC):%a %d at %H:%M} UTC" if found is not None else ""


def _stepped(placed: dict[int, PastSpan], share_of: Callable[[PastSpan], float]) -> tuple[str, str]:
    """Draw a stepped line, and the area below it; both end where a span was not seen."""
    line, area, before = [], [], -2
    for place in sorted(placed):
        y = _y(share_of(placed[place]))
        line.append(f"V{y}H{place + 1}" if place == before + 1 else f"M{place} {y}H{place + 1}")
        area.append(f"M{place} {HEIGHT}V{y}H{place + 1}V{HEIGHT}Z")
        before = place
    return "".join(line), "".join(area)


def _y(share: float) -> float:
    return round(HEIGHT - _INSET - min(max(share, 0.0), 1.0) * (HEIGHT - 2 * _INSET), 1)
