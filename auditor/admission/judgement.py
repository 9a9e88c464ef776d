"""Judgement of records before they are written: against the registry as it would then be, the claims, what is live."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv6Address, ip_address

from auditor.admission.judged_against import JudgedAgainst, LiveHolder
from auditor.admission.objections import Admission, Objection, ObjectionIdent, Proposal, Source
from auditor.fleet.address_plan import Fault
from auditor.fleet.registered import Registered
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Network, Prefix, covers, format_prefix, is_host, network, parse_prefix
from auditor.values.models import NodeId, Registration, Snapshot
from auditor.values.text import count, listed, minute

_NAMED = 3


def admissions(proposals: Sequence[Proposal], against: JudgedAgainst) -> tuple[Admission, ...]:
    """Judge records that are to be written, all at once: also against each other. In their order.

    A node's earlier registration is replaced by its record, and is no conflict with it. A retired one claims nothing.
    """
    judged = _Judgement(proposals, against)
    return tuple(judged.admission(proposal) for proposal in proposals)


class _Judgement:
    """The registry as it would be with all records written, and the question of each of them to it."""

    def __init__(self, proposals: Sequence[Proposal], against: JudgedAgainst) -> None:
        self._against = against
        self._policy = against.policy
        self._unseen = against.all_unseen
        self._times = Counter(proposal.node for proposal in proposals)
        self._proposed = frozenset(self._times)
        first: dict[NodeId, Registration] = {}
        for proposal in proposals:
            if proposal.registration is not None:
                first.setdefault(proposal.node, proposal.registration)
        self._first = first
        self._earlier = {item.node: item for item in against.reading.registrations}
        kept = (item for item in against.reading.registrations if item.node not in self._proposed)
        would_be = (*kept, *first.values())
        self._registered = Registered(Snapshot(against.at, against.at, self._policy, would_be))
        self._retired_at: dict[Prefix, list[Registration]] = defaultdict(list)
        for item in self._registered.retired:
            for prefix in item.addresses:
                self._retired_at[prefix].append(item)
        self._networks: list[tuple[Network, Prefix]] = [
            (network(prefix), prefix)
            for prefix in self._registered.claims
            if not is_host(prefix) and not self._registered.is_route(prefix)
        ]
        self._others_unreadable = self._unreadable_others()

    def admission(self, proposal: Proposal) -> Admission:
        """Judge one record."""
        found = list(self._objections(proposal))
        found.sort(key=lambda item: not item.refuses)
        return Admission(proposal, tuple(found), self._unseen)

    def _objections(self, proposal: Proposal) -> Iterator[Objection]:
        yield from _unreadable(proposal)
        if self._times[proposal.node] > 1:
            times = count(self._times[proposal.node], "record")
            yield Objection(
                ObjectionIdent.NODE_TWICE, "input", f"the input has {times} of {proposal.node}; write one"
            )
        record = proposal.registration
        if record is None or record.retired:
            return
        for prefix in record.addresses:
            yield from self._misplaced(record, prefix)
            yield from self._registered_for_others(record, prefix)
            yield from self._overlaps(record, prefix)
            yield from self._claimed(record, prefix)
            yield from self._live(record, prefix)
        yield from self._key(record)
        yield from self._region(record)
        yield from self._hosts(record)
        yield from self._elsewhere(record)
        yield from self._others_unreadable

    # -- the address plan

    def _misplaced(self, record: Registration, prefix: Prefix) -> Iterator[Objection]:
        plan = self._registered.address_plan
        address = format_prefix(prefix)
        wrong = plan.misplacement(prefix)
        behind = not is_host(prefix) and (
            self._registered.is_route(prefix) or any(map(plan.lies_in_a_pool, record.addresses))
        )
        if wrong is not None and not behind:
            if wrong.pool is None:
                words = f"{address} lies in none of the pools ({listed(plan.pools)})"
            else:
                words = f"{address} is the {wrong.fault.value} address of {wrong.pool}"
            yield Objection(_FAULTS[wrong.fault], "plan", words, address=prefix)
        pool = plan.first_addresses.get(prefix)
        if pool is not None:
            before = self._earlier.get(record.node)
            kept = before is not None and not before.retired and prefix in before.addresses
            yield Objection(
                ObjectionIdent.FIRST_ADDRESS,
                "plan",
                f"{address} is the first address of {pool}, which an allocator hands out that could not read the "
                f"registry{'; the node has it already' if kept else ''}",
                refuses=not kept,
                address=prefix,
            )

    # -- the registry

    def _registered_for_others(self, record: Registration, prefix: Prefix) -> Iterator[Objection]:
        if self._registered.is_route(prefix):
            return
        others = [
            item
            for item in self._registered.claims.claimants.get(prefix, ())
            if not _is_one_node(item, record)
        ]
        if others and not self._agreed(prefix, (record.node, *(item.node for item in others))):
            yield self._of_others(
                ObjectionIdent.ADDRESS_REGISTERED, format_prefix(prefix), others, address=prefix
            )

    def _overlaps(self, record: Registration, prefix: Prefix) -> Iterator[Objection]:
        if self._registered.is_route(prefix):
            return
        narrow = network(prefix)
        claimants = self._registered.claims.claimants
        around = [wide for whole, wide in self._networks if wide != prefix and covers(whole, narrow)]
        if not is_host(prefix):
            around += [other for other in claimants if other != prefix and covers(narrow, network(other))]
        for other in around:
            owners = [item for item in claimants[other] if not _is_one_node(item, record)]
            owners = [
                item
                for item in owners
                if None in (item.public_key, record.public_key) or (item.public_key != record.public_key)
            ]
            wide, holders = (prefix, (record,)) if covers(narrow, network(other)) else (other, owners)
            if owners and not self._agreed(wide, [item.node for item in holders]):
                verb = "holds" if wide == prefix else "lies in"
                what = f"{format_prefix(prefix)} {verb} {format_prefix(other)}, which"
                yield self._of_others(ObjectionIdent.ADDRESS_OVERLAPS, what, owners, address=prefix)

    def _key(self, record: Registration) -> Iterator[Objection]:
        key = record.public_key
        if key is None:
            return
        others = [item for item in self._registered.by_key.get(key, ()) if not _is_one_node(item, record)]
        if others:
            yield self._of_others(ObjectionIdent.KEY_REGISTERED, f"key {key[:8]}…", others)
        live = self._against.live
        holders = [node for node in live.keys.get(key, ()) if not _same_name(node, record.node)]
        retired = [item for item in self._registered.retired if item.public_key == key]
        retired = [item for item in retired if not _same_name(item.node, record.node)]
        if retired and (holders or key in live.routed_keys):
            names = _names(item.node for item in retired)
            yield Objection(
                ObjectionIdent.RETIRED_LIVE,
                "live",
                f"key {key[:8]}… is of {names}, which is retired, and still live",
                public_key=key,
                nodes=tuple(item.node for item in retired),
            )
        elif holders:
            yield Objection(
                ObjectionIdent.KEY_LIVE,
                "live",
                f"key {key[:8]}… is on the device of {_names(holders)}",
                public_key=key,
                nodes=tuple(holders),
            )

    def _of_others(
        self,
        ident: ObjectionIdent,
        what: str,
        others: Sequence[Registration],
        *,
        address: Prefix | None = None,
    ) -> Objection:
        beside = all(item.node in self._proposed for item in others)
        source: Source = "input" if beside else "registry"
        places = listed((item.where for item in others if item.where), most=_NAMED)
        where = "in the same input" if beside else places
        return Objection(
            ident,
            source,
            f"{what} is registered for {_names(item.node for item in others)}{f' ({where})' if where else ''}",
            address=address,
            public_key=others[0].public_key if address is None else None,
            nodes=tuple(item.node for item in others),
        )

    def _agreed(self, prefix: Prefix, nodes: Iterable[NodeId]) -> bool:
        """Tell whether the operators agreed that these nodes share the prefix (`[[shared]]`)."""
        names = {node.name for node in nodes}
        return any(
            item.prefix == prefix and self._against.at < item.until and names <= item.nodes
            for item in self._policy.shared
        )

    # -- claims, and what is live

    def _claimed(self, record: Registration, prefix: Prefix) -> Iterator[Objection]:
        claim = self._against.claims.get(prefix)
        words = _claim_of_another(claim, record, self._against) if claim is not None else ""
        if claim is not None and words and not self._agreed(prefix, [record.node, NodeId("", claim.node)]):
            yield Objection(
                ObjectionIdent.ADDRESS_CLAIMED,
                "claims",
                f"{format_prefix(prefix)} {words}",
                address=prefix,
                nodes=(NodeId("", claim.node),) if claim.node else (),
            )

    def _live(self, record: Registration, prefix: Prefix) -> Iterator[Objection]:
        holders = [
            item
            for item in self._against.live.held.get(prefix, ())
            if not (item.node is not None and _same_name(item.node, record.node))
            and (item.public_key is None or item.public_key != record.public_key)
        ]
        if not holders or self._registered.is_route(prefix):
            return
        nodes = tuple(dict.fromkeys(item.node for item in holders if item.node is not None))
        if None not in {item.node for item in holders} and self._agreed(prefix, (record.node, *nodes)):
            return
        gone = [item.node for item in self._retired_at.get(prefix, ())]
        retired = [node for node in nodes if any(_same_name(node, other) for other in gone)]
        words = _live_words(holders)
        yield Objection(
            ObjectionIdent.RETIRED_LIVE if retired else ObjectionIdent.ADDRESS_LIVE,
            "live",
            f"{format_prefix(prefix)} {words}{f'; {_names(retired)} is retired' if retired else ''}",
            address=prefix,
            nodes=nodes,
        )

    # -- region, hosts, names

    def _region(self, record: Registration) -> Iterator[Objection]:
        if self._first.get(record.node) is not record:
            return  # the record before it is judged, and this one is a second of its node
        said = self._registered.region_words(record.node)
        if len({word.region for word in said}) > 1:
            words = listed(f"{word.source} says {word.region}" for word in said)
            yield Objection(ObjectionIdent.REGION_MISMATCH, "plan", f"sources disagree: {words}")

    def _hosts(self, record: Registration) -> Iterator[Objection]:
        for field, text in (("endpoint", record.endpoint), ("ssh_host", record.ssh_host)):
            address = _host_address(text or "", has_port=field == "endpoint")
            if address is not None and self._registered.address_plan.lies_in_a_pool(address):
                yield Objection(
                    ObjectionIdent.HOST_IN_MESH,
                    "plan",
                    f"the {field} {format_prefix(address)} lies in a pool of the mesh: what leads to the mesh must "
                    "not lead through it",
                    refuses=field
                    == "endpoint",  # the endpoint carries the tunnel; SSH is the audit's way alone
                    field=field,
                )

    def _elsewhere(self, record: Registration) -> Iterator[Objection]:
        others = [
            item
            for node, item in self._registered.by_node.items()
            if node.name == record.node.name and node.datacenter != record.node.datacenter
        ]
        if others:
            yield replace(
                self._of_others(ObjectionIdent.NAME_ELSEWHERE, "the name", others),
                refuses=False,
                public_key=None,
            )

    def _unreadable_others(self) -> tuple[Objection, ...]:
        nodes = sorted(
            {item.node for item in self._against.reading.invalid if item.node not in self._proposed}
        )
        if not nodes:
            return ()
        return (
            Objection(
                ObjectionIdent.OTHERS_UNREADABLE,
                "registry",
                f"{count(len(nodes), 'other registration')} cannot be read whole ({_names(nodes)}), and may have the "
                "same address or key",
                refuses=False,
                nodes=tuple(nodes),
            ),
        )


_FAULTS = {
    Fault.OUTSIDE: ObjectionIdent.OUTSIDE_POOL,
    Fault.NETWORK: ObjectionIdent.NETWORK_ADDRESS,
    Fault.BROADCAST: ObjectionIdent.BROADCAST_ADDRESS,
}


def _unreadable(proposal: Proposal) -> Iterator[Objection]:
    for item in proposal.unreadable:
        for fault in item.faults:
            words = f"{fault.field}: {fault.reason}"
            yield Objection(ObjectionIdent.UNREADABLE, "record", words, field=fault.field)
        if not item.faults:
            yield Objection(ObjectionIdent.UNREADABLE, "record", item.reason)


def _claim_of_another(claim: AddressClaim, record: Registration, against: JudgedAgainst) -> str:
    """Word why the claim keeps the address from the record; "" where it does not."""
    if claim.is_over(against.at):
        return ""
    node, key = claim.node, claim.public_key
    if claim.by == "unreadable":
        return "has a claim that cannot be read"
    own = node == record.node.name or (key is not None and key == record.public_key and not node)
    if own:
        return ""
    holder = node or (f"key {key[:8]}…" if key is not None else "nobody known")
    if claim.state is ClaimState.SEEN:
        return f"was seen live without a registration, held by {holder}"
    if claim.state is ClaimState.RELEASED:
        until = f" until {minute(claim.until)}" if claim.until is not None else ""
        return f"was released by {holder}, and is in quarantine{until}"
    verb = "reserved" if claim.state is ClaimState.RESERVED else "claimed"
    return f"is {verb} for {holder} (by {claim.by or 'nobody known'})"


def _live_words(holders: Sequence[LiveHolder]) -> str:
    devices = [_holder(item) for item in holders if not item.observers]
    routed = [item for item in holders if item.observers]
    words = [f"is on the device of {listed(dict.fromkeys(devices), most=_NAMED)}"] if devices else []
    if routed:
        seen = count(sum(item.observers for item in routed), "observer")
        words.append(f"is routed to {listed(dict.fromkeys(map(_holder, routed)), most=_NAMED)} by {seen}")
    return " and ".join(words)


def _holder(item: LiveHolder) -> str:
    if item.node is not None:
        return str(item.node)
    return f"key {item.public_key[:8]}…" if item.public_key is not None else "an unknown key"


def _is_one_node(one: Registration, other: Registration) -> bool:
    """Tell whether both are of one node: itself, or its mirror in another datacenter (same name, same key)."""
    mirrored = one.node.name == other.node.name and one.public_key == other.public_key
    return one.node == other.node or (mirrored and one.public_key is not None)


def _same_name(one: NodeId, other: NodeId) -> bool:
    """Tell whether both are one node, where one may come from a place that tells no datacenter."""
    return one.name == other.name and (
        one.datacenter == other.datacenter or "" in (one.datacenter, other.datacenter)
    )


def _names(nodes: Iterable[NodeId]) -> str:
    return listed(dict.fromkeys(str(node) for node in nodes), most=_NAMED)


def _host_address(text: str, *, has_port: bool) -> Prefix | None:
    """Read the address of a host; None: it is a name, or nothing."""
    host = text.partition("@")[2] or text
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif has_port or host.count(":") == 1:
        host = host.rpartition(":")[0] or host
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return parse_prefix(str(address))
