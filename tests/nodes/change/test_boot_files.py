"""The script that changes nodes, at work on netplan, NetworkManager and drop-ins: in every shell and awk."""

from __future__ import annotations

import os
from itertools import cycle
from pathlib import Path

import pytest

from auditor.nodes.change.changes import LeftFile, LeftWhy
from auditor.values.addresses import Prefix
from tests.nodes.change.node_files import CONF, NETWORKD, NEW, OLD, Node
from tests.parts import AWKS, SHELLS, command_of

NETPLAN = "/etc/netplan/50-wg.yaml"
KEYFILE = "/etc/NetworkManager/system-connections/wg0.nmconnection"
RUN_NETWORK = "/run/systemd/network"
SECRET = "WGPRIVATEkeyPLANTEDxxxxxxxxxxxxxxxxxxxxxxxA="

BLOCK = f"""# 10.0.0.1 is this node's
network:
  version: 2
  ethernets:
    eth0:
      addresses:
      - 10.0.0.1/24
  tunnels:
    "wg0":   # the mesh
      mode: wireguard
      key: {SECRET}
      addresses:
        # first of all
        - 10.0.0.10/8
        - "10.0.0.1/8"  # ours
        - 'fdaa::1/64'
      peers:
        - allowed-ips: [10.0.0.1/32]
          keys: {{public: {SECRET}}}
    wg1:
      addresses: [10.0.0.1/8]
"""
FLOW = f"""network:
    tunnels:
        wg0:
            addresses: [ "10.0.0.7/8", 10.0.0.1/8 ]
            key: {SECRET}
"""
SAME_INDENT = """network:
 tunnels:
  wg0:
   addresses:
   - 10.0.0.1/8:  # it's ours
      label: x
   - 10.0.0.2/8
"""

PROFILE = f"""[connection]
id=the mesh # 10.0.0.1
type=wireguard
interface-name=wg0

[wireguard]
private-key={SECRET}

[wireguard-peer.U8CQh=]
allowed-ips=10.0.0.1/32;

[ipv4]
# address1=10.0.0.1/8
address1=10.0.0.10/8
address2 = 10.0.0.1/8
method=manual
"""


def put(node: Node, name: str, text: str) -> Path:
    file = node.file(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o600)
    return file


def moved(text: str, place: str) -> str:
    """The text with the new address at this place alone."""
    before, _, after = text.partition(place)
    assert after
    return before + place.replace("10.0.0.1/", "10.99.0.107/") + after


PLAIN = [
    (NETPLAN, BLOCK, '"10.0.0.1/8"  # ours'),
    (NETPLAN, FLOW, '"10.0.0.7/8", 10.0.0.1/8'),
    (NETPLAN, SAME_INDENT, "10.0.0.1/8:"),
    (KEYFILE, PROFILE, "address2 = 10.0.0.1/8"),
    (KEYFILE, PROFILE.replace("\n", "\r\n"), "address2 = 10.0.0.1/8"),
]


# Every text meets each shell and each awk, and not each awk in each shell: neither knows of the other.
@pytest.mark.parametrize(("shell", "awk"), list(zip(SHELLS, cycle(AWKS), strict=False)), ids="-".join)
@pytest.mark.parametrize(("name", "text", "place"), PLAIN, ids=["block", "flow", "indent", "key", "crlf"])
def test_a_plain_line_that_holds_the_devices_address_is_rewritten_and_given_back_bit_for_bit(
    node: Node, shell: tuple[str, ...], awk: tuple[str, ...], name: str, text: str, place: str
) -> None:
    node.program("awk", f'exec {" ".join(command_of(awk))} "$@"')
    file = node.file(name)
    file.write_bytes(text.encode())
    file.chmod(0o640)
    os.chown(file, 12, 34)
    state = node.rewrite(shell=command_of(shell))
    assert (state.files, state.by_hand) == ((name,), ())
    assert file.read_bytes() == moved(text, place).encode()
    assert (file.stat().st_mode & 0o7777, file.stat().st_uid, file.stat().st_gid) == (0o640, 12, 34)
    assert b"PLANTED" not in node.answer
    assert node.rewrite(NEW, OLD, shell=command_of(shell)).files == (name,)
    assert file.read_bytes() == text.encode()
    assert node.names() == [file.name]


