"""The window of nodes that are asked at once: how it grows, shrinks, recovers, and what it may never do."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.gather.pace import FIRST_LATE_AFTER, LEAST_LATE_AFTER, START, Pace, Turn


def rounds(pace: Pace, count: int, now: float = 0.0, *, seconds: float = 0.3, line: float = 0.0) -> float:
    """So many full windows of nodes that all answer after `seconds`, and `line` for each in the window."""
    for _ in range(count):
        turns = []
        while pace.free():
            turns.append(pace.begin(now))
        now += seconds + line * len(turns)
        for turn in turns:
            pace.end(turn, now, answered=True)
    return now


def test_it_starts_low() -> None:
    assert Pace(100).window == START == 8
    assert Pace(3).window == 3


def test_it_grows_up_to_the_most_while_that_brings_more_answers() -> None:
    pace = Pace(100)
    rounds(pace, 20)
    assert pace.window == 100
    rounds(pace, 50)
    assert pace.window == 100


def test_it_stays_low_where_more_at_once_only_makes_each_slower() -> None:
    """A server that answers ten a second, whoever asks."""
    pace = Pace(1000)
    rounds(pace, 100, line=0.1, seconds=0.0)
    assert pace.window <= 4 * START


def test_it_tries_again_now_and_then() -> None:
    """What was slow for a while is not slow for ever."""
    pace = Pace(100)
    now = rounds(pace, 30, line=0.1, seconds=0.0)
    low = pace.window
    rounds(pace, 400, now)
    assert pace.window > 2 * low


def test_one_lost_connection_takes_one_place() -> None:
    """It may be chance."""
    pace = Pace(100)
    rounds(pace, 20)
    pace.overloaded(pace.begin(100.0))
    assert pace.window == 99


def test_several_lost_connections_halve_it_once_a_round() -> None:
    """All that was begun before the cut says the same once more."""
    pace = Pace(100)
    now = rounds(pace, 20)
    turns = [pace.begin(now) for _ in range(100)]
    for turn in turns:
        pace.overloaded(turn)
    assert 40 <= pace.window <= 50
    for turn in turns:
        pace.end(turn, now, answered=False)
    rounds(pace, 20, now)
    assert pace.window >= 60


def test_nodes_that_hang_up_twice_give_back_what_they_took() -> None:
    pace = Pace(100)
    now = rounds(pace, 20)
    turns = [pace.begin(now) for _ in range(20)]
    for turn in turns:
        pace.overloaded(turn)
    assert pace.window < 60
    for turn in turns:
        pace.faulty()
        pace.end(turn, now, answered=False)
    rounds(pace, 5, now)
    assert pace.window > 90


def test_lateness_follows_how_long_answers_take() -> None:
    pace = Pace(100)
    assert pace.late_after == FIRST_LATE_AFTER
    now = rounds(pace, 20, seconds=2.0)
    assert 2.0 < pace.late_after <= 3.0
    rounds(pace, 20, now, seconds=0.01)
    assert pace.late_after == LEAST_LATE_AFTER


def test_a_node_that_is_only_waited_for_takes_no_place_but_room() -> None:
    pace = Pace(1, room=2)
    assert pace.window == 1
    first = pace.begin(0.0)
    assert not pace.free()
    pace.late(first)
    pace.late(first)
    assert pace.free()
    second = pace.begin(1.0)
    pace.late(second)
    assert not pace.free()
    assert pace.under_way == 2
    pace.end(first, 5.0, answered=True)
    assert pace.free()
    pace.end(second, 5.0, answered=False)
    assert pace.under_way == 0


def test_a_node_that_was_waited_for_in_vain_takes_no_place_the_second_time() -> None:
    pace = Pace(1)
    pace.begin(0.0)
    assert not pace.free()
    assert pace.free(counted=False)
    pace.end(pace.begin(0.0, counted=False), 9.0, answered=False)
    assert not pace.free()


def test_where_nobody_answers_in_time_any_more_it_falls_back_to_the_start() -> None:
    """The way to them is full or down. Never below: dead nodes must not bring the sweep to a halt."""
    pace = Pace(100)
    now = rounds(pace, 20)
    for _ in range(2000):
        now += 0.01
        if pace.free():
            pace.late(pace.begin(now))
    assert pace.window == START


Step = tuple[str, float]
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["begin", "begin", "uncounted", "answer", "answer", "silent", "late", "lost", "faulty"]
        ),
        st.floats(0, 10, allow_nan=False),
    ),
    max_size=300,
)


@given(most=st.integers(1, 200), room=st.none() | st.integers(-3, 300), taken=steps)
@settings(max_examples=50, deadline=None)
def test_whatever_happens_it_keeps_its_bounds_and_starves_nobody(
    most: int, room: int | None, taken: list[Step]
) -> None:
    """Between one and the most; with nobody under way, one more may always be asked."""
    pace, now = Pace(most, room), 0.0
    turns: list[Turn] = []
    for kind, value in taken:
        now += value
        if kind in ("begin", "uncounted"):
            counted = kind == "begin"
            if pace.free(counted=counted):
                turns.append(pace.begin(now, counted=counted))
        elif kind == "faulty":
            pace.faulty()
        elif turns:
            turn = turns[int(value * 7) % len(turns)]
            if kind == "late":
                pace.late(turn)
            elif kind == "lost":
                pace.overloaded(turn)
            else:
                turns.remove(turn)
                pace.end(turn, now, answered=kind == "answer")
        assert 1 <= pace.window <= most
        assert pace.under_way == len(turns) <= (max(1, room) if room is not None else len(taken))
        assert pace.late_after >= LEAST_LATE_AFTER
    for turn in turns:
        pace.end(turn, now, answered=False)
    assert pace.under_way == 0
    assert pace.free()


@given(most=st.integers(1, 200), lost=st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_it_recovers_from_any_overload_that_passes(most: int, lost: int) -> None:
    """Cut again and again, and then every node answers: the most is reached in the end."""
    pace, now = Pace(most), 0.0
    for _ in range(lost):
        now = rounds(pace, 2, now)
        turns = [pace.begin(now) for _ in range(pace.window)]
        for turn in turns:
            pace.overloaded(turn)
            pace.end(turn, now, answered=False)
    for _ in range(3_000):
        now = rounds(pace, 1, now)
        if pace.window >= 0.9 * most:
            break
    assert pace.window >= 0.9 * most
