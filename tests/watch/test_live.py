"""The live state of a fleet says what an ordinary sweep of the same fleet says, whatever order its news come in."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from auditor.errors import GapReason
from auditor.fleet.showing import asked_first
from auditor.gather.collector import Heard
from auditor.judge import judge
from auditor.nodes.table_store import TableStore
from auditor.registry.interface import RegistryNews
from auditor.values.models import Gap, NodeId, RegistryReading
from auditor.values.report import Report, Verdict
from auditor.watch.live import BEAT, SILENT_AFTER, Live
from auditor.watch.out_of_sight import OutOfSight
from auditor.watch.registry_alone import judge_alone, merged
from tests.fleets import FINISHED, Mesh, contested, healthy, key_of, prefixes, trio
from tests.moving import FAULTS, MOVES, Step, built, marks, silenced, steps
from tests.watch.scripted import readings, words

CATCH_UP = 3.0


class Told:
    """A live state, and what it was told so far. One second passes with each word."""

    def __init__(self, policy: Mesh, *, catch_up: float = CATCH_UP) -> None:
        self.tables = TableStore()
        self.live = Live(policy.policy, self.tables.tables, catch_up=catch_up)
        self.out_of_sight = OutOfSight()
        self.now = 0.0
        self.index = 0

    def at(self) -> timedelta:
        return timedelta(seconds=self.now)

    def keep_tables(self, mesh: Mesh) -> None:
        for table in mesh.tables().values():
            self.tables.add(table)

    def news(self, name: str, reading: RegistryReading, *, confirmed: bool = True) -> RegistryNews:
        self.now += 1.0
        self.index += 1
        return RegistryNews(name, reading, FINISHED + self.at(), confirmed, self.index)

    def read(self, mesh: Mesh, *, confirmed: bool = True) -> None:
        for name, reading in readings(mesh).items():
            self.live.read(self.news(name, reading, confirmed=confirmed), self.now)

    def hear(self, word: Heard) -> None:
        self.now += 1.0
        self.live.hear(word, self.now)

    def look(self, mesh: Mesh, *names: str) -> None:
        """Let nodes of these names (none: all) say what they show, and once more that they show it."""
        self.keep_tables(mesh)
        for word in words(mesh):
            if not names or word.node.name in names:
                self.hear(word)
                self.hear(Heard(word.node, None))

    def report(self) -> Report:
        snapshot = self.live.freeze(self.now, FINISHED)
        return self.out_of_sight.withheld_in(judge(snapshot), snapshot)


def as_a_sweep_says(mesh: Mesh) -> Report:
    """The report of a sweep that looked at everybody twice."""
    return judge(mesh.snapshot(again=mesh))


def essence(report: Report) -> object:
    """What must be the same, however the fleet was looked at."""
    gaps = {(gap.source, gap.reason, gap.node, gap.datacenter) for gap in report.gaps}
    return report.verdict, report.findings, gaps, report.coverage, report.registered, report.observed


small = st.lists(st.integers(0, 6), max_size=2).map(set)


@settings(max_examples=60)
@given(steps(FAULTS, 3), steps(MOVES, 2), small, st.randoms(use_true_random=False), st.booleans())
def test_a_still_fleet_gives_the_report_of_a_sweep_whatever_order_its_news_came_in(
    faults: list[Step], moves: list[Step], silent: set[int], random: Random, late: bool
) -> None:
    """Registry first; then each node says its state and holds it, in any order, with the registry in between."""
    mesh = silenced(built(faults, moves), silent)
    told = Told(mesh)
    told.keep_tables(mesh)
    if late:
        told.read(built())
        told.look(mesh, "n1", "n2")
    told.read(mesh)
    told.now += CATCH_UP
    said = [word for word in words(mesh) for _ in range(2)]
    random.shuffle(said)
    seen: set[NodeId] = set()
    for word in said:
        told.hear(Heard(word.node, None) if word.node in seen and not isinstance(word.seen, Gap) else word)
        seen.add(word.node)
        if random.random() < 0.1:
            told.read(mesh, confirmed=random.random() < 0.5)
    report = told.report()
    assert essence(report) == essence(as_a_sweep_says(mesh))
    assert merged(report, judge_alone(told.live.registry_alone(FINISHED))) == report


@settings(max_examples=60)
@given(steps(FAULTS, 3), steps(FAULTS | MOVES, 3), small)
@example([Step("empty the other", 0, 1)], [Step("rotate the key", 1, 0)], set())
def test_what_changed_and_was_not_heard_of_again_is_in_no_finding_and_resolves_none(
    standing: list[Step], moved: list[Step], noticed: set[int]
) -> None:
    """The registry is written, some nodes follow, and nobody has said yet that it stays so."""
    before, after = built(standing), built(standing, moved)
    told = Told(before)
    told.read(before)
    told.look(before)
    earlier = told.report()
    told.read(after)
    told.keep_tables(after)
    for word in words(after):
        if word.node.name in {f"n{number}" for number in noticed}:
            told.hear(word)
    report = told.report()
    truth = marks(as_a_sweep_says(after))
    changed = {word.node for word in words(after)} - {
        word.node for word in words(before) if word in words(after)
    }
    for item in report.standing:
        if item.fingerprint not in marks(earlier):
            assert item.fingerprint in truth, item.summary
            assert not changed & set(item.nodes), item.summary
    for item in earlier.standing:
        if item.fingerprint in truth - marks(report) - report.withheld:
            # Not even withheld: what shows it has moved, and is not judged. No incident resolves then.
            assert asked_first(item) & set(report.in_flight), item.summary
    if report.withheld:
        assert report.verdict is not Verdict.CLEAN


def test_a_change_is_confirmed_by_the_next_words_of_those_who_show_it() -> None:
    told = Told(trio())
    told.read(trio())
    told.look(trio())
    after = trio().holds("edge-sin-1", "10.0.0.2")
    told.keep_tables(after)
    (word,) = [word for word in words(after) if word.node.name == "edge-sin-1"]
    told.hear(word)
    assert told.report().standing == ()
    assert [item.check for item in told.report().unsettled] != []
    told.hear(Heard(word.node, None))
    assert "duplicate-address" in {item.check for item in told.report().standing}
    assert told.report().unsettled == ()


def test_a_change_of_a_registration_waits_for_the_next_words_of_its_observers() -> None:
    told = Told(trio())
    told.read(trio())
    told.look(trio())
    after = trio().node("edge-fra-9", "10.0.0.9", region="fra")
    for name in ("edge-fra-1", "edge-sin-1", "edge-ams-1"):
        after.lacks(name, "edge-fra-9")
    told.read(after)
    assert "missing-peer" not in {item.check for item in told.report().standing}
    told.now += CATCH_UP
    told.look(after)
    assert "missing-peer" in {item.check for item in told.report().standing}


def test_a_node_that_followed_a_change_of_a_registration_and_held_still_knows_of_it_at_once() -> None:
    told = Told(trio())
    told.read(trio())
    told.look(trio())
    after = trio().node("edge-fra-9", "10.0.0.9", region="fra").empties("edge-sin-1", "edge-fra-9")
    told.read(after)
    told.look(after, "edge-sin-1")
    told.look(after, "edge-fra-9")
    told.now += CATCH_UP
    told.hear(Heard(NodeId("dc1", "edge-fra-9"), None))
    assert "displaced-allowed-ips" in {item.check for item in told.report().standing}


def test_what_is_not_shown_after_a_move_is_over_once_its_nodes_were_heard_of() -> None:
    before = trio().empties("edge-sin-1", "edge-fra-1")
    told = Told(before)
    told.read(before)
    told.look(before)
    (found,) = told.report().standing
    # Without its address there is nothing to displace; the device may have another one by now.
    after = trio().holds("edge-fra-1")
    node = after.find("edge-fra-1")
    after.registrations[node] = replace(after.registrations[node], addresses=())
    told.read(after)
    for _ in range(2):
        report = told.report()
        assert found.fingerprint in report.withheld
        assert found.fingerprint in {item.fingerprint for item in report.unsettled}
        assert [gap.reason for gap in report.gaps] == [GapReason.UNSETTLED]
        assert report.verdict is Verdict.INCONCLUSIVE
    told.now += CATCH_UP
    told.look(after)
    assert found.fingerprint not in told.report().withheld
    assert told.report().unsettled == ()


def test_an_unsettled_finding_is_judged_anew_when_all_it_waits_for_were_heard_of() -> None:
    told = Told(trio())
    told.read(trio())
    told.look(trio())
    after = trio().holds("edge-sin-1", "10.0.0.2")
    told.keep_tables(after)
    (word,) = [word for word in words(after) if word.node.name == "edge-sin-1"]
    told.hear(word)
    snapshot = told.live.freeze(told.now, FINISHED)
    told.live.wait_for(judge(snapshot).unsettled, snapshot)
    version = told.live.version
    told.hear(Heard(NodeId("dc1", "edge-ams-1"), None))
    assert told.live.version == version
    told.hear(Heard(word.node, None))
    assert told.live.version > version
    assert not told.live.waits


def test_beats_of_a_still_fleet_change_nothing() -> None:
    told = Told(healthy())
    told.read(healthy())
    told.look(healthy())
    version = told.live.version
    for word in words(healthy()) * 3:
        told.hear(Heard(word.node, None))
        told.hear(word)
    assert told.live.version == version


def test_a_node_that_was_not_heard_of_yet_is_a_gap() -> None:
    told = Told(trio())
    told.read(trio())
    told.look(trio(), "edge-fra-1", "edge-sin-1")
    report = told.report()
    assert [(gap.node, gap.source) for gap in report.gaps] == [("edge-ams-1", "ssh")]
    assert report.verdict is Verdict.INCONCLUSIVE
    assert told.live.unheard == 1


def test_a_node_that_fell_silent_is_a_gap_until_its_next_word() -> None:
    told = Told(trio())
    told.read(trio())
    told.look(trio())
    told.now += SILENT_AFTER - BEAT
    told.look(trio(), "edge-fra-1", "edge-sin-1")
    told.now += 2 * BEAT
    assert told.live.fall_silent(told.now)
    assert [gap.node for gap in told.report().gaps] == ["edge-ams-1"]
    assert not told.live.fall_silent(told.now)
    told.hear(Heard(NodeId("dc1", "edge-ams-1"), None))
    assert told.report().verdict is Verdict.CLEAN


def test_a_datacenter_that_cannot_be_read_is_a_gap_and_its_nodes_stay_followed() -> None:
    mesh = trio().node("edge-nrt-1", "10.0.0.7", dc="dc2")
    told = Told(mesh)
    told.read(mesh)
    told.look(mesh)
    gap = Gap("consul", GapReason.CONSUL_NO_LEADER, "planted", datacenter="dc2")
    told.live.read(told.news("dc2", RegistryReading(gaps=(gap,))), told.now)
    report = told.report()
    assert gap in report.gaps or any(item.reason is gap.reason for item in report.gaps)
    assert report.standing == ()
    assert NodeId("dc2", "edge-nrt-1") in {item.node for item in told.live.assignment().nodes}
    told.read(mesh)
    assert told.report().verdict is Verdict.CLEAN


def test_before_there_is_news_of_every_datacenter_nobody_is_unregistered() -> None:
    mesh = trio().node("edge-nrt-1", "10.0.0.7", dc="dc2")
    told = Told(mesh)
    told.live.expect({"dc1", "dc2"})
    first = readings(mesh)["dc1"]
    told.live.read(told.news("dc1", first), told.now)
    told.look(mesh)
    report = told.report()
    assert report.standing == ()
    assert report.verdict is Verdict.INCONCLUSIVE
    assert not told.live.ready


def test_what_a_waiting_query_brought_is_in_flight_until_it_is_read_once_more() -> None:
    told = Told(trio(), catch_up=0.0)
    told.read(trio())
    told.look(trio())
    after = copy.deepcopy(trio())
    node = after.find("edge-sin-1")
    after.registrations[node] = replace(after.registrations[node], addresses=prefixes(["10.0.0.8"]))
    told.read(after, confirmed=False)
    assert told.live.unconfirmed == {"dc1": {node}}
    report = told.report()
    assert report.in_flight == (node,)
    assert [gap.reason for gap in report.gaps] == [GapReason.UNSETTLED]
    told.live.read(told.news("dc1", readings(after)["dc1"]), told.now, asked_at=FINISHED + told.at())
    assert told.live.unconfirmed == {}
    told.look(after)
    assert "address-drift" in {item.check for item in told.report().standing}


def test_a_half_written_registration_is_not_called_unreadable_before_it_was_read_once_more() -> None:
    told = Told(trio())
    told.read(trio())
    told.look(trio())
    broken = trio().broken("edge-fra-9")
    told.read(broken, confirmed=False)
    report = told.report()
    assert report.standing == ()
    assert ("edge-fra-9", GapReason.UNSETTLED) in {(gap.node, gap.reason) for gap in report.gaps}
    told.live.read(told.news("dc1", readings(broken)["dc1"]), told.now, asked_at=FINISHED + told.at())
    assert [item.check for item in told.report().standing] == ["invalid-registration"]


def test_a_reading_that_was_asked_for_earlier_does_not_undo_a_later_one() -> None:
    told = Told(trio())
    told.read(trio())
    asked_at = FINISHED + told.at()
    stale = replace(told.news("dc1", readings(trio())["dc1"]), index=0)
    after = trio().node("edge-fra-9", "10.0.0.9")
    told.read(after, confirmed=False)
    late = replace(stale, arrived_at=FINISHED + told.at() + timedelta(seconds=1))
    assert not told.live.read(late, told.now, asked_at=asked_at)
    assert NodeId("dc1", "edge-fra-9") in {item.node for item in told.live.assignment().nodes}


def test_news_of_a_later_write_that_an_answer_passed_on_the_way_are_taken() -> None:
    told = Told(trio())
    told.read(trio())
    asked_at = FINISHED + told.at()
    answer = told.news("dc1", readings(trio())["dc1"])
    written_later = replace(
        told.news("dc1", readings(trio().node("edge-fra-9", "10.0.0.9"))["dc1"], confirmed=False),
        arrived_at=answer.arrived_at - timedelta(milliseconds=1),
    )
    told.live.read(answer, told.now, asked_at=asked_at)
    assert told.live.read(written_later, told.now)
    assert NodeId("dc1", "edge-fra-9") in {item.node for item in told.live.assignment().nodes}


def test_nothing_is_kept_of_nodes_that_left() -> None:
    told = Told(trio())
    for number in range(50):
        mesh = trio().node(f"passing-{number}", "10.0.0.50", key=f"passing-{number}")
        told.read(mesh)
        told.look(mesh)
        told.now += 200.0
        told.live.freeze(told.now, FINISHED)
    told.read(trio())
    told.now += 200.0
    told.look(trio())
    snapshot = told.live.freeze(told.now, FINISHED)
    assert len(snapshot.registrations) == len(snapshot.observations) == 3
    assert snapshot.second_look is not None
    assert snapshot.second_look.moved == ()
    assert told.live.tables_in_use() == snapshot.tables.keys()


def test_the_registry_alone_shows_the_incident_with_its_guess_and_the_report_leads_its_followers_by_it() -> (
    None
):
    mesh = contested()
    told = Told(mesh)
    told.read(mesh)
    alone = judge_alone(told.live.registry_alone(FINISHED))
    assert [(item.check, item.subject) for item in alone.findings] == [("duplicate-address", "10.0.0.9")]
    whole = judge(mesh.snapshot(again=mesh))
    (found,) = [item for item in whole.findings if item.check == "duplicate-address"]
    without = replace(
        whole,
        findings=tuple(item for item in whole.findings if item is not found),
        unsettled=(found,),
        withheld=frozenset({found.fingerprint}),
    )
    report = merged(without, alone)
    assert [item.check for item in report.standing if item.caused_by is None] == ["duplicate-address"]
    assert report.unsettled == ()
    assert report.verdict is Verdict.FINDINGS
    assert key_of("twin-fra") in report.node_keys.values()
    later = FINISHED + timedelta(seconds=9)
    newer = merged(without, judge_alone(told.live.registry_alone(later)))
    assert newer.finished_at == later, "nothing is first seen before it was written"


def test_a_registry_of_which_there_is_no_news_at_all_is_a_gap() -> None:
    report = Told(trio()).report()
    assert [(gap.source, gap.hides_registrations) for gap in report.gaps] == [("consul", True)]
    assert report.verdict is Verdict.INCONCLUSIVE
