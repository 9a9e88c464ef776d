"""Routes of a node that hide mesh addresses: by the kernel's own rules, and by what any `ip` prints."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor.nodes.probe.probe import (
    DEFAULT_PLACES,
    ProbeAnswer,
    ProbePlaces,
    format_answer,
    inline_request,
    parse_answer,
    probe_script,
)
from auditor.values.addresses import Prefix
from auditor.values.hidden_addresses import RouteKind, ShadowingRoute
from tests.nodes.namespaces import Network
from tests.nodes.stubs import LINK, StubNode, key
from tests.parts import AWKS, SHELLS, command_of

POOLS = (Prefix("10.0.0.0/8"), Prefix("fdaa::/16"))
PLACES = ProbePlaces(pools=POOLS)
PEERS = (("10.1.0.2/32", "fdaa::2/128"), ("10.1.0.3/32", "fdaa::3/128"), ("10.2.0.4/32", "0.0.0.0/1"))


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as up:
        peers = "".join(
            f"wg set wg0 peer {key(n)} allowed-ips {','.join(p)}\n" for n, p in enumerate(PEERS, 2)
        )
        up.fresh("10.0.0.1/8", "fdaa::1/16")
        up.sh(f"{peers}ip link add br0 type veth peer name port\nip link set port up\nip link set br0 up\n")
        yield up


def told(network: Network, *shell: str, places: ProbePlaces = PLACES) -> dict[str, tuple[str, ...]]:
    """Each route that hides something, as `ip` writes it, and the addresses that it hides."""
    request = inline_request("digest", device="wg0", places=places)
    words = [*(shell or ("/bin/sh",)), *request.command.removeprefix("exec /bin/sh ").split()]
    shadows = parse_answer(network.run(words, stdin=request.stdin).stdout, "wg0").shadows
    assert shadows is not None
    assert all(item.hidden == len(item.sample) for item in shadows)
    return {f"{item.kind} {item.prefix} {item.device}".strip(): item.sample for item in shadows}


BRIDGE = "ip addr add 10.1.0.1/24 dev br0"


@pytest.mark.parametrize("shell", SHELLS, ids="-".join)
def test_a_bridge_hides_the_addresses_in_its_network_and_no_other(
    network: Network, shell: tuple[str, ...]
) -> None:
    words = command_of(shell)
    assert told(network, *words) == {}
    with_bridge = Planted(network, BRIDGE, "ip addr del 10.1.0.1/24 dev br0")
    with with_bridge:
        assert told(network, *words) == {"unicast 10.1.0.0/24 br0": ("10.1.0.2/32", "10.1.0.3/32")}
        assert told(network, *words, places=ProbePlaces(("wg",), ("br0",), POOLS)) == {}


class Planted:
    """Something that stands in the network, and is gone afterwards. A context manager."""

    def __init__(self, network: Network, begin: str, end: str) -> None:
        self._network, self._begin, self._end = network, begin, end

    def __enter__(self) -> None:
        self._network.sh(self._begin)

    def __exit__(self, *_: object) -> None:
        self._network.sh(self._end)


@pytest.mark.parametrize(
    ("begin", "end", "hides"),
    [
        ("ip route add blackhole 10.1.0.2", "ip route del blackhole 10.1.0.2", "blackhole 10.1.0.2/32"),
        ("ip route add unreachable 10.2.0.0/16", "ip route del 10.2.0.0/16", "unreachable 10.2.0.0/16"),
        ("ip route add prohibit fdaa::3", "ip -6 route del prohibit fdaa::3", "prohibit fdaa::3/128"),
        ("ip -6 route add fdaa::/64 dev br0", "ip -6 route del fdaa::/64 dev br0", "unicast fdaa::/64 br0"),
        ("ip addr add 10.2.0.4/32 dev lo", "ip addr del 10.2.0.4/32 dev lo", "local 10.2.0.4/32 lo"),
        # Of two equal ones the kernel takes the one with the least metric.
        (
            "ip route del 10.0.0.0/8; ip route add 10.0.0.0/8 dev wg0 metric 9; ip route add 10/8 dev br0 metric 3",
            "ip route flush 10.0.0.0/8; ip route add 10.0.0.0/8 dev wg0",
            "unicast 10.0.0.0/8 br0",
        ),
        # A rule leads to a table before the one with the mesh's routes.
        (
            "ip route add 10.1.0.0/16 dev br0 table 7; ip rule add to 10.0.0.0/8 lookup 7",
            "ip rule del to 10.0.0.0/8 lookup 7; ip route flush table 7",
            "unicast 10.1.0.0/16 br0",
        ),
    ],
)
def test_a_route_that_decides_before_the_mesh_is_told(
    network: Network, begin: str, end: str, hides: str
) -> None:
    with Planted(network, begin, end):
        assert list(told(network)) == [hides]


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("ip route add default dev br0", "ip route del default"),
        ("ip route add 10.0.0.0/7 dev br0", "ip route del 10.0.0.0/7"),
        ("ip route add 10.0.0.0/8 dev br0 metric 9", "ip route del 10.0.0.0/8 dev br0 metric 9"),
        ("ip route add 10.9.0.0/16 dev br0; ip route add 192.168.0.0/16 dev br0", "ip route flush dev br0 scope link"),
        # wg-quick's way where the device has a single address: each peer's addresses have a route of their own.
        (
            f"{BRIDGE}; for each in 10.1.0.2 10.1.0.3; do ip route add $each dev wg0; done",
            "ip route del 10.1.0.2; ip route del 10.1.0.3; ip addr del 10.1.0.1/24 dev br0",
        ),
        # Nothing leads to that table for packets of the node's own; wg-quick's for a default route does lead.
        ("ip route add 10.1.0.0/16 dev br0 table 7", "ip route flush table 7"),
        (
            "ip route add default dev wg0 table 51820; ip rule add not fwmark 51820 table 51820",
            "ip rule del not fwmark 51820 table 51820; ip route flush table 51820",
        ),
    ],
)  # fmt: skip
def test_a_route_that_the_mesh_is_longer_than_or_that_decides_nothing_is_not(
    network: Network, begin: str, end: str
) -> None:
    with Planted(network, begin, end):
        assert told(network) == {}


def test_the_mesh_device_is_not_asked_for_more_where_nothing_is_hidden(network: Network) -> None:
    """Equal nodes stay equal: the digest does not know of it, and the answer has one short line more."""
    plain, routes = (
        network.run(
            [
                "/bin/sh",
                *(request := inline_request("digest", device="wg0", places=places)).command.split()[2:],
            ],
            stdin=request.stdin,
        ).stdout
        for places in (DEFAULT_PLACES, PLACES)
    )
    assert routes == plain.replace(b"\ndigest ", b"\nshadows 0\ndigest ")


# What `ip` of iproute2 and of busybox print, and what it costs when it fails.

IPROUTE2 = """default via 192.0.2.1 dev eth0 proto dhcp metric 100
10.0.0.0/8 dev wg0 proto kernel scope link src 10.0.0.1
10.1.0.0/24 dev docker0 proto kernel scope link src 10.1.0.1 linkdown
10.2.0.0/16 proto bird metric 32
\tnexthop via 192.0.2.7 dev eth0 weight 1
\tnexthop via 192.0.2.8 dev eth1 weight 1
10.3.0.0/16 dev eth9 dead linkdown
throw 10.4.0.0/16
local 10.1.0.1 dev docker0 table local proto kernel scope host src 10.1.0.1
broadcast 10.1.0.255 dev docker0 table local proto kernel scope link src 10.1.0.1
multicast ff00::/8 dev wg0 table local proto kernel metric 256 pref medium
"""
BUSYBOX = """default via 192.0.2.1 dev eth0
10.0.0.0/8 dev wg0 scope link  src 10.0.0.1
10.1.0.0/24 dev docker0 scope link  src 10.1.0.1
10.2.0.0/16  metric 32 nexthop via 192.0.2.7 dev eth0 weight 1 nexthop via 192.0.2.8 dev eth1 weight 1
local 10.1.0.1 dev docker0 table local scope host  src 10.1.0.1
"""
V4 = ProbePlaces(pools=POOLS[:1])
HIDDEN = (
    ShadowingRoute(
        Prefix("10.1.0.0/24"), RouteKind.UNICAST, "docker0", 2, (Prefix("10.1.0.1/32"), Prefix("10.1.0.2/32"))
    ),
    ShadowingRoute(Prefix("10.2.0.0/16"), RouteKind.UNICAST, "eth0", 1, (Prefix("10.2.0.4/32"),)),
)


@pytest.fixture
def node(tmp_path: Path) -> StubNode:
    stub = StubNode(tmp_path / "node", peers=((2, "10.1.0.2/32 10.1.0.1/32"), (3, "10.2.0.4/32 10.3.0.0/16")))
    routed(stub, IPROUTE2)
    return stub


def routed(node: StubNode, routes: str, otherwise: str = "exit 0") -> None:
    """Sets what `ip route` prints; the kernel's way to an address is another device, unless said otherwise."""
    (node.folder / "routes").write_text(routes)
    node.script(
        "ip",
        f'#!/bin/sh\necho "ip $*" >>"{node.folder}/calls"\ncase "$*" in\n'
        f'*"route show table all") cat "{node.folder}/routes"; {otherwise} ;;\n'
        '"route get "*) echo "$3 dev elsewhere src 192.0.2.2" ;;\n'
        f'*) cat "{node.folder}/listing" ;;\nesac\n',
    )


