"""The fleets that the lab can bring up: one value a case, each with the faults that are planted in it."""

from __future__ import annotations

from dataclasses import replace

from tests.lab.topology import Node, Topology, split


def incident() -> Topology:
    """Ten nodes in five regions; a pair on the first address and a triple, and observers that disagree."""
    pair = (Node("edge-sin-1", "sin", "10.0.0.1"), Node("edge-fra-1", "fra", "10.0.0.1"))
    triple = (
        Node("worker-ams-1", "ams", "10.20.0.7"),
        Node("worker-iad-1", "iad", "10.20.0.7"),
        Node("worker-nrt-1", "nrt", "10.20.0.7"),
    )
    healthy = (
        Node("edge-ams-1", "ams", "10.20.0.21"),
        Node("edge-iad-1", "iad", "10.20.0.22"),
        Node("edge-nrt-1", "nrt", "10.20.0.23"),
        Node("worker-fra-1", "fra", "10.20.0.24"),
        Node("worker-sin-1", "sin", "10.20.0.25"),
    )
    # In this order they are registered: those who share an address were written one after the other.
    nodes = (*healthy[:2], *pair, healthy[2], *triple, *healthy[3:])
    contests = tuple(
        split(nodes, claimants[0].address, tuple(node.label for node in claimants))
        for claimants in (pair, triple)
    )
    return Topology("incident", nodes, contests, nats=tuple(node.label for node in nodes))


def repaired() -> Topology:
    """The incident's fleet afterwards: nobody on the first address, and of the triple one keeps its own."""
    moved = {
        "edge-sin-1": "10.20.0.31",
        "edge-fra-1": "10.20.0.32",
        "worker-iad-1": "10.20.0.33",
        "worker-nrt-1": "10.20.0.34",
    }
    before = incident()
    nodes = tuple(replace(node, address=moved.get(node.label, node.address)) for node in before.nodes)
    # Under the same name: keys come from it, and these are the same servers.
    return replace(before, nodes=nodes, contests=())


def managed(topology: Topology) -> Topology:
    """The same fleet as it is run: with agents, drained before a move, and with devices in the files of some nodes."""
    kept = dict.fromkeys(("edge-sin-1", "edge-fra-1", "worker-nrt-1"), "wg-quick") | {
        "worker-iad-1": "networkd"
    }
    nodes = tuple(replace(node, file=kept.get(node.label, node.file)) for node in topology.nodes)
    return replace(topology, nodes=nodes, agents=True, drains=True)


def clean() -> Topology:
    """Six nodes in three regions, nothing wrong with them."""
    return Topology(
        "clean",
        (
            Node("edge-fra-1", "fra", "10.20.0.11"),
            Node("edge-sin-1", "sin", "10.20.0.12"),
            Node("edge-nrt-1", "nrt", "10.20.0.13"),
            Node("worker-fra-1", "fra", "10.20.0.14", holdable=True),
            Node("worker-sin-1", "sin", "10.20.0.15"),
            Node("worker-nrt-1", "nrt", "10.20.0.16"),
        ),
    )


def unreachable() -> Topology:
    """The clean fleet, but one node's sshd is stopped."""
    fleet = clean()
    nodes = (replace(node, sshd=node.name != "edge-sin-1") for node in fleet.nodes)
    return replace(fleet, name="unreachable", nodes=tuple(nodes))


def standby() -> Topology:
    """The clean fleet, and a server that is up and that neither the registry nor any other node knows yet."""
    fleet = clean()
    spare = Node("spare-fra-1", "fra", "10.20.0.17", registered=False)
    nodes = (replace(node, leaves_out=frozenset({spare.label})) for node in fleet.nodes)
    return replace(fleet, name="standby", nodes=(*nodes, spare))


def growing() -> Topology:
    """Four nodes of a fleet, and four servers that are up and wait for a key and an address of the registry's."""
    new = tuple(
        Node(f"spare-{region}-1", region, "", registered=False, device=False)
        for region in ("ams", "fra", "nrt", "sin")
    )
    unknown = frozenset(node.label for node in new)
    return Topology(
        "growing",
        (
            *(replace(node, leaves_out=unknown) for node in clean().nodes[:4]),
            *(replace(node, leaves_out=unknown) for node in new),
        ),
        readable=("",),
        consul_servers=3,
    )


def regional() -> Topology:
    """Eight nodes in four regions, nothing wrong with them: two in each."""
    regions = ("ams", "fra", "nrt", "sin")
    edges = (Node(f"edge-{name}-1", name, f"10.20.0.1{number}") for number, name in enumerate(regions))
    workers = (Node(f"worker-{name}-1", name, f"10.20.0.2{number}") for number, name in enumerate(regions))
    return Topology("regional", (*edges, *workers))


