"""PURE: a fleet with the incident in it, computed from a number of nodes and a seed.

It models what made the incident: one registry in which several nodes hold one address, and on each
node a kernel that gives an address to whichever peer was written last. What a node shows is computed
by that rule, never written down by hand, so it holds for any size of fleet.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from auditor.values.addresses import Prefix, PublicKey, format_prefix, parse_prefix

DEVICE = "wg0"
REGISTRY_PREFIX = "wireguard/nodes/"
NAME_PATTERN = r"^[a-z]+-(?P<region>[a-z]{3})-"
REGIONS = ("sin", "fra", "nrt", "ams", "iad")
ROLES = ("edge", "worker", "db", "cache")

DEFAULT_SEED = 36
"""With forty nodes, the pair stands in sin and fra, and a node of sin is registered in fra."""

FALLBACK_ADDRESS = parse_prefix("10.0.0.1")
"""First address of the pool, which the allocator hands out when it cannot read the registry."""

_FIRST_INDEX = 100
_INDEXES_APART = 12  # too far apart for parallel writers

# Three nodes a region: then each claimant of a contested address has an observer left that picks it,
# whichever nodes the seed gives the other faults to.
FEWEST_NODES = 3 * len(REGIONS)
# The endpoints' network, 198.18.0.0/15, is the smallest of the spaces that nodes are numbered from.
MOST_NODES = 100_000


@dataclass(frozen=True, slots=True)
class DemoNode:
    """One server: its registration, and the state that it really has."""

    index: int
    name: str
    region: str
    """Region of the machine, by its name and by its own answer."""
    registered_region: str
    public_key: PublicKey
    registered_address: Prefix
    device_address: Prefix
    endpoint: str
    """Outer address, out of the benchmark network of RFC 2544; nothing ever contacts it."""
    reachable: bool = True
    """False: its SSH port refuses."""


@dataclass(frozen=True, slots=True)
class Contest:
    """One address that several nodes hold, in the registry and on their devices."""

    address: Prefix
    claimants: tuple[str, ...]
    """Node names, sorted."""


@dataclass(frozen=True, slots=True)
class PlantedIncident:
    """Faults that are planted in a fleet."""

    pair: Contest
    triple: Contest
    misplaced: str
    """Node that is registered in another region than its machine's."""
    drifted: str
    """Node whose device has another address than the registered one."""
    stand_in: str
    """Node that answers at that registered address: a rule on the drifted one sends there what comes for it."""
    unreachable: str

    @property
    def contests(self) -> tuple[Contest, Contest]:
        """Both contested addresses."""
        return self.pair, self.triple


class PeerTable:
    """Allowed-ips of one device, kept by the kernel's rule: the last writer of a prefix has it."""

    def __init__(self, own_key: PublicKey) -> None:
        self._own_key = own_key
        self._held: dict[PublicKey, dict[Prefix, None]] = {}
        self._owner: dict[Prefix, PublicKey] = {}

    def set_peer(self, public_key: PublicKey, prefixes: Iterable[Prefix]) -> None:
        """`wg set DEVICE peer KEY allowed-ips …`: replace the peer's list, take the prefixes that others held.

        A new peer goes to the end of the device's list, a known one keeps its place. The device's own
        key is ignored without a word.
        """
        if public_key == self._own_key:
            return
        held = self._held.setdefault(public_key, {})
        for prefix in held:
            del self._owner[prefix]
        held.clear()
        for prefix in prefixes:
            loser = self._owner.get(prefix)
            if loser is not None:
                del self._held[loser][prefix]
            self._owner[prefix] = public_key
            held[prefix] = None

    def owner(self, prefix: Prefix) -> PublicKey | None:
        """Return the peer that holds exactly this prefix; None if no peer does."""
        return self._owner.get(prefix)

    @property
    def peers(self) -> Mapping[PublicKey, tuple[Prefix, ...]]:
        """Return each peer's prefixes, in the device's order of peers."""
        return {key: tuple(held) for key, held in self._held.items()}

    def allowed_ips(self) -> str:
        """Return the text that `wg show DEVICE allowed-ips` prints."""
        return "".join(f"{key}\t{' '.join(held) or '(none)'}\n" for key, held in self._held.items())


