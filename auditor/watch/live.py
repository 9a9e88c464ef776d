"""PURE: live state of a fleet under watch, as registry and nodes told it so far, and the snapshot that it freezes into.

Times are seconds of one steady clock, but for those that are shown. Nothing is concluded from silence: a node that has
not said anything for long, or not yet, is a gap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from auditor.errors import GapReason
from auditor.fleet.latest import shows_the_same
from auditor.fleet.met_hosts import registered_hosts
from auditor.fleet.showing import asked_first, moved_in
from auditor.gather.collector import Assignment, Heard, Seen
from auditor.registry.interface import RegistryNews
from auditor.values.addresses import PublicKey
from auditor.values.findings import Finding
from auditor.values.meetings import PeersMet
from auditor.values.models import (
    AuditPolicy,
    Gap,
    Meeting,
    Memory,
    NodeId,
    Observation,
    OtherKeys,
    Registration,
    SecondLook,
    Snapshot,
)
from auditor.values.route_table import RouteTable
from auditor.values.witness_answers import WitnessAnswer
from auditor.watch.followed_registry import DatacenterState, RegistryChange, gap_kinds
from auditor.watch.kept_answers import KeptAnswers
from auditor.watch.met_keys import MetKeys
from auditor.watch.recent_moves import RecentMoves, looks_at
from auditor.watch.view import FollowedDatacenter, Sessions
from auditor.watch.written_addresses import WrittenAddresses, with_older

BEAT = 30.0
"""Seconds between two words of a followed node that shows what it showed."""
SILENT_AFTER = 4 * BEAT
"""Seconds without a word after which a node is silent, whatever its follower says: that one has three beats."""


@dataclass(slots=True, eq=False)
class _Node:
    """Node that is followed: its newest state, and when it was last heard of."""

    seen: Seen | None = None
    """None: it was not heard of yet."""
    heard_at: float = 0.0
    followed: bool = True
    settled: bool = False
    """True: it was heard of again since it changed."""
    knows: int = 0
    """Number of the newest change of a registration that its last word knows of."""
    changed: int = 0
    """Number of the newest change of a registration when its state changed last."""
    silent: bool = False


@dataclass(slots=True, eq=False)
class _Wait:
    """Wait of an unsettled finding for the next words of some nodes."""

    knowing: int
    """Number of the change of a registration that their words must know of."""
    nodes: set[NodeId]


class Live:
    """Live state of one fleet. Words of nodes cost the same however large it is; nothing is kept of those that left."""

    def __init__(
        self,
        policy: AuditPolicy,
        tables: Mapping[str, RouteTable],
        *,
        catch_up: float = 3.0,
        round_interval: float = 60.0,
    ) -> None:
        """tables: the store's tables by digest. catch_up: seconds after a change of a registration until a node's word
        counts as one that knows of it. round_interval: seconds between two looks at nodes that cannot be followed.
        """
        self.policy = policy
        self._tables = tables
        self.round_interval = round_interval
        self._datacenters: dict[str, DatacenterState] = {}
        self._missing: set[str] = set()
        """Datacenters that are there, and of which there is no news yet."""
        self._nodes: dict[NodeId, _Node] = {}
        self._moves = RecentMoves(catch_up)
        self._waits: dict[NodeId, list[_Wait]] = {}
        self._forgotten = 0
        """Number of the newest change that was forgotten when the last snapshot was frozen."""
        self._owed: set[NodeId] = set()
        """Nodes that cannot be followed, and were not looked at in this round yet."""
        self._memory = Memory()
        self._written = WrittenAddresses()
        self._met = MetKeys()
        self._meetings: tuple[Meeting, ...] | None = None
        self._answers = KeptAnswers()
        self._outer_hosts: tuple[int, Mapping[PublicKey, frozenset[str]]] = (-1, {})
        """Version of the registry, and the outer hosts that its registrations name, by key."""
        self.unheard = 0
        """Number of nodes that were not heard of yet."""
        self.reconnections = 0
        """Number of times that a node was seen again."""
        self.version = 0
        """Grows with all that may change a judgement."""
        self.registry_version = 0
        """Grows with each change of the registry."""

    # -- the registry

    def expect(self, datacenters: Collection[str]) -> None:
        """Expect news of these datacenters: until they come, the registry was not read whole."""
        self._missing = set(datacenters) - self._datacenters.keys()

    def read(self, news: RegistryNews, now: float, *, asked_at: datetime | None = None) -> RegistryChange:
        """Take in news of one datacenter. asked_at: time in UTC when it was asked for, of a reading that was to confirm
        another; None: it came by itself.

        What came late is left out: a reading that is older than the one at hand, and one that was asked for before
        that one had come and cannot tell more.
        """
        before = self._datacenters.get(news.datacenter)
        if before is not None and before.is_newer(news, asked_at):
            return RegistryChange()
        self._missing.discard(news.datacenter)
        listed: Collection[NodeId] = ()
        if before is None:
            self._datacenters[news.datacenter] = state = DatacenterState(news)
            change = RegistryChange(something=True, content=True)
        else:
            state, listed = before, before.known.keys()
            change = state.take(news, again=asked_at is not None)
        self._written.take(news)
        if change.nodes:
            self._moves.add(change.forms, now)
        if change:
            self.version += 1
            self.registry_version += 1
            self._follow_those_of(state, listed)
        return change

    def _follow_those_of(self, state: DatacenterState, listed: Collection[NodeId]) -> None:
        """Begin to wait for new nodes of a datacenter, and forget those that it lists no more."""
        asked = {node for node, item in state.known.items() if not item.retired}
        for node in listed:
            if node not in asked and (left := self._nodes.pop(node, None)) is not None:
                self.unheard -= left.seen is None
                self._owed.discard(node)
                self._heard_enough(node, None)
        for node in asked:
            if node not in self._nodes:
                self._nodes[node] = _Node()
                self.unheard += 1

    @property
    def ready(self) -> bool:
        """Tell whether every datacenter was read whole at least once."""
        return (
            bool(self._datacenters)
            and not self._missing
            and all(item.whole_once for item in self._datacenters.values())
        )

    @property
    def unconfirmed(self) -> Mapping[str, frozenset[NodeId]]:
        """Nodes whose registrations changed, and are to be read once more, by datacenter."""
        return {name: nodes for name, item in self._datacenters.items() if (nodes := item.unconfirmed)}

    def in_flight(self) -> tuple[Registration, ...]:
        """List the forms of registrations that are to be read once more, by node, oldest first."""
        return tuple(form for state in self._datacenters.values() for form in state.in_flight())

    def may_collide(self, changed: Collection[NodeId]) -> bool:
        """Tell whether one of these nodes is registered with an address or a key that another one has, too."""
        registered = [item for state in self._datacenters.values() for item in state.known.values()]
        of_changed = [item for item in registered if item.node in changed]
        prefixes = {prefix for item in of_changed for prefix in item.addresses}
        keys = {item.public_key for item in of_changed} - {None}
        held = Counter(prefix for item in registered for prefix in item.addresses if prefix in prefixes)
        used = Counter(item.public_key for item in registered if item.public_key in keys)
        return max(held.values(), default=0) > 1 or max(used.values(), default=0) > 1

    def sees_more_than(self, news: RegistryNews) -> bool:
        """Tell whether the reading at hand of a datacenter lacks a gap of this one."""
        state = self._datacenters.get(news.datacenter)
        return state is not None and not gap_kinds(news.reading) <= gap_kinds(state.reading)

    def assignment(self) -> Assignment:
        """List the nodes to follow: those of a datacenter that cannot be read now, too."""
        registered = tuple(item for state in self._datacenters.values() for item in state.known.values())
        return Assignment(tuple(item for item in registered if not item.retired), registered)

    def datacenters(self) -> tuple[FollowedDatacenter, ...]:
        """List the datacenters, by name."""
        return tuple(self._datacenters[name].followed() for name in sorted(self._datacenters))

    # -- nodes

    def hear(self, word: Heard, now: float) -> bool:
        """Take in a node's word; tell whether it may change a judgement. A word of a node that left is left out."""
        node = self._nodes.get(word.node)
        if node is None:
            return False
        if self._owed:
            self._owed.discard(word.node)
        if node.seen is None and word.seen is not None:
            self.unheard -= 1
        before, node.heard_at, node.followed = node.seen, now, word.followed
        node.knows = self._moves.caught_up(now)
        if node.silent:
            node.silent = False
            self.version += 1
        changed = False
        if word.seen is None or (
            isinstance(before, Observation)
            and isinstance(word.seen, Observation)
            and shows_the_same(before, word.seen)
        ):
            node.seen = word.seen or before
            node.settled = True
            # It followed a change already: what it shows since is not from before.
            node.knows = max(node.knows, node.changed)
        else:
            node.seen, node.settled = self._with_table(word.seen), False
            changed = node.seen != before
            if isinstance(before, Observation) and isinstance(node.seen, Observation):
                node.changed = self._moves.number
            self.reconnections += isinstance(before, Gap) and isinstance(node.seen, Observation)
        self.version += changed
        return self._heard_enough(word.node, node) or changed

    def followed(self) -> tuple[NodeId, ...]:
        """List the nodes that are followed and seen."""
        return tuple(
            ident
            for ident, node in self._nodes.items()
            if node.followed and not node.silent and isinstance(node.seen, Observation)
        )

    def meet(self, met: Sequence[PeersMet], now: float) -> bool:
        """Take in where observers meet their peers; tell whether it may change a judgement."""
        if self._outer_hosts[0] != self.registry_version:
            by_key: dict[PublicKey, list[Registration]] = {}
            for item in self._registrations():
                if item.public_key is not None:
                    by_key.setdefault(item.public_key, []).append(item)
            hosts = {key: registered_hosts(items) for key, items in by_key.items()}
            self._outer_hosts = self.registry_version, hosts
        known = self._outer_hosts[1]
        self._met.take(met, lambda key: known.get(key, frozenset()), now)
        before, self._meetings = self._meetings, self._met.meetings()
        before = before or ()
        self.version += before != self._meetings
        return before != self._meetings

    def _with_table(self, seen: Seen) -> Seen:
        if isinstance(seen, Gap) or seen.table in self._tables:
            return seen
        detail = f"its table {seen.table:.12} is not at hand"
        return Gap("ssh", GapReason.INTERNAL, detail, seen.node.name, seen.node.datacenter or None)

    def fall_silent(self, now: float) -> bool:
        """Find nodes that have not said anything for too long; tell whether there are new ones."""
        found = False
        for ident, node in self._nodes.items():
            if node.silent or not isinstance(node.seen, Observation):
                continue
            if now - node.heard_at > (SILENT_AFTER if node.followed else self._longest_silence):
                node.silent = found = True
                self._heard_enough(ident, None)
        self.version += found
        return found

    @property
    def _longest_silence(self) -> float:
        """Seconds after which a node that is looked at once a round is silent."""
        return SILENT_AFTER + 2 * self.round_interval

    def begin_round(self) -> None:
        """Begin a round, in which each node that cannot be followed is looked at once."""
        self._owed = {ident for ident, node in self._nodes.items() if not node.followed}

    @property
    def round_complete(self) -> bool:
        """Tell whether each node that cannot be followed was looked at in this round."""
        return not self._owed

    def sessions(self) -> Sessions:
        """Count the nodes by how they are seen."""
        seen = [
            node.followed
            for node in self._nodes.values()
            if isinstance(node.seen, Observation) and not node.silent
        ]
        followed = sum(seen)
        return Sessions(followed, len(seen) - followed, len(self._nodes) - len(seen))

    def tables_in_use(self) -> frozenset[str]:
        """List the digests of tables that nodes show."""
        return frozenset(
            node.seen.table for node in self._nodes.values() if isinstance(node.seen, Observation)
        )

    # -- what is unsettled

    def wait_for(self, unsettled: Iterable[Finding], snapshot: Snapshot) -> None:
        """Wait until the nodes that show unsettled findings of a snapshot are heard of again; earlier waits are over.

        Once all of a finding's are, `version` grows.
        """
        self._waits = {}
        second = snapshot.second_look
        for finding in unsettled:
            moved = moved_in(finding, second.moved if second is not None else ())
            wait = _Wait(self._forgotten + max(0, moved), set())
            wait.nodes = {
                node
                for node in asked_first(finding)
                if (state := self._nodes.get(node)) is not None
                and isinstance(state.seen, Observation)
                and not self._satisfied(state, wait)
            }
            if not wait.nodes:
                self.version += 1
            for node in wait.nodes:
                self._waits.setdefault(node, []).append(wait)

    @property
    def waits(self) -> bool:
        """Tell whether a finding waits for the next word of a node."""
        return bool(self._waits)

    @staticmethod
    def _satisfied(node: _Node, wait: _Wait) -> bool:
        return node.silent or (node.settled and node.knows >= wait.knowing)

    def _heard_enough(self, ident: NodeId, node: _Node | None) -> bool:
        """Tell whether a finding has waited for this node as the last one. None: there is no waiting for it."""
        if not self._waits or (waits := self._waits.get(ident)) is None:
            return False
        left = [wait for wait in waits if node is not None and not self._satisfied(node, wait)]
        over = False
        for wait in waits:
            if wait not in left:
                wait.nodes.discard(ident)
                over = over or not wait.nodes
        if left:
            self._waits[ident] = left
        else:
            del self._waits[ident]
        self.version += over
        return over

    # -- snapshots

    def remember(self, memory: Memory) -> None:
        """Judge by this memory of earlier rounds from now on."""
        if memory != self._memory:
            self._memory = memory
            self.version += 1

    def freeze(self, now: float, at: datetime) -> Snapshot:
        """Freeze the state into a snapshot. at: the time in UTC that it shows."""
        self._forget_moves(now)
        self._forgotten = self._moves.forgotten
        registered = self._registrations()
        asked = {item.node for item in registered if not item.retired}
        observations: list[Observation] = []
        gaps: list[Gap] = [*self._registry_gaps()]
        looks = {}
        for ident, node in self._nodes.items():
            if ident not in asked:
                continue
            if isinstance(node.seen, Observation) and not node.silent:
                observations.append(node.seen)
                last = self._moves.round_of(node.knows) if node.settled else 0
                looks[ident] = looks_at(last)
            else:
                gaps.append(_gap(ident, node))
        return Snapshot(
            started_at=at,
            finished_at=at,
            policy=self.policy,
            registrations=registered,
            invalid=tuple(item for state in self._datacenters.values() for item in state.invalid()),
            observations=tuple(observations),
            tables={digest: self._tables[digest] for digest in {item.table for item in observations}},
            gaps=tuple(dict.fromkeys(gaps)),
            in_flight=self.in_flight(),
            second_look=SecondLook(
                asked=(),
                observations=(),
                rounds=self._moves.rounds + 1,
                time_up=True,
                looks=looks,
                moved=self._moves.moved(),
            ),
            others=sum((state.reading.others for state in self._datacenters.values()), OtherKeys()),
            memory=self._with_writes(registered),
            meetings=self._meetings,
            answers=self._answers.valid(registered),
        )

    def answered(
        self,
        answers: Sequence[WitnessAnswer],
        registrations: Iterable[Registration],
        findings: Iterable[Finding],
    ) -> None:
        """Take in answers of witnesses. registrations, findings: those that the questions were made of."""
        if self._answers.take(answers, registrations, findings):
            self.version += 1

    def unasked(self, findings: Iterable[Finding]) -> bool:
        """Tell whether an incident has an address about which nobody was to be asked yet."""
        return self._answers.lacks(findings)

    def registry_alone(self, at: datetime) -> Snapshot:
        """Freeze the registry alone, as it was last read."""
        registered = self._registrations()
        return Snapshot(
            started_at=at,
            finished_at=at,
            policy=self.policy,
            registrations=registered,
            memory=Memory(writes=self._with_writes(registered).writes),
        )

    def _with_writes(self, registered: Iterable[Registration]) -> Memory:
        """Return the memory with the writes of contested addresses, as far as they are known."""
        writes = with_older(self._written.contested(registered), self._memory.writes)
        return replace(self._memory, writes=writes)

    def _registrations(self) -> tuple[Registration, ...]:
        return tuple(item for state in self._datacenters.values() for item in state.reading.registrations)

    def _registry_gaps(self) -> Iterable[Gap]:
        for state in self._datacenters.values():
            yield from state.reading.gaps
            yield from state.unsettled_gaps()
        if not self._datacenters and not self._missing:
            yield Gap("consul", GapReason.CUT_SHORT, "not read yet")
        for name in sorted(self._missing):
            yield Gap("consul", GapReason.CUT_SHORT, "not read yet", datacenter=name or None)

    def _forget_moves(self, now: float) -> None:
        """Forget the changes that every node which is seen was heard of since; and old ones, whoever was not."""
        knows = self._moves.number
        rounds = False
        for node in self._nodes.values():
            if isinstance(node.seen, Observation) and not node.silent:
                knows = min(knows, node.knows)
                rounds = rounds or not node.followed
        self._moves.forget(knows, now - (self._longest_silence if rounds else SILENT_AFTER))


def _gap(ident: NodeId, node: _Node) -> Gap:
    """Make the gap of a node that is not seen."""
    if isinstance(node.seen, Gap):
        return node.seen
    place = ident.name, ident.datacenter or None
    if node.seen is None:
        # It passes by itself: the node is heard of, or the follower says why not.
        return Gap("ssh", GapReason.CUT_SHORT, "not heard of yet", *place)
    return Gap("ssh", GapReason.SILENT, "not heard of for a long time", *place)
