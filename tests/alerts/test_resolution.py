"""Resolution is earned: every place that the evidence came from must have been seen again, without it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.models import Log, NotifyReason
from alerts.plan import plan
from auditor.errors import GapReason
from auditor.judge import judge
from auditor.values.findings import Finding, Severity
from auditor.values.models import Gap, Memory
from auditor.values.report import Report
from tests.alerts.incidents import (
    FLEET,
    MINUTE,
    NOW,
    ONE_ROUTE,
    OVER,
    PAGED,
    PAIR,
    Watch,
    fed_back,
    finding,
    gap,
    node,
    report,
)
from tests.fleets import Mesh, contested, trio

MISSING = finding("c", "c", check="missing-peer", severity=Severity.WARNING, by="de")
"""c is absent from d and e, which are all that show it."""
SPLIT = finding("10.0.0.9", "ab", check="split-routing", routed=True)
"""Everybody's routes are its evidence."""
OF_BOTH = finding("10.0.0.7", "ax")
"""a of dc1 and x of dc2."""


@pytest.mark.parametrize(
    ("found", "hiding"),
    [
        (PAIR, report(unseen="a")),
        (PAIR, report(in_flight="a")),
        (PAIR, report(unread=("dc1",))),
        (PAIR, report(gaps=[gap(GapReason.CONSUL_FILTERED, datacenter="dc1")])),
        (PAIR, report(gaps=[gap(GapReason.REGISTRY_UNREADABLE, "file")])),
        (PAIR, report(gone="ab")),
        (OF_BOTH, report(unread=("dc2",))),
        (OF_BOTH, report(unseen="x")),
        (MISSING, report(unseen="d")),
        (MISSING, report(in_flight="e")),
        (MISSING, report(unread=("dc1",))),
        (SPLIT, report(unseen="h")),
        (SPLIT, report(unseen="y")),
        (SPLIT, report(unread=("dc2",))),
    ],
    ids=lambda value: value.check if isinstance(value, Finding) else "",
)
def test_nothing_resolves_while_a_place_of_its_evidence_is_not_seen(found: Finding, hiding: Report) -> None:
    """A claimant, an observer, a registry, a filtered or shrunk view of it: it stands, and says since when."""
    watch = Watch()
    watch.sweep(report(found))
    for _ in range(3):
        made = watch.sweep(hiding)
        assert (made.notifications, made.resolved) == ((), ())
        assert made.standing[found.fingerprint].incident.not_seen_since == NOW + MINUTE
    assert watch.reasons(report()) == [f"{found.check} resolved"]


@pytest.mark.parametrize(
    ("found", "seen"),
    [
        (PAIR, report(unseen="cxy")),
        (PAIR, report(unread=("dc2",))),
        (PAIR, report(in_flight="c")),
        (MISSING, report(unseen="ab")),
        (SPLIT, report()),
        (PAIR, report(gaps=[gap(GapReason.REGISTRY_SUSPECT, "sweep")])),
        (SPLIT, report(gaps=[gap(GapReason.REGISTRY_SUSPECT, "sweep")])),
        (PAIR, report(gaps=[gap(GapReason.CUT_SHORT, "sweep")], unseen="h")),
        (PAIR, report(gaps=[replace(gap(GapReason.CONSUL_TIMEOUT, datacenter="dc1"), node="c")])),
        (PAIR, report(gone="cdefgh")),
    ],
)
def test_a_gap_elsewhere_holds_nothing_up(found: Finding, seen: Report) -> None:
    """It resolves as soon as its own places were seen again."""
    watch = Watch()
    watch.sweep(report(found))
    assert watch.reasons(seen) == [f"{found.check} resolved"]


def test_observers_may_be_seen_again_in_different_sweeps() -> None:
    """Each shows for itself: first d without e, then e without d."""
    watch = Watch()
    watch.sweep(report(MISSING))
    assert watch.reasons(report(unseen="e")) == []
    assert watch.reasons(report(unseen="d")) == ["missing-peer resolved"]


