"""How long one call asks a store that does not answer."""

from __future__ import annotations

from auditor.errors import StoreError
from auditor.repair.claims.call_budget import FIRST_PAUSE, CallBudget


class Reading:
    """A read that fails so many times, and answers then."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def __call__(self) -> str:
        self.failures -= 1
        if self.failures >= 0:
            raise StoreError("500")
        return "answer"


def test_a_read_that_had_to_be_repeated_does_not_make_the_next_one_wait_longer() -> None:
    """In a crowded pool one call takes a hundred reads; some of them fail, and each pause is the first again."""
    pauses: list[float] = []
    budget = CallBudget("allocate edge-1", 30.0, lambda: 0.0, pauses.append)
    for _ in range(3):
        assert budget.read(Reading(2)) == "answer"
    assert pauses == [FIRST_PAUSE, 2 * FIRST_PAUSE] * 3


def test_writes_that_stay_in_doubt_wait_longer_each_time() -> None:
    """Reads in between that answer do not make a store that takes no writes be asked in a hurry."""
    pauses: list[float] = []
    budget = CallBudget("allocate edge-1", 30.0, lambda: 0.0, pauses.append)
    for _ in range(3):
        budget.doubt(StoreError("timeout"))
        budget.read(Reading(0))
    assert pauses == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