def answer(
    node: StubNode, mode: str = "digest", places: ProbePlaces = V4, *, closely: bool = True
) -> ProbeAnswer:
    request = inline_request(mode, device="wg0", places=places, closely=closely)  # type: ignore[arg-type]
    done = subprocess.run(
        ["/bin/sh", *request.command.split()[2:]],
        input=request.stdin,
        capture_output=True,
        env={"PATH": node.path},
        timeout=30,
        check=False,
    )
    told = parse_answer(done.stdout, "wg0")
    assert format_answer(told) == done.stdout
    return told


@pytest.mark.parametrize("awk", AWKS, ids="-".join)
@pytest.mark.parametrize("routes", [IPROUTE2, BUSYBOX], ids=["iproute2", "busybox"])
def test_every_awk_reads_the_routes_of_every_ip(node: StubNode, awk: tuple[str, ...], routes: str) -> None:
    node.script("awk", f'#!/bin/sh\nexec {" ".join(command_of(awk))} "$@"\n')
    routed(node, routes)
    assert answer(node).shadows == HIDDEN
    assert answer(node, "base").shadows == HIDDEN


@pytest.mark.parametrize(
    ("routes", "hinted"),
    [
        (IPROUTE2, True),
        (BUSYBOX, True),
        ("default via 10.0.0.254 dev eth0\n11.0.0.0/8 dev eth0\n10.0.0.0/8 dev wg0 scope link\n", False),
        ("blackhole 10.9.0.0/16\n", True),
        ("unreachable fdaa:1::/64 dev lo metric 1024\n", True),
        ("fdab::/64 dev eth0\nlocal 10.0.0.1 dev wg0 table local\n", False),
    ],
)
def test_a_look_that_brings_little_along_only_says_whether_to_look_closely(
    node: StubNode, routes: str, hinted: bool
) -> None:
    """Most of the script is for routes that most nodes do not have."""
    routed(node, routes)
    told = answer(node, places=PLACES, closely=False)
    assert (told.routes_hinted, told.shadows) == (hinted, None if hinted else ())


