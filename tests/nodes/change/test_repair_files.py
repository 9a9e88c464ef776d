"""The script that changes nodes, at work on the files of wg-quick and systemd-networkd: real ones, in every awk."""

from __future__ import annotations

import os
import shutil
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import ChangeFailed, GapReason, ProbeError
from auditor.nodes.change.changes import LeftFile, LeftWhy
from auditor.values.addresses import Prefix
from tests.nodes.change.node_files import CONF, NETWORKD, NEW, OLD, Node
from tests.parts import AWKS, command_of

SPACE = st.sampled_from([b"", b" ", b"\t", b"  "])
ANOTHER = st.sampled_from(
    [b"10.0.0.10/8", b"110.0.0.1/8", b"10.0.0.1.7", b"fdaa::1/64", b"10.0.0.11", b"10.0.0.1x"]
)
END = st.sampled_from([b"\n", b"\r\n"])
BEFORE = st.sampled_from(
    [
        b"PrivateKey = WGPRIVATEkey=\n",
        b"# Address = 10.0.0.1/8\n",
        b"\n",
        b"ListenPort=51820 # not 10.0.0.1\n",
        b"PostUp = ip route add 10.0.0.0/8 src 10.0.0.1\n",
        b"Addresses = 10.0.0.1\n",
        b"Address = 10.0.0.10/8, 10.0.0.11\n",
        b"# \xff\xfe caf\xe9 \xc3\xa9\xe2\x82\xac\n",
        b"[Peer]\nAddress = 10.0.0.1/8\nAllowedIPs = 10.0.0.1/32\n[Interface]\n",
        b"DNS = 10.0.0.1\n",
        b"AddreSS=\n",
    ]
)
AFTER = st.lists(BEFORE, max_size=3).map(b"".join) | st.sampled_from(
    [b"", b"[Peer]\nPublicKey = x\nAllowedIPs = 10.0.0.1/32", b"# the end, without a line's end: 10.0.0.1"]
)


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A wg-quick file around its one address that is to be replaced: what stands before it, and after it."""
    start = draw(st.sampled_from([b"[Interface]\n", b" [INTERFACE] # main\n", b"[Peer]\n\n[interface]\r\n"]))
    start += b"".join(draw(st.lists(BEFORE, max_size=4)))
    word = draw(st.sampled_from([b"Address", b"ADDRESS", b"address"]))
    start += draw(SPACE) + word + draw(SPACE) + b"=" + draw(SPACE)
    start += b"".join(another + b"," + draw(SPACE) for another in draw(st.lists(ANOTHER, max_size=2)))
    rest = draw(st.sampled_from([b"/8", b"/32", b""]))
    rest += b"".join(draw(SPACE) + b"," + another for another in draw(st.lists(ANOTHER, max_size=2)))
    rest += draw(st.sampled_from([b"", b" # was 10.0.0.1", b"\t#"]))
    after = draw(AFTER)
    return start, rest + (draw(END) + after if after else draw(st.sampled_from([b"", b"\n", b"\r\n"])))


_awks = cycle(AWKS)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files())
def test_exactly_the_address_is_replaced_and_every_other_byte_stays(
    node: Node, around: tuple[bytes, bytes]
) -> None:
    before, after = around
    node.clear()
    node.program("awk", f'exec {" ".join(next(_awks))} "$@"')
    file = node.file(CONF)
    file.write_bytes(before + b"10.0.0.1" + after)
    assert node.rewrite().files == (CONF,)
    assert file.read_bytes() == before + b"10.99.0.107" + after
    assert node.file(f"{CONF}.wgaudit-10.0.0.1").read_bytes() == before + b"10.0.0.1" + after
    assert len(node.names()) == 2


@pytest.mark.parametrize("awk", AWKS, ids="-".join)
def test_an_ipv6_address_is_known_in_each_of_its_spellings(node: Node, awk: tuple[str, ...]) -> None:
    node.program("awk", f'exec {" ".join(command_of(awk))} "$@"')
    file = node.file(CONF)
    text = "[Interface]\nAddress = {}/64,{}, {}/128, fdaa::1:1/64, fdaa:1::1, ::1\n"
    file.write_text(text.format("FDAA:0:0::1", "fdaa:0000:0:0:0:0:0:0001", "fdaa::1"))
    node.rewrite(Prefix("fdaa::1/128"), Prefix("fdaa::9:7/128"))
    assert file.read_text() == text.format(*["fdaa::9:7"] * 3)
    assert "wg0.conf.wgaudit-fdaa--1" in node.names()


def test_said_again_it_changes_nothing_and_tells_the_same_file(node: Node) -> None:
    file = node.file(CONF)
    file.write_text("[Interface]\nAddress = 10.0.0.1/8\n")
    node.rewrite()
    stood = file.stat()
    assert node.rewrite().files == (CONF,)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (stood.st_ino, stood.st_mtime_ns)
    assert node.rewrite(NEW, OLD).files == (CONF,)
    assert file.read_text() == "[Interface]\nAddress = 10.0.0.1/8\n"


def test_mode_and_owner_are_kept_by_the_file_and_by_its_copy(node: Node) -> None:
    file = node.file(CONF)
    file.write_text("[Interface]\nAddress = 10.0.0.1/8\n")
    file.chmod(0o640)
    os.chown(file, 1234, 4321)
    node.rewrite()
    for path in (file, node.file(f"{CONF}.wgaudit-10.0.0.1")):
        stood = path.stat()
        assert (stood.st_mode & 0o7777, stood.st_uid, stood.st_gid) == (0o640, 1234, 4321)


def test_a_copy_that_is_there_is_not_written_over(node: Node) -> None:
    """The first one is the one from before everything."""
    file, copy = node.file(CONF), node.file(f"{CONF}.wgaudit-10.0.0.1")
    file.write_text("[Interface]\nAddress = 10.0.0.1/8\n")
    copy.write_text("the first one")
    node.rewrite()
    assert copy.read_text() == "the first one"


def test_a_link_is_followed_and_stays_a_link(node: Node, tmp_path: Path) -> None:
    real = tmp_path / "real.conf"
    real.write_text("[Interface]\nAddress = 10.0.0.1/8\n")
    node.file(CONF).symlink_to(real)
    assert node.rewrite().files == (str(real),)
    assert real.read_text() == "[Interface]\nAddress = 10.99.0.107/8\n"
    assert node.file(CONF).is_symlink()


NETWORK = """[Match]
Name={name}