def test_of_everybody_too_each_may_be_seen_again_in_another_sweep() -> None:
    """In a large fleet there is always somebody who does not answer."""
    watch = Watch()
    watch.sweep(report(SPLIT))
    assert [watch.reasons(report(unseen=hidden)) for hidden in ("cde", "dy", "gd")] == [[], [], []]
    assert watch.reasons(report(unseen="c")) == ["split-routing resolved"]


def test_claimants_must_be_seen_again_together() -> None:
    """One without the other shows no collision, though both still hold the address."""
    watch = Watch()
    watch.sweep(report(PAIR))
    for _ in range(3):
        assert watch.reasons(report(unseen="b")) == []
        assert watch.reasons(report(unseen="a")) == []
    assert watch.reasons(report()) == [OVER]


def test_registries_must_be_read_again_together() -> None:
    """a stands in that of dc1 and x in that of dc2: either alone shows no collision."""
    watch = Watch()
    watch.sweep(report(OF_BOTH, unseen="ax"))
    for _ in range(3):
        assert watch.reasons(report(unread=("dc2",))) == []
        assert watch.reasons(report(unread=("dc1",))) == []
    assert watch.reasons(report(unseen="ax")) == [OVER]


def test_an_observer_seen_while_a_registry_was_not_read_must_be_seen_again() -> None:
    """Whoever is not registered is not missed."""
    watch = Watch()
    watch.sweep(report(finding("x", "x", check="missing-peer", by="de")))
    assert watch.reasons(report(unread=("dc2",))) == []
    assert watch.reasons(report(unseen="de")) == []
    assert watch.reasons(report(unseen="d")) == []
    assert watch.reasons(report(unseen="e")) == ["missing-peer resolved"]


def test_what_shows_again_must_be_seen_gone_again() -> None:
    """What was seen before it came back does not count."""
    watch = Watch()
    watch.sweep(report(MISSING))
    watch.sweep(report(unseen="e"))
    watch.sweep(report(MISSING))
    assert watch.reasons(report(unseen="d")) == []
    assert watch.reasons(report(unseen="e")) == ["missing-peer resolved"]


def test_a_place_that_hid_while_others_went_on_showing_it_is_remembered() -> None:
    """b's device showed it in the first sweep; the registry alone shows it in the second; b must be seen."""
    watch = Watch()
    watch.sweep(report(PAIR))
    watch.sweep(report(PAIR, unseen="b"))
    assert watch.reasons(report(unseen="b")) == []
    assert watch.reasons(report()) == [OVER]


def test_an_observer_that_hid_while_others_went_on_showing_it_is_remembered() -> None:
    """h routed it wrongly, then could not be reached, while the rest came round."""
    watch = Watch()
    watch.sweep(report(SPLIT))
    watch.sweep(report(SPLIT, unseen="h"))
    watch.sweep(report(replace(SPLIT, evidence=replace(MISSING.evidence, routing=())), unseen="h"))
    assert watch.reasons(report(unseen="h")) == []
    assert watch.reasons(report()) == ["split-routing resolved"]


def test_a_registry_that_hid_while_others_went_on_showing_it_is_remembered() -> None:
    """It was in dc2's registry too, when that was last read."""
    watch = Watch()
    watch.sweep(report(finding("10.0.0.9", "abx"), unseen="x"))
    watch.sweep(report(PAIR, unread=("dc2",)))
    assert watch.reasons(report(unread=("dc2",))) == []
    assert watch.reasons(report(unseen="x")) == [OVER]


def test_an_observer_in_flight_that_showed_it_must_be_seen_settled() -> None:
    """It was observed, but is no judge of itself yet."""
    watch = Watch()
    watch.sweep(report(SPLIT, in_flight="h"))
    assert watch.reasons(report(unseen="h")) == []
    assert watch.reasons(report()) == ["split-routing resolved"]