@pytest.mark.parametrize(
    ("pool", "inside", "outside"),
    [
        ("10.64.0.0/10", "10.127.0.0/16", "10.128.0.0/16"),
        ("172.16.0.0/12", "172.17.0.0/16", "172.32.0.0/16"),
        ("10.20.0.0/22", "10.20.1.0/24", "10.21.0.0/24"),
        ("8.0.0.0/5", "15.1.0.0/24", "16.0.0.0/8"),
        ("fd00::/8", "fdaa::/64", "fe00::/64"),
    ],
)
def test_what_is_in_no_pool_is_no_reason_to_look_closely(
    node: StubNode, pool: str, inside: str, outside: str
) -> None:
    places = ProbePlaces(pools=(Prefix(pool),))
    routed(node, f"{inside} dev eth0\n")
    assert answer(node, places=places, closely=False).routes_hinted
    routed(node, f"{outside} dev eth0\n")
    assert not answer(node, places=places, closely=False).routes_hinted


def test_the_table_itself_comes_without_them(node: StubNode) -> None:
    """Whoever asks for it had the digest before, and the routes with it."""
    assert answer(node, "text").shadows is None
    assert not any("route" in call for call in node.calls)


def test_only_what_hides_something_is_looked_up(node: StubNode) -> None:
    answer(node)
    assert [call for call in node.calls if "route" in call] == [
        "ip -4 route show table all",
        "ip route get 10.1.0.1",
        "ip route get 10.2.0.4",
    ]