[Network]
# Address=10.0.0.1/8
Address=10.0.0.1/8
DNS=1.1.1.1

[Address]
Address=10.0.0.1/32
Peer=10.0.0.10

[Route]
Destination=172.16.0.0/12
PreferredSource=10.0.0.1
"""


@pytest.mark.parametrize("name", ["wg0", "wg*", "eth0 wg?", "*", "eth0\nName=wg0"])
def test_networkds_file_of_this_device_is_rewritten(node: Node, name: str) -> None:
    file = node.file(f"{NETWORKD}/10-wg.network")
    text = NETWORK.format(name=name)
    file.write_text(text)
    state = node.rewrite()
    assert state.files == (f"{NETWORKD}/10-wg.network",)
    changed = text.replace("\nAddress=10.0.0.1/", "\nAddress=10.99.0.107/")
    assert file.read_text() == changed
    line = changed.splitlines().index("PreferredSource=10.0.0.1") + 1
    assert state.by_hand == (LeftFile(f"{NETWORKD}/10-wg.network", LeftWhy.LINE, line),)


@pytest.mark.parametrize("name", ["wg1", "wg", "wg0x", "eth*", "!wg0", "wg0\nName=\nName=wg1", "[w]g0"])
def test_a_file_of_another_device_is_left_alone(node: Node, name: str) -> None:
    file = node.file(f"{NETWORKD}/10-wg.network")
    file.write_text(NETWORK.format(name=name))
    assert node.rewrite().files == ()
    assert file.read_text() == NETWORK.format(name=name)
    assert node.names() == ["10-wg.network"]


def test_both_programs_files_are_rewritten_and_told(node: Node) -> None:
    node.file(CONF).write_text("[Interface]\nAddress = 10.0.0.1/8\n")
    node.file(f"{NETWORKD}/a b.network").write_text(NETWORK.format(name="wg0"))
    assert node.rewrite().files == (CONF, f"{NETWORKD}/a b.network")


def test_no_file_is_no_error(node: Node) -> None:
    """Where another program sets the address, there is nothing to rewrite, and that is told."""
    assert node.rewrite().files == ()
    node.file(CONF).write_text("[Interface]\nAddress = 10.0.0.10/8\n")
    assert node.rewrite().files == ()
    assert node.names() == ["wg0.conf"]


def test_save_config_is_told(node: Node) -> None:
    node.file(CONF).write_text("[Interface]\nSAVECONFIG = True # yes\nAddress = 10.0.0.1/8\n")
    assert [note.split()[1:5] for note in node.rewrite().notes] == [["has", "SaveConfig", "=", "true:"]]


def test_nothing_is_written_where_one_file_names_both_addresses(node: Node) -> None:
    """wg-quick fails on an address that stands there twice."""
    conf = node.file(CONF)
    conf.write_text("[Interface]\nAddress = 10.0.0.1/8\n")
    other = node.file(f"{NETWORKD}/wg.network")
    other.write_text("[Match]\nName=wg0\n[Network]\nAddress=10.0.0.1/8\nAddress=10.99.0.107/8\n")
    with pytest.raises(
        ChangeFailed, match=r"refused: .*wg\.network names both 10\.0\.0\.1 and 10\.99\.0\.107"
    ):
        node.rewrite()
    assert conf.read_text() == "[Interface]\nAddress = 10.0.0.1/8\n"
    assert node.names() == ["wg.network", "wg0.conf"]


def test_a_file_that_is_no_text_is_refused(node: Node) -> None:
    node.file(CONF).write_bytes(b"[Interface]\nAddress = 10.0.0.1/8\n\0")
    with pytest.raises(ChangeFailed, match="not a text file"):
        node.rewrite()


def test_a_full_disk_leaves_the_file_as_it_was(node: Node) -> None:
    text = "[Interface]\nAddress = 10.0.0.1/8\n" + "# a long comment\n" * 700
    node.file(CONF).write_text(text)
    node.network.sh(
        "cp /etc/wireguard/wg0.conf /run/wg0.conf; mount -t tmpfs -o size=28k full /etc/wireguard\n"
        "cp /run/wg0.conf /etc/wireguard/"
    )
    try:
        with pytest.raises(ChangeFailed) as caught:
            node.rewrite()
        assert not caught.value.refused
        assert node.network.sh(f"cat {CONF}") == text
        assert "wg0.conf.wgaudit-new" not in node.network.sh("ls /etc/wireguard")
    finally:
        node.network.sh("umount /etc/wireguard")


def test_a_file_whose_rights_could_not_be_kept_is_not_replaced(node: Node) -> None:
    file = node.file(CONF)
    file.write_text("[Interface]\nAddress = 10.0.0.1/8\n")
    file.chmod(0o644)
    node.program("cp", f'{shutil.which("cp")} "$@" && eval "chmod 600 \\${{$#}}"')
    with pytest.raises(ChangeFailed, match="mode or owner could not be kept"):
        node.rewrite()
    assert node.names() == ["wg0.conf"]


@pytest.mark.parametrize("name", ["awk", "tail", "head", "mv", "cp", "wc", "tr"])
def test_a_program_that_fails_leaves_the_file_as_it_was(node: Node, name: str) -> None:
    file = node.file(CONF)
    file.write_text("[Interface]\nAddress = 10.0.0.1/8\n")
    node.program(name, "exit 3")
    with pytest.raises(ChangeFailed):
        node.rewrite()
    assert file.read_text() == "[Interface]\nAddress = 10.0.0.1/8\n"
    assert not node.file(f"{CONF}.wgaudit-new").exists()


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("tail", "{0} | head -c 3", "has not the size that it must have"),
        ("head", "{0} | tr A-Z x", "does not name"),
    ],
)
def test_a_new_file_that_came_out_wrong_does_not_take_the_place_of_the_old_one(
    node: Node, name: str, text: str, why: str
) -> None:
    """Whatever the programs said of their success."""
    file = node.file(CONF)
    file.write_text("[Interface]\nAddress = 10.0.0.1/8\n")
    node.program(name, text.format(f'{shutil.which(name)} "$@"'))
    with pytest.raises(ChangeFailed, match=why):
        node.rewrite()
    assert file.read_text() == "[Interface]\nAddress = 10.0.0.1/8\n"
    assert not node.file(f"{CONF}.wgaudit-new").exists()


def test_who_is_not_root_is_told_so_and_not_that_there_is_no_file(node: Node) -> None:
    node.program("id", "echo 1000")
    with pytest.raises(ProbeError) as caught:
        node.rewrite()
    assert caught.value.reason is GapReason.SUDO


def test_no_answer_holds_a_files_content(node: Node) -> None:
    secret = "WGPRIVATEkeyPLANTEDxxxxxxxxxxxxxxxxxxxxxxxA="
    node.file(CONF).write_text(
        f"[Interface]\nPrivateKey = {secret}\nAddress = 10.0.0.1/8\nPostUp = x 10.0.0.1 {secret}\n"
    )
    node.program("mv", "exit 3")
    with pytest.raises(ChangeFailed) as caught:
        node.rewrite()
    assert "PLANTED" not in caught.value.detail
    (node.bin / "mv").unlink()
    assert "PLANTED" not in repr(node.rewrite())
