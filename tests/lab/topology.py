"""Describes a fleet, its registry and its planted faults as values; says what each device must show. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

LISTEN_PORT = 51820
PREFIX = "wireguard/nodes/"
NAME_PATTERN = "^[a-z]+-(?P<region>[a-z]{3})-"


@dataclass(frozen=True)
class Node:
    """One server. What is not said is healthy: registered as it is, and reachable.

    Other nodes, wherever they are named here, are named by their label.
    """

    name: str
    region: str
    address: str
    """Its mesh address, registered and live unless said otherwise."""
    datacenter: str = "dc1"
    # the registry
    registered: bool = True
    registered_address: str | None = None
    """What the registry says instead of `address`."""
    registered_key_of: str | None = None
    """The registry holds another node's key under this name."""
    registered_region: str | None = None
    registered_state: str | None = None
    """The registration's `state`; `decommissioned` is what the lab calls retired."""
    ssh_host_of: str | None = None
    """The registration's ssh_host is another node's underlay address."""
    # its own device
    key_of: str | None = None
    """It is a clone: its device holds the private key of that node, and so does its registration."""
    live_key: str | None = None
    """Its device holds a key of its own that the registry does not know; the value only names it."""
    device: bool = True
    link: bool = True
    """False: its device is there, and its link is down."""
    bridge: str = ""
    """Address with its length of a bridge for containers, docker0, that is on it too."""
    wg: bool = True
    """False: there is no `wg` on it."""
    # its peers
    leaves_out: frozenset[str] = frozenset()
    """Nodes that it does not hold as peers."""
    empties: frozenset[str] = frozenset()
    """Peers that it holds without any allowed-ip."""
    extra_allowed_ips: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By peer: allowed-ips that it holds beside the registered ones."""
    # what outlives its restart
    file: str = ""
    """Where its device is configured: `wg-quick`, `networkd`, or nowhere."""
    # the way to it
    sshd: bool = True
    host_key_known: bool = True
    """False: known_hosts has another key under its address."""
    authorized: bool = True
    """False: it does not accept the lab's client key."""
    holdable: bool = False
    """Its `wg` can be told to wait, see `Lab.hold`."""

    @property
    def label(self) -> str:
        """Its name; outside dc1 with its datacenter, because names may repeat."""
        return self.name if self.datacenter == "dc1" else f"{self.name}@{self.datacenter}"


@dataclass(frozen=True)
class Contest:
    """One address, several claimants; `picks` says for each observer whom it configures last."""

    address: str
    picks: Mapping[str, str]


@dataclass(frozen=True)
class Peer:
    """One peer as an observer configures it."""

    node: str
    public_key: str
    allowed_ips: tuple[str, ...]
    endpoint: str