@pytest.mark.parametrize(
    ("routes", "otherwise", "why"),
    [
        ("ip: applet does not know that\n", "exit 1", "ip route: exit 1"),
        (IPROUTE2 + "Dump was interrupted and odd!\n", "exit 0", "Dump was interrupted and odd."),
    ],
)  # fmt: skip
def test_routes_that_cannot_be_read_cost_the_node_nothing_else(
    node: StubNode, routes: str, otherwise: str, why: str
) -> None:
    routed(node, "")
    whole = answer(node)
    routed(node, routes, otherwise)
    told = answer(node)
    assert (told.digest, told.device) == (whole.digest, whole.device)
    assert (told.shadows, told.routes_unread) == (None, why)


def test_a_router_with_a_million_routes_is_not_read_to_its_end(node: StubNode) -> None:
    routed(node, "", 'exec yes "198.51.100.0/24 via 192.0.2.1 dev eth0 proto bird"')
    told = answer(node)
    assert (told.shadows, told.routes_unread) == (None, "more than 4000000 bytes of routes")


def test_what_is_told_is_bounded(node: StubNode) -> None:
    """By routes and by addresses, the same ones whatever order the peers come in."""
    peers = [(number, f"10.{number}.{number % 3}.7/32") for number in range(2, 60)]
    bridge = [(number, f"10.200.0.{number % 256}/32") for number in range(100, 300)]
    routed(
        node, "10.200.0.0/16 dev b scope link\n" + "".join(f"10.{n}.0.0/16 dev b{n}\n" for n in range(2, 60))
    )
    node.peers(peers + bridge)
    first = answer(node).shadows
    node.peers((bridge + peers)[::-1])
    assert answer(node).shadows == first
    assert first is not None
    assert len(first) == 16
    routed(node, "10.200.0.0/16 dev b scope link\n")
    assert [(item.hidden, len(item.sample)) for item in answer(node).shadows or ()] == [(200, 64)]


def test_an_installed_probe_tells_the_same_as_one_that_travels(node: StubNode) -> None:
    file = node.script("wgaudit-probe", probe_script("wg0", False, "", V4))
    done = subprocess.run(
        [str(file)],
        capture_output=True,
        env={"PATH": node.path, "SSH_ORIGINAL_COMMAND": "wgaudit-probe/1 digest"},
        timeout=30,
        check=True,
    )
    assert parse_answer(done.stdout, "wg0") == answer(node)


def test_a_devices_own_name_breaks_nothing(node: StubNode) -> None:
    (node.folder / "listing").write_text(LINK + "    inet 10.0.0.1/8 scope global wg0\n")
    routed(node, '10.1.0.0/24 dev $(x)!"* scope link\n')
    (shadow,) = answer(node).shadows or ()
    assert shadow.device == "??x????"