def test_a_copy_beside_a_key_file_is_hidden_and_nobody_elses(node: Node) -> None:
    """NetworkManager reads whatever is not hidden in that folder; the copy holds the private key."""
    file = put(node, KEYFILE, PROFILE)
    notes = node.rewrite().notes
    copy = file.with_name(".wg0.nmconnection.wgaudit-10.0.0.1")
    assert copy.read_text() == PROFILE
    assert copy.stat().st_mode & 0o7777 == 0o600
    assert [note.rpartition(" until ")[2] for note in notes] == ["`nmcli connection reload`"]


def test_the_way_back_brings_back_each_spelling_of_an_address(node: Node) -> None:
    text = "[Interface]\nAddress = FDAA:0:0::1/64\n"
    file = put(node, CONF, text)
    old, new = Prefix("fdaa::1/128"), Prefix("fdaa::9:7/128")
    node.rewrite(old, new)
    assert file.read_text() == "[Interface]\nAddress = fdaa::9:7/64\n"
    node.rewrite(new, old)
    assert file.read_text() == text
    assert node.names() == ["wg0.conf"]


def test_a_file_that_was_written_since_is_given_back_the_address_alone(node: Node) -> None:
    file = put(node, CONF, "[Interface]\nAddress = 10.0.0.1/8\n")
    node.rewrite()
    file.write_text(file.read_text() + "MTU = 1380\n")
    node.rewrite(NEW, OLD)
    assert file.read_text() == "[Interface]\nAddress = 10.0.0.1/8\nMTU = 1380\n"


