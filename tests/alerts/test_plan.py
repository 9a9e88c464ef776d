"""Whom a plan tells what, and why: one notification an incident, with one reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest

from alerts.models import BLIND_CHECK, Log, NotifyReason, Policy, Route, Status
from alerts.plan import blindness, plan
from alerts.sender import PLAIN_SENDER
from auditor.judge import judge
from auditor.values.addresses import Prefix
from auditor.values.findings import Severity
from tests.alerts.incidents import (
    HOUR,
    MINUTE,
    NOW,
    ONE_ROUTE,
    OVER,
    PAGED,
    PAIR,
    Watch,
    finding,
    incidents,
    report,
    silence,
)
from tests.fleets import contested, key_of

SPLIT = finding("10.0.0.9", "ab", check="split-routing", cause=PAIR, routed=True, follows_from=(PAIR,))
DRIFT = finding("c", "c", check="address-drift", severity=Severity.ERROR, regions=("sin",))


def with_route(**wishes: object) -> Watch:
    """A watch with one notifier of these wishes."""
    return Watch(replace(ONE_ROUTE, routes=(Route("slack", **wishes),)))  # type: ignore[arg-type]


# -- one cause, one page


def test_an_incident_is_told_once_and_then_no_more() -> None:
    """Cron may run it every minute."""
    watch = Watch()
    assert watch.reasons(report(PAIR)) == [PAGED]
    assert [watch.reasons(report(PAIR)) for _ in range(5)] == [[]] * 5


def test_what_follows_from_a_cause_travels_in_its_notification() -> None:
    """One page, with counts of what follows."""
    (notification,) = (
        Watch().sweep(report(SPLIT, PAIR, replace(DRIFT, caused_by=PAIR.fingerprint))).notifications
    )
    assert notification.incident.fingerprint == PAIR.fingerprint
    assert notification.incident.follows == (("address-drift", 1), ("split-routing", 1))


def test_the_incident_of_a_whole_mesh_is_one_page() -> None:
    """Two servers hold one address, three observers disagree: judged by the real checks."""
    made = plan(judge(contested().snapshot()), Log(), (), NOW, ONE_ROUTE)
    (told,) = [item.incident for item in made.notifications]
    assert (told.check, told.subject, told.nodes) == (
        "duplicate-address",
        "10.0.0.9",
        ("twin-fra", "twin-sin"),
    )
    assert {check for check, _ in told.follows} >= {"split-routing", "displaced-allowed-ips"}
    assert sum(observers for _, observers, _ in told.routing) == 3


def test_an_incident_is_as_bad_as_the_worst_that_follows_from_it() -> None:
    """So that no filter drops a page whose follower it would have let through."""
    worse = replace(DRIFT, severity=Severity.CRITICAL, caused_by=PAIR.fingerprint)
    (notification,) = Watch().sweep(report(replace(PAIR, severity=Severity.ERROR), worse)).notifications
    assert notification.incident.severity is Severity.CRITICAL


def test_every_notifier_is_told_on_its_own() -> None:
    """And one that was added later is told of what stands."""
    watch = Watch()
    watch.sweep(report(PAIR))
    watch.policy = replace(watch.policy, routes=(Route("slack"), Route("pagerduty")))
    made = watch.sweep(report(PAIR))
    assert [(item.notifier, item.reason.value) for item in made.notifications] == [
        ("pagerduty", "first-notification")
    ]


def test_a_finding_that_was_gone_on_a_second_look_is_no_incident() -> None:
    """False means looked at again and gone; None only means not looked at twice."""
    assert Watch().reasons(report(replace(PAIR, confirmed=False))) == []
    assert Watch().reasons(report(replace(PAIR, confirmed=None))) == [PAGED]
    assert Watch().reasons(report(replace(PAIR, confirmed=True))) == [PAGED]


def test_an_agreed_finding_is_no_incident_and_neither_is_what_follows_from_it() -> None:
    """Sharing that is meant pages nobody."""
    agreed = [replace(item, agreed="anycast") for item in (PAIR, SPLIT)]
    assert Watch().reasons(report(*agreed)) == []


def test_a_finding_whose_cause_does_not_count_leads_itself() -> None:
    """It is not lost with its cause."""
    assert Watch().reasons(report(replace(PAIR, confirmed=False), SPLIT)) == [
        "split-routing first-notification"
    ]


def test_the_guess_stands_apart_from_the_facts() -> None:
    """Marked as what it is."""
    (told,) = incidents(report(PAIR))
    assert (told.summary, told.guess) == ("Two hold it.", "Probably a race.")
    (plain,) = incidents(report(finding("10.0.0.9", "ab", statement="Improbably shared.", guess=None)))
    assert (plain.summary, plain.guess) == ("Improbably shared.", "")


@pytest.mark.parametrize(
    ("subject", "address", "command"),
    [
        ("10.0.0.9", "10.0.0.9/32", "wgaudit explain 10.0.0.9"),
        ("10.9.0.0/24 of gate", "10.9.0.0/24", "wgaudit explain 10.9.0.0/24"),
        ("fd00::1", "fd00::1/128", "wgaudit explain fd00::1"),
        ("10.0.0.7", None, "wgaudit explain a"),
        ("peers of a", None, "wgaudit explain a"),
        (key_of("ghost"), None, f"wgaudit explain {key_of('ghost')}"),
    ],
)
def test_silences_and_the_next_command_go_by_the_address_that_a_finding_has(
    subject: str, address: Prefix | None, command: str
) -> None:
    """Not by what its subject looks like: a node may be called like an address."""
    (told,) = incidents(report(replace(finding(subject, "a"), address=address)))
    assert (told.address, PLAIN_SENDER.leads(told).explain) == (address or "", command)


def test_order_of_findings_silences_and_routes_does_not_matter() -> None:
    """Byte for byte the same plan."""
    other = finding("10.0.0.8", "cd", regions=("ams",))
    mutes = (silence("s1", regions=("ams",)), silence("s2", checks=("duplicate-address",), regions=("ams",)))
    routes = (Route("slack"), Route("pagerduty", min_severity=Severity.CRITICAL))
    plans = {
        repr(plan(report(*found), Log(), silences, NOW, Policy(order)))
        for found in permutations((PAIR, SPLIT, DRIFT, other))
        for silences in permutations(mutes)
        for order in permutations(routes)
    }
    assert len(plans) == 1


def test_silences_may_come_from_a_generator() -> None:
    """Each incident is held against all of them."""
    other = finding("10.0.0.8", "ab")
    made = plan(report(PAIR, other), Log(), (item for item in [silence(names="ab")]), NOW, ONE_ROUTE)
    assert set(made.silenced) == {PAIR.fingerprint, other.fingerprint}


# -- changes


def test_another_claimant_is_told() -> None:
    """A pair became a triple."""
    watch = Watch()
    watch.sweep(report(PAIR))
    triple = finding("10.0.0.9", "abc")
    assert watch.reasons(report(triple), after=HOUR) == ["duplicate-address claimants-changed"]
    assert watch.reasons(report(triple)) == []
    assert watch.reasons(report(PAIR), after=HOUR) == ["duplicate-address claimants-changed"]


@pytest.mark.parametrize("hidden", [{"unseen": "c"}, {"in_flight": "c"}])
def test_a_claimant_that_a_gap_hides_is_still_one(hidden: dict[str, str]) -> None:
    """Not seeing is no change; once it is seen without the claim, it is."""
    watch = Watch()
    watch.sweep(report(finding("10.0.0.9", "abc", regions=("fra", "sin"))))
    made = watch.sweep(report(PAIR, **hidden))  # type: ignore[arg-type]
    assert made.notifications == ()
    told = made.standing[PAIR.fingerprint].incident
    assert (told.nodes, told.regions) == (("a", "b", "c"), ("fra", "sin"))
    assert watch.reasons(report(PAIR)) == ["duplicate-address claimants-changed"]
    assert watch.log.standing[PAIR.fingerprint].incident.regions == ("fra",)


def test_a_claimant_of_a_registry_that_was_not_read_is_still_one() -> None:
    """Though its own device was never seen."""
    watch = Watch()
    watch.sweep(report(finding("10.0.0.9", "abx"), unseen="x"))
    assert watch.reasons(report(PAIR, unread=("dc2",))) == []
    assert watch.reasons(report(PAIR)) == ["duplicate-address claimants-changed"]


def test_a_claimant_that_was_never_observed_is_none_once_its_registration_is_mended() -> None:
    """The registry was all that ever said so."""
    watch = Watch()
    watch.sweep(report(finding("10.0.0.9", "abc"), unseen="c"))
    assert watch.reasons(report(PAIR, unseen="c")) == ["duplicate-address claimants-changed"]


def test_a_name_that_needs_its_datacenter_is_not_another_claimant() -> None:
    """Another datacenter has an `a` too, then is not read, then is: nobody need hear of that."""
    watch = Watch()
    watch.sweep(report(PAIR))
    assert watch.reasons(report(PAIR, ambiguous="a")) == []
    assert watch.log.standing[PAIR.fingerprint].incident.nodes == ("a@dc1", "b")
    assert watch.reasons(report(PAIR)) == []


def test_a_node_of_the_same_name_elsewhere_is_another_claimant() -> None:
    """The datacenter is a part of who it is."""
    watch = Watch()
    watch.sweep(report(PAIR, ambiguous="a"))
    moved = finding("10.0.0.9", ("a@dc3", "b"))
    assert watch.reasons(report(moved, ambiguous="a")) == ["duplicate-address claimants-changed"]


def test_a_severity_that_rises_is_told_and_one_that_falls_is_not() -> None:
    """Nor is the way back up to what was told already."""
    watch = Watch()
    low = replace(PAIR, severity=Severity.WARNING)
    watch.sweep(report(low))
    assert watch.reasons(report(PAIR)) == ["duplicate-address severity-raised"]
    assert watch.reasons(report(low)) == []
    assert watch.reasons(report(PAIR)) == []


@pytest.mark.parametrize(
    ("interval", "told"), [(None, 0), (0.0, 6), (2700.0, 6), (4000.0, 3), (5400.0, 3), (86400.0, 0)]
)
def test_a_standing_incident_is_told_again_after_the_interval(interval: float | None, told: int) -> None:
    """Six more sweeps, 45 minutes apart; None is never, 0 is each time."""
    watch = with_route(repeat_interval=interval)
    watch.sweep(report(PAIR))
    again = [reason for _ in range(6) for reason in watch.reasons(report(PAIR), after=45 * MINUTE)]
    assert again == ["duplicate-address repeat-interval-elapsed"] * told


def test_with_every_sweep_means_every_sweep_also_where_the_clock_was_set_back() -> None:
    """An Alertmanager that is not told again takes the incident for over."""
    watch = with_route(repeat_interval=0.0)
    watch.sweep(report(PAIR))
    assert watch.reasons(report(PAIR), after=-timedelta(hours=1)) == [
        "duplicate-address repeat-interval-elapsed"
    ]


# -- the end


def test_what_is_no_longer_shown_is_resolved_once() -> None:
    """With its age; a recurrence long after is a first notification again."""
    watch = Watch()
    watch.sweep(report(PAIR))
    (end,) = watch.sweep(report()).notifications
    assert (end.reason, end.status) == (NotifyReason.RESOLVED, Status.RESOLVED)
    assert (end.incident.since, end.incident.nodes) == (NOW + MINUTE, ("a", "b"))
    assert watch.reasons(report()) == []
    assert watch.reasons(report(PAIR), after=2 * HOUR) == [PAGED]
    assert watch.log.standing[PAIR.fingerprint].first_seen == watch.now


def test_a_notifier_that_wants_no_resolves_is_paged_anew_when_it_comes_back() -> None:
    """It is closed silently, not forgotten."""
    watch = with_route(send_resolved=False)
    watch.sweep(report(PAIR))
    made = watch.sweep(report())
    assert (made.notifications, made.closed) == ((), (("slack", PAIR.fingerprint),))
    assert watch.sweep(report()).closed == ()
    assert watch.reasons(report(PAIR), after=2 * HOUR) == [PAGED]


def test_only_who_was_told_of_it_is_told_that_it_is_over() -> None:
    """A resolve without a trigger is noise, and PagerDuty refuses it."""
    watch = Watch(Policy((Route("all"), Route("other", checks=frozenset({"key-drift"})))))
    watch.sweep(report(PAIR))
    assert [item.notifier for item in watch.sweep(report()).notifications] == ["all"]


def test_a_notifier_that_no_longer_wants_it_still_hears_that_it_is_over() -> None:
    """Its page is open at the other side."""
    watch = Watch()
    watch.sweep(report(PAIR))
    watch.policy = replace(watch.policy, routes=(Route("slack", min_severity=Severity.CRITICAL),))
    assert watch.reasons(report(replace(PAIR, severity=Severity.ERROR))) == []
    assert watch.reasons(report()) == [OVER]


# -- filters


@pytest.mark.parametrize(
    ("wishes", "told"),
    [
        ({}, ["duplicate-address", "address-drift"]),
        ({"min_severity": Severity.CRITICAL}, ["duplicate-address"]),
        ({"min_severity": Severity.ERROR}, ["duplicate-address", "address-drift"]),
        ({"checks": frozenset({"address-drift"})}, ["address-drift"]),
        ({"checks": frozenset({BLIND_CHECK})}, []),
        ({"regions": frozenset({"sin", "nrt"})}, ["address-drift"]),
        ({"regions": frozenset({"nrt"})}, []),
        ({"regions": frozenset({"fra"}), "checks": frozenset({"address-drift"})}, []),
    ],
)
def test_a_notifier_is_told_what_it_wants(wishes: dict[str, object], told: list[str]) -> None:
    """All wishes hold together; none means everything."""
    assert with_route(**wishes).reasons(report(PAIR, DRIFT)) == [
        f"{check} first-notification" for check in told
    ]


# -- silences


def test_a_silence_takes_firing_notifications_away_and_changes_nothing_else() -> None:
    """The incident stands, is counted as silenced, and everything else is told."""
    mute = silence(addresses=("10.0.0.9/32",))
    loud, quiet = Watch(), Watch()
    with_it, without = quiet.sweep(report(PAIR, DRIFT), [mute]), loud.sweep(report(PAIR, DRIFT))
    assert with_it.notifications == without.notifications[1:]
    assert with_it.silenced == {PAIR.fingerprint: "s1"}
    assert replace(with_it, notifications=(), silenced={}) == replace(without, notifications=())


def test_when_a_silence_ends_what_was_never_told_is_told_first() -> None:
    """And its age is that of the incident, not of the silence's end."""
    watch = Watch()
    mute = silence(names="ab", end=NOW + 3 * MINUTE)
    assert [watch.reasons(report(PAIR), [mute]) for _ in range(3)] == [[], [], [PAGED]]
    assert watch.log.standing[PAIR.fingerprint].incident.since == NOW + MINUTE