def test_a_node_that_left_a_registry_read_whole_holds_nothing_up() -> None:
    """It was removed: that is one way to repair it."""
    watch = Watch()
    watch.sweep(report(PAIR))
    assert watch.reasons(report(gone="b")) == [OVER]


def test_a_node_that_left_a_registry_not_read_whole_is_only_not_seen() -> None:
    """A filtered list is no removal."""
    watch = Watch()
    watch.sweep(report(PAIR))
    assert watch.reasons(report(gone="b", gaps=[gap(GapReason.CONSUL_FILTERED, datacenter="dc1")])) == []


def test_a_claimant_that_was_never_observed_holds_nothing_up() -> None:
    """Its device was no part of the evidence; the registry was."""
    watch = Watch()
    watch.sweep(report(PAIR, unseen="b"))
    assert watch.reasons(report(unseen="b")) == [OVER]


def test_a_claimant_that_was_last_observed_before_it_began_holds_nothing_up() -> None:
    """A server that has been dead for weeks shows nothing of today."""
    watch = Watch()
    watch.sweep(report())
    watch.sweep(report(PAIR, unseen="b"))
    assert watch.reasons(report(unseen="b")) == [OVER]


def test_an_observer_that_was_dead_before_it_began_holds_nothing_up() -> None:
    """Though the evidence came from everybody who could be asked."""
    watch = Watch()
    watch.sweep(report())
    watch.sweep(report(SPLIT, unseen="h"))
    assert watch.reasons(report(unseen="h")) == ["split-routing resolved"]


def test_a_wrong_host_is_over_only_when_the_right_one_answers() -> None:
    """That it no longer answers at all is no repair. It was never observed: another one answered for it."""
    wrong = finding("c", "cd", check="wrong-host")
    watch = Watch()
    watch.sweep(report(wrong, unseen="c"))
    assert watch.reasons(report(unseen="c")) == []
    assert watch.reasons(report()) == ["wrong-host resolved"]


def test_the_time_since_when_it_is_not_seen_is_kept_and_then_cleared() -> None:
    """It is the last time that it was seen, however long it hides."""
    watch = Watch()
    watch.sweep(report(PAIR))
    watch.sweep(report(PAIR))
    for _ in range(3):
        watch.sweep(report(unseen="a"))
        assert watch.log.standing[PAIR.fingerprint].incident.not_seen_since == NOW + 2 * MINUTE
    watch.sweep(report(PAIR))
    assert watch.log.standing[PAIR.fingerprint].incident.not_seen_since is None
    watch.sweep(report(unseen="a"))
    assert watch.log.standing[PAIR.fingerprint].incident.not_seen_since == NOW + 6 * MINUTE


def test_an_incident_that_is_agreed_on_while_a_claimant_hides_is_not_over() -> None:
    """The one that hides may be the one that the agreement does not cover."""
    watch = Watch()
    watch.sweep(report(finding("10.0.0.9", "abc")))
    agreed = replace(PAIR, agreed="anycast")
    assert watch.reasons(report(agreed, unseen="c")) == []
    assert watch.reasons(report(agreed)) == [OVER]


def test_an_incident_that_the_audit_does_not_dare_to_say_again_is_not_over() -> None:
    """A peer of which nobody knows whether it is registered where the registry was not read."""
    ghost = finding("key", check="unregistered-peer", severity=Severity.WARNING, by="ab", observers=9)
    watch = Watch()
    watch.sweep(report(ghost))
    for _ in range(2):
        assert watch.reasons(report(withheld=[ghost], unread=("dc2",))) == []
        assert watch.log.standing[ghost.fingerprint].incident.not_seen_since == NOW + MINUTE
    assert watch.reasons(report(unread=("dc2",))) == []
    assert watch.reasons(report()) == ["unregistered-peer resolved"]