@dataclass(frozen=True, slots=True)
class DemoFleet:
    """A fleet and what its nodes show. Equal arguments to `build_fleet` give an equal fleet."""

    seed: int
    nodes: tuple[DemoNode, ...]
    """Sorted by name, as Consul lists keys."""
    incident: PlantedIncident | None
    _by_name: Mapping[str, DemoNode] = field(compare=False, repr=False)

    def node(self, name: str) -> DemoNode:
        """Return the node of that name. Raises KeyError."""
        return self._by_name[name]

    @property
    def contests(self) -> tuple[Contest, ...]:
        """The contested addresses; none in a healthy fleet."""
        return self.incident.contests if self.incident else ()

    def peer_table(self, node: DemoNode) -> PeerTable:
        """Return the node's device after it read the registry and then saw the late writes. Cost grows with N."""
        table = PeerTable(node.public_key)
        # Each node began to listen at another time, so each has another order of peers.
        start = _number(self.seed, "start", node.name) % len(self.nodes)
        for peer in self.nodes[start:] + self.nodes[:start]:
            table.set_peer(peer.public_key, [peer.registered_address])
        for contest in self.contests:
            for name in self._writes_seen(node, contest):
                peer = self.node(name)
                table.set_peer(peer.public_key, [peer.registered_address])
        return table

    def _writes_seen(self, observer: DemoNode, contest: Contest) -> Iterator[str]:
        """Yield the claimants in the order in which this observer saw their writes; the last one stays.

        A region's nodes watch the registry through one Consul server, so they mostly see one order.
        Of the later nodes, a quarter were restarted since, and saw an order of their own.
        """
        last = REGIONS.index(observer.region)
        if observer.index >= FEWEST_NODES and _number(self.seed, "restarted", observer.name) % 4 == 0:
            last = _number(self.seed, "order", observer.name)
        count = len(contest.claimants)
        for step in range(1, count + 1):
            yield contest.claimants[(last + step) % count]

    def stand_in(self, node: DemoNode, address: Prefix) -> DemoNode | None:
        """Return the node to which `node` passes on, by a rule beside WireGuard, what comes to it for an address."""
        planted = self.incident
        if planted is None or node.name != planted.drifted or address != node.registered_address:
            return None
        return self.node(planted.stand_in)

    def keeper(self, observer: DemoNode, contest: Contest) -> str:
        """Return the claimant that has the contested address on this observer in the end. Cost does not grow with N.

        `peer_table` works the same out write by write.
        """
        return [name for name in self._writes_seen(observer, contest) if name != observer.name][-1]

    def routing(self, address: Prefix) -> Mapping[str, Counter[str]]:
        """Count the reachable observers of each node that they route `address` to, by their registered region.

        Cost grows with N squared.

        A node whose own device has the address delivers to itself, and counts nowhere.
        """
        by_key = {node.public_key: node.name for node in self.nodes}
        picks: dict[str, Counter[str]] = {}
        for observer in self.nodes:
            if not observer.reachable or observer.device_address == address:
                continue
            owner = self.peer_table(observer).owner(address)
            if owner is not None:
                picks.setdefault(by_key[owner], Counter())[observer.registered_region] += 1
        return picks

    def endpoints(self, table: PeerTable) -> str:
        """Return the text that `wg show DEVICE endpoints` prints on the node whose table it is."""
        endpoint = {peer.public_key: peer.endpoint for peer in self.nodes}
        return "".join(f"{key}\t{endpoint[key]}\n" for key in table.peers)

    def create_index(self, node: DemoNode) -> int:
        """Return the registry's CreateIndex of a node's registration, which is its ModifyIndex too.

        One writer at a time registered the nodes, but for those that share the triple's address: they were written
        in parallel, right behind the one that got it in the regular way.
        """
        triple = self.incident.triple if self.incident is not None else None
        if triple is not None and node.name in triple.claimants:
            first = next(self.node(name) for name in triple.claimants if self._got_regularly(name, triple))
            others = [name for name in triple.claimants if name != first.name]
            behind = 0 if node is first else 1 + 2 * others.index(node.name)
            return _FIRST_INDEX + _INDEXES_APART * first.index + behind
        return _FIRST_INDEX + _INDEXES_APART * node.index

    def _got_regularly(self, name: str, contest: Contest) -> bool:
        return _healthy_node(self.node(name).index, self.seed).registered_address == contest.address

    def records(self, ssh_hosts: Mapping[str, str]) -> dict[str, bytes]:
        """Return Consul's keys and values for this fleet; `ssh_hosts` gives each node's `host:port` by its name."""
        return {
            f"{REGISTRY_PREFIX}{node.name}": json.dumps(
                {
                    "public_key": node.public_key,
                    "ip": format_prefix(node.registered_address),
                    "region": node.registered_region,
                    "endpoint": node.endpoint,
                    "ssh_host": ssh_hosts[node.name],
                }
            ).encode()
            for node in self.nodes
        }