def test_what_changed_under_a_silence_is_told_when_it_ends() -> None:
    """As a change, for it had been told before."""
    watch = Watch()
    watch.sweep(report(PAIR))
    triple, mute = finding("10.0.0.9", "abc"), silence(checks=("duplicate-address",))
    assert watch.reasons(report(triple), [mute]) == []
    assert watch.reasons(report(triple)) == ["duplicate-address claimants-changed"]


def test_a_silenced_incident_that_was_paged_still_gets_its_resolve() -> None:
    """Or the page would stay open at the other side for ever."""
    watch = Watch()
    watch.sweep(report(PAIR))
    mute = silence(checks=("duplicate-address",))
    assert watch.reasons(report(PAIR), [mute]) == []
    assert watch.reasons(report(), [mute]) == [OVER]


def test_a_silenced_incident_that_was_never_paged_ends_in_silence() -> None:
    """Nobody heard of it."""
    watch, mute = Watch(), silence(checks=("duplicate-address",))
    assert [watch.reasons(seen, [mute]) for seen in (report(PAIR), report())] == [[], []]


def test_a_mesh_that_is_given_a_name_later_ends_its_incidents_once_and_tells_them_anew() -> None:
    """Each under its own fingerprint: what a vendor holds open under the old one is closed."""
    found = finding("10.0.0.9", "ab")
    watch = Watch(Policy((Route("slack"),)))
    watch.sweep(report(found))
    named = replace(report(replace(found, mesh="prod-eu")), mesh="prod-eu")
    told = watch.sweep(named).notifications

    assert [(item.reason, item.incident.fingerprint, item.incident.mesh) for item in told] == [
        (NotifyReason.FIRST_NOTIFICATION, replace(found, mesh="prod-eu").fingerprint, "prod-eu"),
        (NotifyReason.RESOLVED, found.fingerprint, ""),
    ]
    assert watch.sweep(named).notifications == ()


def test_blindness_of_two_meshes_is_two_incidents() -> None:
    watch = Watch(Policy((Route("slack"),), blind_after=1))
    blind = replace(report(unseen="abcdefgh"), mesh="prod-eu")
    (told,) = watch.sweep(blind).notifications
    assert (told.incident.fingerprint, told.incident.mesh) == (blindness("prod-eu"), "prod-eu")
    assert blindness("prod-eu") != blindness()
