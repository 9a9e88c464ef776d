"""Two auditors, a clock and a database, as a model: whatever befalls them, people are told in time, by one epoch."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from auditor.state.leadership import BEATS, Leadership, LeaseRow
from auditor.values.leaders import TellingRole

LEASE = 15.0
TOLD_WITHIN = LEASE + 10.0
STEP = 0.5
WHO = st.sampled_from(["a", "b"])


@dataclass
class Database:
    """The lease's row, and what is on record as told: written by whoever holds the epoch, or not at all."""

    holder: str = ""
    epoch: int = 0
    until: float = 0.0
    told: dict[int, int] = field(default_factory=dict)
    """Incident: the epoch that told of it."""

    def row(self, now: float) -> LeaseRow:
        return LeaseRow(self.holder, self.epoch, self.until - now)

    def holds(self, epoch: int | None, now: float) -> bool:
        return epoch == self.epoch and self.until > now

    def ask(self, who: str, epoch: int | None, now: float) -> bool:
        """Renew the lease of this epoch, or take one that is over; tell whether it is held then."""
        if self.until <= now:
            self.holder, self.epoch = who, self.epoch + 1
        elif not self.holds(epoch, now):
            return False
        self.until = now + LEASE
        return True


@dataclass
class Auditor:
    """One of the two, as its code behaves: what it decides, it decides by `Leadership` alone."""

    name: str
    knowledge: Leadership
    memory: set[int] = field(default_factory=set)
    """Incidents that it knows to be told, as it last read or told."""
    frozen: bool = False
    cut: bool = False
    dead: bool = False
    beat_at: float = 0.0
    asked_at: float | None = None
    """Time of a question that was not answered yet."""
    sending: dict[int, int | None] = field(default_factory=dict)
    """Incidents whose messages are under way, each with its epoch; None: it is sent from memory."""


