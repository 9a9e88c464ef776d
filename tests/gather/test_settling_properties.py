"""Random small fleets that move between the first look and the second one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.fleet.showing import asked_first
from auditor.values.models import NodeId
from auditor.values.report import Verdict
from tests.moving import FAULTS, MOVES, SIZE, Step, built, marks, settled, silenced, steps, swept

early = st.sets(st.integers(0, SIZE - 1))


@settings(max_examples=80)
@given(steps(FAULTS, 2), steps(FAULTS, 2), steps(MOVES | FAULTS, 4), early, st.integers(1, 2))
def test_what_is_over_at_the_second_look_never_stands_and_what_stands_throughout_is_never_clean(
    standing: list[Step], mended: list[Step], moved: list[Step], first: set[int], late: int
) -> None:
    """Whatever moves, whoever shows it early, and however late the registry follows."""
    before, after = built(standing, mended), built(standing, moved)
    report = swept(before, after, first, late)
    throughout = marks(settled(built(standing, mended))) & marks(settled(after))
    assert [item.summary for item in report.standing if item.fingerprint not in marks(settled(after))] == []
    if throughout:
        assert report.verdict is not Verdict.CLEAN


@settings(max_examples=25)
@given(steps(FAULTS, 3), steps(FAULTS, 2), early, early)
def test_what_a_node_showed_that_fell_silent_is_all_that_is_left_of_what_is_over(
    standing: list[Step], mended: list[Step], first: set[int], silent: set[int]
) -> None:
    """It cannot be looked at again: its first answer is its latest."""
    before, after = built(standing, mended), silenced(built(standing), silent)
    report = swept(before, after, first)
    names = {NodeId("dc1", f"n{number}") for number in silent}
    truth = marks(settled(built(standing)))
    for item in report.standing:
        assert item.fingerprint in truth or asked_first(item) & names