@pytest.mark.parametrize("awk", AWKS, ids="-".join)
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("network:\n  tunnels:\n    wg0:\n      addresses: &mesh [10.0.0.1/8]\n", 4),
        ("x: &mesh\n  - 10.0.0.1/8\nnetwork:\n  tunnels:\n    wg0:\n      addresses: *mesh\n", 2),
        ("network:\n  tunnels:\n    wg0:\n      addresses: &mesh\n      - 10.0.0.1/8\n", 5),
        ("network:\n  tunnels:\n    wg0: {addresses: [10.0.0.1/8]}\n", 3),
        ("network:\n  tunnels: {wg0: {addresses: [10.0.0.1/8]}}\n", 2),
        ('{"network": {"tunnels": {"wg0": {\n"addresses": ["10.0.0.1/8"]}}}}\n', 2),
        ("network:\n  tunnels:\n    wg0:\n      addresses: [10.0.0.2/8,\n        10.0.0.1/8]\n", 5),
        ("network:\n  tunnels:\n    wg0:\n      addresses:\n      - {10.0.0.1/8: {label: x}}\n", 5),
        ("network:\n  tunnels:\n    wg0:\n      local: 10.0.0.1\n", 4),
        (
            "network:\n  tunnels:\n    wg0:\n      routes:\n      - to: 10.0.0.0/8\n        from: 10.0.0.1\n",
            6,
        ),
    ],
)
def test_a_line_of_netplan_that_is_not_plain_is_named_and_left(
    node: Node, awk: tuple[str, ...], text: str, line: int
) -> None:
    node.program("awk", f'exec {" ".join(command_of(awk))} "$@"')
    file = put(node, NETPLAN, text)
    state = node.rewrite()
    assert (state.files, state.by_hand) == ((), (LeftFile(NETPLAN, LeftWhy.LINE, line),))
    assert file.read_text() == text
    assert node.names() == ["50-wg.yaml"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (NETPLAN, "network:\n  ethernets:\n    eth0:\n      addresses: [10.0.0.1/8]\n"),
        (NETPLAN, "network:\n  tunnels:\n    wg0:\n      addresses: [10.0.0.10/8]\n"),
        (KEYFILE, PROFILE.replace("=wg0", "=wg1")),
        (KEYFILE, PROFILE.replace("interface-name=wg0\n", "").replace("=wireguard", "=ethernet")),
        (KEYFILE, PROFILE.replace("address2", "#")),
        (f"{NETWORKD}/a.network", "[Match]\nMACAddress=02::1\n[Network]\nGateway=10.0.0.1\n"),
    ],
)
def test_a_file_that_gives_this_device_no_such_address_is_neither_changed_nor_named(
    node: Node, name: str, text: str
) -> None:
    file = put(node, name, text)
    state = node.rewrite()
    assert (state.files, state.by_hand) == ((), ())
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("name", "text", "left"),
    [
        (KEYFILE, PROFILE.replace("interface-name=wg0\n", ""), (LeftWhy.WHOSE, None)),
        (KEYFILE, PROFILE.replace("2 = 10.0.0.1/8", "2=10.0.0.9/8,10.0.0.1"), (LeftWhy.LINE, 15)),
        (KEYFILE, PROFILE.replace("address1=10.0.0.10", "address1=10.99.0.107"), (LeftWhy.BOTH, None)),
        (NETPLAN, BLOCK.replace("10.0.0.10/", "10.99.0.107/"), (LeftWhy.BOTH, None)),
        (f"{NETWORKD}/a.network", "[Match]\nType=wireguard\n[Network]\nAddress=10.0.0.1/8\n", (LeftWhy.WHOSE, None)),
        (f"{NETWORKD}/a.network", "[Match]\nName=!eth0\n[Network]\nAddress=10.0.0.1/8\n", (LeftWhy.WHOSE, None)),
    ],
    ids=["no name", "gateway", "key both", "netplan both", "type", "not"],
)  # fmt: skip
def test_a_file_that_cannot_be_rewritten_safely_is_named_with_the_reason(
    node: Node, name: str, text: str, left: tuple[LeftWhy, int | None]
) -> None:
    file = put(node, name, text)
    state = node.rewrite()
    assert (state.files, state.by_hand) == ((), (LeftFile(name, *left),))
    assert file.read_text() == text


NETWORK = "[Match]\nName=wg0\n[Network]\nAddress=10.0.0.10/8\n"
DROP_IN = "[Network]\nAddress=10.0.0.1/8\n"


@pytest.mark.parametrize("shell", SHELLS, ids="-".join)
def test_a_drop_in_of_the_devices_file_is_rewritten(node: Node, shell: tuple[str, ...]) -> None:
    put(node, f"{NETWORKD}/10-wg.network", NETWORK)
    put(node, f"{NETWORKD}/10-other.network", NETWORK.replace("wg0", "eth0"))
    mine = put(node, f"{NETWORKD}/10-wg.network.d/50 address.conf", DROP_IN)
    other = put(node, f"{NETWORKD}/10-other.network.d/50.conf", DROP_IN)
    nobodys = put(node, f"{NETWORKD}/10-gone.network.d/50.conf", DROP_IN)
    state = node.rewrite(shell=command_of(shell))
    assert state.files == (f"{NETWORKD}/10-wg.network.d/50 address.conf",)
    assert state.by_hand == ()
    assert mine.read_text() == DROP_IN.replace("10.0.0.1/", "10.99.0.107/")
    assert (other.read_text(), nobodys.read_text()) == (DROP_IN, DROP_IN)


