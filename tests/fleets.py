"""Small fleets written down in a few lines, and the snapshots that a sweep over them would freeze.

A `Mesh` starts healthy: every node is registered, holds its addresses and has every other node as a
peer. Faults are added one by one. Tables are computed as the kernel does: peers are configured in
order, and an exact prefix moves to the last peer that asks for it; the loser shows `(none)`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from auditor.errors import GapReason
from auditor.values.addresses import Prefix, PublicKey, is_host, parse_prefix
from auditor.values.findings import Finding
from auditor.values.hidden_addresses import ShadowingRoute
from auditor.values.models import (
    AuditPolicy,
    Device,
    FieldFault,
    Gap,
    InvalidRegistration,
    Memory,
    NodeId,
    Observation,
    Registration,
    SecondLook,
    Snapshot,
)
from auditor.values.peer_transfers import PeerTransfer
from auditor.values.report import Report
from auditor.values.route_table import RouteTable
from auditor.values.witness_answers import AnswerSource, WitnessAnswer

STARTED = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
FINISHED = STARTED + timedelta(seconds=7)

Peers = list[tuple[PublicKey, tuple[Prefix, ...]]]


def key_of(name: str) -> PublicKey:
    """A well-formed public key, always the same for a name."""
    return PublicKey(base64.b64encode(hashlib.sha256(name.encode("utf-8", "replace")).digest()).decode())


def prefixes(texts: Iterable[str]) -> tuple[Prefix, ...]:
    """Addresses as people write them, as values."""
    return tuple(parse_prefix(text) for text in texts)


def route_table(
    own: PublicKey, held: Iterable[Prefix], peers: Iterable[tuple[PublicKey, tuple[Prefix, ...]]]
) -> RouteTable:
    """What the probe makes of a device whose peers were configured in this order."""
    routed: dict[Prefix, PublicKey] = {}
    known: set[PublicKey] = set()
    for key, allowed in peers:
        if key == own:
            continue  # the kernel takes no peer with the device's own key
        known.add(key)
        for prefix in allowed:
            routed[prefix] = key
    lines = {f"{key}\t{prefix}\n" for prefix, key in routed.items()}
    lines |= {f"{key}\t(none)\n" for key in known - set(routed.values())}
    lines |= {f"{own}\t{prefix}\n" for prefix in held}
    return RouteTable("".join(sorted(lines)).encode())


@dataclass
class Machine:
    """A server as it really is, whatever the registry says of it."""

    key: PublicKey
    held: tuple[Prefix, ...]
    host_key: str
    region: str | None = None
    link_up: bool | None = None
    shadows: tuple[ShadowingRoute, ...] | None = None
    one_way: tuple[PeerTransfer, ...] | None = None
    edits: list[Callable[[Peers], Peers]] = field(default_factory=list)
    endpoints: dict[PublicKey, str] = field(default_factory=dict)
    ages: dict[PublicKey, int] = field(default_factory=dict)


class Mesh:
    """A fleet under construction. Methods that add a fault return the mesh, to be chained."""

    def __init__(self, **policy: object) -> None:
        self.policy = replace(
            AuditPolicy(pools=prefixes(["10.0.0.0/8", "fd00::/8"])),
            **policy,  # type: ignore[arg-type]
        )
        self.registrations: dict[NodeId, Registration] = {}
        self.machines: dict[NodeId, Machine] = {}
        self.invalid: list[InvalidRegistration] = []
        self.gaps: list[Gap] = []
        self.in_flight: list[Registration] = []
        self.ways: dict[NodeId, NodeId] = {}
        self.unseen: dict[NodeId, GapReason] = {}
        self.memory = Memory()
        self.answers: list[WitnessAnswer] = []

    # -- who there is

    def node(
        self,
        name: str,
        *addresses: str,
        region: str | None = None,
        key: str | None = None,
        dc: str = "dc1",
        index: int | None = None,
    ) -> Mesh:
        """Registers a node and sets up its machine accordingly."""
        node = NodeId(dc, name)
        registered = prefixes(addresses)
        self.registrations[node] = Registration(
            node=node,
            public_key=key_of(key or name),
            addresses=registered,
            region=region,
            endpoint="198.18.0.1:51820",
            ssh_host=f"underlay.{name}",
            where=f"wireguard/nodes/{name}",
            create_index=index,
            modify_index=index,
        )
        self.machines[node] = Machine(
            key_of(key or name), tuple(filter(is_host, registered)), f"SHA256:{dc}/{name}"
        )
        return self

    def reached_at(self, name: str, ssh_host: str | None, endpoint: str | None) -> Mesh:
        """The node is registered with this SSH host and endpoint."""
        node = self.find(name)
        self.registrations[node] = replace(self.registrations[node], ssh_host=ssh_host, endpoint=endpoint)
        return self

    def find(self, name: str) -> NodeId:
        """`name` or `name@datacenter`, as a node of this mesh."""
        plain, _, datacenter = name.partition("@")
        node = NodeId(datacenter or "dc1", plain)
        assert node in self.machines, name
        return node

    # -- faults

    def meets(self, observer: str, peer: str, endpoint: str, age: int | None = 20) -> Mesh:
        """The observer met a peer there, and so many seconds ago; None: it does not tell."""
        machine = self.machines[self.find(observer)]
        machine.endpoints[key_of(peer)] = endpoint
        if age is not None:
            machine.ages[key_of(peer)] = age
        return self

    def holds(self, name: str, *addresses: str) -> Mesh:
        """The node's own device holds these addresses, whatever is registered."""
        self.machines[self.find(name)].held = prefixes(addresses)
        return self

    def link_down(self, name: str) -> Mesh:
        """The link of the node's own device is down; everybody else's is up."""
        self.machines[self.find(name)].link_up = False
        return self

    def shadows(self, name: str, *routes: ShadowingRoute) -> Mesh:
        """The node tells that these routes of it hide mesh addresses."""
        self.machines[self.find(name)].shadows = routes
        return self

    def one_way(self, name: str, *transfers: PeerTransfer) -> Mesh:
        """The node was asked whom it sends to in vain, and tells these."""
        self.machines[self.find(name)].one_way = transfers
        return self

    def rekeyed(self, name: str, key: str) -> Mesh:
        """The node's own device has another key than the registered one."""
        self.machines[self.find(name)].key = key_of(key)
        return self

    def says_region(self, name: str, region: str) -> Mesh:
        """The node itself answers with this region."""
        self.machines[self.find(name)].region = region
        return self

    def cloned_host_key(self, name: str, other: str) -> Mesh:
        """The node's sshd proves the same host key as the other one's."""
        self.machines[self.find(name)].host_key = self.machines[self.find(other)].host_key
        return self

    def answers_as(self, name: str, other: str) -> Mesh:
        """Asking for the node by SSH leads to the other one's machine."""
        self.ways[self.find(name)] = self.find(other)
        return self

    def asks(
        self,
        observer: str,
        address: str,
        who: str | None = None,
        *,
        said: str | None = None,
        region: str | None = None,
        reason: GapReason | None = None,
        source: AnswerSource = AnswerSource.NATS,
    ) -> Mesh:
        """The observer, asked over the mesh, meets this node's server at the address; or nobody, for a reason.

        said: what the server calls itself, where no node is known by that.
        """
        node = self.find(who) if who is not None else None
        words = "" if reason is not None else said or (node.name if node else "")
        detail = "planted" if reason is not None else ""
        self.answers.append(
            WitnessAnswer(
                self.find(observer), prefixes([address])[0], source, 0.02, words, node, region, reason, detail
            )
        )
        return self

    def not_seen(self, name: str, reason: GapReason = GapReason.CONNECT_REFUSED) -> Mesh:
        """The node does not answer."""
        self.unseen[self.find(name)] = reason
        return self

    def unregistered(self, name: str) -> Mesh:
        """The registry forgets the node; its machine goes on, and its peers keep it."""
        gone = self.registrations.pop(self.find(name))
        for node in self.machines:
            if node != gone.node and (key := gone.public_key) is not None:
                self.edit(node, lambda peers, key=key: [(key, gone.addresses), *peers])  # type: ignore[misc]
        return self

    def edit(self, observer: NodeId | str, change: Callable[[Peers], Peers]) -> Mesh:
        """Changes the order or content of an observer's peer configuration."""
        node = self.find(observer) if isinstance(observer, str) else observer
        self.machines[node].edits.append(change)
        return self

    def picks(self, observer: str, name: str) -> Mesh:
        """The observer configures this node last, so it wins whatever it shares with others."""
        wanted = self.registrations[self.find(name)].public_key
        return self.edit(observer, lambda peers: sorted(peers, key=lambda peer: peer[0] == wanted))

    def lacks(self, observer: str, *names: str) -> Mesh:
        """The observer has none of these nodes as a peer."""
        gone = {self.registrations[self.find(name)].public_key for name in names}
        return self.edit(observer, lambda peers: [peer for peer in peers if peer[0] not in gone])

    def peers_with(self, observer: str, key: str, *addresses: str) -> Mesh:
        """The observer has one more peer with this key, configured last."""
        return self.edit(observer, lambda peers: [*peers, (key_of(key), prefixes(addresses))])

    def empties(self, observer: str, name: str) -> Mesh:
        """The observer has the node as a peer without any allowed-ip."""
        wanted = self.registrations[self.find(name)].public_key
        return self.edit(
            observer, lambda peers: [(key, () if key == wanted else allowed) for key, allowed in peers]
        )

    def broken(self, name: str, reason: str = "not JSON", dc: str = "dc1") -> Mesh:
        """A registration of which nothing can be read."""
        where = f"wireguard/nodes/{name}"
        self.invalid.append(InvalidRegistration(NodeId(dc, name), where, reason, "{oops"))
        return self

    def unread(self, name: str, *fields: str) -> Mesh:
        """Fields of a registered node's registration cannot be read: `public_key`, `addresses`, or an optional one."""
        node = self.find(name)
        for given in fields:
            read: dict[str, object] = {given: () if given == "addresses" else None}
            if given == "addresses":
                read["all_addresses_read"] = False
            self.registrations[node] = replace(self.registrations[node], **read)  # type: ignore[arg-type]
        faults = tuple(FieldFault(given, "not text") for given in fields)
        reason = "; ".join(f"{given}: not text" for given in fields)
        self.invalid.append(
            InvalidRegistration(node, self.registrations[node].where, reason, "{oops", faults)
        )
        return self

    def retired(self, name: str, state: str = "decommissioned") -> Mesh:
        """The node's registration says that it is no longer in the mesh; its machine goes on, and its peers keep it."""
        node = self.find(name)
        self.registrations[node] = replace(self.registrations[node], state=state, retired=True)
        return self

    def gap(self, reason: GapReason, source: str = "consul", dc: str | None = None) -> Mesh:
        """Something that could not be seen."""
        self.gaps.append(Gap(source, reason, "planted", datacenter=dc))  # type: ignore[arg-type]
        return self

    def without_datacenter(self, dc: str, reason: GapReason = GapReason.CONSUL_TIMEOUT) -> Mesh:
        """A datacenter whose registry cannot be read: its nodes are peers of all others, and nobody asks them."""
        for node in [node for node in self.registrations if node.datacenter == dc]:
            self.unregistered(str(node))
        return self.gap(reason, dc=dc)

    def remembers(self, name: str, key: str) -> Mesh:
        """What an earlier sweep saw: the node's device held this key, which is not the registered one."""
        self.memory = Memory(drifted={**self.memory.drifted, self.find(name): key_of(key)})
        return self

    def flying(self, name: str, **old: object) -> Mesh:
        """The node's registration changed during the sweep; `old` says what it was before."""
        now = self.registrations[self.find(name)]
        self.in_flight += [replace(now, **old), now] if old else [now]  # type: ignore[arg-type]
        return self

    # -- what a sweep would freeze

    def table(self, node: NodeId) -> RouteTable:
        """The route table of the node's machine."""
        machine = self.machines[node]
        peers: Peers = [
            (item.public_key, item.addresses)
            for other, item in self.registrations.items()
            if other != node and item.public_key is not None
        ]
        for change in machine.edits:
            peers = change(peers)
        return route_table(machine.key, machine.held, peers)

    def observe(self, node: NodeId) -> Observation:
        """What asking for the node gives."""
        answering = self.ways.get(node, node)
        machine = self.machines[answering]
        return Observation(
            node=node,
            device=Device("wg0", machine.key, machine.held, machine.link_up),
            table=self.table(answering).digest,
            region=machine.region,
            host_key=machine.host_key,
            endpoints=machine.endpoints or None,
            handshake_ages=machine.ages or None,
            shadows=machine.shadows,
            one_way=machine.one_way,
        )

    def tables(self) -> Mapping[str, RouteTable]:
        """Each distinct table once, by digest."""
        return {table.digest: table for table in map(self.table, self.machines)}

    def snapshot(self, *, again: Mesh | None = None, asked: Iterable[str] | None = None) -> Snapshot:
        """What a sweep freezes; `again` is the fleet as a second look finds it, at `asked` or everybody."""
        seen = [
            node for node, item in self.registrations.items() if node not in self.unseen and not item.retired
        ]
        second, tables = None, dict(self.tables())
        if again is not None:
            targets = [node for node in seen if asked is None or node in set(map(self.find, asked))]
            second = SecondLook(
                asked=tuple(targets),
                observations=tuple(again.observe(node) for node in targets if node not in again.unseen),
                gaps=tuple(
                    Gap("ssh", again.unseen[node], "planted", node.name, node.datacenter)
                    for node in targets
                    if node in again.unseen
                ),
            )
            tables.update(again.tables())
        return Snapshot(
            started_at=STARTED,
            finished_at=FINISHED,
            policy=self.policy,
            registrations=tuple(self.registrations.values()),
            invalid=tuple(self.invalid),
            observations=tuple(map(self.observe, seen)),
            tables=tables,
            gaps=(
                *self.gaps,
                *(
                    Gap("ssh", reason, "planted", node.name, node.datacenter)
                    for node, reason in self.unseen.items()
                ),
            ),
            in_flight=tuple(self.in_flight),
            second_look=second,
            memory=self.memory,
            answers=tuple(self.answers),
        )

    def snapshot_of_one_table(self, table: RouteTable) -> Snapshot:
        """A healthy full mesh of any size, without computing every node's table anew."""
        return Snapshot(
            started_at=STARTED,
            finished_at=FINISHED,
            policy=self.policy,
            registrations=tuple(self.registrations.values()),
            observations=tuple(
                Observation(
                    node, Device("wg0", machine.key, machine.held), table.digest, None, machine.host_key
                )
                for node, machine in self.machines.items()
            ),
            tables={table.digest: table},
        )