def build_fleet(nodes: int, seed: int = DEFAULT_SEED, *, incident: bool = True) -> DemoFleet:
    """Build a fleet of `nodes` servers over five regions; `seed` decides keys, faults and orders of writes.

    Without `incident` it is a healthy full mesh. Raises ValueError if `nodes` lies outside
    `FEWEST_NODES` (with the incident, else 1) and `MOST_NODES`.
    """
    fewest = FEWEST_NODES if incident else 1
    if not fewest <= nodes <= MOST_NODES:
        raise ValueError(f"a fleet has {fewest} to {MOST_NODES} nodes, not {nodes}")
    healthy = {node.name: node for node in (_healthy_node(index, seed) for index in range(nodes))}
    planted = _plan_incident(healthy.values(), seed) if incident else None
    by_name = _with_incident(healthy, planted) if planted else healthy
    ordered = tuple(by_name[name] for name in sorted(by_name))
    return DemoFleet(seed=seed, nodes=ordered, incident=planted, _by_name=by_name)


def _healthy_node(index: int, seed: int) -> DemoNode:
    ordinal, region_index = divmod(index, len(REGIONS))
    number, role = divmod(ordinal, len(ROLES))
    region = REGIONS[region_index]
    name = f"{ROLES[role]}-{region}-{number + 1}"
    address = _region_address(region_index, ordinal // 250, ordinal % 250 + 1)
    outer = index + 1
    return DemoNode(
        index=index,
        name=name,
        region=region,
        registered_region=region,
        public_key=_public_key(seed, name),
        registered_address=address,
        device_address=address,
        endpoint=f"198.{18 + (outer >> 16)}.{outer >> 8 & 255}.{outer & 255}:51820",
    )


def _region_address(region_index: int, third: int, fourth: int) -> Prefix:
    # A region's second octet is one of 16, 32, … so that no healthy node has the fallback address.
    return parse_prefix(f"10.{16 * (region_index + 1)}.{third}.{fourth}")


def _plan_incident(nodes: Iterable[DemoNode], seed: int) -> PlantedIncident:
    """Give each fault to nodes of its own; those that share an address stand in different regions."""
    waiting = sorted(nodes, key=lambda node: _number(seed, "incident", node.name))

    def take(count: int) -> list[DemoNode]:
        taken: list[DemoNode] = []
        for node in waiting:
            if len(taken) < count and node.region not in {other.region for other in taken}:
                taken.append(node)
        for node in taken:
            waiting.remove(node)
        return taken

    pair, triple = take(2), take(3)
    (misplaced,), (drifted,), (unreachable,) = take(1), take(1), take(1)
    (stand_in,) = take(1)
    return PlantedIncident(
        pair=Contest(FALLBACK_ADDRESS, tuple(sorted(node.name for node in pair))),
        # The triple's first got its address in the regular way; two parallel writers got it too.
        triple=Contest(triple[0].registered_address, tuple(sorted(node.name for node in triple))),
        misplaced=misplaced.name,
        drifted=drifted.name,
        stand_in=stand_in.name,
        unreachable=unreachable.name,
    )


def _with_incident(healthy: Mapping[str, DemoNode], incident: PlantedIncident) -> dict[str, DemoNode]:
    nodes = dict(healthy)
    for contest in incident.contests:
        for name in contest.claimants:
            nodes[name] = replace(
                nodes[name], registered_address=contest.address, device_address=contest.address
            )
    misplaced = nodes[incident.misplaced]
    elsewhere = REGIONS[(REGIONS.index(misplaced.region) + 1) % len(REGIONS)]
    nodes[misplaced.name] = replace(misplaced, registered_region=elsewhere)
    drifted = nodes[incident.drifted]
    # The last octets stay clear of what healthy nodes hold: their third octet ends at 79.
    moved = _region_address(REGIONS.index(drifted.region), 254, 1)
    nodes[drifted.name] = replace(drifted, device_address=moved)
    nodes[incident.unreachable] = replace(nodes[incident.unreachable], reachable=False)
    return nodes


def _public_key(seed: int, name: str) -> PublicKey:
    digest = hashlib.sha256(f"wgaudit demo key {seed} {name}".encode()).digest()
    return PublicKey(base64.b64encode(digest).decode())


def _number(seed: int, purpose: str, name: str) -> int:
    """Return a number that looks random and is the same in every run and every version of Python."""
    digest = hashlib.sha256(f"wgaudit demo {purpose} {seed} {name}".encode()).digest()
    return int.from_bytes(digest[:8])