def test_a_file_that_is_made_anew_at_boot_is_named_and_one_that_it_hides_is_not(node: Node) -> None:
    text = NETWORK.replace(".10/", ".1/")
    made = put(node, f"{RUN_NETWORK}/10-wg.network", text)
    drop_in = put(node, f"{RUN_NETWORK}/10-wg.network.d/50.conf", DROP_IN)
    state = node.rewrite()
    places = (f"{RUN_NETWORK}/10-wg.network", f"{RUN_NETWORK}/10-wg.network.d/50.conf")
    assert state.by_hand == tuple(LeftFile(place, LeftWhy.MADE) for place in places)
    put(node, f"{NETWORKD}/10-wg.network", NETWORK)
    put(node, f"{NETWORKD}/10-wg.network.d/50.conf", "[Network]\n")
    assert node.rewrite().by_hand == ()
    assert (made.read_text(), drop_in.read_text()) == (text, DROP_IN)


def test_what_netplan_made_follows_netplans_own_file(node: Node) -> None:
    """At the next boot it is made from the one that was rewritten; until then it must not bring the old one back."""
    text = NETWORK.replace(".10/", ".1/")
    made = put(node, f"{RUN_NETWORK}/10-netplan-wg0.network", text)
    profile = "/run/NetworkManager/system-connections/netplan-wg0.nmconnection"
    put(node, profile, PROFILE)
    assert {(item.path, item.why) for item in node.rewrite().by_hand} == {
        (f"{RUN_NETWORK}/10-netplan-wg0.network", LeftWhy.MADE),
        (profile, LeftWhy.MADE),
    }
    put(node, NETPLAN, FLOW)
    state = node.rewrite()
    assert state.files == (NETPLAN, profile, f"{RUN_NETWORK}/10-netplan-wg0.network")
    assert state.by_hand == ()
    assert made.read_text() == text.replace("10.0.0.1/", "10.99.0.107/")


def test_a_packages_file_is_named_and_left(node: Node) -> None:
    """A link to one is one, too."""
    node.network.sh(
        "mount -t tmpfs vendor /usr/lib/systemd/network\n"
        "printf '[Match]\\nName=wg0\\n[Network]\\nAddress=10.0.0.1/8\\n' >/usr/lib/systemd/network/80-wg.network"
    )
    vendor = "/usr/lib/systemd/network/80-wg.network"
    try:
        assert node.rewrite().by_hand == (LeftFile(vendor, LeftWhy.VENDOR),)
        node.file(f"{NETWORKD}/80-wg.network").symlink_to("/usr/lib/systemd/network/80-wg.network")
        assert node.rewrite().by_hand == (LeftFile(vendor, LeftWhy.VENDOR),)
        node.file(f"{NETWORKD}/80-wg.network").unlink()
        node.file(f"{NETWORKD}/80-wg.network").symlink_to("/dev/null")
        assert node.rewrite().by_hand == ()
    finally:
        node.network.sh("umount /usr/lib/systemd/network")


def test_a_name_that_cannot_be_printed_costs_its_folder_and_no_other_file(node: Node) -> None:
    folder = Path(KEYFILE).parent
    put(node, f"{folder}/Café (5G).nmconnection", PROFILE.replace("=wg0", "=wlan0"))
    assert node.rewrite().by_hand == ()
    put(node, f"{folder}/the $(mesh).nmconnection", PROFILE)
    put(node, CONF, "[Interface]\nAddress = 10.0.0.1/8\n")
    state = node.rewrite()
    assert state.by_hand == (LeftFile(str(folder), LeftWhy.NAME),)
    assert state.files == (CONF,)


def test_a_folder_of_too_many_files_is_named_and_not_looked_at(node: Node) -> None:
    for number in range(201):
        node.file(f"{NETWORKD}/{number}.network").touch()
    assert node.rewrite().by_hand == (LeftFile(NETWORKD, LeftWhy.MANY),)


def test_a_key_file_that_networkmanager_would_not_read_is_none(node: Node) -> None:
    node.file(KEYFILE).write_bytes(PROFILE.encode() + b"\0")
    state = node.rewrite()
    assert (state.files, state.by_hand) == ((), ())
