"""PURE: state of one sweep so far, and the nodes to look at again until everything holds still."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from auditor.fleet.fleet import Fleet
from auditor.fleet.latest import shows_the_same
from auditor.fleet.showing import asked_first, moved_in, showing, shown_by
from auditor.gather.collector import Seen, node_of
from auditor.judge import find
from auditor.values.findings import Finding
from auditor.values.models import (
    AuditPolicy,
    Gap,
    Looks,
    MovedRegistration,
    NodeId,
    Observation,
    Registration,
    RegistryReading,
    SecondLook,
    Snapshot,
)
from auditor.values.route_table import RouteTable

ROUNDS = 3
"""Looks after the first one, at most."""

Tables = Mapping[str, RouteTable]


class Settling:
    """State of one sweep so far.

    A round is a look at some nodes and then a reading of the registry; round 0 is the look at everybody, between the
    first two readings. A registration that a reading shows otherwise than the reading before it is moving. It has
    settled when its node was looked at after that, and the next reading shows it unchanged.
    """

    def __init__(self, started_at: datetime, policy: AuditPolicy, reading: RegistryReading) -> None:
        """Begin with a reading of the registry, before any node was asked."""
        self._started_at = started_at
        self._policy = policy
        self._reading = reading
        self._registry_gaps: dict[Gap, None] = dict.fromkeys(reading.gaps)
        self._way: dict[NodeId, Registration] = {item.node: item for item in reading.registrations}
        """Newest form of each registration, to reach its node by."""
        self._moving: frozenset[NodeId] = frozenset()
        self._forms: dict[NodeId, list[Registration]] = {}
        self._moved: list[MovedRegistration] = []
        self._first: dict[NodeId, Observation] = {}
        self._latest: dict[NodeId, Observation] = {}
        self._unseen: dict[NodeId, Gap] = {}
        """Nodes that have not answered at all."""
        self._failed: dict[NodeId, Gap] = {}
        """Nodes that answered once, and did not when they were asked again."""
        self._looks: dict[NodeId, Looks] = {}
        self._asked: set[NodeId] = set()
        self.rounds = 0
        """Rounds after the first look."""
        self._state: tuple[Fleet, Mapping[str, Finding]] | None = None
        """Fleet, and its findings by fingerprint. None: something changed since they were computed."""
        self._before: tuple[Fleet, Mapping[str, Finding]] | None = None
        self._otherwise: set[NodeId] = set()
        """Nodes that answered otherwise in the last round than before."""
        self._since: dict[str, int] = {}
        """By fingerprint: the round that first showed the finding."""
        self._restless: set[str] = set()
        """Fingerprints of findings of which one of the few that were asked first no longer shows the same."""

    @property
    def registered(self) -> tuple[Registration, ...]:
        """Newest form of every registration that was read, those that have gone since included."""
        return tuple(self._way.values())

    # -- results

    def look(self, seen: Iterable[Seen]) -> None:
        """Take in the results of nodes that were asked in this round."""
        for item in seen:
            node = node_of(item)
            if isinstance(item, Gap):
                (self._failed if node in self._first else self._unseen)[node] = item
                continue
            self._failed.pop(node, None)
            self._unseen.pop(node, None)
            before, looks = self._latest.get(node), self._looks.get(node, Looks())
            if before is None:
                looks = Looks(self.rounds, self.rounds, self.rounds)
                self._first[node] = item
                self._state = None
            elif shows_the_same(before, item):
                looks = replace(looks, last=self.rounds)
            else:
                looks = replace(looks, changed=self.rounds, last=self.rounds)
                self._otherwise.add(node)
                self._state = None
            self._latest[node] = item
            if self.rounds:
                self._looks[node] = looks

    def read(self, reading: RegistryReading) -> None:
        """Take in the reading that ends this round.

        Where either of two readings could not be read whole in a way that the other could, a difference proves
        nothing: the better reading stands, and what moved before has not been seen to hold still.
        """
        before = self._reading
        self._registry_gaps |= dict.fromkeys(reading.gaps)
        if set(reading.gaps) - set(before.gaps):
            return
        changed = frozenset[NodeId]()
        if not before.gaps or set(before.gaps) == set(reading.gaps):
            changed = self._changes(before.registrations, reading.registrations)
            self._moving = frozenset()
        if before.registrations != reading.registrations or before.invalid != reading.invalid:
            self._state = None
        self._moving |= changed
        self._reading = reading
        self._way |= {item.node: item for item in reading.registrations}

    def begin_round(self, targets: Iterable[Registration]) -> None:
        """Count a new round, in which these nodes are asked."""
        self.rounds += 1
        self._asked |= {item.node for item in targets}
        if self._state is not None:
            self._before = self._state
        self._otherwise.clear()

    def _changes(
        self, before: tuple[Registration, ...], after: tuple[Registration, ...]
    ) -> frozenset[NodeId]:
        old, new = ({item.node: item for item in reading} for reading in (before, after))
        nodes = {
            node
            for node in old.keys() | new.keys()
            if moving_values(old.get(node)) != moving_values(new.get(node))
        }
        for node in sorted(nodes):
            forms = self._forms.setdefault(node, [])
            for form in (old.get(node), new.get(node)):
                if form is None:
                    continue
                self._moved.append(MovedRegistration(form, self.rounds))
                if not forms or moving_values(forms[-1]) != moving_values(form):
                    forms.append(form)
        return frozenset(nodes)

    # -- nodes to ask

    def wanted(self, tables: Tables) -> tuple[Registration, ...] | None:
        """Choose the nodes of one more round; None if there need not be one, or may not.

        Nodes whose registrations move are asked, and nodes not asked yet. Of each finding, a few are asked first; where
        one of them no longer shows the same, all that show it. A node that failed a second time is left alone.
        """
        if self.rounds == ROUNDS:
            return None
        fleet, findings = self.judged(tables)
        asked = {*self._moving, *self._not_asked()}
        for mark, finding in findings.items():
            group = showing(fleet, finding) if mark in self._restless else asked_first(finding)
            moved = moved_in(finding, self._moved)
            asked |= {
                node
                for node in group
                if node in self._latest and node not in self._failed and not self._done(node, mark, moved)
            }
        if not asked and (self.rounds or not findings):
            return None
        return tuple(self._way[node] for node in sorted(asked) if node in self._way)

    def _not_asked(self) -> set[NodeId]:
        asked = self._first.keys() | self._unseen.keys()
        return {
            item.node for item in self._reading.registrations if item.node not in asked and not item.retired
        }

    def _done(self, node: NodeId, mark: str, moved: int) -> bool:
        """Tell whether the node was looked at often enough for this finding."""
        looks = self._looks.get(node, Looks())
        return looks.last > max(looks.first, moved) and (self._since[mark] == 0 or looks.last > looks.changed)

    def judged(self, tables: Tables) -> tuple[Fleet, Mapping[str, Finding]]:
        """Judge the latest state as if every moving registration had come to rest where it is now."""
        if self._state is None:
            snapshot = replace(self._frozen(tables), in_flight=(), observations=tuple(self._latest.values()))
            fleet = Fleet(snapshot)
            self._state = fleet, {finding.fingerprint: finding for finding in find(fleet)}
            self._note_unrest(fleet)
            for mark in self._state[1]:
                self._since.setdefault(mark, self.rounds)
        return self._state

    def _note_unrest(self, now: Fleet) -> None:
        if self._before is None:
            return
        before, findings = self._before
        self._restless |= {
            mark
            for mark, finding in findings.items()
            if any(
                shown_by(before, finding, node) != shown_by(now, finding, node)
                for node in asked_first(finding) & self._otherwise
            )
        }

    # -- snapshot

    def snapshot(self, tables: Tables, finished_at: datetime, cut_short: str | None) -> Snapshot:
        """Freeze the state into a snapshot."""
        return replace(
            self._frozen(tables), finished_at=finished_at, cut_short=cut_short, second_look=self._second()
        )

    def _frozen(self, tables: Tables) -> Snapshot:
        listed = {item.node for item in self._reading.registrations if not item.retired}
        # A node that left the registry and answers no more has gone.
        gone = self._forms.keys() - listed - self._moving
        unseen = sorted((gap for node, gap in self._unseen.items() if node not in gone), key=_place)
        return Snapshot(
            started_at=self._started_at,
            finished_at=self._started_at,
            policy=self._policy,
            registrations=self._reading.registrations,
            invalid=self._reading.invalid,
            observations=tuple(
                self._first[node] for node in sorted(self._first) if node not in gone & self._failed.keys()
            ),
            tables=dict(sorted(tables.items())),
            gaps=tuple(dict.fromkeys((*self._registry_gaps, *unseen))),
            in_flight=tuple(form for node in sorted(self._moving) for form in self._forms[node]),
            others=self._reading.others,
        )

    def _second(self) -> SecondLook | None:
        if not self.rounds:
            return None
        listed = {item.node for item in self._reading.registrations if not item.retired}
        gone = (self._forms.keys() - listed - self._moving) & self._failed.keys()
        return SecondLook(
            asked=tuple(sorted(self._asked)),
            observations=tuple(
                self._latest[node]
                for node, looks in sorted(self._looks.items())
                if looks.last > looks.first and node not in gone
            ),
            gaps=tuple(sorted((gap for node, gap in self._failed.items() if node not in gone), key=_place)),
            rounds=self.rounds,
            time_up=self.rounds == ROUNDS,
            looks=dict(sorted(self._looks.items())),
            moved=tuple(self._moved),
        )


def moving_values(item: Registration | None) -> object:
    """Select the values of a registration that must not change during a look: key, addresses, region, host."""
    if item is None:
        return None
    host = item.endpoint.rpartition(":")[0] if item.endpoint else None
    return item.public_key, frozenset(item.addresses), item.region, host, item.ssh_host, item.retired


def _place(gap: Gap) -> tuple[str, str]:
    return gap.datacenter or "", gap.node or ""
