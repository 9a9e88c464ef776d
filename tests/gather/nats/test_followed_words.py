"""What is believed of a region's words, whatever becomes of the messages on their way, and what waits to be sent."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import GapReason, InvalidValue, ProbeError
from auditor.gather.collector import Heard, Seen
from auditor.gather.nats.believed_words import ASK_EACH, Arrival, BelievedWords
from auditor.gather.nats.follow_messages import OfCollector, Piece, StillSo, read_of_collector, written
from auditor.gather.nats.pieces import Cutting, Joining
from auditor.gather.nats.promptness import REMEMBERED, Promptness
from auditor.gather.nats.sent_assignment import SentAssignment, TakenAssignment
from auditor.gather.nats.words_to_send import StateToSend, WordsToSend
from auditor.values.models import Gap, NodeId, Registration
from tests.fleets import trio

NODES = [NodeId("dc1", f"n{number}") for number in range(4)]
JOB = "0" * 32
FAULT = ProbeError(GapReason.COLLECTOR_LOST, "planted")


def state(node: NodeId, number: int) -> Gap:
    """Some state of a node, of which there are as many as numbers."""
    return Gap("ssh", GapReason.NO_WG, str(number), node.name, node.datacenter)


@dataclass
class Sent:
    """A message on its way. Beats say what the node showed when they were heard, which no real one does."""

    number: int
    states: list[StateToSend] = field(default_factory=list)
    beats: dict[NodeId, Seen] = field(default_factory=dict)
    whole: int | None = None


class Wire:
    """A collector, an auditor, and what is under way between them."""

    def __init__(self) -> None:
        self.shown = {node: state(node, 0) for node in NODES}
        self.said: set[NodeId] = set()
        self.words = WordsToSend()
        self.beats: dict[NodeId, Seen] = {}
        self.numbers = itertools.count(1)
        self.under_way: list[Sent] = []
        self.believed = BelievedWords()
        self.believed.take_on(NODES)
        self.believed.begin()
        self.told: dict[NodeId, Seen] = {}
        self.now = 0.0
        self.versions = itertools.count(1)

    def change(self, node: NodeId) -> None:
        self.shown[node] = state(node, next(self.versions))
        self.say(node)

    def say(self, node: NodeId) -> None:
        self.said.add(node)
        self.words.hear(Heard(node, self.shown[node]), self.now)

    def beat(self, node: NodeId) -> None:
        if node in self.said:
            self.words.hear(Heard(node, None), self.now)

    def send(self, most: int) -> None:
        states, _ = self.words.take_states(most)
        if states:
            self.under_way.append(Sent(next(self.numbers), list(states)))
        beats, _ = self.words.take_beats(most)
        if beats:
            shown: dict[NodeId, Seen] = {beat.node: self.shown[beat.node] for beat in beats}
            self.under_way.append(Sent(next(self.numbers), beats=shown))

    def answer(self, question: int) -> None:
        self.words.everything_again(self.now)
        while self.words.states:
            self.send(2)
        self.under_way.append(Sent(next(self.numbers), whole=question))

    def arrive(self, message: Sent, *, late: bool = False) -> None:
        if self.believed.arrived(message.number) is Arrival.KNOWN:
            return
        for item in message.states:
            heard = self.believed.state(
                item.node, item.seen, self.now, followed=True, again=item.again, late=late
            )
            if heard is not None and heard.seen is not None:
                self.told[item.node] = heard.seen
        for node, shown in message.beats.items():
            if self.believed.beat(node, self.now, followed=True, late=late) is not None:
                assert self.told[node] == shown, "a beat confirmed what its node did not show"
        if message.whole is not None:
            self.believed.whole(message.whole)

    def carry(self, fate: str) -> None:
        """What is under way arrives, but the first message of it, of which something becomes."""
        if fate == "answered":
            self.ask()
        held = self.under_way.pop(0) if fate in ("lost", "overtaken") and self.under_way else None
        for message in self.under_way:
            self.arrive(message, late=fate == "late")
            if fate == "doubled":
                self.arrive(message)
        self.under_way = []
        if held is not None and fate == "overtaken":
            self.arrive(held)

    def ask(self) -> None:
        self.now += ASK_EACH
        if (question := self.believed.question(self.now)) is not None:
            self.answer(question)


nodes = st.sampled_from(NODES)
acts = st.lists(
    st.tuples(st.sampled_from(["change", "beat", "beat"]), st.sampled_from(NODES[:2])), max_size=3
)
fates = st.sampled_from(["arrives", "arrives", "late", "lost", "doubled", "overtaken", "answered"])


@settings(max_examples=200)
@given(st.lists(st.tuples(acts, fates), max_size=20))
def test_whatever_is_lost_doubled_or_late_no_beat_confirms_another_state_and_all_is_known_in_the_end(
    course: list[tuple[list[tuple[str, NodeId]], str]],
) -> None:
    wire = Wire()
    for happenings, fate in course:
        for act, node in happenings:
            getattr(wire, act)(node)
        wire.send(len(NODES))
        wire.carry(fate)
    # Then nothing is lost any more: what is under way arrives, one more beat each, and the question's answer.
    for _ in range(2):
        for node in wire.said:
            wire.beat(node)
        wire.send(len(NODES))
        wire.carry("arrives")
        wire.ask()
    assert wire.told == {node: wire.shown[node] for node in wire.said}
    for node in wire.said:
        assert wire.believed.beat(node, wire.now, followed=True) is not None


def heard_states(believed: BelievedWords, now: float = 0.0) -> BelievedWords:
    believed.take_on(NODES)
    believed.begin()
    assert believed.arrived(1) is Arrival.NEXT
    for node in NODES:
        assert believed.state(node, state(node, 0), now, followed=True) is not None
    return believed


def test_a_beat_for_the_state_before_is_not_believed_while_the_newer_one_waits_for_its_table() -> None:
    believed = heard_states(BelievedWords())
    believed.coming(NODES[0])
    believed.whole(1)
    assert believed.beat(NODES[0], 1.0, followed=True) is None
    assert believed.state(NODES[0], state(NODES[0], 1), 2.0, followed=True) is not None
    assert believed.beat(NODES[0], 3.0, followed=True) == Heard(NODES[0], None)


def test_a_state_that_is_said_once_more_or_came_late_is_no_word_that_confirms() -> None:
    believed = heard_states(BelievedWords())
    assert believed.state(NODES[0], state(NODES[0], 0), 1.0, followed=True, again=True) is None
    assert believed.state(NODES[0], state(NODES[0], 0), 1.0, followed=True, late=True) is None
    assert believed.beat(NODES[0], 1.0, followed=True, late=True) is None
    assert believed.state(NODES[0], state(NODES[0], 0), 1.0, followed=True) is not None


def test_a_node_without_a_word_for_three_beats_is_a_gap_once_and_seen_again_by_its_state_alone() -> None:
    believed = heard_states(BelievedWords())
    believed.beat(NODES[0], 50.0, followed=True)
    assert {heard.node for heard in believed.silent(92.5, 92.0, FAULT)} == set(NODES[1:])
    assert believed.silent(93.0, 92.0, FAULT) == []
    assert believed.beat(NODES[1], 94.0, followed=True) is None
    believed.ask_for_missing()
    assert believed.question(95.0) is not None
    assert believed.state(NODES[1], state(NODES[1], 0), 95.0, followed=True, again=True) is not None


def test_a_lost_collector_is_a_gap_of_each_node_once_and_again_when_the_reason_changes() -> None:
    believed = heard_states(BelievedWords())
    assert [heard.node for heard in believed.all_lost(FAULT)] == NODES
    assert believed.all_lost(FAULT) == []
    missing = ProbeError(GapReason.COLLECTOR_MISSING, "planted")
    assert len(believed.all_lost(missing)) == len(NODES)


def test_however_slowly_it_is_read_there_waits_one_state_and_one_beat_of_each_node() -> None:
    words = WordsToSend()
    for number in range(1000):
        words.hear(Heard(NODES[number % 2], state(NODES[number % 2], number)), float(number))
        words.hear(Heard(NODES[number % 2], None), float(number))
    assert (words.states, words.beats) == (2, 2)
    assert words.take_beats(10) == ((), 0.0), "a beat goes behind the state that it confirms"
    states, at = words.take_states(10)
    assert [item.seen.detail for item in states if isinstance(item.seen, Gap)] == ["998", "999"]
    assert at == 998.0
    beats, _ = words.take_beats(10)
    assert len(beats) == 2


# -- lateness


def test_a_message_is_late_by_what_it_took_longer_than_the_quickest_one() -> None:
    prompt = Promptness()
    assert [
        round(prompt.late(said, said + 5000 + took), 3) for said, took in ((0, 0.3), (1, 0.1), (2, 4.1))
    ] == [
        0.0,
        0.0,
        4.0,
    ]


def test_clocks_that_drift_make_no_message_late() -> None:
    prompt, drift = Promptness(), 1.0001
    late = [prompt.late(float(second), second * drift) for second in range(0, 86_400, 10)]
    assert max(late) < 2.1 * REMEMBERED * (drift - 1)


# -- the assignment

SOME = next(iter(trio().registrations.values()))
registrations = st.lists(
    st.builds(
        lambda node, region: replace(SOME, node=node, region=region), nodes, st.sampled_from(["fra", "sin"])
    ),
    unique_by=lambda item: item.node,
)


@settings(max_examples=50)
@given(st.lists(st.tuples(registrations, st.sampled_from(["arrives", "arrives", "lost", "twice"]))))
def test_both_sides_have_the_same_assignment_in_the_end_and_no_number_is_used_twice(
    course: list[tuple[list[Registration], str]],
) -> None:
    sent, taken = SentAssignment(), TakenAssignment()
    ever: dict[int, NodeId] = {}
    whole = True
    last = list(trio().registrations.values())
    for wanted, fate in [*course, ([], "arrives"), (last, "arrives"), (last, "arrives")]:
        mesh = [prefix for item in wanted for prefix in item.addresses]
        change = sent.change(wanted, mesh, whole=whole)
        if change is None:
            continue
        for number, item in change.nodes.items():
            assert ever.setdefault(number, item.node) == item.node
        if fate == "lost":
            continue
        whole = not taken.take(change)
        if not whole:
            assert fate != "twice" or taken.take(change)
            assert by_node(taken) == {item.node: item for item in wanted}
            assert taken.generation == sent.generation
            assert {taken.number(item.node) for item in wanted} == {sent.number(item.node) for item in wanted}
    assert by_node(taken) == dict(trio().registrations)


def by_node(taken: TakenAssignment) -> dict[NodeId, Registration]:
    return {item.node: item for item in taken.assignment().nodes}


# -- pieces


def pieces_of(size: int) -> Iterator[Piece]:
    message = StillSo(job=JOB, number=1, at=0.0, nodes=list(range(1, size)))
    for raw in Cutting(JOB, 16 * 1024).cut(written(message)):
        assert len(raw) <= 16 * 1024
        piece = read_of_collector(raw, JOB)
        assert isinstance(piece, Piece)
        yield piece


def joined(pieces: list[Piece]) -> OfCollector | None:
    joining = Joining()
    whole = [raw for piece in pieces if (raw := joining.take(piece)) is not None]
    return read_of_collector(whole[0], JOB, 2**20) if whole else None


def test_a_message_in_pieces_comes_whole_or_not_at_all() -> None:
    pieces = list(pieces_of(20_000))
    whole = joined(pieces)
    assert isinstance(whole, StillSo)
    assert whole.nodes == list(range(1, 20_000))
    assert all(joined(pieces[:place] + pieces[place + 1 :]) is None for place in range(len(pieces)))
    assert joined([pieces[1], *pieces]) == whole


def test_a_message_of_another_job_or_of_no_form_is_refused() -> None:
    raw = written(StillSo(job=JOB, number=1, at=0.0, nodes=[1]))
    for foreign in (raw.replace(b"0" * 32, b"1" * 32), raw.replace(b"still", b"works"), raw[:-1], b"[]"):
        try:
            read_of_collector(foreign, JOB)
        except InvalidValue:
            continue
        raise AssertionError(foreign)