@dataclass(frozen=True)
class Topology:
    """One case: a fleet, how its registry stands, and how the audit is set up."""

    name: str
    nodes: tuple[Node, ...]
    contests: tuple[Contest, ...] = ()
    invalid: Mapping[str, str] = field(default_factory=dict)
    """Registrations of dc1, by name, that cannot be read; no server stands behind them."""
    pools: tuple[str, ...] = ("10.0.0.0/8",)
    readable: tuple[str, ...] = ()
    """Not empty: Consul has ACLs, and the audit's token reads registrations that begin with one of these."""
    consul_stops_at: str | None = None
    """Consul stops while a sweep looks at this node (it must be `holdable`), see `Lab.planned_sweep`."""

    nats: tuple[str, ...] = ()
    """Nodes on which a NATS server runs, called as the node, in a cluster called as the region; wgaudit asks it."""

    one_way: tuple[str, str] | None = None
    """Of what the first of these nodes sends to the second one, handshakes alone arrive, see `lossy.py`."""

    consul_servers: int = 1
    """Of dc1: one alone, or three, one of which leads."""
    agents: bool = False
    """On each node runs the fleet's own agent, which sets its peers as the registry says, see `agent.py`."""
    drains: bool = False
    """Nodes are taken out of production before they are moved; a file says which, and when they are back."""

    def __post_init__(self) -> None:
        labels = [node.label for node in self.nodes]
        repeated = [label for label, count in Counter(labels).items() if count > 1]
        if repeated:
            raise ValueError(f"{self.name}: two nodes are called {repeated[0]}")
        named = {pick for contest in self.contests for pick in (*contest.picks, *contest.picks.values())}
        named |= set(self.nats)
        for node in self.nodes:
            named |= {*node.leaves_out, *node.empties, *node.extra_allowed_ips}
            named |= {name for name in (node.key_of, node.ssh_host_of, node.registered_key_of) if name}
        unknown = named - set(labels)
        if unknown:
            raise ValueError(f"{self.name}: no node is called {min(unknown)}")

    @property
    def datacenters(self) -> tuple[str, ...]:
        """Every datacenter, dc1 first."""
        return tuple(sorted({"dc1"} | {node.datacenter for node in self.nodes}))

    def node(self, label: str) -> Node:
        """The node with that label."""
        return next(node for node in self.nodes if node.label == label)

    def underlay(self, node: Node) -> str:
        """Its address outside the mesh: 198.18.<region>.<number>, from the range for benchmarks."""
        regions = sorted({each.region for each in self.nodes})
        return f"198.18.{regions.index(node.region) + 1}.{self.nodes.index(node) + 11}"

    def private_key(self, node: Node) -> str:
        """Base64 of the device's private key.

        Keys come from names, so that two recordings of a case hold the same ones. They guard nothing.
        """
        return _base64(_x25519(self._seed(node)).private_bytes_raw())

    def public_key(self, node: Node) -> str:
        """The device's own public key."""
        return _base64(_x25519(self._seed(node)).public_key().public_bytes_raw())

    def registered_key(self, node: Node) -> str:
        """The public key that its registration gives, and that every other node configures."""
        if node.registered_key_of:
            return self.registered_key(self.node(node.registered_key_of))
        return _base64(_x25519(self._registered_seed(node)).public_key().public_bytes_raw())

    def _registered_seed(self, node: Node) -> str:
        return f"{self.name} {node.key_of or node.label}"

    def _seed(self, node: Node) -> str:
        return f"{self.name} {node.live_key}" if node.live_key else self._registered_seed(node)

    def host_key(self, label: str) -> Ed25519PrivateKey:
        """An SSH key that belongs to that label."""
        return Ed25519PrivateKey.from_private_bytes(_seeded(f"ssh {self.name} {label}"))

    def registered_address(self, node: Node) -> str:
        """The address that its registration gives, and that every other node configures."""
        return node.registered_address or node.address

    def registration(self, node: Node) -> bytes:
        """The value of its key in Consul."""
        underlay = self.underlay(node)
        reached = self.underlay(self.node(node.ssh_host_of)) if node.ssh_host_of else underlay
        document = {
            "public_key": self.registered_key(node),
            "ip": self.registered_address(node),
            "region": node.registered_region or node.region,
            "endpoint": f"{underlay}:{LISTEN_PORT}",
            "ssh_host": reached,
        }
        if node.registered_state is not None:
            document["state"] = node.registered_state
        return json.dumps(document).encode()

    def registrations(self, datacenter: str) -> dict[str, bytes]:
        """Every KV key of that datacenter, in the order in which they are written."""
        records = {
            PREFIX + node.name: self.registration(node)
            for node in self.nodes
            if node.registered and node.datacenter == datacenter
        }
        if datacenter == "dc1":
            records |= {PREFIX + name: value.encode() for name, value in self.invalid.items()}
        return records

    def peers(self, observer: Node) -> tuple[Peer, ...]:
        """What the observer configures, in order: the winners of contests last, for the last one wins."""
        winners = {contest.picks.get(observer.label) for contest in self.contests}
        others = [
            node
            for node in self.nodes
            if node.label != observer.label and node.label not in observer.leaves_out
        ]
        others.sort(key=lambda node: node.label in winners)
        return tuple(
            Peer(
                node=node.label,
                public_key=self.registered_key(node),
                allowed_ips=()
                if node.label in observer.empties
                else (
                    host(self.registered_address(node)),
                    *observer.extra_allowed_ips.get(node.label, ()),
                ),
                endpoint=f"{self.underlay(node)}:{LISTEN_PORT}",
            )
            for node in others
        )

    def allowed_ips(self, observer: Node) -> dict[str, set[str]]:
        """By public key: the allowed-ips that its device must show once all peers are configured."""
        own = self.public_key(observer)
        table: dict[str, set[str]] = {}
        for peer in self.peers(observer):
            if peer.public_key == own:
                continue  # a device ignores a peer that has its own key
            for prefixes in table.values():
                prefixes -= set(peer.allowed_ips)
            table[peer.public_key] = set(peer.allowed_ips)
        return table

    def routing(self, address: str, observers: Iterable[str]) -> dict[str | None, list[str]]:
        """By public key (None: no peer): which of these observers send the address there."""
        picks: dict[str | None, list[str]] = {}
        for label in observers:
            table = self.allowed_ips(self.node(label))
            key = next((key for key, prefixes in table.items() if host(address) in prefixes), None)
            picks.setdefault(key, []).append(label)
        return picks


def split(observers: Iterable[Node], address: str, claimants: tuple[str, ...]) -> Contest:
    """A contest in which observers pick one claimant after the other; a claimant picks another one."""
    picks: dict[str, str] = {}
    for index, observer in enumerate(observers):
        others = tuple(claimant for claimant in claimants if claimant != observer.label)
        picks[observer.label] = others[index % len(others)]
    return Contest(address, picks)


def host(address: str) -> str:
    """An address or prefix as `wg` prints it."""
    return str(ip_network(address))


def openssh_private(key: Ed25519PrivateKey) -> bytes:
    """The key as OpenSSH keeps it in a file."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def openssh_public(key: Ed25519PrivateKey) -> str:
    """`ssh-ed25519 AAAA…`, as it stands in authorized_keys and known_hosts."""
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def _seeded(text: str) -> bytes:
    return hashlib.sha256(f"wgaudit lab: {text}".encode()).digest()


def _x25519(text: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(_seeded(text))


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