class TwoAuditors(RuleBasedStateMachine):
    """Whatever the order of faults."""

    @initialize()
    def begin(self) -> None:
        self.now = 100.0
        self.database = Database()
        self.auditors = {
            name: Auditor(name, Leadership(LEASE, awake_since=self.now, turned_at=self.now)) for name in "ab"
        }
        self.incidents: dict[int, float] = {}
        self.messages: dict[int, list[tuple[str, int | None]]] = defaultdict(list)
        """By incident: who sent a message, and under which epoch."""
        self.troubles = 0
        self.whole_since = self.now
        """Time since when somebody is alive and awake."""

    @rule()
    def incident(self) -> None:
        self.incidents[len(self.incidents)] = self.now

    @rule(who=WHO)
    def kill(self, who: str) -> None:
        self.auditors[who].dead = True
        self.troubles += 1

    @rule(who=WHO)
    def start(self, who: str) -> None:
        if self.auditors[who].dead:
            cut = self.auditors[who].cut
            fresh = Leadership(LEASE, awake_since=self.now, turned_at=self.now)
            self.auditors[who] = Auditor(who, fresh, cut=cut, beat_at=self.now)

    @rule(who=WHO, frozen=st.booleans())
    def freeze(self, who: str, frozen: bool) -> None:
        self.troubles += frozen and not self.auditors[who].frozen
        self.auditors[who].frozen = frozen

    @rule(who=WHO, cut=st.booleans())
    def cut_off(self, who: str, cut: bool) -> None:
        self.troubles += cut and not self.auditors[who].cut
        self.auditors[who].cut = cut

    @rule(steps=st.sampled_from([1, 5, 20, 45, 80]))
    def pass_time(self, steps: int) -> None:
        for _ in range(steps):
            self.now += STEP
            for auditor in self.auditors.values():
                if not (auditor.frozen or auditor.dead):
                    self.live(auditor)
            if all(item.frozen or item.dead for item in self.auditors.values()):
                self.whole_since = self.now
            self.check_in_time()

    # -- what an auditor does in each step

    def live(self, auditor: Auditor) -> None:
        auditor.knowledge = auditor.knowledge.turned(self.now)
        self.keep(auditor)
        self.send(auditor)
        role = auditor.knowledge.role(self.now)
        for incident in self.incidents:
            if role is not TellingRole.FOLLOWS:
                self.tell(auditor, incident)

    def keep(self, auditor: Auditor) -> None:
        """Ask for the lease when it is time; note that no answer came after a beat."""
        if auditor.asked_at is None and self.now >= auditor.beat_at:
            auditor.asked_at = self.now
        if auditor.asked_at is None:
            return
        if not auditor.cut:
            holds = self.database.ask(auditor.name, auditor.knowledge.epoch, self.now)
            row = self.database.row(self.now)
            auditor.knowledge = auditor.knowledge.answered(row, auditor.asked_at, holds=holds)
            auditor.memory |= self.database.told.keys()
        elif self.now - auditor.asked_at < LEASE / BEATS:
            return
        else:
            auditor.knowledge = auditor.knowledge.silent()
        auditor.asked_at = None
        auditor.beat_at = self.now + auditor.knowledge.next_beat(self.now)

    def tell(self, auditor: Auditor, incident: int) -> None:
        """Record under the epoch that a call is about to be made, or go on from memory where nobody answers."""
        if auditor.cut:
            if incident not in auditor.memory:
                auditor.sending[incident] = None
        elif self.database.holds(auditor.knowledge.epoch, self.now):
            self.database.until = self.now + LEASE
            auditor.knowledge = auditor.knowledge.renewed(self.now)
            if incident not in self.database.told and incident not in auditor.memory:
                auditor.sending[incident] = auditor.knowledge.epoch
        else:
            auditor.knowledge = auditor.knowledge.lost()

    def send(self, auditor: Auditor) -> None:
        """Send what was recorded, one step later; a stale leader sends nothing."""
        leaving, auditor.sending = auditor.sending, {}
        if auditor.knowledge.role(self.now) is TellingRole.FOLLOWS:
            return
        for incident, epoch in leaving.items():
            self.messages[incident].append((auditor.name, epoch))
            auditor.memory.add(incident)
            if not auditor.cut and (epoch is None or self.database.holds(epoch, self.now)):
                self.database.told.setdefault(incident, epoch or 0)

    # -- what must be so

    def check_in_time(self) -> None:
        for incident, began in self.incidents.items():
            if self.now - max(began, self.whole_since) > TOLD_WITHIN and not self.messages[incident]:
                awake = [item for item in self.auditors.values() if not (item.frozen or item.dead)]
                since = max(began, *(item.knowledge.awake_since for item in awake))
                assert self.now - since <= TOLD_WITHIN, (incident, began, self.now)

    @invariant()
    def never_told_by_two_epochs_at_once(self) -> None:
        roles = [
            auditor.knowledge.epoch
            for auditor in self.auditors.values()
            if not auditor.dead and auditor.knowledge.role(self.now) is TellingRole.LEADS
        ]
        assert len(roles) <= 1, "two lead at the same time"

    @invariant()
    def told_again_only_after_a_trouble(self) -> None:
        for who in self.messages.values():
            assert len(who) <= 1 + self.troubles
            names = [name for name, _ in who]
            alive = {name for name in names if not self.auditors[name].dead}
            epochs = [epoch for _, epoch in who if epoch is not None]
            assert len(epochs) == len(set(epochs)), "one epoch tells once"
            assert alive or not names or self.troubles


TwoAuditors.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
test_two_auditors = TwoAuditors.TestCase


def test_who_was_frozen_asks_before_it_takes_the_silence_for_an_outage() -> None:
    knowledge = Leadership(LEASE, awake_since=0.0, turned_at=0.0).answered(
        LeaseRow("a", 1, LEASE), 0.0, holds=True
    )
    asked = knowledge.turned(6.0).silent()
    assert asked.role(14.0) is TellingRole.LEADS
    woken = asked.turned(90.0).silent()
    assert woken.role(90.0) is TellingRole.FOLLOWS


def test_who_hears_nothing_for_a_whole_lease_tells_alone() -> None:
    knowledge = Leadership(LEASE, awake_since=0.0, turned_at=0.0).answered(
        LeaseRow("other", 1, LEASE), 0.0, holds=False
    )
    for second in range(1, 15):
        knowledge = knowledge.turned(float(second)).silent()
        assert knowledge.role(float(second)) is TellingRole.FOLLOWS
    assert knowledge.turned(15.0).role(15.0) is TellingRole.ALONE


def test_a_lease_that_ends_is_taken_when_it_ends() -> None:
    knowledge = Leadership(LEASE, awake_since=0.0, turned_at=0.0).answered(
        LeaseRow("other", 1, 2.0), 0.0, holds=False
    )
    assert knowledge.next_beat(0.5) == 1.5


def test_a_leader_that_is_cut_off_goes_on_without_a_gap() -> None:
    knowledge = Leadership(LEASE, awake_since=0.0, turned_at=0.0).answered(
        LeaseRow("a", 1, LEASE), 0.0, holds=True
    )
    for tenth in range(50, 300):
        knowledge = knowledge.turned(tenth / 10).silent()
        assert knowledge.role(tenth / 10) is not TellingRole.FOLLOWS