def collided() -> Topology:
    """The regional fleet, with a pair on the first address and a triple, and observers that disagree."""
    pair, triple = ("edge-fra-1", "edge-sin-1"), ("worker-ams-1", "worker-nrt-1", "worker-sin-1")
    taken = dict.fromkeys(pair, "10.0.0.1") | dict.fromkeys(triple, "10.20.0.7")
    fleet = regional()
    nodes = tuple(replace(node, address=taken.get(node.label, node.address)) for node in fleet.nodes)
    contests = (split(nodes, "10.0.0.1", pair), split(nodes, "10.20.0.7", triple))
    # Under the same name: keys come from it, and these are the same servers.
    return replace(fleet, nodes=nodes, contests=contests)


def link_down() -> Topology:
    """The clean fleet, but the link of one node's device is down."""
    fleet = clean()
    nodes = (replace(node, link=node.name != "edge-sin-1") for node in fleet.nodes)
    return replace(fleet, name="link-down", nodes=tuple(nodes))


def bridge() -> Topology:
    """The clean fleet, but on one node is a bridge for containers whose network has other nodes' addresses in it."""
    fleet = clean()
    nodes = (
        replace(node, bridge="10.20.0.1/24" if node.name == "edge-sin-1" else "") for node in fleet.nodes
    )
    return replace(fleet, name="bridge", nodes=tuple(nodes))


def one_way() -> Topology:
    """The clean fleet, but data of one node gets lost on its way to another; handshakes arrive."""
    return replace(clean(), name="one-way", one_way=("edge-fra-1", "edge-sin-1"))


def retired() -> Topology:
    """The clean fleet, and a retired node that is off, and that three of the others still have as a peer."""
    fleet = clean()
    gone = Node(
        "edge-nrt-2", "nrt", "10.20.0.17", registered_state="decommissioned", device=False, sshd=False
    )
    nodes = (
        replace(
            node,
            leaves_out=frozenset()
            if node.region == "fra" or node.name == "edge-sin-1"
            else frozenset({gone.label}),
        )
        for node in fleet.nodes
    )
    return replace(fleet, name="retired", nodes=(*nodes, gone))


def consul_stops() -> Topology:
    """The clean fleet, but Consul stops in the middle of the sweep."""
    return replace(clean(), name="consul-stops", consul_stops_at="worker-fra-1")


def drift() -> Topology:
    """Registry and fleet disagree: an address, a key, a region, a ghost, and a peer that one node lacks."""
    return Topology(
        "drift",
        (
            Node("edge-fra-1", "fra", "10.20.0.11"),
            Node("edge-sin-1", "sin", "10.20.0.112", registered_address="10.20.0.12"),
            Node("edge-nrt-1", "nrt", "10.20.0.13", live_key="reinstalled"),
            Node("worker-fra-1", "fra", "10.20.0.14", registered_region="sin"),
            Node("worker-sin-1", "sin", "10.20.0.15", leaves_out=frozenset({"edge-fra-1"})),
            Node("worker-nrt-1", "nrt", "10.20.0.16"),
            Node("ghost-nrt-1", "nrt", "10.20.0.99", registered=False),
        ),
    )


def faults() -> Topology:
    """Addresses where they should not be, on devices and in the registry, without any duplicate."""
    return Topology(
        "faults",
        (
            Node("edge-fra-1", "fra", "10.20.1.11"),
            Node("edge-sin-1", "sin", "10.20.2.12", empties=frozenset({"edge-nrt-1"})),
            Node("edge-nrt-1", "nrt", "10.20.3.13", extra_allowed_ips={"edge-fra-1": ("10.20.2.0/24",)}),
            Node("worker-fra-1", "fra", "10.20.1.14", extra_allowed_ips={"edge-sin-1": ("10.20.1.14/32",)}),
            Node(
                "worker-sin-1",
                "sin",
                "10.0.0.1",
                leaves_out=frozenset({"edge-sin-1"}),
                extra_allowed_ips={"edge-fra-1": ("0.0.0.0/0",)},
            ),
            Node("worker-nrt-1", "nrt", "192.168.7.7"),
            Node("relay-nrt-1", "nrt", "10.255.255.255"),
        ),
        invalid={
            "broken-fra-1": '{"public_key": "',
            "broken-fra-2": '{"public_key": "c2hvcnQ=", "ip": "10.20.1.91", "region": "fra"}',
            "broken-fra-3": '{"public_key": "%s", "ip": "10.20.1.292", "region": "fra"}' % ("A" * 43 + "="),
            "broken-fra-4": '{"public_key": "%s", "region": "fra"}' % ("B" * 42 + "A="),
        },
    )


