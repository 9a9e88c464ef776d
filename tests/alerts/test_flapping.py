"""What comes and goes is one incident: told twice an hour at most, and over once it stayed away as long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.models import NotifyReason, Policy, Route
from alerts.plan import blindness
from auditor.values.findings import Severity
from tests.alerts.incidents import HOUR, MINUTE, NOW, ONE_ROUTE, OVER, PAGED, PAIR, Watch, finding, report

BACK = "duplicate-address flapping"
EVERY_SWEEP = replace(ONE_ROUTE, routes=(Route("alertmanager", repeat_interval=0.0),))


@pytest.mark.parametrize("minutes", [1, 10, 30, 60])
def test_two_agents_that_fight_over_one_route_page_twice_and_no_more(minutes: int) -> None:
    """It opens and ends once, comes back flapping, and then stands, however long they fight on."""
    watch = Watch()
    told = [
        watch.reasons(seen, after=minutes * MINUTE) for _ in range(20) for seen in (report(PAIR), report())
    ]
    assert told == [[PAGED], [OVER], [BACK], *([[]] * 37)]


def test_what_flaps_is_over_once_it_stayed_away_as_long_as_it_flapped() -> None:
    """It went away for the first time in minute 2 and came back for the last time in minute 5."""
    watch = Watch()
    for shown in (True, False, True, False, True):
        watch.sweep(report(*([PAIR] if shown else [])))
    assert watch.now == NOW + 5 * MINUTE
    assert [watch.reasons(report()) for _ in range(5)] == [[], [], [], [OVER], []]


def test_an_incident_that_is_away_while_it_flaps_says_since_when_it_was_not_seen() -> None:
    """And since when it comes and goes; its age is that of the first time."""
    watch = Watch()
    for seen in (report(PAIR), report(), report(PAIR), report()):
        watch.sweep(seen)
    found = watch.log.standing[PAIR.fingerprint].incident
    assert (found.since, found.flapping_since, found.not_seen_since) == (
        NOW + MINUTE,
        NOW + 2 * MINUTE,
        NOW + 3 * MINUTE,
    )


@pytest.mark.parametrize("shown", [2, 5, 20])
def test_a_fight_that_shows_in_most_sweeps_is_never_called_over(shown: int) -> None:
    """It would be called so while it stands, for its pages of this hour are used up."""
    watch = Watch()
    told = [watch.reasons(seen) for _ in range(8) for seen in (*[report(PAIR)] * shown, report())]
    assert [each for each in told if each] == [[PAGED], [OVER], [BACK]]


def test_what_stood_for_an_hour_after_it_flapped_ends_at_once_again() -> None:
    """A fight that was over before the address was repaired."""
    watch = Watch()
    for seen in (report(PAIR), report(), report(PAIR)):
        watch.sweep(seen)
    watch.sweep(report(PAIR), after=HOUR)
    assert watch.log.standing[PAIR.fingerprint].incident.flapping_since is None
    assert watch.reasons(report()) == [OVER]


def test_what_stood_for_days_and_came_back_once_does_not_wait_for_days() -> None:
    """It flapped from its first end on, not from its beginning."""
    watch = Watch()
    watch.sweep(report(PAIR))
    watch.sweep(report(PAIR), after=100 * HOUR)
    assert [watch.reasons(seen) for seen in (report(), report(PAIR), report())] == [[OVER], [BACK], []]
    assert watch.reasons(report()) == [OVER]


def test_what_comes_back_long_after_its_end_is_a_new_incident() -> None:
    """More than an hour later."""
    watch = Watch()
    watch.sweep(report(PAIR))
    watch.sweep(report())
    assert watch.reasons(report(PAIR), after=HOUR + MINUTE) == [PAGED]
    assert watch.reasons(report()) == [OVER]


def test_a_gap_that_hides_an_incident_is_no_coming_and_going() -> None:
    """It stood all the time."""
    watch = Watch()
    for seen in (report(PAIR), report(unseen="a"), report(PAIR)):
        watch.sweep(seen)
    assert watch.log.standing[PAIR.fingerprint].flapping is None
    assert watch.reasons(report()) == [OVER]


def test_what_flaps_and_is_agreed_on_ends_at_once() -> None:
    """Nobody waits for it to come back."""
    watch = Watch()
    for seen in (report(PAIR), report(), report(PAIR)):
        watch.sweep(seen)
    assert watch.reasons(report(replace(PAIR, agreed="anycast"))) == [OVER]


def test_an_alertmanager_is_told_of_what_flaps_with_every_sweep() -> None:
    """It would take the incident for over; that is a state, and no page."""
    watch = Watch(EVERY_SWEEP)
    told = [item for _ in range(4) for seen in (report(PAIR), report()) for item in watch.reasons(seen)]
    assert told == [PAGED, OVER, BACK, *(["duplicate-address repeat-interval-elapsed"] * 5)]


def test_claimants_that_change_all_the_time_page_twice_an_hour() -> None:
    """What is left untold is told when there is room, if it is still so."""
    watch = Watch()
    pages = []
    for minute in range(0, 180, 10):
        names = "abc" if minute % 20 else "ab"
        made = watch.sweep(report(finding("10.0.0.9", names)), after=10 * MINUTE)
        pages += [watch.now for _ in made.notifications]
    assert len(pages) == 6
    assert all(later - earlier >= HOUR for earlier, later in zip(pages, pages[2:], strict=False))


def test_a_severity_that_could_not_be_told_is_told_an_hour_later() -> None:
    """It is delayed, not lost."""
    watch = Watch()
    watch.sweep(report(replace(PAIR, severity=Severity.WARNING)))
    watch.sweep(report(replace(PAIR, severity=Severity.ERROR)))
    assert watch.reasons(report(PAIR)) == []
    assert watch.reasons(report(PAIR), after=HOUR) == ["duplicate-address severity-raised"]


def test_a_repeat_interval_of_a_minute_pages_twice_an_hour() -> None:
    """No setting is worth more."""
    watch = Watch(Policy((Route("slack", repeat_interval=60.0),), blind_after=1000))
    told = sum(len(watch.reasons(report(PAIR))) for _ in range(60))
    assert told == 2


def test_a_clock_that_was_set_back_mutes_nothing() -> None:
    """A page of the future does not count."""
    watch = Watch()
    watch.sweep(report(replace(PAIR, severity=Severity.WARNING)))
    watch.sweep(report(replace(PAIR, severity=Severity.ERROR)))
    assert watch.reasons(report(PAIR), after=-24 * HOUR) == ["duplicate-address severity-raised"]


def test_each_notifier_is_counted_on_its_own() -> None:
    """One that was added later hears of what stands, flapping or not."""
    watch = Watch()
    for seen in (report(PAIR), report(), report(PAIR)):
        watch.sweep(seen)
    watch.policy = replace(watch.policy, routes=(Route("slack"), Route("new")))
    (told,) = watch.sweep(report(PAIR)).notifications
    assert (told.notifier, told.reason) == ("new", NotifyReason.FIRST_NOTIFICATION)


def test_blindness_that_comes_and_goes_is_one_incident() -> None:
    """A Consul that answers every other minute."""
    watch = Watch(Policy((Route("slack"),), blind_after=1))
    told = [
        item for _ in range(6) for seen in (report(unread=("dc2",)), report()) for item in watch.reasons(seen)
    ]
    assert told == ["audit-blind first-notification", "audit-blind resolved", "audit-blind flapping"]
    assert blindness() in watch.log.standing
