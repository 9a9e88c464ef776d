"""When a watch judges: soon, and never most of the time."""

from __future__ import annotations

from auditor.watch.judging_times import APART, QUIET, JudgingTimes


def judged(seconds: float) -> JudgingTimes:
    """After a judgement that took so long and ended at 100, with news since."""
    times = JudgingTimes()
    times.news(90.0, unconfirmed=False)
    times.begin()
    times.end(100.0 - seconds, 100.0)
    times.news(99.0, unconfirmed=False)
    return times


def test_news_are_judged_when_they_have_come_to_rest_or_a_second_after_the_first() -> None:
    times = JudgingTimes()
    times.news(10.0, unconfirmed=False)
    assert times.due(starting=False) == 10.0 + QUIET
    times.news(10.9, unconfirmed=False)
    assert times.due(starting=False) == 11.0


def test_a_slow_judgement_is_followed_by_as_long_a_rest() -> None:
    assert judged(3.0).due(starting=False) == 103.0


def test_while_nodes_are_first_heard_of_judging_takes_a_tenth_of_the_time_at_most() -> None:
    """Else connecting thousands would wait for judgements that nobody is told of."""
    assert judged(0.1).due(starting=True) == 100.0 + APART
    assert judged(3.0).due(starting=True) == 130.0