def routes() -> Topology:
    """An exit gateway and a local network behind a node, which is well, and an address that nobody registered."""
    exit_ = {"edge-fra-1": ("0.0.0.0/0",)}
    lan = {"worker-fra-1": ("192.168.5.0/24",)}
    stray = {"edge-nrt-1": ("10.20.7.7/32",)}
    return Topology(
        "routes",
        (
            Node("edge-fra-1", "fra", "10.20.0.11", extra_allowed_ips=stray),
            Node("edge-sin-1", "sin", "10.20.0.12", extra_allowed_ips={**exit_, **lan, **stray}),
            Node("edge-nrt-1", "nrt", "10.20.0.13", extra_allowed_ips=lan),
            Node("worker-fra-1", "fra", "10.20.0.14", extra_allowed_ips=stray),
            Node("worker-sin-1", "sin", "10.20.0.15", extra_allowed_ips={**exit_, **stray}),
            Node("worker-nrt-1", "nrt", "10.20.0.16", extra_allowed_ips={**exit_, **lan, **stray}),
        ),
    )


def clones() -> Topology:
    """One image on two servers, and one key that was registered for two."""
    return Topology(
        "clones",
        (
            Node("edge-fra-1", "fra", "10.20.0.11"),
            Node("edge-sin-1", "sin", "10.20.0.12", key_of="edge-fra-1"),
            Node("edge-nrt-1", "nrt", "10.20.0.13"),
            Node("worker-nrt-1", "nrt", "10.20.0.14", registered_key_of="edge-nrt-1"),
            Node("worker-fra-1", "fra", "10.20.0.15"),
            Node("worker-sin-1", "sin", "10.20.0.16"),
        ),
    )


def unseen() -> Topology:
    """Nodes that cannot be looked at, each for a reason of its own, and one that another answers for."""
    return Topology(
        "unseen",
        (
            Node("edge-fra-1", "fra", "10.20.0.11"),
            Node("edge-sin-1", "sin", "10.20.0.12"),
            Node("wrong-fra-1", "fra", "10.20.0.13", ssh_host_of="edge-sin-1"),
            Node("down-sin-1", "sin", "10.20.0.14", sshd=False),
            Node("stranger-sin-1", "sin", "10.20.0.15", host_key_known=False),
            Node("locked-fra-1", "fra", "10.20.0.16", authorized=False),
            Node("bare-fra-1", "fra", "10.20.0.17", device=False),
            Node("toolless-sin-1", "sin", "10.20.0.18", wg=False),
        ),
    )


def ipv6() -> Topology:
    """A mesh of IPv6 addresses; two nodes hold one of them, and the registry spells it in two ways."""
    nodes = (
        Node("edge-fra-1", "fra", "fdaa::7"),
        Node("edge-sin-1", "sin", "fdaa::7", registered_address="FDAA:0:0::0007"),
        Node("worker-fra-1", "fra", "fdaa::1:1"),
        Node("worker-sin-1", "sin", "fdaa::1:2"),
        Node("worker-nrt-1", "nrt", "fdaa::1:3"),
    )
    contest = split(nodes, "fdaa::7", ("edge-fra-1", "edge-sin-1"))
    return Topology("ipv6", nodes, (contest,), pools=("fdaa::/48",))


def datacenters() -> Topology:
    """One mesh, two Consul datacenters: an address that stands in both, and a name that does."""
    nodes = (
        Node("edge-fra-1", "fra", "10.20.0.11"),
        Node("worker-fra-1", "fra", "10.20.0.9"),
        Node("worker-fra-2", "fra", "10.20.0.12"),
        Node("edge-fra-1", "fra", "10.30.0.11", datacenter="dc2"),
        Node("worker-sin-1", "sin", "10.20.0.9", datacenter="dc2"),
        Node("worker-sin-2", "sin", "10.30.0.12", datacenter="dc2"),
    )
    return Topology("datacenters", nodes, (split(nodes, "10.20.0.9", ("worker-fra-1", "worker-sin-1@dc2")),))


def acl() -> Topology:
    """A healthy fleet behind a Consul whose token shows us only half of it, without a word."""
    return Topology(
        "acl",
        (
            Node("edge-fra-1", "fra", "10.20.0.11"),
            Node("edge-sin-1", "sin", "10.20.0.12"),
            Node("edge-nrt-1", "nrt", "10.20.0.13"),
            Node("worker-fra-1", "fra", "10.20.0.14"),
            Node("worker-sin-1", "sin", "10.20.0.15"),
            Node("worker-nrt-1", "nrt", "10.20.0.16"),
        ),
        readable=("edge-",),
    )


CASES = {
    case.__name__.replace("_", "-"): case
    for case in (
        incident,
        clean,
        unreachable,
        link_down,
        bridge,
        one_way,
        retired,
        consul_stops,
        drift,
        faults,
        routes,
        clones,
        unseen,
        ipv6,
        datacenters,
        acl,
    )
}
