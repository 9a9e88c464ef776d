"""What holds of plans whatever a fleet goes through: random sweeps in a row, everything sent is accepted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.incidents import groups
from alerts.models import BLIND_CHECK, AlertPlan, NotifyReason, Policy, Route, Silence, Status
from alerts.plan import MOST_PAGES, PAGES_IN, blindness, plan, unseen_nodes
from auditor.errors import GapReason
from auditor.values.findings import Finding, Severity
from auditor.values.models import NodeId
from auditor.values.report import Report
from tests.alerts.incidents import FLEET, HOUR, MINUTE, Watch, finding, gap, report, silence

PAIR = finding("10.0.0.9", "ab")
TRIPLE = finding("10.0.0.9", "abx")
OF_BOTH = finding("10.0.0.8", "cx", regions=("sin",), severity=Severity.ERROR)
MISSING = finding("d", "d", check="missing-peer", severity=Severity.WARNING, by="ey")
SPLIT = finding("10.0.0.7", "ef", check="split-routing", routed=True, regions=("sin", "fra"))
WRONG = finding("f", "fg", check="wrong-host")
GHOST = finding("key", check="unregistered-peer", severity=Severity.WARNING, by="ab", observers=9)
LED = finding("10.0.0.9", "ab", check="split-routing", routed=True, follows_from=(PAIR,), cause=PAIR)

OF_ITSELF = {blindness(), unseen_nodes()}
"""Fingerprints of the incidents that no finding leads."""
WATCHED = (PAIR, OF_BOTH, MISSING, SPLIT, WRONG)
"""Findings that lead an incident whenever they show, so that a model can follow them one by one."""

SILENCES = (
    silence("s1", names="ab"),
    silence("s2", checks=("missing-peer", "split-routing")),
    silence("s3", regions=("sin", "fra")),
    silence("s4", checks=(BLIND_CHECK,)),
)
ROUTES = (
    Route("all"),
    Route("quiet", send_resolved=False, repeat_interval=150.0),
    Route("grave", min_severity=Severity.CRITICAL, repeat_interval=0.0),
    Route("picky", checks=frozenset({"duplicate-address"}), regions=frozenset({"fra"})),
)
POLICY = Policy(ROUTES, blind_after=2)


@dataclass(frozen=True)
class Turn:
    """One sweep and the silences of its time."""

    seen: Report
    silences: tuple[Silence, ...]


few_nodes = st.sets(st.sampled_from("abcdefxy"), max_size=2)


@st.composite
def turns(draw: st.DrawFn, findings: Sequence[Finding] = WATCHED) -> Turn:
    """Any findings through any gaps; mostly small ones."""
    shown = draw(st.lists(st.sampled_from(findings), unique_by=lambda item: item.fingerprint))
    suspect = draw(st.sampled_from([(), (), (), (gap(GapReason.REGISTRY_SUSPECT, "sweep"),)]))
    unread = draw(st.sampled_from([(), (), (), ("dc2",), ("dc1", "dc2")]))
    gone = draw(st.sampled_from(["", "", "a", "x", "abc"]))
    seen = report(
        *shown,
        unseen=draw(few_nodes),
        unread=unread,
        gone=gone,
        in_flight=draw(st.sampled_from(["", "", "b", "e"])),
        gaps=suspect,
    )
    return Turn(seen, tuple(draw(st.sets(st.sampled_from(SILENCES), max_size=2))))


def histories(findings: Sequence[Finding] = WATCHED) -> st.SearchStrategy[list[Turn]]:
    """Several sweeps in a row."""
    return st.lists(turns(findings), min_size=2, max_size=9)


TANGLED = (*WATCHED, GHOST, replace(LED, caused_by=None), replace(MISSING, confirmed=False))


def lived(history: Sequence[Turn], *, after: timedelta = MINUTE) -> Iterator[tuple[Turn, Watch, AlertPlan]]:
    """Each turn with the watch after it and the plan that was made; sweeps lie `after` one another."""
    watch = Watch(POLICY)
    for turn in history:
        yield turn, watch, watch.sweep(turn.seen, turn.silences, after=after)


def among(turn: Turn) -> Turn:
    """The turn with its cause where it shows: what follows from a pair travels in it."""
    marks = {item.fingerprint for item in turn.seen.findings}
    if PAIR.fingerprint not in marks:
        return turn
    found = tuple(LED if item.fingerprint == LED.fingerprint else item for item in turn.seen.findings)
    return replace(turn, seen=replace(turn.seen, findings=found))


@settings(max_examples=40, deadline=None)
@given(histories(TANGLED).map(lambda history: list(map(among, history))))
def test_every_life_begins_with_a_first_notification_and_ends_with_its_resolve(history: list[Turn]) -> None:
    """Never two firsts without a resolve between; no change, repeat or resolve without a first.

    Only what lived before may begin as flapping.
    """
    open_at: set[tuple[str, str]] = set()
    lived_before: set[tuple[str, str]] = set()
    for _, _, made in lived(history):
        for item in made.notifications:
            pair = (item.notifier, item.incident.fingerprint)
            assert (item.status is Status.RESOLVED) is (item.reason is NotifyReason.RESOLVED)
            begins = item.reason in (NotifyReason.FIRST_NOTIFICATION, NotifyReason.FLAPPING)
            assert begins is (pair not in open_at)
            assert item.reason is not NotifyReason.FLAPPING or pair in lived_before
            lived_before.add(pair)
            (open_at.discard if item.status is Status.RESOLVED else open_at.add)(pair)
        for pair in made.closed:
            assert pair in open_at
            open_at.discard(pair)


@settings(max_examples=40, deadline=None)
@given(histories(TANGLED))
def test_an_incident_is_told_to_a_notifier_once_a_sweep(history: list[Turn]) -> None:
    """One reason, one page."""
    for _, _, made in lived(history):
        counts = Counter((item.notifier, item.incident.fingerprint) for item in made.notifications)
        assert set(counts.values()) <= {1}


def judged(seen: Report) -> frozenset[NodeId]:
    """Nodes that were seen in a settled state."""
    return seen.observed - set(seen.in_flight)


def read_whole(seen: Report) -> frozenset[str]:
    """Datacenters whose registry was read without a gap."""
    registry = [item.datacenter for item in seen.gaps if item.source == "consul"]
    if None in registry:
        return frozenset()
    return frozenset(node.datacenter for node in seen.registered) - frozenset(map(str, registry))


@dataclass
class Owed:
    """What must be seen again of one incident, worked out anew from the words of the issue."""

    registries: set[str]
    claimants: set[NodeId]
    observers: set[NodeId]
    everybody: bool = False
    named: set[NodeId] = field(default_factory=set, compare=False)

    def show(self, shown: Finding, seen: Report) -> None:
        """One more sweep shows it."""
        self.named |= set(shown.nodes)
        self.registries |= {node.datacenter for node in shown.nodes}
        self.claimants |= set(shown.nodes) & (seen.observed | set(shown.nodes if shown is WRONG else ()))
        everybody = seen.observed if shown.evidence.routing else set()
        self.everybody |= bool(shown.evidence.routing)
        self.observers |= (everybody | (set(shown.evidence.sample) & seen.observed)) - set(shown.nodes)

    def pay(self, seen: Report, whole: frozenset[str], *, shrunk: bool) -> None:
        """What this sweep saw is not owed any more; registries and claimants count together only."""
        listed = not shrunk or self.named <= seen.registered
        if not (self.registries <= whole and listed):
            # As if everybody had shown it once more: whether they did could not be told.
            self.observers |= judged(seen) - self.claimants if self.everybody else set()
            return
        self.everybody = False
        back = {
            node
            for node in self.claimants | self.observers
            if node in judged(seen)
            or (node not in seen.registered and node.datacenter in whole and not shrunk)
        }
        self.observers -= back
        if self.claimants <= back:
            self.claimants, self.registries = set(), self.registries if self.observers else set()


@settings(max_examples=100, deadline=None)
@given(histories())
def test_an_incident_ends_exactly_when_every_place_of_its_evidence_was_seen_without_it(
    history: list[Turn],
) -> None:
    """Never under a gap, and never later than it could; sweeps lie so far apart that nothing flaps."""
    owed: dict[str, Owed] = {}
    for turn, watch, made in lived(history, after=2 * HOUR):
        whole = read_whole(turn.seen)
        shrunk = any("shrank" in why for why in made.blind)
        shown = {item.fingerprint: item for item in turn.seen.findings}
        for debt in owed.values():
            debt.pay(turn.seen, whole, shrunk=shrunk)
        for mark, item in shown.items():
            owed.setdefault(mark, Owed(set(), set(), set())).show(item, turn.seen)
        over = {mark for mark, debt in owed.items() if debt == Owed(set(), set(), set())}
        assert set(made.resolved) - OF_ITSELF == over
        for mark in over:
            del owed[mark]
        assert watch.log.standing.keys() - OF_ITSELF == owed.keys()


@settings(max_examples=40, deadline=None)
@given(histories())
def test_what_is_not_shown_and_not_over_says_since_when(history: list[Turn]) -> None:
    """The time of the last sweep that showed it; nothing, while it shows."""
    last: dict[str, object] = {}
    for turn, watch, made in lived(history):
        shown = {item.fingerprint for item in turn.seen.findings}
        last |= dict.fromkeys(shown, watch.now)
        for mark, item in made.standing.items():
            if mark not in OF_ITSELF:
                assert item.incident.not_seen_since == (None if mark in shown else last[mark])
                assert item.incident.since == item.first_seen


@settings(max_examples=60, deadline=None)
@given(histories((*WATCHED, TRIPLE, GHOST)), st.sampled_from([1, 7, 20, 45]))
def test_nobody_is_paged_more_than_twice_an_hour_for_one_incident(history: list[Turn], minutes: int) -> None:
    """Whatever it does; but for who is to be told with every sweep."""
    pages: defaultdict[tuple[str, str], list[datetime]] = defaultdict(list)
    for _, watch, made in lived(history, after=minutes * MINUTE):
        for item in made.notifications:
            if item.status is Status.FIRING and item.notifier != "grave":
                pages[item.notifier, item.incident.fingerprint].append(watch.now)
    for times in pages.values():
        assert all(late - early >= PAGES_IN for early, late in zip(times, times[MOST_PAGES:], strict=False))


@settings(max_examples=40, deadline=None)
@given(histories(TANGLED), st.randoms(use_true_random=False))
def test_order_of_findings_gaps_silences_and_routes_does_not_matter(
    history: list[Turn], random: object
) -> None:
    """Also in what is remembered."""
    shuffled: Callable[[Sequence[object]], tuple[object, ...]]
    shuffled = lambda items: tuple(random.sample(list(items), len(items)))  # type: ignore[attr-defined]  # noqa: E731
    log = Watch(POLICY).log
    for turn, watch, made in lived(history):
        other = plan(
            replace(turn.seen, findings=shuffled(turn.seen.findings), gaps=shuffled(turn.seen.gaps)),  # type: ignore[arg-type]
            log,
            shuffled(turn.silences),  # type: ignore[arg-type]
            watch.now,
            replace(POLICY, routes=shuffled(ROUTES)),  # type: ignore[arg-type]
        )
        assert other == made
        log = watch.log


@settings(max_examples=40, deadline=None)
@given(histories(TANGLED))
def test_silences_only_ever_take_firing_notifications_away(history: list[Turn]) -> None:
    """The same sweep without them tells the same and what they muted, and remembers the same."""
    log = Watch(POLICY).log
    for turn, watch, made in lived(history):
        loud = plan(turn.seen, log, (), watch.now, POLICY)
        kept = [
            item
            for item in loud.notifications
            if item.status is Status.RESOLVED or item.incident.fingerprint not in made.silenced
        ]
        assert list(made.notifications) == kept
        assert replace(made, notifications=(), silenced={}) == replace(loud, notifications=())
        log = watch.log


@settings(max_examples=40, deadline=None)
@given(histories(TANGLED))
def test_nothing_that_stands_goes_untold_to_who_wants_everything(history: list[Turn]) -> None:
    """Told and not over, or muted, or over: there is no fourth."""
    for _, watch, made in lived(history):
        for mark in made.standing:
            entry = watch.log.entries.get(("all", mark))
            told = entry is not None and (entry.status is Status.FIRING or len(entry.pages) == MOST_PAGES)
            assert mark in made.silenced or told
        for (notifier, mark), entry in watch.log.entries.items():
            if notifier == "all" and mark not in made.standing:
                assert entry.status is Status.RESOLVED


@settings(max_examples=40, deadline=None)
@given(histories(TANGLED))
def test_every_finding_that_counts_is_in_an_incident_or_behind_a_gap(history: list[Turn]) -> None:
    """What leads stands, or travels in what hides, or is a peer of a registry that was not read."""
    for turn, _, made in lived(history):
        for shown, _ in groups(turn.seen):
            travels = any(cause.fingerprint in made.standing for cause in shown.follows_from)
            unread = bool(made.blind) and shown.check == "unregistered-peer"
            assert shown.fingerprint in made.standing or travels or unread


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(few_nodes, st.sampled_from([(), ("dc2",)])), min_size=1, max_size=6))
def test_gaps_alone_never_tell_of_other_claimants(gaps: list[tuple[set[str], tuple[str, ...]]]) -> None:
    """Whoever is hidden of a triple stays in it, until it is seen without the claim."""
    watch = Watch(Policy((Route("all"),), blind_after=1000))
    watch.sweep(report(TRIPLE))
    for unseen, unread in gaps:
        hidden = unseen | ({"x"} if unread else set())
        left = "".join(sorted(set("abx") - hidden))
        shown = (finding("10.0.0.9", left),) if len(left) > 1 else ()
        assert watch.reasons(report(*shown, unseen=unseen, unread=unread)) == []
    assert watch.reasons(report(TRIPLE)) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 4))
def test_blindness_is_raised_after_so_many_in_a_row_and_ends_with_the_first_good_sweep(
    blind: list[bool], after: int
) -> None:
    """Counted by hand."""
    watch = Watch(Policy((Route("all"),), blind_after=after))
    run, raised = 0, False
    for bad in blind:
        run = run + 1 if bad else 0
        made = watch.sweep(report(unread=("dc2",) if bad else ()), after=2 * HOUR)
        told = [item.reason for item in made.notifications]
        if bad and run >= after and not raised:
            raised = True
            assert told == [NotifyReason.FIRST_NOTIFICATION]
        elif not bad and raised:
            raised = False
            assert told == [NotifyReason.RESOLVED]
        else:
            assert told == []


def test_the_universe_of_these_tests_reaches_what_they_are_about() -> None:
    """Gaps that hide, silences that mute and registries that shrink do occur in it."""
    seen: defaultdict[str, int] = defaultdict(int)

    @settings(max_examples=100, deadline=None, database=None)
    @given(histories(TANGLED))
    def look(history: list[Turn]) -> None:
        for _, _, made in lived(history):
            seen["hidden"] += any(item.incident.not_seen_since for item in made.standing.values())
            seen["resolved"] += bool(made.resolved)
            seen["silenced"] += bool(made.silenced)
            seen["shrunk"] += any("shrank" in why for why in made.blind)
            seen["closed"] += bool(made.closed)
            for item in made.notifications:
                seen[item.reason.value] += 1

    look()
    reasons = {reason.value for reason in NotifyReason} - {"test", "severity-raised", "claimants-changed"}
    assert {"hidden", "resolved", "silenced", "shrunk", "closed", *reasons} <= {
        kind for kind, count in seen.items() if count
    }
    assert len(FLEET) == 10