def trio(**policy: object) -> Mesh:
    """Three healthy nodes in three regions."""
    mesh = Mesh(**policy)
    for number, region in enumerate(("fra", "sin", "ams"), start=2):
        mesh.node(f"edge-{region}-1", f"10.0.0.{number}", region=region)
    return mesh


def healthy(**policy: object) -> Mesh:
    """Six healthy nodes in three regions: IPv4, IPv6, dual-stack, and one with a network behind it."""
    mesh = trio(**policy)
    mesh.node("core-fra-2", "10.0.1.2", "fd00::2", region="fra")
    mesh.node("core-sin-2", "fd00::3", region="sin")
    mesh.node("gate-ams-2", "10.0.1.4", "10.9.0.0/24", "fd00:9::/64", region="ams")
    return mesh


def contested(**policy: object) -> Mesh:
    """The incident: `twin-fra` and `twin-sin` share 10.0.0.9; watchers a and b pick sin, watcher c picks fra."""
    mesh = Mesh(**policy)
    mesh.node("twin-fra", "10.0.0.9", region="fra").node("twin-sin", "10.0.0.9", region="sin")
    for name, region, choice in (("a", "ams", "sin"), ("b", "sin", "sin"), ("c", "ams", "fra")):
        mesh.node(f"watch-{name}", f"10.0.1.{ord(name)}", region=region)
        mesh.picks(f"watch-{name}", f"twin-{choice}")
    return mesh


def of(report: Report, check: str) -> list[Finding]:
    """The report's findings of one check."""
    return [finding for finding in report.findings if finding.check == check]


def idents(report: Report) -> list[str]:
    """The checks that found something, each once, sorted."""
    return sorted({finding.check for finding in report.findings})


def roots(report: Report) -> list[tuple[str, str]]:
    """Check and subject of the findings that follow from no other."""
    return [(finding.check, finding.subject) for finding in report.findings if finding.caused_by is None]


def names(nodes: Iterable[NodeId]) -> list[str]:
    """Plain node names."""
    return [node.name for node in nodes]


def check_causes(report: Report) -> None:
    """Whatever follows, follows from a finding that leads, is at least as severe, and stands with it."""
    by_fingerprint = {finding.fingerprint: finding for finding in report.findings}
    for finding in report.findings:
        if finding.caused_by is None:
            continue
        cause = by_fingerprint[finding.caused_by]
        assert cause.caused_by is None
        assert cause.severity.at_least(finding.severity)
        assert finding.confirmed is False or cause.confirmed is not False
