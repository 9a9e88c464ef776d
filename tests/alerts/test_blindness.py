"""Blindness is an incident: raised after some sweeps in a row, told to everybody, over when sight is back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alerts.models import BLIND_CHECK, Policy, Route, Status
from alerts.plan import blindness
from alerts.sender import PLAIN_SENDER
from alerts.sight import SHRINK_MEMORY
from auditor.errors import GapReason
from auditor.judge import judge
from auditor.values.findings import Severity
from auditor.values.models import NodeId
from auditor.values.report import Report
from tests.alerts.incidents import HOUR, MINUTE, PAGED, PAIR, Watch, gap, nodes, report, silence
from tests.fleets import healthy

TWO = Policy(routes=(Route("slack"),), blind_after=2)
RAISED = f"{BLIND_CHECK} first-notification"
BACK = f"{BLIND_CHECK} resolved"
UNREAD = report(unread=("dc1", "dc2"))


def fleet_of(size: int, gone: int = 0) -> Report:
    """A fleet of one datacenter of which some nodes are no longer registered."""
    every = [NodeId("dc1", f"n{number}") for number in range(size)]
    return report(fleet=every[gone:])


@pytest.mark.parametrize(
    "blind",
    [
        UNREAD,
        report(unread=("dc2",)),
        report(unseen="ab"),
        report(gaps=[gap(GapReason.CONSUL_FILTERED, datacenter="dc1")]),
        report(gaps=[gap(GapReason.REGISTRY_SUSPECT, "sweep")]),
        report(gaps=[gap(GapReason.CUT_SHORT, "sweep")]),
        report(gone="ab"),
        report(fleet=()),
        report(PAIR, unread=("dc2",)),
    ],
)
def test_not_seeing_enough_twice_in_a_row_is_an_incident(blind: Report) -> None:
    """Whatever the verdict: findings do not make up for what was not seen."""
    watch = Watch(TWO)
    watch.sweep(report(PAIR) if blind.findings else report())
    assert watch.reasons(blind) == []
    assert watch.reasons(blind) == [RAISED]
    assert watch.reasons(blind) == []
    assert watch.reasons(report(*blind.findings)) == [BACK]


def test_one_good_sweep_in_between_begins_the_count_anew() -> None:
    """A blip is no blindness."""
    watch = Watch(TWO)
    assert [watch.reasons(seen) for seen in (UNREAD, report(), UNREAD, report())] == [[]] * 4


@pytest.mark.parametrize("after", [1, 2, 5])
def test_how_many_sweeps_it_takes_is_configured(after: int) -> None:
    """One is at once."""
    watch = Watch(replace(TWO, blind_after=after))
    assert [watch.reasons(UNREAD) for _ in range(after)] == [[]] * (after - 1) + [[RAISED]]


def test_a_gap_that_the_policy_allows_is_no_blindness() -> None:
    """`seen_enough` is the audit's word on it."""
    watch = Watch(replace(TWO, blind_after=1))
    mesh = healthy(minimum_coverage=0.8).not_seen("edge-sin-1")
    assert watch.reasons(judge(mesh.snapshot())) == []


def test_blindness_is_told_to_every_notifier_whatever_it_wants() -> None:
    """Who wants one region only would take silence for health."""
    picky = Route("picky", Severity.CRITICAL, frozenset({"key-drift"}), frozenset({"nrt"}))
    watch = Watch(Policy((Route("slack"), picky), blind_after=1))
    assert [item.notifier for item in watch.sweep(UNREAD).notifications] == ["picky", "slack"]


def test_blindness_says_what_could_not_be_seen() -> None:
    """Up to three reasons, in a fixed order, and how many more."""
    gaps = [gap(GapReason.CONSUL_TIMEOUT, datacenter=f"dc{number}") for number in (5, 4, 3, 2)]
    watch = Watch(replace(TWO, blind_after=1))
    (told,) = watch.sweep(report(gaps=gaps)).notifications
    assert told.incident.summary == (
        "The audit cannot see enough to say clean: consul-timeout in dc2: planted; "
        "consul-timeout in dc3: planted; consul-timeout in dc4: planted; and 1 more."
    )
    assert (told.incident.severity, told.incident.since) == (Severity.ERROR, watch.now)
    (told,) = Watch(replace(TWO, blind_after=1)).sweep(report(unseen="ab")).notifications
    assert (
        "8 of 10 registered nodes were seen; not a (connect-refused), b (connect-refused)."
        in told.incident.summary
    )
    (told,) = Watch(replace(TWO, blind_after=1)).sweep(report(unseen="abcde")).notifications
    assert "c (connect-refused) and 2 more." in told.incident.summary
    assert PLAIN_SENDER.leads(told.incident).explain == "wgaudit sweep"


def test_another_reason_for_blindness_is_not_told_anew() -> None:
    """There is one blindness; the newest reason stands in what is repeated."""
    watch = Watch(replace(TWO, blind_after=1))
    watch.sweep(UNREAD)
    assert watch.reasons(report(unseen="ab")) == []
    assert "8 of 10" in watch.log.standing[blindness()].incident.summary


def test_blindness_can_be_silenced_by_its_name() -> None:
    """A planned Consul upgrade; its end is told if its begin was."""
    watch = Watch(replace(TWO, blind_after=1))
    mute = silence(checks=(BLIND_CHECK,))
    assert watch.reasons(UNREAD, [mute]) == []
    assert watch.reasons(report(), [mute]) == []
    assert watch.reasons(UNREAD, after=2 * HOUR) == [RAISED]
    assert watch.reasons(report(), [mute]) == [BACK]


