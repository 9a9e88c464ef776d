"""Nodes that do not answer, while most do, are one warning: not blindness, and not one page for each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.models import BLIND_CHECK, UNSEEN_CHECK, Policy, Route
from alerts.plan import unseen_nodes
from alerts.sender import PLAIN_SENDER
from auditor.errors import GapReason
from auditor.values.findings import Severity
from auditor.values.models import Gap, NodeId
from auditor.values.report import Report
from tests.alerts.incidents import HOUR, MINUTE, Watch, report, silence

FORTY = [NodeId("dc1", f"n{number:02}") for number in range(40)]
TOLD = f"{UNSEEN_CHECK} first-notification"
MORE = f"{UNSEEN_CHECK} claimants-changed"
OVER = f"{UNSEEN_CHECK} resolved"


def forty(*dead: int) -> Report:
    """Forty nodes, of which some do not answer."""
    return report(fleet=FORTY, unseen=[FORTY[number].name for number in dead])


def watching(after: int = 2, below: float = 0.9, **wishes: object) -> Watch:
    """A watch with one notifier of these wishes."""
    return Watch(Policy((Route("slack", **wishes),), blind_after=after, blind_below=below))  # type: ignore[arg-type]


def test_one_dead_server_of_forty_is_a_warning_of_its_own() -> None:
    """After as many sweeps as blindness takes, once, and over when it answers."""
    watch = watching()
    assert [watch.reasons(forty(7)) for _ in range(4)] == [[], [TOLD], [], []]
    found = watch.log.standing[unseen_nodes()].incident
    assert (found.severity, found.nodes, PLAIN_SENDER.leads(found).explain) == (
        Severity.WARNING,
        ("n07",),
        "wgaudit doctor --node n07",
    )
    assert found.summary == "1 registered node of 40 cannot be seen: n07 (connect-refused)."
    assert watch.reasons(forty()) == [OVER]


@pytest.mark.parametrize(
    "wishes",
    [
        {"min_severity": Severity.ERROR},
        {"checks": frozenset({"duplicate-address"})},
        {"regions": frozenset({"nrt"})},
    ],
)
def test_a_notifier_that_does_not_want_it_is_not_told(wishes: dict[str, object]) -> None:
    """Unlike blindness, it obeys every filter."""
    watch = watching(**wishes)
    assert [watch.reasons(forty(7)) for _ in range(3)] == [[], [], []]


def test_its_regions_are_those_of_the_nodes() -> None:
    """Who looks after that region is told."""
    watch = watching(regions=frozenset({"nrt"}))
    seen = replace(forty(7), node_regions={FORTY[7]: "nrt"})
    assert [watch.reasons(seen) for _ in range(2)] == [[], [TOLD]]


def test_a_lost_packet_here_and_there_is_nothing() -> None:
    """In a large fleet there is always a node that does not answer: another one each time."""
    watch = watching()
    assert [watch.reasons(forty(number)) for number in range(10)] == [[]] * 10


def test_nodes_that_join_belong_to_the_same_incident() -> None:
    """One more is told, one that is back is not; the incident is over with the last of them."""
    watch = watching(after=1)
    assert watch.reasons(forty(7)) == [TOLD]
    assert watch.reasons(forty(7, 8)) == [MORE]
    assert watch.reasons(forty(7, 8, 9)) == []  # two pages an hour
    assert watch.reasons(forty(7, 8, 9), after=HOUR) == [MORE]
    assert watch.reasons(forty(9), after=2 * HOUR) == []
    assert watch.reasons(forty()) == [OVER]


@pytest.mark.parametrize(("dead", "share", "blind"), [(4, 0.9, False), (5, 0.9, True), (5, 0.5, False)])
def test_fewer_than_the_configured_share_make_the_audit_blind(dead: int, share: float, blind: bool) -> None:
    """Forty nodes behind one dead bastion are one page, and that is blindness."""
    watch = watching(after=1, below=share)
    check = BLIND_CHECK if blind else UNSEEN_CHECK
    assert watch.reasons(forty(*range(dead))) == [f"{check} first-notification"]


def test_nodes_that_are_left_when_sight_is_back_are_told() -> None:
    """The bastion is back, and one of the servers behind it is not."""
    watch = watching(after=1)
    assert watch.reasons(forty(*range(20))) == [f"{BLIND_CHECK} first-notification"]
    assert sorted(watch.reasons(forty(7))) == [f"{BLIND_CHECK} resolved", TOLD]


def test_an_unseen_node_goes_on_being_one_while_the_audit_is_blind() -> None:
    """Not seeing it is no return."""
    watch = watching(after=1)
    watch.sweep(forty(7))
    assert watch.reasons(forty(*range(20))) == [f"{BLIND_CHECK} first-notification"]
    unread = replace(forty(), registered=frozenset(), observed=frozenset(), covered=False, seen_enough=False)
    assert watch.reasons(unread) == []
    assert unseen_nodes() in watch.log.standing


def test_a_share_that_the_configuration_takes_for_enough_is_no_incident() -> None:
    """`coverage.minimum`: such a sweep may say clean."""
    watch = watching(after=1)
    assert watch.reasons(replace(forty(7), covered=True, seen_enough=True)) == []


@pytest.mark.parametrize("reason", [GapReason.WRONG_HOST, GapReason.CUT_SHORT])
def test_a_node_that_another_incident_tells_of_is_not_told_again(reason: GapReason) -> None:
    """Another server answered in its place, or the sweep had no time to ask it."""
    watch = watching(after=1)
    seen = forty(7)
    gap = Gap("ssh", reason, "planted", "n07", "dc1")
    assert watch.reasons(replace(seen, gaps=(gap,))) == []


def test_a_node_that_left_the_registry_is_not_missed() -> None:
    """It was taken out of service."""
    watch = watching(after=1)
    watch.sweep(forty(7))
    assert watch.reasons(report(fleet=FORTY[:7] + FORTY[8:])) == [OVER]


def test_it_can_be_silenced_by_its_name_and_by_its_nodes() -> None:
    """Planned maintenance of one server."""
    watch = watching(after=1)
    assert watch.reasons(forty(7), [silence(checks=(UNSEEN_CHECK,))]) == []
    assert watch.reasons(forty(7), [silence(names=("n07",))]) == []
    assert watch.reasons(forty(7, 8), [silence(names=("n07",))], after=MINUTE) == [TOLD]
