"""Builds the story of one address, node or key from a snapshot and its report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from auditor.checks.idents import Ident
from auditor.errors import GapReason, GapScope, UsageError
from auditor.explain.reach import Reach
from auditor.explain.story import Routing, Story
from auditor.explain.targets import (
    Address,
    Key,
    Region,
    Topic,
    about_address,
    about_key,
    about_node,
    find_target,
    not_seen,
    stands_at,
    unknown_address,
    unreadable_with,
)
from auditor.fleet.fleet import Fleet
from auditor.fleet.latest import latest_state
from auditor.fleet.met import Met
from auditor.fleet.observer_sets import ObserverGroup
from auditor.values.addresses import (
    Prefix,
    PublicKey,
    covers,
    format_prefix,
    is_host,
    network,
    prefix_sort_key,
)
from auditor.values.findings import Claim, Finding, Pick
from auditor.values.models import InvalidRegistration, NodeId, Snapshot
from auditor.values.report import Report
from auditor.values.text import count, listed

_MOST_PREFIXES = 12
"""Number of addresses of one node or key whose routing is shown; the others are counted."""
_MOST_NAMED = 12
"""Observers of one pick that are all named."""
_MOST_WIDER = 4

Touches = Callable[[Finding], bool]


def explain(
    snapshot: Snapshot, report: Report, target: str, *, everyone: bool = False, idents: Collection[str] = ()
) -> Story:
    """Build the story of `target`: an address, a node (`name` or `name@datacenter`), a key or a fingerprint.

    A key may be cut short, to at least six characters that no other key starts with; a fingerprint to four.
    `everyone`: names all observers, however many there are. `idents`: what the documents tell of, for names that are
    near. Raises `UsageError` with the nearest known names where the sweep saw nothing of that name.
    """
    (story,) = explain_each(snapshot, report, [target], everyone=everyone, idents=idents)
    return story


def explain_each(
    snapshot: Snapshot,
    report: Report,
    targets: Iterable[str],
    *,
    everyone: bool = False,
    idents: Collection[str] = (),
) -> list[Story]:
    """Build the story of each target, as `explain` does."""
    builder = _StoryBuilder(snapshot, report, everyone=everyone, idents=idents)
    return [builder.tell(target.strip()) for target in targets]


class _StoryBuilder:
    """Snapshot and report, indexed for questions."""

    def __init__(
        self, snapshot: Snapshot, report: Report, *, everyone: bool, idents: Collection[str]
    ) -> None:
        self.everyone = everyone
        self._idents = idents
        self.snapshot = latest_state(snapshot)
        self.report = report
        self.fleet = Fleet(self.snapshot)

    def tell(self, target: str) -> Story:
        found = find_target(self.snapshot, self.report, self.fleet, target, idents=self._idents)
        match found:
            case Address(prefix):
                return self._address(prefix)
            case Key(key):
                return self._key(key)
            case Finding():
                return self._finding(found)
            case Region(region):
                raise UsageError(f"explain: {region} is a region; `wgaudit affected {region}` tells of it")
            case Topic(ident):
                raise UsageError(f"explain: {ident} is told by the documents: `wgaudit explain {ident}`")
            case _:
                return self._node(found)

    def _finding(self, finding: Finding) -> Story:
        """The story of the finding's subject, led by the finding."""
        if finding.address is not None:
            story = self._address(finding.address)
        elif finding.public_key is not None:
            story = self._key(finding.public_key)
        elif finding.nodes:
            story = self._node(finding.nodes[0])
        else:
            raise UsageError(
                f"explain: {finding.fingerprint} is about {finding.subject}, of which no node is known"
            )
        return replace(story, asked=finding)

    # -- the three kinds

    def _address(self, prefix: Prefix) -> Story:
        fleet = self.fleet
        claims = fleet.claims(prefix)
        routing = self._routing(prefix)
        routed = [pick for pick in routing.picks if pick.public_key is not None]
        invalid = unreadable_with(fleet.invalid, prefix)
        places = {item.where for item in invalid}
        findings = self._findings(lambda item: about_address(item, prefix) or stands_at(item, places))
        wider, notes = self.fleet.covering(prefix), self._beside(prefix)
        text = format_prefix(prefix)
        if not (claims or routed or findings or invalid or wider or notes):
            raise unknown_address(self.snapshot, self.report, self.fleet, prefix)
        holders = list(dict.fromkeys(claim.node for claim in claims if claim.node is not None))
        return self._story(
            Story(
                target=text,
                kind="address",
                headline=f"{text} {self._held_by(prefix, holders, invalid, wider)}",
                coverage=self.report.coverage,
                invalid=invalid,
                claims=(*claims, *(claim for parent in wider for claim in fleet.claims(parent))),
                routing=(routing,),
                notes=notes,
            ),
            [*holders, *(item.node for item in invalid)],
            findings,
            own_keys={claim.public_key for claim in claims if claim.public_key is not None},
        )

    def _held_by(
        self,
        prefix: Prefix,
        holders: Sequence[NodeId],
        invalid: Sequence[InvalidRegistration],
        wider: Sequence[Prefix],
    ) -> str:
        """An address's outcome in words, after the address."""
        unreadable = ""
        if invalid:
            names = _names([self._with_region(item.node) for item in invalid])
            unreadable = f"stands in {count(len(invalid), 'unreadable registration')}: {names}"
        if holders:
            names = _names([self._with_region(node) for node in holders])
            words = f"{len(holders)} nodes: {names}" if len(holders) > 1 else names
            alone = " alone" if len(holders) == 1 and not invalid else ""
            return f"is claimed by {words}{alone}{f', and {unreadable}' if unreadable else ''}"
        if unreadable:
            return unreadable
        routes = self.fleet.routes
        nobody = "is claimed by no registration and no device that was seen"
        networks = [parent for parent in wider if not self.fleet.is_route(parent)]
        if networks:
            return f"{nobody}, but {networks[0]} covers it"
        if given := sorted(routes.keys_anywhere(prefix)):
            return f"{nobody}, but routed to {_names([self._owner(key) for key in given])}"
        return f"{nobody}, but {wider[0]} covers it" if wider else nobody

    def _beside(self, prefix: Prefix) -> tuple[str, ...]:
        """Word facts of an address beyond claims and routes: nodes that have it in flight, and prefixes inside it."""
        notes = [
            f"{self.report.name(item.node)} was registered with it when one of the sweep's readings was made, and its "
            "registration had not held still at the end."
            for item in self.snapshot.in_flight
            if prefix in item.addresses and prefix not in self.fleet.registered_claims
        ]
        if not is_host(prefix):
            inside = [
                other
                for other in self.fleet.known_prefixes
                if other != prefix and covers(network(prefix), network(other))
            ]
            if inside:
                others = _names([format_prefix(other) for other in sorted(inside, key=prefix_sort_key)])
                notes.append(
                    f"{count(len(inside), 'known prefix', 'known prefixes')} lie inside it: {others}."
                )
        return tuple(dict.fromkeys(notes))

    def _node(self, node: NodeId) -> Story:
        fleet, snapshot = self.fleet, self.snapshot
        observations = tuple(item for item in snapshot.observations if item.node == node)
        registrations = tuple(item for item in snapshot.registrations if item.node == node)
        invalid = tuple(item for item in snapshot.invalid if item.node == node)
        keys = [
            *(item.public_key for item in registrations if item.public_key is not None),
            *(item.device.public_key for item in observations),
        ]
        prefixes = dict.fromkeys(prefix for item in registrations for prefix in item.addresses)
        prefixes |= dict.fromkeys(prefix for item in observations for prefix in item.device.addresses)
        findings = self._findings(lambda item: about_node(item, node, self.report))
        states = [
            "registered"
            if registrations
            else ("its registration is unreadable" if invalid else "not registered"),
            "seen" if observations else "not seen",
            count(len(findings), "finding"),
        ]
        losses = Reach(fleet).losses(node)
        if losses:
            states.append(f"as an observer it loses somebody at {count(len(losses), 'address', 'addresses')}")
        if node in self.report.in_flight:
            states.append("in flight: it had not held still when the sweep ended")
        notes = self._key_notes(keys)
        if any(item.observation.node == node for item in fleet.wrong_hosts):
            notes.insert(
                0, "The server that answered holds another node's key: what it showed is not this node's."
            )
        return self._story(
            Story(
                target=str(node),
                kind="node",
                coverage=self.report.coverage,
                headline=f"{self._with_region(node)}: {', '.join(states)}",
                registrations=registrations,
                invalid=invalid,
                observations=observations,
                claims=tuple(claim for prefix in prefixes for claim in fleet.claims(prefix)),
                routing=tuple(self._routing(prefix) for prefix in list(prefixes)[:_MOST_PREFIXES]),
                notes=(*notes, *_beyond(prefixes)),
                losses=losses,
            ),
            [node],
            findings,
            own_keys=set(keys),
        )

    def _key(self, key: PublicKey) -> Story:
        fleet, snapshot = self.fleet, self.snapshot
        registrations = tuple(item for item in snapshot.registrations if item.public_key == key)
        places = {item.where for item in registrations}
        invalid = tuple(item for item in snapshot.invalid if item.where in places)
        observations = tuple(item for item in snapshot.observations if item.device.public_key == key)
        prefixes = dict.fromkeys(prefix for item in registrations for prefix in item.addresses)
        prefixes |= dict.fromkeys(prefix for item in observations for prefix in item.device.addresses)
        prefixes |= dict.fromkeys(fleet.routes.prefixes_of(key))
        owners = list(
            dict.fromkeys([item.node for item in registrations] + [item.node for item in observations])
        )
        if not owners:
            headline = f"key {key}: no registration and no device that was seen has it"
        elif len(owners) == 1:
            headline = f"key {key} is {self._with_region(owners[0])}"
        else:
            headline = (
                f"key {key} is on {len(owners)} nodes: {_names([self._with_region(n) for n in owners])}"
            )
        return self._story(
            Story(
                target=key,
                kind="key",
                coverage=self.report.coverage,
                headline=headline,
                registrations=registrations,
                invalid=invalid,
                observations=observations,
                claims=tuple(claim for prefix in prefixes for claim in fleet.claims(prefix)),
                routing=tuple(self._routing(prefix) for prefix in list(prefixes)[:_MOST_PREFIXES]),
                notes=(*self._key_notes([key]), *_beyond(prefixes)),
            ),
            owners,
            self._findings(lambda item: about_key(item, key)),
            own_keys={key},
        )

    def _story(
        self,
        story: Story,
        nodes: Sequence[NodeId],
        findings: Sequence[Finding],
        *,
        own_keys: Collection[PublicKey],
    ) -> Story:
        """The parts that all three kinds have."""
        named = {*nodes, *(claim.node for claim in story.claims if claim.node is not None)}
        named |= {
            node
            for loss in story.losses
            for node in (
                *loss.group.loses,
                *(other for each in loss.group.destinations for other in each.nodes),
            )
        }
        named |= {pick.node for routing in story.routing for pick in routing.picks if pick.node is not None}
        named |= {met.node for routing in story.routing for met in routing.answers if met.node is not None}
        own = [
            gap for gap in self.report.gaps if gap.node and NodeId(gap.datacenter or "", gap.node) in named
        ]
        registry = [
            gap for gap in self.report.not_seen if gap.node is None and gap.reason is not GapReason.UNSETTLED
        ]
        others = sum(gap.scope is GapScope.NODE for gap in self.report.gaps if gap not in own)
        claimants = {*nodes, *(claim.node for claim in story.claims if claim.node is not None)}
        notes = [
            f"{self.report.name(node)} is out of production {self.report.drained[node].sentence}."
            for node in sorted(claimants & self.report.drained.keys())
        ]
        notes += story.notes
        if others:
            notes.append(f"{count(others, 'other node')} could not be seen: the routes there are not known.")
        if registry:
            notes.append("The registry may not have been read whole: there may be claims that nobody saw.")
        steps: list[str] = []
        contested: list[Prefix] = []
        agreed = {finding.address for finding in self.report.findings if finding.agreed is not None}
        for prefix in dict.fromkeys(claim.prefix for claim in story.claims):
            if prefix in self.fleet.contested and prefix in agreed:
                steps.append(f"{format_prefix(prefix)} is meant to be shared, as [[shared]] says: leave it.")
            elif prefix in self.fleet.contested:
                contested.append(prefix)
                steps += _contest_steps(format_prefix(prefix), self.fleet.claims(prefix), self.report.name)
        steps += [
            f"Correct the registration at {item.where}: until then "
            + (
                f"{', '.join(fault.field for fault in item.faults)} is not known."
                if item.faults
                else "its node is not audited."
            )
            for item in story.invalid
        ]
        steps += [
            f"Register {format_prefix(finding.address)} for {finding.party} if it is meant to have it; else take it "
            "off that peer on the observers named above, then sweep again."
            for finding in findings
            if finding.check is Ident.UNREGISTERED_ALLOWED_IPS
            and finding.address
            and finding.caused_by is None
        ]
        steps += [
            f"Make {gap.node} reachable for the audit ({gap.reason}), then sweep again."
            for gap in own
            if gap.scope is GapScope.NODE
        ]
        if story.losses and not contested:
            lost = _names([format_prefix(loss.address) for loss in story.losses])
            steps.append(f"As an observer it does not reach everybody: settle {lost}, then sweep again.")
        elif not findings:
            steps += self._without_findings(story, {*nodes}, own_keys)
        return replace(
            story,
            notes=tuple(notes),
            findings=tuple(findings),
            gaps=(*registry, *own),
            contested=tuple(contested),
            next_steps=tuple(steps),
            everyone=self.everyone,
            regions={node: region for node in named if (region := self.fleet.region(node))},
            ambiguous_names=self.report.ambiguous_names,
        )

    def _without_findings(
        self, story: Story, nodes: Collection[NodeId], own_keys: Collection[PublicKey]
    ) -> list[str]:
        """Word the conclusion where no finding touches the target: rarely that there is nothing to do."""
        steps: list[str] = []
        covering = {parent for routing in story.routing for parent in self.fleet.covering(routing.prefix)}
        foreign = [
            parent
            for parent in sorted(covering, key=prefix_sort_key)
            if not self.fleet.is_route(parent) and not self.fleet.keys_of(parent) <= {*own_keys}
        ]
        if foreign:
            owners = _names([self._owners(parent) for parent in foreign])
            steps.append(f"{owners} covers it: settle whose it is before you use it.")
        if flying := [self.report.name(node) for node in nodes if node in self.report.in_flight]:
            steps.append(f"{_names(flying)} had not held still when the sweep ended: sweep again.")
        if unseen := not_seen(self.report, details=False):
            steps.append(
                f"No finding touches it, but not everything was seen ({', '.join(unseen)}): "
                "see to that before calling it clean."
            )
        return steps or ["Nothing to do: every place was seen, and no finding touches it."]

    # -- routing

    def _routing(self, prefix: Prefix) -> Routing:
        """Count destinations of the prefix, and who answered there: by a finding's evidence, else by what was seen."""
        evidence = next(
            (
                finding.evidence.routing
                for finding in self.report.findings
                if finding.evidence.routing and finding.address == prefix and finding.confirmed is not False
            ),
            None,
        )
        picks = evidence or self.fleet.routes.picks(prefix)
        answered = next(
            (
                finding
                for finding in self.report.findings
                if finding.evidence.answers and finding.address == prefix and finding.confirmed is not False
            ),
            None,
        )
        met = Met(self.fleet, prefix)
        return Routing(
            prefix,
            tuple(map(self._with_names, picks)),
            tuple(self._wider(prefix)),
            answered.evidence.answers if answered is not None else met.reached,
            answered.disagreement if answered is not None else met.disagreement,
        )

    def _with_names(self, pick: Pick) -> Pick:
        """The pick with all its observers named, where they are few or everyone is asked for; in order."""
        if pick.everyone is None or (pick.observers > _MOST_NAMED and not self.everyone):
            return replace(pick, sample=tuple(sorted(pick.sample)))
        return replace(pick, sample=pick.everyone())

    def _wider(self, prefix: Prefix) -> list[str]:
        """Prefixes of several addresses that hold this one too, in words."""
        wider = self.fleet.covering(prefix)
        notes = [
            f"{text} covers it too; the longest prefix wins on each observer." for text in wider[:_MOST_WIDER]
        ]
        if len(wider) > _MOST_WIDER:
            notes.append(f"{len(wider) - _MOST_WIDER} more prefixes cover it.")
        return notes

    def _owners(self, prefix: Prefix) -> str:
        """`10.20.2.0/24 (edge-fra-1)`"""
        nodes = [self.fleet.node_of_key(key) for key in sorted(self.fleet.keys_of(prefix))]
        names = [self.report.name(node) if node is not None else "an unknown key" for node in nodes]
        return f"{prefix} ({listed(dict.fromkeys(names), most=3, last=', ')})"

    def _owner(self, key: PublicKey) -> str:
        node = self.fleet.node_of_key(key)
        return self._with_region(node) if node is not None else "an unregistered key"

    def _key_notes(self, keys: Iterable[PublicKey]) -> list[str]:
        """Word the observers' view of the key as a peer, beyond its addresses."""
        notes: list[str] = []
        routes, wanted = self.fleet.routes, dict.fromkeys(keys)
        # Of these keys alone: in a bad night a table lacks thousands, and thousands hold it.
        idle = routes.observers_with(routes.deviations.idle_keys, wanted.keys())
        absent = routes.observers_with(routes.deviations.absent_keys, wanted.keys())
        for key in wanted:
            if key in idle:
                notes.append(
                    f"{self._observers(idle[key])} it with no allowed-ips, (none): "
                    "traffic to it and from it is dropped there."
                )
            if key in absent:
                notes.append(
                    f"{self._observers(absent[key], 'does not have', 'do not have')} it as a peer at all."
                )
        return notes

    def _observers(self, group: ObserverGroup, one: str = "shows", several: str = "show") -> str:
        observers = [self.report.name(item.node) for item in group]
        names = listed(observers, most=len(observers), last=", ") if self.everyone else _names(observers)
        return f"{count(len(group), 'observer')} ({names}) {one if len(group) == 1 else several}"

    # -- findings and words

    def _findings(self, touches: Touches) -> tuple[Finding, ...]:
        """The findings that touch the target, and those that follow from them or that they follow from."""
        direct = {item.fingerprint for item in self.report.findings if touches(item)}
        causes = {item.caused_by for item in self.report.findings if item.fingerprint in direct}
        wanted = direct | causes
        chosen = [item for item in self.report.findings if item.fingerprint in wanted]
        return tuple(sorted(chosen, key=lambda item: (item.confirmed is False, item.caused_by is not None)))

    def _with_region(self, node: NodeId) -> str:
        region = self.fleet.region(node)
        return f"{self.report.name(node)} ({region})" if region else self.report.name(node)


def _contest_steps(text: str, claims: Iterable[Claim], name: Callable[[NodeId], str]) -> list[str]:
    first = min(
        (claim for claim in claims if claim.create_index is not None and claim.node is not None),
        key=lambda claim: claim.create_index or 0,
        default=None,
    )
    decide = f"Decide which node keeps {text}."
    if first is not None and first.node is not None:
        decide += f" {name(first.node)} was registered with it first (CreateIndex {first.create_index})."
    return [decide, "Give the others a free address, written with a check-and-set (?cas=), then sweep again."]


def _beyond(prefixes: Collection[Prefix]) -> tuple[str, ...]:
    hidden = len(prefixes) - _MOST_PREFIXES
    return (f"Routing of {hidden:,} more of its prefixes is not told here.",) if hidden > 0 else ()


def _names(names: Iterable[str]) -> str:
    return listed(names, most=6, last=", ")