def test_a_silence_of_nodes_or_regions_does_not_silence_blindness() -> None:
    """It has none."""
    watch = Watch(replace(TWO, blind_after=1))
    mutes = [silence(names="abxy"), silence(regions=("fra",)), silence(checks=(BLIND_CHECK,), names="a")]
    assert watch.reasons(UNREAD, mutes) == [RAISED]


def test_a_notifier_without_resolves_hears_of_the_next_blindness() -> None:
    """Closed silently, as any other incident."""
    watch = Watch(Policy((Route("slack", send_resolved=False),), blind_after=1))
    told = [watch.reasons(seen, after=2 * HOUR) for seen in (UNREAD, report(), UNREAD)]
    assert told == [[RAISED], [], [RAISED]]


def test_blindness_and_incidents_are_told_beside_each_other() -> None:
    """What is seen through a gap is seen."""
    watch = Watch(replace(TWO, blind_after=1))
    assert sorted(watch.reasons(report(PAIR, unread=("dc2",)))) == [RAISED, PAGED]


# -- a registry that shrinks


@pytest.mark.parametrize(
    ("size", "gone", "shrunk"),
    [
        (100, 10, False),
        (100, 11, True),
        (20, 2, False),
        (20, 3, True),
        (9, 1, False),
        (3, 1, False),
        (3, 2, True),
    ],
)
def test_a_registry_that_lost_more_than_a_tenth_and_more_than_one_node_has_shrunk(
    size: int, gone: int, shrunk: bool
) -> None:
    """A reading without any error may still be a part."""
    watch = Watch(replace(TWO, blind_after=1))
    watch.sweep(fleet_of(size))
    made = watch.sweep(fleet_of(size, gone))
    assert bool(made.blind) is shrunk
    if shrunk:
        assert made.blind == (f"the registry shrank from {size:,} nodes to {size - gone:,}",)


def test_nodes_that_are_marked_as_retired_are_no_loss_of_sight() -> None:
    """Half the fleet was sold, and the registry says so."""
    watch = Watch(replace(TWO, blind_after=1))
    watch.sweep(fleet_of(20))
    retired = frozenset(NodeId("dc1", f"n{number}") for number in range(9))
    assert watch.sweep(replace(fleet_of(20, 9), retired=retired)).blind == ()


def test_a_registry_that_shrinks_slowly_is_measured_against_the_sweep_before() -> None:
    """A fleet may be taken down a few nodes at a time."""
    watch = Watch(TWO)
    assert all(not watch.sweep(fleet_of(100, gone)).blind for gone in range(0, 60, 4))


def test_a_shrunken_registry_goes_on_being_measured_against_its_full_size() -> None:
    """And sight is back when its nodes are."""
    watch = Watch(TWO)
    watch.sweep(fleet_of(20))
    assert [watch.reasons(fleet_of(20, 9)) for _ in range(4)] == [[], [RAISED], [], []]
    assert watch.reasons(fleet_of(20, 1)) == [BACK]


def test_after_a_day_of_being_told_the_new_size_is_normal() -> None:
    """Half the fleet was sold. Sweeps every hour."""
    watch = Watch(TWO)
    watch.sweep(fleet_of(20))
    hours = int(SHRINK_MEMORY / timedelta(hours=1))
    for _ in range(hours):
        assert watch.sweep(fleet_of(20, 9), after=timedelta(hours=1)).blind
    assert watch.reasons(fleet_of(20, 9), after=timedelta(hours=1)) == [BACK]
    assert watch.reasons(fleet_of(20, 9), after=timedelta(hours=1)) == []


def test_sweeps_that_lie_days_apart_notice_it_too() -> None:
    """Nothing becomes normal before anybody was told."""
    watch = Watch(TWO)
    days = timedelta(days=3)
    watch.sweep(fleet_of(20))
    assert [watch.reasons(fleet_of(20, 9), after=days) for _ in range(3)] == [[], [RAISED], [BACK]]


def test_a_registry_that_comes_back_shrunken_after_a_long_outage_is_noticed() -> None:
    """Blindness had been told, and its size is older than a day, but nobody has measured since."""
    watch = Watch(TWO)
    watch.sweep(report())
    for _ in range(3):
        watch.sweep(UNREAD, after=timedelta(hours=20))
    made = watch.sweep(report(gone="abc"))
    assert made.blind == ("the registry shrank from 10 nodes to 7",)


def test_a_registry_that_is_read_in_parts_is_not_measured() -> None:
    """The gap says it already."""
    watch = Watch(TWO)
    watch.sweep(report())
    assert watch.sweep(report(unread=("dc2",))).blind == ("consul-timeout in dc2: planted",)
    assert watch.sweep(report()).blind == ()


def test_a_suspect_registry_that_shrank_says_both() -> None:
    """Two signs of one filter."""
    watch = Watch(TWO)
    watch.sweep(report())
    made = watch.sweep(report(gone="ab", gaps=[gap(GapReason.REGISTRY_SUSPECT, "sweep")]))
    assert made.blind == ("registry-suspect: planted", "the registry shrank from 10 nodes to 8")


def test_the_first_sweep_of_all_has_nothing_to_measure_against() -> None:
    """However small the fleet."""
    made = Watch(TWO).sweep(report(fleet=nodes("a")))
    assert (made.blind, made.notifications) == ((), ())


def test_a_blindness_that_was_never_raised_is_not_resolved() -> None:
    """One blind sweep, one good one: nothing was told, nothing is over."""
    watch = Watch(TWO)
    watch.sweep(UNREAD)
    made = watch.sweep(report(), after=MINUTE)
    assert (made.notifications, made.resolved, made.blind_sweeps) == ((), (), 0)
    assert all(entry.status is Status.FIRING for entry in watch.log.entries.values())
