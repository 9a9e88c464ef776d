"""What a sweep asks the witnesses: contested addresses and suspects, and a few beside; bounded, and last of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from auditor.checks import idents
from auditor.errors import GapReason
from auditor.fleet.fleet import Fleet
from auditor.gather.questioning import MOST_ADDRESSES, Questioning, planned_questions
from auditor.gather.sweep import SweepOptions, sweep
from auditor.judge import find, judge
from auditor.settings.witnesses import WitnessSettings
from auditor.values.addresses import Prefix
from auditor.values.models import NodeId, Snapshot
from auditor.values.report import Verdict
from auditor.values.witness_answers import OWN_LOOPBACK, AnswerSource, WitnessAnswer
from auditor.witnesses.interface import Question
from tests.fakes import MemoryNodes, MemoryRegistry, MemoryWitnesses, SerialCollector, Watcher, reading
from tests.fleets import Mesh, contested, healthy, of, trio

NATS = WitnessSettings(type="nats", observers=1)
CONTESTED = Prefix("10.0.0.9/32")


def planned(mesh: Mesh, *settings: WitnessSettings, seed: str = "now") -> tuple[Question, ...]:
    fleet = Fleet(mesh.snapshot())
    return planned_questions(fleet, find(fleet), settings, seed, {})


def asked(questions: Sequence[Question]) -> Counter[Prefix]:
    return Counter(question.address for question in questions)


def test_a_contested_address_is_asked_from_each_region_and_never_by_its_claimants() -> None:
    questions = planned(contested(), NATS.model_copy(update={"share": 0.0}))
    (question,) = [item for item in questions if item.address == CONTESTED and item.observer.region == "ams"]
    assert question.observer.node.name in ("watch-a", "watch-c")
    assert asked(questions)[CONTESTED] == 2
    assert not {item.observer.node.name for item in questions} & {"twin-fra", "twin-sin"}


def test_without_a_finding_a_few_addresses_are_asked_all_the_same() -> None:
    """One in a small fleet; others the next time."""
    found = {tuple(asked(planned(healthy(), NATS, seed=str(number)))) for number in range(20)}
    assert {len(addresses) for addresses in found} == {1}
    assert len(found) > 1


def test_a_suspects_own_addresses_and_its_own_server_are_asked() -> None:
    settings = WitnessSettings(type="nats", observers=1, share=0.0, monitoring_port=8222)
    questions = planned(trio().says_region("edge-sin-1", "fra"), settings)
    own = {item.observer.node.name for item in questions if item.address == OWN_LOOPBACK}
    assert asked(questions)[Prefix("10.0.0.3/32")] == 2
    assert "edge-sin-1" in own


def test_a_node_that_lacks_its_registered_address_asks_nobody() -> None:
    """What is sent back to it gets lost."""
    questions = planned(trio().holds("edge-ams-1", "10.0.0.99"), NATS)
    assert {item.observer.node.name for item in questions} == {"edge-fra-1", "edge-sin-1"}


def test_a_network_is_not_asked_for() -> None:
    mesh = trio().peers_with("edge-ams-1", "ghost", "10.0.0.0/24")
    assert Prefix("10.0.0.0/24") not in asked(planned(mesh, NATS))


def test_what_a_bad_day_costs_has_an_end() -> None:
    mesh = Mesh()
    for number in range(MOST_ADDRESSES + 50):
        mesh.node(f"a{number}", f"10.1.{number // 200}.{number % 200}", region="fra")
        mesh.node(f"b{number}", f"10.1.{number // 200}.{number % 200}", region="sin")
    mesh.node("watch", "10.0.0.1", region="ams")
    fleet = Fleet(replace(mesh.snapshot_of_one_table(mesh.table(mesh.find("watch")))))
    questions = planned_questions(fleet, find(fleet), [NATS], "now", {})
    assert len(asked(questions)) == MOST_ADDRESSES + 3  # a hundredth beside
    assert {item.observer.node.name for item in questions} == {"watch"}


def test_who_met_others_before_is_asked_again() -> None:
    mark = idents.answered_by_other(Prefix("10.0.0.2/32")).fingerprint
    fleet = Fleet(healthy().snapshot())
    shown = frozenset(NodeId("dc1", name) for name in ("gate-ams-2", "edge-sin-1", "edge-fra-1", "gone"))
    questions = planned_questions(fleet, (), [NATS.model_copy(update={"share": 0.0})], "now", {mark: shown})
    observers = {item.observer.node.name for item in questions if item.address == Prefix("10.0.0.2/32")}
    assert observers >= {"gate-ams-2", "edge-sin-1"}
    assert "edge-fra-1" not in observers


# In a sweep


def met(question: Question, name: str) -> WitnessAnswer:
    node = NodeId("dc1", name)
    return WitnessAnswer(question.observer.node, question.address, AnswerSource.NATS, 0.01, name, node)


def unanswered(question: Question) -> WitnessAnswer:
    return WitnessAnswer(
        question.observer.node, question.address, question.source, 3.0, reason=GapReason.NO_ANSWER, detail="-"
    )


async def swept(mesh: Mesh, witnesses: MemoryWitnesses, watcher: Watcher | None = None) -> Snapshot:
    return await sweep(
        MemoryRegistry(reading(mesh)),
        SerialCollector(MemoryNodes(mesh)),
        mesh.policy,
        SweepOptions(confirm_after=0.0),
        watcher,
        None,
        Questioning(witnesses, [NATS]),
    )


async def test_the_witnesses_are_asked_last_and_their_answers_are_in_the_snapshot() -> None:
    watcher = Watcher()
    snapshot = await swept(
        contested(), MemoryWitnesses(lambda question, _: met(question, "twin-sin")), watcher
    )
    assert watcher.phases[-1] == "asking who answers"
    (finding,) = of(judge(snapshot), "duplicate-address")
    assert finding.answers_statement == "Of 2 asked, 2 reached twin-sin."


async def test_a_surprise_is_asked_again_and_the_later_answer_counts() -> None:
    """A change in flight, say: at the second question the registered one answers."""

    def answer(question: Question, times: int) -> WitnessAnswer:
        owner = next(name for name in OWNERS if OWNERS[name] == question.address)
        return met(question, owner if times == 2 else "edge-sin-1" if owner != "edge-sin-1" else "edge-fra-1")

    witnesses = MemoryWitnesses(answer)
    report = judge(await swept(trio(), witnesses))
    assert set(Counter(map(id, witnesses.asked)).values()) == {2}
    assert (report.verdict, report.gaps) == (Verdict.CLEAN, ())


OWNERS = {
    "edge-fra-1": Prefix("10.0.0.2/32"),
    "edge-sin-1": Prefix("10.0.0.3/32"),
    "edge-ams-1": Prefix("10.0.0.4/32"),
}


async def test_a_surprise_that_stands_is_a_confirmed_finding() -> None:
    def answer(question: Question, _: int) -> WitnessAnswer:
        return met(question, "edge-sin-1" if question.address != OWNERS["edge-sin-1"] else "edge-fra-1")

    (finding,) = of(judge(await swept(trio(), MemoryWitnesses(answer))), "answered-by-other")
    assert finding.confirmed is True


async def test_where_nobody_answers_the_sweep_is_as_clean_as_it_was() -> None:
    report = judge(await swept(trio(), MemoryWitnesses(lambda question, _: unanswered(question))))
    assert report.verdict is Verdict.CLEAN
    assert {gap.reason for gap in report.gaps} == {GapReason.NO_ANSWER}


async def test_a_sweep_without_witnesses_has_no_such_phase() -> None:
    watcher = Watcher()
    mesh = trio()
    await sweep(
        MemoryRegistry(reading(mesh)),
        SerialCollector(MemoryNodes(mesh)),
        mesh.policy,
        SweepOptions(),
        watcher,
    )
    assert "asking who answers" not in watcher.phases