@pytest.mark.parametrize("found", [OF_BOTH, finding("x", "x", check="key-drift"), SPLIT])
def test_an_incident_of_a_datacenter_that_is_no_longer_audited_ends_and_says_so(found: Finding) -> None:
    """Nobody must take it for repaired. That the registry is smaller then is no loss of sight."""
    watch = Watch(replace(ONE_ROUTE, datacenters=frozenset({"dc1", "dc2"})))
    watch.sweep(report(found))
    watch.policy = replace(watch.policy, datacenters=frozenset({"dc1"}))
    made = watch.sweep(report(fleet=[item for item in FLEET if item.datacenter == "dc1"]))
    assert (made.blind, [item.reason for item in made.notifications]) == ((), [NotifyReason.RESOLVED])
    (told,) = made.notifications
    if found is not SPLIT:  # it is about nodes of dc1, and of dc2 are some of those that showed it
        assert told.incident.summary.startswith("The datacenter dc2 is no longer audited. It was: ")


def test_a_datacenter_that_is_left_out_of_every_one_is_no_longer_audited() -> None:
    """`datacenters = ["*", "!dc2"]`."""
    watch = Watch()
    watch.sweep(report(OF_BOTH))
    watch.policy = replace(watch.policy, left_out=frozenset({"dc2"}))
    made = watch.sweep(report(fleet=[item for item in FLEET if item.datacenter == "dc1"], unseen="a"))
    assert made.notifications == ()  # a of dc1 hides
    (told,) = watch.sweep(report(fleet=[item for item in FLEET if item.datacenter == "dc1"])).notifications
    assert told.incident.summary.startswith("The datacenter dc2 is no longer audited. It was: ")


# -- causes that hide, and causes that come later


def test_what_travelled_in_an_incident_that_a_gap_hides_is_no_new_page() -> None:
    """b's device does not answer, so the cause is not shown; its split routing still is."""
    watch = Watch()
    led = replace(SPLIT, caused_by=PAIR.fingerprint, follows_from=(PAIR.reference,))
    watch.sweep(report(PAIR, led))
    left = replace(led, caused_by=None)
    assert watch.reasons(report(left, unseen="b")) == []
    assert watch.reasons(report(left)) == ["split-routing first-notification", OVER]


def test_what_still_shows_in_a_hidden_incident_is_evidence_of_it() -> None:
    """h showed the split when it was last seen; the incident is not over before h was seen again."""
    watch = Watch()
    led = replace(SPLIT, caused_by=PAIR.fingerprint, follows_from=(PAIR.reference,))
    watch.sweep(report(PAIR, led))
    watch.sweep(report(replace(led, caused_by=None), unseen="b"))
    assert watch.log.standing[PAIR.fingerprint].incident.not_seen_since == NOW + MINUTE
    assert watch.reasons(report(unseen="h")) == []
    assert watch.reasons(report()) == [OVER]


def test_what_is_worse_than_the_hidden_incident_is_told_on_its_own() -> None:
    """A gap must not swallow a page."""
    watch = Watch()
    mild = replace(PAIR, severity=Severity.WARNING)
    watch.sweep(report(mild))
    worse = replace(SPLIT, follows_from=(PAIR.reference,))
    assert watch.reasons(report(worse, unseen="b")) == ["split-routing first-notification"]


def test_an_incident_whose_cause_shows_up_later_is_not_called_over() -> None:
    """It still shows; the cause is told beside it, and both end when they are gone."""
    watch = Watch()
    watch.sweep(report(SPLIT))
    led = replace(SPLIT, caused_by=PAIR.fingerprint)
    assert watch.reasons(report(PAIR, led)) == [PAGED]
    assert watch.reasons(report(PAIR, led)) == []
    assert sorted(watch.reasons(report())) == [OVER, "split-routing resolved"]


