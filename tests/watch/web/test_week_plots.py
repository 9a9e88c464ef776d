"""Seven days as plots: what they show, where they break, and what they say to those who do not see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from auditor.values.past_sweeps import PastSpan
from auditor.watch.web.week_plots import HEIGHT, STEP, WIDTH, week
from tests.watch.web.scripted import week_of_spans

NOW = datetime(2026, 3, 8, 14, 10, tzinfo=UTC)


def test_a_week_says_its_last_and_its_worst_values_and_when() -> None:
    drawn = week(week_of_spans(NOW), NOW)
    assert [(plot.title, plot.words) for plot in drawn.plots] == [
        ("Standing findings", "last 1, most 3 on Fri 06 at 00:40 UTC"),
        ("Nodes seen", "last 100%, least 40% on Tue 03 at 11:40 UTC"),
        ("From the news to the page", "last 0.6 s, longest 1.7 s on Thu 05 at 18:10 UTC"),
    ]
    assert drawn.unseen == "no round in 4.0 h of them"
    assert drawn.days == ("Mon 02", "Tue 03", "Wed 04", "Thu 05", "Fri 06", "Sat 07", "Sun 08")


def test_a_line_breaks_where_no_round_was() -> None:
    spans = [PastSpan(NOW - STEP * back, 1, 1.0) for back in (10, 9, 5, 4)]
    findings = week(spans, NOW).plots[0]
    assert findings.line.count("M") == 2
    assert findings.line.startswith(f"M{WIDTH - 10} ")


def test_without_a_round_nothing_is_drawn_and_said_to_be_fine() -> None:
    drawn = week((), NOW)
    assert [plot.line for plot in drawn.plots] == ["", "", ""]
    assert [plot.words for plot in drawn.plots] == [
        "no round yet",
        "no round yet",
        "nobody was told in these days",
    ]


def test_a_share_is_never_rounded_up_to_all() -> None:
    drawn = week([PastSpan(NOW - STEP, 0, 4_999 / 5_000)], NOW)
    assert drawn.plots[1].words.startswith("last 99.9%, least 99.9%")


@given(
    st.lists(
        st.builds(
            PastSpan,
            st.datetimes(datetime(2026, 2, 20), datetime(2026, 3, 10), timezones=st.just(UTC)),  # noqa: DTZ001
            st.integers(0, 10**6),
            st.floats(0, 1),
            st.none() | st.floats(0, 10**6),
        ),
        max_size=30,
    )
)
def test_all_is_inside_whatever_the_numbers(spans: list[PastSpan]) -> None:
    for plot in week(spans, NOW).plots:
        for path in (plot.line, plot.area):
            for command in (
                path.replace("M", " M").replace("H", " H").replace("V", " V").replace("Z", "").split()
            ):
                if command[0] in "MH":
                    assert 0 <= float(command[1:]) <= WIDTH
                else:
                    assert 0 <= float(command.lstrip("V")) <= HEIGHT


def test_no_span_after_now_or_before_the_week_is_drawn() -> None:
    spans = [PastSpan(NOW + timedelta(hours=1), 9, 1.0), PastSpan(NOW - timedelta(days=8), 9, 1.0)]
    assert week(spans, NOW).plots[0].words == "no round yet"
