"""What is told between two rounds: properties over random sweeps, each looked at before its round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.between_rounds import NEWS, News, between_rounds, has_begun
from alerts.models import Log, NotifyReason, Policy, Route, Status
from alerts.plan import plan
from auditor.values.findings import Severity
from tests.alerts.incidents import (
    MINUTE,
    NOW,
    PAIR,
    Watch,
    fed_back,
    finding,
    gap,
    nodes,
    report,
    silence,
)
from tests.alerts.test_plan_properties import OF_ITSELF, POLICY, TANGLED, Turn, histories, turns


def news_of(watch: Watch, turn: Turn) -> News:
    """What would be told now, between two rounds."""
    return between_rounds(plan(turn.seen, watch.log, turn.silences, watch.now, watch.policy), watch.log)


def told(watch: Watch, turn: Turn) -> News:
    """Tells between two rounds: the memory has it, as the notification log keeps it."""
    news = news_of(watch, turn)
    watch.log = remembered(watch.log, news, watch)
    return news


def remembered(log: Log, news: News, watch: Watch) -> Log:
    """The memory with the news in it, all accepted."""
    made = replace(
        plan(report(), Log(), (), watch.now, Policy()), notifications=news.notifications, standing={}
    )
    return replace(
        log,
        entries=fed_back(log, made, watch.now).entries,
        standing={**log.standing, **news.standing},
        nodes={**log.nodes, **news.nodes},
        ended={mark: item for mark, item in log.ended.items() if mark not in news.standing},
    )


two_looks = st.lists(st.tuples(turns(TANGLED), turns(TANGLED)), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(histories(TANGLED))
def test_what_is_told_between_rounds_the_round_would_have_told(history: list[Turn]) -> None:
    """With the same reason and the same words; and nothing but what begins or grows worse."""
    watch = Watch(POLICY)
    for turn in history:
        news = news_of(watch, turn)
        whole = plan(turn.seen, watch.log, turn.silences, watch.now, POLICY)
        assert set(news.notifications) <= set(whole.notifications)
        for item in news.notifications:
            assert item.status is Status.FIRING
            assert item.reason in NEWS
            assert item.incident.fingerprint not in OF_ITSELF
        assert news.standing.keys() == {item.incident.fingerprint for item in news.notifications}
        watch.sweep(turn.seen, turn.silences)


@settings(max_examples=60, deadline=None)
@given(histories(TANGLED))
def test_all_that_begins_or_grows_worse_and_shows_is_told_at_once(history: list[Turn]) -> None:
    watch = Watch(POLICY)
    for turn in history:
        news = set(news_of(watch, turn).notifications)
        for item in watch.sweep(turn.seen, turn.silences, after=0 * MINUTE).notifications:
            shows = item.incident.not_seen_since is None and item.incident.fingerprint not in OF_ITSELF
            assert (item in news) is (item.reason in NEWS and shows)
        watch.now += MINUTE


@settings(max_examples=60, deadline=None)
@given(two_looks)
def test_nothing_is_told_twice(looks: list[tuple[Turn, Turn]]) -> None:
    """Neither between two rounds nor by the round after it, but for who is told with every round."""
    watch = Watch(POLICY)
    for early, late in looks:
        first = {(item.notifier, item.incident.fingerprint) for item in told(watch, early).notifications}
        assert told(watch, early).notifications == ()
        before = watch.log
        again = {
            (item.notifier, item.incident.fingerprint)
            for item in watch.sweep(early.seen, early.silences).notifications
            if item.reason is not NotifyReason.REPEAT_INTERVAL_ELAPSED
        }
        assert not first & again
        assert before.sweep + 1 == watch.log.sweep
        watch.sweep(late.seen, late.silences)


@settings(max_examples=80, deadline=None)
@given(two_looks)
def test_the_round_stands_as_if_it_had_told_all_by_itself(looks: list[tuple[Turn, Turn]]) -> None:
    """Whatever was told in between: the same incidents stand, and as much must be seen again before they end."""
    watch, silent = Watch(POLICY), Watch(POLICY)
    for early, late in looks:
        watch.now += MINUTE
        told(watch, early)
        watch.sweep(early.seen, early.silences, after=0 * MINUTE)
        silent.sweep(early.seen, early.silences)
        for both in (watch, silent):
            both.sweep(late.seen, late.silences)
        assert watch.log.standing.keys() == silent.log.standing.keys()
        for mark, item in watch.log.standing.items():
            other = silent.log.standing[mark]
            assert (item.nodes, item.everybody, item.datacenters) == (
                other.nodes,
                other.everybody,
                other.datacenters,
            )
        assert watch.log.blind_sweeps == silent.log.blind_sweeps
        assert watch.log.unseen == silent.log.unseen
        assert watch.log.nodes == silent.log.nodes


@settings(max_examples=80, deadline=None)
@given(st.lists(turns(TANGLED), min_size=2, max_size=6))
def test_a_report_in_which_nothing_has_begun_holds_no_news(looks: list[Turn]) -> None:
    """So none is planned for it; whoever was silenced meanwhile waits for the round."""
    watch = Watch(POLICY)
    made = plan(looks[0].seen, watch.log, (), watch.now, POLICY)
    for look in looks:
        turn = replace(look, silences=())
        before, made = made, plan(turn.seen, watch.log, (), watch.now, POLICY)
        news = told(watch, turn)
        if look is not looks[0] and not has_begun(turn.seen, before):
            assert news == News()


def one(found: Sequence[object]) -> object:
    """The only one of its kind."""
    (single,) = found
    return single


def test_an_incident_that_everybody_showed_needs_everybody_to_be_seen_without_it() -> None:
    """Told between two rounds, and gone by the round, which does not see one of the observers."""
    watch = Watch()
    split = finding("10.0.0.7", "ef", check="split-routing", routed=True)
    assert one(told(watch, Turn(report(split), ())).notifications)
    assert watch.reasons(report(unseen="c")) == []
    assert watch.reasons(report()) == ["split-routing resolved"]


def test_what_was_told_between_rounds_and_is_gone_by_the_round_is_resolved_by_it() -> None:
    watch = Watch()
    told(watch, Turn(report(PAIR), ()))
    assert watch.reasons(report()) == ["duplicate-address resolved"]


def test_between_rounds_nothing_resolves_changes_or_repeats() -> None:
    watch = Watch(Policy((Route("all", repeat_interval=0.0),), blind_after=1))
    watch.sweep(report(PAIR))
    more = finding("10.0.0.9", "abx")
    assert told(watch, Turn(report(), ())) == News()
    assert told(watch, Turn(report(more), ())) == News()
    assert told(watch, Turn(report(PAIR, gaps=[gap()]), ())) == News()
    assert watch.reasons(report(more)) == ["duplicate-address claimants-changed"]


def test_a_worse_severity_is_told_at_once_with_the_claimants_of_then() -> None:
    watch = Watch()
    watch.sweep(report(finding("10.0.0.9", "ab", severity=Severity.WARNING)))
    (item,) = told(watch, Turn(report(finding("10.0.0.9", "abx")), ())).notifications
    assert (item.reason, item.incident.nodes) == (NotifyReason.SEVERITY_RAISED, ("a", "b", "x"))
    assert watch.reasons(report(finding("10.0.0.9", "abx"))) == []


def test_a_silenced_incident_is_not_told_and_not_remembered_as_told() -> None:
    watch = Watch()
    assert told(watch, Turn(report(PAIR), (silence(addresses=["10.0.0.9/32"]),))) == News()
    assert told(watch, Turn(report(PAIR), ())).standing.keys() == {PAIR.fingerprint}


def test_what_comes_back_soon_after_its_end_is_told_at_once_as_flapping() -> None:
    watch = Watch()
    watch.sweep(report(PAIR))
    watch.sweep(report())
    watch.now += MINUTE
    (item,) = told(watch, Turn(report(PAIR), ())).notifications
    assert item.reason is NotifyReason.FLAPPING
    assert watch.log.standing[PAIR.fingerprint].first_seen == NOW + MINUTE
    assert watch.log.ended == {}


def test_who_was_judged_is_remembered_with_the_number_of_the_coming_round() -> None:
    """And only with news: else nothing is written at all."""
    watch = Watch()
    watch.sweep(report())
    news = told(watch, Turn(report(PAIR, unseen="h"), ()))
    assert set(news.nodes) == set(report().registered) - set(nodes("h"))
    assert set(news.nodes.values()) == {2}
