"""Fleets that change from sweep to sweep, and while each sweep looks: what is told is so, and what stands is told."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.models import Status
from tests.alerts.incidents import Watch
from tests.fleets import Mesh
from tests.moving import FAULTS, MOVES, SIZE, built, marks, settled, steps, swept

QUIET = 3
"""Sweeps after which nothing that stands may be untold."""

worlds = steps(MOVES | FAULTS, 3).map(built)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(worlds, st.sets(st.integers(0, SIZE - 1)), st.integers(1, 2)), min_size=1, max_size=4)
)
def test_nothing_is_told_that_is_not_so_and_nothing_that_stands_is_untold_after_three_sweeps(
    moments: list[tuple[Mesh, set[int], int]],
) -> None:
    """Each sweep sees the fleet on its way to what it is at the end of that sweep."""
    watch, told = Watch(), set[str]()
    before = built()
    last = moments[-1][0]
    for after, early, late in (*moments, *[(last, set[int](), 1)] * QUIET):
        made = watch.sweep(swept(before, after, early, late))
        true = marks(settled(after))
        for item in made.notifications:
            if item.status is Status.FIRING:
                assert item.incident.fingerprint in true, item.incident.summary
                told.add(item.incident.fingerprint)
            else:
                assert item.incident.fingerprint not in true, item.incident.summary
                told.remove(item.incident.fingerprint)
        before = after
    leading = {item.fingerprint for item in settled(last).standing if item.caused_by is None}
    assert leading <= told
