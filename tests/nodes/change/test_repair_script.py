"""The script that changes nodes, run in every POSIX shell of this machine against a real device and real files."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from auditor.errors import ChangeFailed, GapReason, ProbeError
from auditor.nodes.change.changes import AddAddress, Change, DeviceState, DropAddress, RewriteFiles, SetPeer
from auditor.nodes.change.repair_script import RepairRequest, change_request, look_request, parse_repair
from auditor.values.addresses import Prefix, PublicKey
from tests.nodes.namespaces import Network
from tests.nodes.stubs import StubNode, key
from tests.parts import SHELLS, command_of

OLD, NEW, OTHER = Prefix("10.0.0.1/32"), Prefix("10.9.0.7/32"), Prefix("10.0.0.2/32")
OLD6, NEW6 = Prefix("fdaa::1/128"), Prefix("fdaa::9:7/128")
ADD, DROP = AddAddress(NEW, like=OLD), DropAddress(OLD, keep=NEW)
KNOB = "/proc/sys/net/ipv4/conf/wg0/promote_secondaries"


@pytest.fixture(scope="module")
def up() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture
def network(up: Network) -> Network:
    """With one address, no peers and no routes but the kernel's."""
    up.fresh("10.0.0.1/8")
    return up


@pytest.fixture(params=SHELLS, ids="-".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return command_of(request.param)


@pytest.fixture
def stub(tmp_path: Path) -> StubNode:
    return StubNode(tmp_path / "node")


def words_of(asked: RepairRequest, shell: list[str] | None = None) -> list[str]:
    return [*(shell or ["/bin/sh"]), *asked.request.command.removeprefix("exec /bin/sh ").split()]


def ask(
    network: Network,
    change: Change | None = None,
    *,
    shell: list[str] | None = None,
    path: Path | None = None,
) -> DeviceState:
    """One request to the device; programs in `path` are found first."""
    request = look_request("wg0") if change is None else change_request("wg0", PublicKey(network.key), change)
    environment = {"PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]}
    done = network.run(words_of(request, shell), stdin=request.request.stdin, environment=environment)
    return parse_repair(done.stdout, request)


def refused(network: Network, change: Change, path: Path | None = None) -> str:
    """Why a change is refused; the device is as before then."""
    before = network.addresses, network.sh("ip -4 route show table all")
    with pytest.raises(ChangeFailed) as caught:
        ask(network, change, path=path)
    assert caught.value.refused
    assert (network.addresses, network.sh("ip -4 route show table all")) == before
    return caught.value.detail


def on_stub(stub: StubNode, asked: RepairRequest) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        words_of(asked),
        input=asked.request.stdin,
        capture_output=True,
        env={"PATH": stub.path},
        timeout=30,
        check=False,
    )


def program(folder: Path, name: str, text: str) -> Path:
    """A folder for the PATH with one program in it."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    return folder


# --- look, add, drop ---


def test_a_look_tells_key_and_addresses_and_changes_nothing(network: Network, shell: list[str]) -> None:
    network.fresh("10.0.0.1/8", "10.0.0.2/32", "fdaa::1/64")
    before = network.sh("ip addr show scope global; ip route; wg show")
    assert ask(network, shell=shell) == DeviceState(PublicKey(network.key), (OLD, OTHER, OLD6))
    assert network.sh("ip addr show scope global; ip route; wg show") == before


@pytest.mark.parametrize(
    ("old", "new", "length"), [(OLD, NEW, 8), (OLD, NEW, 32), (OLD6, NEW6, 64), (OLD6, NEW6, 128)]
)
def test_a_renumbered_device_holds_the_new_address_with_the_length_of_the_old_one(
    network: Network, old: Prefix, new: Prefix, length: int
) -> None:
    """Forth, and all the way back."""
    olds, news = (f"{prefix.partition('/')[0]}/{length}" for prefix in (old, new))
    network.fresh(olds)
    assert set(ask(network, AddAddress(new, like=old)).addresses) == {old, new}
    assert set(network.addresses) == {olds, news}
    assert ask(network, DropAddress(old, keep=new)).addresses == (new,)
    assert network.addresses == [news]
    ask(network, AddAddress(old, like=new))
    ask(network, DropAddress(new, keep=old))
    assert network.addresses == [olds]


def test_every_shell_renumbers_and_says_each_step_again_without_harm(
    network: Network, shell: list[str]
) -> None:
    for change in (ADD, ADD, DROP, DROP, ADD):
        ask(network, change, shell=shell)
    assert network.addresses == ["10.9.0.7/8"]
    assert network.routes() == ["10.0.0.0/8 dev wg0 proto kernel scope link src 10.9.0.7"]


def test_the_ip_of_busybox_will_do(network: Network, tmp_path: Path) -> None:
    path = program(tmp_path / "bin", "ip", f'exec {" ".join(command_of(("busybox", "ip")))} "$@"')
    network.fresh("10.0.0.1/8", "fdaa::1/64")
    for change in (ADD, DROP, AddAddress(NEW6, like=OLD6), DropAddress(OLD6, keep=NEW6)):
        ask(network, change, path=path)
    assert network.addresses == ["10.9.0.7/8", "fdaa::9:7/64"]


def test_the_kernel_itself_would_take_the_new_address_along(network: Network) -> None:
    """Why all this is needed: the new one is second in the subnet of the old one."""
    ask(network, ADD)
    network.sh("ip addr del 10.0.0.1/8 dev wg0")
    assert network.addresses == []


def test_all_other_addresses_stay_when_the_first_one_goes_and_the_subnet_is_spoken_to_from_the_new_one(
    network: Network,
) -> None:
    network.fresh("10.0.0.1/8", "10.0.0.2/8", "10.0.0.3/32", "192.168.7.7/24")
    ask(network, ADD)
    assert ask(network, DROP).notes == ()
    assert sorted(network.addresses) == ["10.0.0.2/8", "10.0.0.3/32", "10.9.0.7/8", "192.168.7.7/24"]
    assert "dev wg0 src 10.9.0.7" in network.sh("ip route get 10.200.0.1")
    assert "192.168.7.0/24 dev wg0 proto kernel scope link src 192.168.7.7" in network.routes()


@contextmanager
def events(network: Network) -> Iterator[list[str]]:
    """What the kernel tells of addresses and routes meanwhile; filled when the block is left."""
    seen: list[str] = []
    monitor = subprocess.Popen(
        [*network.prefix, "ip", "-o", "monitor", "address", "route"], stdout=subprocess.PIPE, text=True
    )
    assert monitor.stdout is not None

    def until(mark: str) -> None:
        while mark not in (line := monitor.stdout.readline()):  # type: ignore[union-attr]
            assert line, "the monitor ended"
            seen.append(line)

    try:
        # It listens when it tells of the first mark; those before may go unheard.
        marks = "while :; do ip addr add 192.0.2.1/32 dev lo; ip addr del 192.0.2.1/32 dev lo; done"
        with subprocess.Popen([*network.prefix, "sh", "-c", marks]) as marking:
            until("192.0.2.1")
            marking.kill()
        network.sh("ip addr del 192.0.2.1/32 dev lo 2>/dev/null || true; ip addr add 192.0.2.2/32 dev lo")
        until("192.0.2.2")
        seen.clear()
        yield seen
        network.sh("ip addr del 192.0.2.2/32 dev lo; ip addr add 192.0.2.3/32 dev lo")
        until("192.0.2.3/")
        network.sh("ip addr del 192.0.2.3/32 dev lo")
    finally:
        monitor.kill()
        monitor.stdout.close()
        monitor.wait()


def test_there_is_no_moment_without_an_address_and_none_without_the_route_of_the_subnet(
    network: Network,
) -> None:
    """By the kernel's own account of what happened."""
    ask(network, ADD)
    with events(network) as seen:
        ask(network, DROP)
    gone = [
        line for line in seen if line.startswith("Deleted") and "dev lo" not in line and ": lo" not in line
    ]
    addresses = [line for line in gone if " inet " in line]
    assert len(addresses) == 1
    assert "10.0.0.1/8" in addresses[0]
    assert not [line for line in gone if "10.0.0.0/8" in line and "src 10.0.0.1" not in line]
    replaced = next(
        index for index, line in enumerate(seen) if "10.0.0.0/8" in line and "src 10.9.0.7" in line
    )
    assert replaced < seen.index(addresses[0])


def test_the_kernels_switch_is_as_before_afterwards(network: Network) -> None:
    ask(network, ADD)
    ask(network, DROP)
    assert network.sh(f"cat {KNOB}").strip() == "0"


def test_what_the_kernel_takes_all_the_same_is_added_again_and_told(network: Network, tmp_path: Path) -> None:
    """As if somebody turned the switch back in that moment."""
    ip = shutil.which("ip")
    path = program(tmp_path / "bin", "ip", f'[ "$1 $2" != "addr del" ] || echo 0 >{KNOB}\nexec {ip} "$@"')
    ask(network, ADD)
    state = ask(network, DROP, path=path)
    assert network.addresses == ["10.9.0.7/8"]
    assert network.routes() == ["10.0.0.0/8 dev wg0 proto kernel scope link src 10.9.0.7"]
    assert state.notes == ("the kernel took 10.9.0.7 along with the old address; it was added again at once",)


def test_a_node_that_could_not_get_its_new_address_back_has_the_old_one(
    network: Network, tmp_path: Path
) -> None:
    ip = shutil.which("ip")
    path = program(
        tmp_path / "bin",
        "ip",
        f'case "$1 $2 $3" in "addr del "*) echo 0 >{KNOB} ;; "addr add 10.9.0.7/8") echo no >&2; exit 2 ;; esac\n'
        f'exec {ip} "$@"',
    )
    ask(network, ADD)
    with pytest.raises(ChangeFailed) as caught:
        ask(network, DROP, path=path)
    assert not caught.value.refused
    assert network.addresses == ["10.0.0.1/8"]


def test_a_drop_is_refused_where_the_switch_cannot_be_set(network: Network) -> None:
    """Containers often have it read-only; what is not the first of a subnet needs it not."""
    ask(network, ADD)
    network.sh("mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys")
    try:
        assert "cannot be set to 1" in refused(network, DROP)
        ask(network, DropAddress(NEW, keep=OLD))
        ask(network, ADD)
        network.sh("ip addr flush dev wg0; ip addr add 10.0.0.1/32 dev wg0; ip addr add 10.9.0.7/32 dev wg0")
        ask(network, DROP)
    finally:
        network.sh("umount /proc/sys")
    assert network.addresses == ["10.9.0.7/32"]


def test_the_old_subnet_stays_reachable_from_a_new_address_that_is_outside_of_it(network: Network) -> None:
    network.fresh("10.0.0.1/24")
    ask(network, ADD)
    ask(network, DROP)
    assert sorted(network.routes()) == [
        "10.0.0.0/24 dev wg0 proto kernel scope link src 10.9.0.7",
        "10.9.0.0/24 dev wg0 proto kernel scope link src 10.9.0.7",
    ]


def test_routes_that_name_the_old_address_as_their_source_get_the_new_one_in_every_table(
    network: Network,
) -> None:
    network.sh(
        "ip route add 172.16.0.0/12 dev wg0 src 10.0.0.1\n"
        "ip route add 172.20.0.0/16 dev wg0 table 77 metric 5 src 10.0.0.1\n"
        "ip route add 172.21.0.0/16 dev wg0"
    )
    ask(network, ADD)
    state = ask(network, DROP)
    assert "172.16.0.0/12 dev wg0 scope link src 10.9.0.7" in network.routes()
    assert "172.21.0.0/16 dev wg0 scope link" in network.routes()
    assert network.routes("table", "77") == ["172.20.0.0/16 dev wg0 scope link src 10.9.0.7 metric 5"]
    assert [note.partition(": ")[2].split()[0] for note in state.notes] == ["172.20.0.0/16", "172.16.0.0/12"]


def test_the_route_of_an_ipv6_subnet_stays(network: Network) -> None:
    network.fresh("fdaa::1/64")
    ask(network, AddAddress(NEW6, like=OLD6))
    ask(network, DropAddress(OLD6, keep=NEW6))
    assert [line for line in network.sh("ip -6 route show").splitlines() if line.startswith("fdaa::/64 ")]


def test_an_address_that_is_there_with_two_lengths_goes_with_both(network: Network) -> None:
    network.fresh("10.0.0.1/8", "10.0.0.1/32", "10.9.0.7/32")
    ask(network, DROP)
    assert network.addresses == ["10.9.0.7/32"]


def test_no_route_comes_with_a_new_address_where_none_came_with_the_old_one(network: Network) -> None:
    """NetworkManager's addresses are like this."""
    network.sh("ip addr flush dev wg0; ip addr add 10.0.0.1/8 dev wg0 noprefixroute")
    ask(network, ADD)
    ask(network, DROP)
    assert network.routes() == []


@pytest.mark.parametrize(
    ("held", "change", "why"),
    [
        ("10.0.0.2/8", ADD, "wg0 holds neither 10.9.0.7 nor 10.0.0.1"),
        ("10.0.0.1/8", DROP, "wg0 does not hold 10.9.0.7"),
        ("10.0.0.2/8", DROP, "wg0 does not hold 10.9.0.7"),
        ("10.0.0.1 peer 10.0.0.9", ADD, "10.0.0.1 is a point-to-point address: change it by hand"),
    ],
)
def test_a_change_of_a_device_that_stands_otherwise_is_refused(
    network: Network, held: str, change: Change, why: str
) -> None:
    network.fresh(held)
    assert refused(network, change) == why


def test_an_address_of_another_device_of_the_node_is_not_taken(network: Network) -> None:
    network.sh("ip addr add 10.9.0.7/32 dev lo")
    try:
        assert "another device of this node holds 10.9.0.7" in refused(network, ADD)
    finally:
        network.sh("ip addr del 10.9.0.7/32 dev lo")


def test_the_old_address_stays_while_the_new_one_cannot_be_spoken_from(stub: StubNode) -> None:
    stub.listing(
        "5: wg0    inet6 fdaa::1/64 scope global \\  valid_lft forever\n"
        "5: wg0    inet6 fdaa::9:7/64 scope global tentative \\  valid_lft forever\n"
    )
    asked = change_request("wg0", stub.key, DropAddress(OLD6, keep=NEW6))
    with pytest.raises(ChangeFailed, match=r"refused: .*tentative"):
        parse_repair(on_stub(stub, asked).stdout, asked)
    assert not [call for call in stub.calls if "del" in call]


def test_a_device_with_another_key_is_not_changed(network: Network) -> None:
    asked = change_request("wg0", key(9), ADD)
    with pytest.raises(ProbeError) as caught:
        parse_repair(network.run(words_of(asked), stdin=asked.request.stdin).stdout, asked)
    assert caught.value.reason is GapReason.WRONG_HOST
    assert network.addresses == ["10.0.0.1/8"]


def test_what_was_begun_is_ended_when_nobody_listens_any_more(network: Network) -> None:
    """A connection that breaks must not leave a node between two states."""
    ask(network, ADD)
    asked = change_request("wg0", PublicKey(network.key), DROP)
    process = subprocess.Popen(
        [*network.prefix, *words_of(asked)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    process.stdin.write(asked.request.stdin)
    process.stdin.close()
    process.wait(20)
    assert network.addresses == ["10.9.0.7/8"]


# --- peers ---


def peers(network: Network, *numbers: int) -> None:
    for number in numbers:
        network.sh(f"wg set wg0 peer {key(number)} allowed-ips 10.0.0.{number}/32")


def allowed_ips(network: Network) -> dict[str, set[str]]:
    lines = (line.split("\t") for line in network.sh("wg show wg0 allowed-ips").splitlines())
    return {line[0]: set(line[1].split()) for line in lines}


def test_a_peer_gets_exactly_these_prefixes_and_takes_them_from_others(
    network: Network, shell: list[str]
) -> None:
    peers(network, 2, 3)
    prefixes = (Prefix("10.0.0.3/32"), Prefix("10.4.0.0/16"), Prefix("fdaa::2/128"))
    for _ in range(2):
        ask(network, SetPeer(key(2), prefixes), shell=shell)
        assert allowed_ips(network) == {key(2): set(prefixes), key(3): {"(none)"}}


def test_a_peer_that_gets_no_prefix_stays_a_peer(network: Network) -> None:
    """The way back needs it: who had lost its address to another peer has none again."""
    peers(network, 2, 3)
    for _ in range(2):
        ask(network, SetPeer(key(2), ()))
        assert allowed_ips(network)[key(2)] == {"(none)"}


def test_a_peer_that_the_device_does_not_have_is_not_made(network: Network) -> None:
    peers(network, 2)
    assert refused(network, SetPeer(key(3), (OLD,))) == "wg0 has no such peer"
    assert set(allowed_ips(network)) == {key(2)}


def test_a_peer_with_nothing_to_route_stays_and_gets_nothing(network: Network, shell: list[str]) -> None:
    """The way back of a change may lead there."""
    peers(network, 2)
    for _ in range(2):
        ask(network, SetPeer(key(2), ()), shell=shell)
        assert allowed_ips(network) == {key(2): {"(none)"}}


def test_a_peer_that_is_so_already_is_not_set(stub: StubNode) -> None:
    """In whatever order wg prints its prefixes."""
    stub.peers([(2, "10.4.0.0/16 10.0.0.2/32")])
    asked = change_request("wg0", stub.key, SetPeer(key(2), (OTHER, Prefix("10.4.0.0/16"))))
    parse_repair(on_stub(stub, asked).stdout, asked)
    assert not [call for call in stub.calls if call.startswith("wg set")]


def test_wg_elsewhere_is_changed_by_its_words(stub: StubNode) -> None:
    """And ip beside it: no other device of that name is touched."""
    stub.script("enter", f'#!/bin/sh\necho "enter $1" >>{stub.folder}/calls; shift; exec "$@"\n')
    (stub.folder / "wg").rename(stub.folder / "awg")
    asked = look_request("wg0", wg_command=("enter", "a mesh; $x", "awg"))
    assert parse_repair(on_stub(stub, asked).stdout, asked).public_key == stub.key
    assert stub.calls.count("enter a mesh; $x") == 3


@pytest.mark.parametrize("name", ["awk", "sort"])
def test_a_failing_program_is_no_missing_peer(network: Network, tmp_path: Path, name: str) -> None:
    peers(network, 2)
    with pytest.raises(ChangeFailed, match=f"failed: {name} failed"):
        ask(network, SetPeer(key(2), (OLD,)), path=program(tmp_path / "bin", name, "cat >/dev/null; exit 1"))


# --- the script's own care ---


@pytest.mark.parametrize(
    "words",
    [
        "look",
        "look wg0 x",
        "look -c",
        "look ..",
        "look wg0;id",
        "look wg0123456789abcdef",
        "state wg0 KEY",
        "add wg0 KEY 10.0.0.9",
        "add wg0 KEY 10.0.0.9 10.0.0.1 10.0.0.2",
        "add wg0 KEY 10.0.0.9/8 10.0.0.1",
        "add wg0 KEY 10.0.0.1 10.0.0.1",
        "add wg0 KEY fdaa::1 10.0.0.1",
        "add wg0 KEY 10.0.0 10.0.0.1",
        "add wg0 KEY 10.0.0.9.9 10.0.0.1",
        "add wg0 KEY $(id) 10.0.0.1",
        "add wg0 KEY -6 10.0.0.1",
        "drop wg0 KEY 10.0.0.1 x",
        "drop wg0 KE; 10.0.0.1 10.0.0.2",
        "drop wg0 10.0.0.1 10.0.0.2",
        "rewrite wg0 KEY ../x 10.0.0.1",
        "peer wg0 KEY",
        "peer wg0 KEY KEY 10.0.0.1",
        "peer wg0 KEY KEY 10.0.0.1/x",
        "peer wg0 KEY KEY 10.0.0.1/32,10.0.0.2/32",
        "peer wg0 KEY KEY= 10.0.0.1/32",
    ],
)
def test_the_script_refuses_words_that_are_no_request_and_changes_nothing(stub: StubNode, words: str) -> None:
    """It trusts nobody who sends it, us neither."""
    asked = look_request("wg0")
    done = subprocess.run(
        ["/bin/sh", "-s", "--", "wgaudit-repair/1", *words.replace("KEY", stub.key).split()],
        input=asked.request.stdin,
        capture_output=True,
        env={"PATH": stub.path},
        timeout=30,
        check=False,
    )
    assert b"\nerror " in done.stdout
    assert b"\ndone " not in done.stdout
    assert not set(stub.calls) - {"wg show wg0 public-key", "ip -o addr show dev wg0"}


def test_another_version_is_refused(stub: StubNode) -> None:
    asked = look_request("wg0")
    words = [word.replace("repair/1", "repair/2") for word in words_of(asked)]
    done = subprocess.run(
        words,
        input=asked.request.stdin,
        capture_output=True,
        env={"PATH": stub.path},
        timeout=30,
        check=False,
    )
    assert b"error unreadable this script is wgaudit-repair/1" in done.stdout


def test_a_script_cut_short_on_its_way_does_nothing(stub: StubNode) -> None:
    asked = change_request("wg0", stub.key, DROP)
    for part in (2, 3, 5, 50):
        script = asked.request.stdin[: -len(asked.request.stdin) // part]
        done = subprocess.run(
            words_of(asked),
            input=script,
            capture_output=True,
            env={"PATH": stub.path},
            timeout=30,
            check=False,
        )
        assert done.stdout == b""
    assert stub.calls == []


def test_only_single_fields_are_ever_asked_for(stub: StubNode) -> None:
    """What prints private or preshared keys, or writes them into a file, is never run."""
    stub.script("id", "#!/bin/sh\necho 1000\n")
    changes = (ADD, DROP, RewriteFiles(OLD, NEW), SetPeer(key(2), (NEW,)))
    for change in changes:
        on_stub(stub, change_request("wg0", stub.key, change))
    wg = {shlex.join(call.split()[:3]) for call in stub.calls if call.startswith("wg ")}
    assert wg == {"wg show wg0", "wg set wg0"}
    fields = {call.split()[3] for call in stub.calls if call.startswith("wg show ")}
    assert fields == {"public-key", "allowed-ips"}


@pytest.mark.parametrize(
    ("wg", "reason"),
    [
        ("echo 'Unable to access interface: Operation not permitted' >&2; exit 1", GapReason.SUDO),
        ("echo 'Unable to access interface: No such device' >&2; exit 1", GapReason.NO_DEVICE),
        ("exit 0", GapReason.NO_DEVICE),
        ("echo '(none)'", GapReason.NO_DEVICE),
    ],
)
def test_a_device_that_cannot_be_read_is_told_as_the_probe_tells_it(
    stub: StubNode, wg: str, reason: GapReason
) -> None:
    stub.script("wg", f"#!/bin/sh\n{wg}\n")
    asked = look_request("wg0")
    with pytest.raises(ProbeError) as caught:
        parse_repair(on_stub(stub, asked).stdout, asked)
    assert caught.value.reason is reason


# --- requests and answers ---


@pytest.mark.parametrize(
    "change",
    [
        AddAddress(Prefix("10.0.0.0/8"), like=OLD),
        AddAddress(Prefix("10.0.0.9"), like=OLD),
        AddAddress(Prefix("$(id)/32"), like=OLD),
        AddAddress(OLD, like=OLD),
        AddAddress(NEW6, like=OLD),
        DropAddress(OLD, keep=Prefix("10.0.0.2/32 x/32")),
        RewriteFiles(Prefix("FDAA::1/128"), NEW6),
        SetPeer(PublicKey("x" * 44), (OLD,)),
        SetPeer(key(2), (Prefix("10.0.0.1/8"),)),
    ],
)
def test_what_is_no_address_and_no_key_never_comes_into_a_command_line(change: Change) -> None:
    with pytest.raises(ChangeFailed) as caught:
        change_request("wg0", key(1), change)
    assert caught.value.refused
    assert str(caught.value).startswith("refused: ")


@pytest.mark.parametrize("device", ["", "-s", "wg0;id", "wg 0", "w" * 16, "..", "wg$0"])
def test_what_is_no_device_never_comes_into_a_command_line(device: str) -> None:
    with pytest.raises(ChangeFailed):
        look_request(device)


def test_with_sudo_the_whole_script_runs_under_it() -> None:
    assert look_request("wg0", sudo=True).request.command == (
        "exec sudo -n /bin/sh -s -- wgaudit-repair/1 look wg0"
    )


GOOD = (
    "wgaudit-repair/1 begin",
    f"key {key(1)}",
    "address 10.0.0.1/8",
    "address fdaa::1/64",
    "done look",
    "wgaudit-repair/1 end",
)


def test_an_answer_may_follow_what_a_start_up_file_printed() -> None:
    text = "\n".join(("welcome!", *GOOD, ""))
    assert parse_repair(text.encode(), look_request("wg0")) == DeviceState(key(1), (OLD, OLD6))


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        (0, "wgaudit-repair/2 begin"),
        (1, "key x"),
        (1, "welcome"),
        (2, f"key {key(2)}"),
        (2, "address 10.0.0.1/33"),
        (2, "address 10.0.0.1/"),
        (2, "address FDAA::1/64"),
        (2, "address 010.0.0.1/8"),
        (2, "file /etc/wireguard/wg0.conf"),
        (2, "note x"),
        (2, "note left x /etc/x"),
        (2, "note save-config /etc/\x1b[2J"),
        (2, ""),
        (2, "\N{ESCAPE}[2J"),
        (4, "done add"),
        (4, ""),
        (5, "wgaudit-repair/1 en"),
        (5, "wgaudit-repair/1 end\nx"),
    ],
)
def test_an_answer_counts_whole_or_not_at_all(line: int, instead: str) -> None:
    lines = [instead if number == line else text for number, text in enumerate(GOOD)]
    with pytest.raises(ProbeError) as caught:
        parse_repair("\n".join((*lines, "")).encode(), look_request("wg0"))
    assert caught.value.reason is GapReason.UNREADABLE_OUTPUT
    assert caught.value.detail.isprintable()


@pytest.mark.parametrize("missing", [0, 1, 4, 5])
def test_an_answer_without_a_line_that_each_has_is_none(missing: int) -> None:
    lines = [text for number, text in enumerate(GOOD) if number != missing]
    with pytest.raises(ProbeError):
        parse_repair("\n".join((*lines, "")).encode(), look_request("wg0"))