def test_a_registry_that_is_not_read_pages_nobody_for_its_peers() -> None:
    """They look unregistered to everybody: that is blindness, one page, and not one for each."""
    ghost = finding("key", check="unregistered-peer", severity=Severity.WARNING, by="ab", observers=7)
    watch = Watch()
    assert watch.reasons(report(ghost, unread=("dc2",))) == []
    assert watch.reasons(report(ghost)) == ["unregistered-peer first-notification"]
    assert watch.reasons(report(ghost, unread=("dc2",))) == []
    assert watch.log.standing[ghost.fingerprint].incident.not_seen_since is None


# -- judged by the real checks


def test_the_life_of_the_meshs_incident() -> None:
    """Paged once; one node's sshd stopped sends nothing; repaired, it is resolved."""

    def mended() -> Mesh:
        mesh = contested()
        mesh.node("twin-sin", "10.0.0.10", region="sin")
        for watcher in "abc":
            mesh.machines[node(f"watch-{watcher}")].edits.clear()
        return mesh

    watch = Watch()
    seen = judge(contested().snapshot())
    assert watch.reasons(seen) == [PAGED]
    assert watch.reasons(seen) == []
    for stopped in ("twin-sin", "twin-fra", "watch-a"):
        assert watch.reasons(judge(contested().not_seen(stopped).snapshot())) == []
        assert watch.reasons(judge(mended().not_seen(stopped).snapshot())) == []
        assert watch.reasons(seen) == []
    assert watch.reasons(judge(mended().snapshot())) == [OVER]
    assert watch.reasons(judge(mended().snapshot())) == []


def test_a_mesh_whose_registry_is_not_read_says_nothing_of_the_incident() -> None:
    """No registration, no node asked, nothing found: not the end of it."""
    log = Log()
    made = plan(judge(contested().snapshot()), log, (), NOW, ONE_ROUTE)
    empty = Mesh().snapshot()
    blind = judge(replace(empty, gaps=(Gap("consul", GapReason.CONSUL_UNREACHABLE, "refused"),)))
    made = plan(blind, fed_back(log, made, NOW), (), NOW + MINUTE, ONE_ROUTE)
    assert made.notifications == ()


def test_what_is_over_because_it_was_agreed_on_says_so() -> None:
    """Nobody must take it for repaired: both still hold the address."""
    watch = Watch()
    watch.sweep(report(PAIR))
    (told,) = watch.sweep(report(replace(PAIR, agreed="shared until 2027-01-01: anycast"))).notifications
    assert told.reason is NotifyReason.RESOLVED
    assert told.incident.summary.startswith(
        "Agreed on, shared until 2027-01-01: anycast. It was: Two hold it."
    )


def test_a_drifted_node_that_hides_pages_nobody_anew() -> None:
    """Its live key is on others' devices, and no registration has it; an earlier sweep saw whose it is."""

    def drifted() -> Mesh:
        return trio().rekeyed("edge-sin-1", "new").peers_with("edge-fra-1", "new")

    watch = Watch()
    assert watch.reasons(judge(drifted().snapshot())) == ["key-drift first-notification"]
    for _ in range(2):
        memory = Memory(drifted=watch.log.drifted)
        hidden = replace(drifted().not_seen("edge-sin-1").snapshot(), memory=memory)
        assert watch.reasons(judge(hidden)) == []
    assert watch.reasons(judge(trio().snapshot())) == ["key-drift resolved"]
    assert watch.log.drifted == {}


def test_a_datacenter_that_is_not_read_pages_nobody_for_its_peers() -> None:
    """Nor does its return. Its nodes were observers of the collision, so that ends when they are seen again."""

    def fleet() -> Mesh:
        return trio().node("far-1", "10.0.0.7", dc="dc2").node("far-2", "10.0.0.8", dc="dc2")

    watch = Watch()
    twins = fleet().holds("edge-sin-1", "10.0.0.2")
    assert watch.reasons(judge(twins.snapshot())) == [PAGED]
    assert watch.reasons(judge(twins.without_datacenter("dc2").snapshot())) == []
    assert watch.reasons(judge(fleet().without_datacenter("dc2").snapshot())) == []
    assert watch.reasons(judge(fleet().snapshot())) == [OVER]
