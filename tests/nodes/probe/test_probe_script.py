"""The script that runs on nodes, run in every POSIX shell and awk that this machine has."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import GapReason, ProbeError
from auditor.nodes.probe.probe import (
    Mode,
    ProbeAnswer,
    ProbePlaces,
    canonical_table,
    format_answer,
    inline_request,
    packed_request,
    parse_answer,
    probe_script,
)
from auditor.values.addresses import Prefix
from auditor.values.models import Device
from auditor.values.route_table import RouteTable
from tests.nodes.stubs import LINK, StubNode, key
from tests.parts import AWKS, SHELLS, command_of, program_path
from tests.parts.cases import case_text

TWO_PEERS = ((2, "10.0.0.2/32"), (3, "10.0.0.3/32 10.1.0.0/16"))


@pytest.fixture
def node(tmp_path: Path) -> StubNode:
    return StubNode(tmp_path / "node", peers=TWO_PEERS)


@pytest.fixture(params=SHELLS, ids="-".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return command_of(request.param)


def output(
    node: StubNode, mode: Mode = "digest", *, shell: list[str] | None = None, **options: object
) -> subprocess.CompletedProcess[bytes]:
    request = inline_request(mode, device="wg0", **options)  # type: ignore[arg-type]
    words = request.command.removeprefix("exec /bin/sh ").split()
    return subprocess.run(
        [*(shell or ["/bin/sh"]), *words],
        input=request.stdin,
        capture_output=True,
        env={"PATH": node.path},
        timeout=30,
        check=False,
    )


def answer(
    node: StubNode, mode: Mode = "digest", *, shell: list[str] | None = None, **options: object
) -> ProbeAnswer:
    return parse_answer(output(node, mode, shell=shell, **options).stdout, "wg0")


def refused(node: StubNode, mode: Mode = "digest", **options: object) -> ProbeError:
    run = output(node, mode, **options)  # type: ignore[arg-type]
    assert run.returncode != 0
    with pytest.raises(ProbeError) as caught:
        parse_answer(run.stdout, "wg0")
    return caught.value


def packed_output(
    node: StubNode, *, lost: int = 0, path: str | None = None, shell: list[str] | None = None
) -> bytes:
    """What a packed request prints, of which so many lines were read away."""
    request = packed_request(inline_request("digest", device="wg0"))
    done = subprocess.run(
        [*(shell or ["/bin/sh"]), "-c", request.command],
        input=request.stdin.split(b"\n", lost)[-1],
        capture_output=True,
        env={"PATH": path or node.path},
        timeout=30,
        check=False,
    )
    return done.stdout


def test_a_packed_request_is_answered_as_one_that_is_not(node: StubNode, shell: list[str]) -> None:
    assert packed_output(node, shell=shell) == output(node).stdout


@pytest.mark.parametrize("lost", range(10))
def test_a_packed_request_of_which_lines_were_lost_gives_its_whole_answer_or_prints_nothing(
    node: StubNode, lost: int
) -> None:
    assert packed_output(node, lost=lost) == (output(node).stdout if lost <= 6 else b"")


def test_a_packed_request_prints_nothing_on_a_node_without_gzip(node: StubNode, tmp_path: Path) -> None:
    assert packed_output(node, path=str(tmp_path)) == b""


def test_a_shell_that_took_the_place_of_ours_reads_nothing_of_what_is_packed(
    node: StubNode, shell: list[str]
) -> None:
    """It would run packed bytes as commands."""
    request = packed_request(inline_request("digest", device="wg0"))
    done = subprocess.run(
        [*shell, "-s"], input=request.stdin, capture_output=True, env={"PATH": node.path}, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


VARYING = [key(number)[39:43] for number in (1, 3, 9)]
"""Ends of the own key, of a peer with two prefixes, and of no key that is here."""


def base_of(table: RouteTable, ends: list[str]) -> str:
    """The base's digest, line by line."""
    seen, lines = set(), []
    for line in table.text.decode().splitlines():
        own, _, _ = line.partition("\t")
        if own[39:43] not in ends:
            lines.append(line)
        elif own not in seen:
            seen.add(own)
            lines.append(own)
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def test_base_and_difference_are_of_the_same_table(node: StubNode, shell: list[str]) -> None:
    """Both digests, and the prefixes of each varying key that the table has, in its order."""
    table = canonical_table(node.device, node.allowed_ips)
    told = answer(node, "base", shell=shell, varying=VARYING)
    prefixes = ((b"10.0.0.1/32",), (b"10.0.0.3/32", b"10.1.0.0/16"))
    base = base_of(table, VARYING)
    assert told == ProbeAnswer(node.device, digest=table.digest, base=base, varying=prefixes)


@pytest.mark.parametrize("awk", AWKS, ids="-".join)
def test_every_awk_divides_a_table_alike(node: StubNode, awk: list[str]) -> None:
    node.peers([*TWO_PEERS, (5, "(none)"), (6, "fd00::6/128 10.0.0.6/32")])
    node.script("awk", f'#!/bin/sh\nexec {" ".join(command_of(awk))} "$@"\n')
    table = canonical_table(node.device, node.allowed_ips)
    for ends in ([], VARYING, [key(number)[39:43] for number in range(1, 7)]):
        told = answer(node, "base", varying=ends)
        assert (told.digest, told.base) == (table.digest, base_of(table, ends))
        assert [prefixes for prefixes in told.varying if len(prefixes) > 1] == (
            []
            if not ends
            else [(b"10.0.0.3/32", b"10.1.0.0/16")]
            if ends is VARYING
            else [(b"10.0.0.3/32", b"10.1.0.0/16"), (b"10.0.0.6/32", b"fd00::6/128")]
        )


def test_digest_and_text_are_of_one_table(node: StubNode, shell: list[str]) -> None:
    table = canonical_table(node.device, node.allowed_ips)
    digest, text = answer(node, "digest", shell=shell), answer(node, "text", shell=shell)
    assert digest == ProbeAnswer(node.device, digest=table.digest)
    assert text == ProbeAnswer(node.device, table=table)


@pytest.mark.parametrize("awk", AWKS, ids="-".join)
def test_every_awk_gives_the_same_table(node: StubNode, awk: tuple[str, ...]) -> None:
    node.script("awk", f'#!/bin/sh\nexec {" ".join(command_of(awk))} "$@"\n')
    node.peers([*TWO_PEERS, (4, "(none)"), (5, "fdaa::5/128 ::/0")])
    answered = answer(node, "text", endpoints=True)
    assert answered.table == canonical_table(node.device, node.allowed_ips)
    assert answered.endpoints == {key(2): "198.18.0.2:51820", key(3): "198.18.0.3:51820"}


PREFIXES = st.lists(
    st.integers(0, 2**32 - 1).map(lambda n: f"{n >> 24}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}/32")
    | st.sampled_from(["fdaa::1/128", "10.0.0.0/8", "::/0", "0.0.0.0/0"]),
    max_size=4,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.integers(2, 99), PREFIXES, max_size=6))
def test_the_scripts_digest_is_the_one_that_we_compute(node: StubNode, peers: dict[int, list[str]]) -> None:
    """Digest equality must mean table equality, on both sides of the wire."""
    node.peers([(number, " ".join(prefixes) or "(none)") for number, prefixes in peers.items()])
    assert answer(node).digest == canonical_table(node.device, node.allowed_ips).digest


def test_only_single_fields_are_ever_asked_for(node: StubNode) -> None:
    """What prints private or preshared keys is never run."""
    answer(node, "digest", endpoints=True)
    answer(node, "text", endpoints=True)
    assert set(node.calls) == {
        "wg show wg0 public-key",
        "wg show wg0 allowed-ips",
        "wg show wg0 endpoints",
        "ip addr show dev wg0",
    }


@pytest.mark.parametrize("awk", AWKS, ids="-".join)
def test_with_the_handshakes_each_endpoint_has_its_peers_age(node: StubNode, awk: tuple[str, ...]) -> None:
    """By the node's own clock; a time to come is now, and no handshake is no age."""
    node.script("awk", f'#!/bin/sh\nexec {" ".join(command_of(awk))} "$@"\n')
    node.script("date", "#!/bin/sh\necho 1800000100\n")
    times = {2: 1_800_000_040, 3: 0, 4: 1_800_000_999}
    node.answer("latest-handshakes", "".join(f"{key(n)}\t{at}\n" for n, at in times.items()))
    node.answer(
        "endpoints", "".join(f"{key(n)}\t198.18.0.{n}:51820\n" for n in times) + f"{key(5)}\t(none)\n"
    )
    answered = answer(node, "digest", endpoints=True, handshakes=True)
    assert answered.endpoints == {key(n): f"198.18.0.{n}:51820" for n in times}
    assert answered.handshake_ages == {key(2): 60, key(4): 0}


def test_handshakes_that_cannot_be_read_are_no_answer(node: StubNode) -> None:
    node.script("wg", (node.folder / "wg").read_text().replace(" | show:latest-handshakes", ""))
    assert refused(node, endpoints=True, handshakes=True).reason is GapReason.UNREADABLE_OUTPUT


def test_endpoints_are_not_asked_for_unless_wanted(node: StubNode) -> None:
    assert answer(node).endpoints is None
    assert "wg show wg0 endpoints" not in node.calls


def test_own_addresses_are_read_without_link_local_ones_and_without_lengths(
    node: StubNode, shell: list[str]
) -> None:
    """iproute2's and busybox's one-line forms, point-to-point addresses without a length among them.

    What a scope or a flag says of an address does not matter: a node has it, or it has not."""
    node.listing(
        "5: wg0: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420 qdisc noqueue \\    link/none \n"
        "5: wg0    inet 10.0.0.1/8 brd 10.255.255.255 scope global wg0\\       valid_lft forever\n"
        "5: wg0    inet 10.0.0.9 peer 10.0.0.10/32 scope global wg0\\       valid_lft forever\n"
        "5: wg0    inet 169.254.7.7/16 scope link wg0\\       valid_lft forever\n"
        "5: wg0    inet 10.0.0.11/8 scope link wg0\\       valid_lft forever\n"
        "5: wg0    inet 10.0.0.12/8 scope host secondary deprecated noprefixroute wg0\\       valid_lft forever\n"
        "5: wg0    inet6 fdaa::1/64 scope global \\       valid_lft forever\n"
        "5: wg0    inet6 fd00::1/64 scope link deprecated tentative \\       valid_lft forever\n"
        "5: wg0    inet6 fe80::1/64 scope link \\       valid_lft forever\n"
    )
    answered = answer(node, "text", shell=shell)
    assert answered.device.addresses == (
        "10.0.0.1/32",
        "10.0.0.9/32",
        "10.0.0.11/32",
        "10.0.0.12/32",
        "fdaa::1/128",
        "fd00::1/128",
    )
    assert answered.table == canonical_table(answered.device, node.allowed_ips)


def test_a_word_of_ip_among_its_lines_is_an_error(node: StubNode, shell: list[str]) -> None:
    """It says so when the addresses changed while it read them, and exits with 0: the list may be too short."""
    node.listing(
        "5: wg0    inet 10.0.0.1/8 scope global wg0\\       valid_lft forever\n"
        "Dump was interrupted and may be inconsistent.\n"
    )
    error = refused(node, shell=shell)
    assert error.reason is GapReason.UNREADABLE_OUTPUT
    assert "may be inconsistent" in error.detail


def test_what_stands_for_file_names_in_the_words_of_ip_is_not_expanded(node: StubNode) -> None:
    node.listing("5: *    inet 10.0.0.1/8 scope global wg0\\       valid_lft forever\n")
    assert answer(node).device.addresses == ("10.0.0.1/32",)


def test_the_answer_of_a_healthy_node_has_no_byte_more_than_it_needs(
    node: StubNode, shell: list[str]
) -> None:
    whole = output(node, shell=shell).stdout
    assert whole == format_answer(parse_answer(whole, "wg0"))


def test_a_device_without_an_address_stands_in_the_table_with_none(node: StubNode) -> None:
    node.listing("")
    answered = answer(node, "text")
    assert answered.device.addresses == ()
    assert answered.table is not None
    assert f"{node.key}\t(none)".encode() in answered.table.lines()


def test_a_device_without_peers_is_no_failure(node: StubNode) -> None:
    node.peers([])
    answered = answer(node, "text")
    assert answered.table is not None
    assert len(answered.table.lines()) == 1


@pytest.mark.parametrize("mode", ["digest", "text"])
def test_wg_failing_half_way_is_an_error_and_never_a_digest(
    node: StubNode, shell: list[str], mode: Mode
) -> None:
    """A pipeline's status is its last command's: the failure of wg inside it must not get lost."""
    node.script(
        "wg",
        f'#!/bin/sh\n[ "$3" = public-key ] && exec cat {node.folder}/public-key\n'
        f"head -n 1 {node.folder}/allowed-ips\necho 'Unable to access interface: No such device' >&2\nexit 1\n",
    )
    assert refused(node, mode, shell=shell).reason is GapReason.NO_DEVICE


@pytest.mark.parametrize("mode", ["digest", "text"])
def test_wg_exiting_with_a_status_and_no_word_is_an_error(node: StubNode, mode: Mode) -> None:
    node.script(
        "wg",
        f'#!/bin/sh\n[ "$3" = public-key ] && exec cat {node.folder}/public-key\n'
        f"head -n 1 {node.folder}/allowed-ips\nexit 3\n",
    )
    error = refused(node, mode)
    assert error.reason is GapReason.UNREADABLE_OUTPUT
    assert "exit 3" in error.detail


@pytest.mark.parametrize("mode", ["digest", "text"])
def test_a_warning_of_wg_is_an_error_although_it_exits_with_0(node: StubNode, mode: Mode) -> None:
    node.answer("allowed-ips", node.allowed_ips + "Warning: something is odd\n")
    error = refused(node, mode)
    assert (error.reason, error.detail) == (GapReason.UNREADABLE_OUTPUT, "Warning: something is odd")


@pytest.mark.parametrize("program", ["sort", "awk"])
@pytest.mark.parametrize("mode", ["digest", "text"])
def test_a_failing_part_of_the_pipeline_is_an_error_and_never_a_digest(
    node: StubNode, program: str, mode: Mode
) -> None:
    node.script(program, "#!/bin/sh\nhead -n 1\nexit 2\n")
    error = refused(node, mode)
    assert (error.reason, error.detail) == (GapReason.UNREADABLE_OUTPUT, f"{program} failed")


def test_no_such_device_is_told(node: StubNode) -> None:
    node.script("wg", "#!/bin/sh\necho 'Unable to access interface: No such device' >&2\nexit 1\n")
    error = refused(node)
    assert error.reason is GapReason.NO_DEVICE
    assert "No such device" in error.detail


def test_nothing_printed_with_exit_0_is_no_device(node: StubNode) -> None:
    """wg without any device exits with 0."""
    node.answer("public-key", "")
    assert refused(node).reason is GapReason.NO_DEVICE


def test_a_device_without_a_key_is_no_device(node: StubNode) -> None:
    node.answer("public-key", "(none)\n")
    error = refused(node)
    assert error.reason is GapReason.NO_DEVICE
    assert "no key" in error.detail


def test_a_missing_right_says_what_to_set(node: StubNode) -> None:
    node.script("wg", "#!/bin/sh\necho 'Unable to access interface: Operation not permitted' >&2\nexit 1\n")
    error = refused(node)
    assert error.reason is GapReason.SUDO
    assert "CAP_NET_ADMIN" in error.detail
    assert "ssh.sudo" in error.detail


@pytest.mark.parametrize(
    ("program", "sudo", "reason"),
    [
        ("wg", False, GapReason.NO_WG),
        ("sudo", True, GapReason.SUDO),
        ("ip", False, GapReason.UNREADABLE_OUTPUT),
    ],
)
def test_a_program_that_is_missing_is_told(
    node: StubNode, shell: list[str], program: str, sudo: bool, reason: GapReason
) -> None:
    with pytest.raises(ProbeError) as caught:
        parse_answer(output_without(node, {program}, shell=shell, sudo=sudo), "wg0")
    assert caught.value.reason is reason
    assert caught.value.detail.startswith(f"{program} ")


def test_wg_that_cannot_be_run_is_no_wg(node: StubNode) -> None:
    node.script("wg", "#!/bin/sh\necho 'wg: not found' >&2\nexit 127\n")
    assert refused(node).reason is GapReason.NO_WG


SUDO = '#!/bin/sh\necho "sudo $*" >>"{folder}/calls"\n{action}\n'


def test_with_sudo_only_wg_runs_under_it_and_never_asks(node: StubNode) -> None:
    node.script("sudo", SUDO.format(folder=node.folder, action='shift; exec "$@"'))
    assert answer(node, sudo=True).device == node.device
    assert [call for call in node.calls if call.startswith("sudo")] == [
        "sudo -n -l timeout -s KILL 20 wg show wg0 public-key",
        "sudo -n timeout -s KILL 20 wg show wg0 public-key",
        "sudo -n timeout -s KILL 20 wg show wg0 allowed-ips",
    ]


def test_where_sudo_allows_wg_alone_it_is_run_without_what_ends_it(node: StubNode) -> None:
    """The rules of an older installation go on to work, and nothing that they refuse is tried."""
    refuse = 'case $2 in -l) exit 1 ;; esac; shift; exec "$@"'
    node.script("sudo", SUDO.format(folder=node.folder, action=refuse))
    assert answer(node, sudo=True).device == node.device
    assert [call for call in node.calls if call.startswith("sudo")][1:] == [
        "sudo -n wg show wg0 public-key",
        "sudo -n wg show wg0 allowed-ips",
    ]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("sudo: a password is required", GapReason.SUDO),
        ("Sorry, user audit is not allowed to execute '/usr/bin/wg show' as root on x.", GapReason.SUDO),
        ("audit is not in the sudoers file.", GapReason.SUDO),
        ("sudo: wg: command not found", GapReason.NO_WG),
    ],
)
def test_what_sudo_says_is_told_apart(node: StubNode, said: str, reason: GapReason) -> None:
    node.script("sudo", SUDO.format(folder=node.folder, action=f'echo "{said}" >&2; exit 1'))
    error = refused(node, sudo=True)
    assert (error.reason, error.detail) == (reason, said)


@pytest.mark.parametrize("mode", ["digest", "text"])
@pytest.mark.parametrize(
    "warning",
    [
        "sudo: unable to resolve host x: Name or service not known",
        case_text("nodes/03-warning-beside-the-answer/sudo-container.txt"),
        case_text("nodes/03-warning-beside-the-answer/ld.so.preload.txt"),
        "!!! \n! wg show is deprecated",
    ],
)
def test_a_warning_beside_a_good_answer_does_not_spoil_it(node: StubNode, mode: Mode, warning: str) -> None:
    """It is about the node's name service, a container's limits, a library that is gone; the answer is whole."""
    warn = f'printf "%s\\n" "{warning.strip()}" >&2; shift; exec "$@"'
    node.script("sudo", SUDO.format(folder=node.folder, action=warn))
    assert answer(node, mode, sudo=True, endpoints=True).device == node.device


def test_what_failed_is_told_by_the_last_line_and_not_by_a_warning_before_it(node: StubNode) -> None:
    node.script(
        "sudo",
        SUDO.format(
            folder=node.folder,
            action="echo 'sudo: setrlimit(RLIMIT_CORE): Operation not permitted' >&2; shift; exec \"$@\"",
        ),
    )
    node.script("wg", "#!/bin/sh\necho 'Unable to access interface: No such device' >&2\nexit 1\n")
    assert refused(node, sudo=True).reason is GapReason.NO_DEVICE


@pytest.mark.parametrize(
    ("flags", "up"),
    [
        ("POINTOPOINT,NOARP,UP,LOWER_UP", True),
        ("POINTOPOINT,NOARP", False),
        ("UP", True),
        ("NO-CARRIER,POINTOPOINT,UP", True),
        ("LOWER_UP", False),
    ],
)
@pytest.mark.parametrize(
    "form", ["5: wg0: <{}> mtu 1420 qdisc noop\n", "5: wg0: <{}> mtu 1420 \\    link/none\n"]
)
def test_the_link_is_up_if_its_flag_says_so(node: StubNode, flags: str, up: bool, form: str) -> None:
    """A WireGuard device's operstate is unknown while it is up."""
    node.listing(form.format(flags) + "    link/none\n    inet 10.0.0.1/8 scope global wg0\n")
    answered = answer(node)
    assert answered.device == Device("wg0", node.key, (Prefix("10.0.0.1/32"),), link_up=up)


def test_an_address_with_scope_link_is_the_nodes_own(node: StubNode) -> None:
    node.listing(case_text("nodes/13-scope-link/ip-addr"))
    answered = answer(node, "text")
    assert answered.device.addresses == ("10.0.0.1/32",)
    assert answered.table == canonical_table(answered.device, node.allowed_ips)


LO = """1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
    inet 10.32.0.5/32 scope global lo
    inet 10.64.0.5/32 scope global lo
    inet 192.0.2.53/32 scope global lo
    inet6 ::1/128 scope host
    inet6 fdaa:0:0:1::5/128 scope global
    inet6 fdab::5/128 scope global
"""


@pytest.mark.parametrize("awk", AWKS, ids="-".join)
def test_addresses_of_further_devices_count_inside_the_pools_alone(
    node: StubNode, awk: tuple[str, ...]
) -> None:
    node.script("awk", f'#!/bin/sh\nexec {" ".join(command_of(awk))} "$@"\n')
    (node.folder / "lo").write_text(LO)
    (node.folder / "wg0").write_text(LINK)
    node.script(
        "ip",
        f'#!/bin/sh\ncd {node.folder}; [ -f "$4" ] && exec cat "$4"; echo "Device \\"$4\\" does not exist."; exit 1\n',
    )
    places = ProbePlaces(
        address_devices=("lo", "dummy0"),
        pools=tuple(map(Prefix, ("10.32.0.0/11", "127.0.0.0/8", "fdaa::/32", "::/64"))),
    )
    answered = answer(node, "text", places=places)
    assert answered.device.addresses == ("10.32.0.5/32", "fdaa:0:0:1::5/128")
    assert answered.device.link_up is True
    assert answered.table == canonical_table(answered.device, node.allowed_ips)


HASHERS = {"sha256sum", "shasum", "openssl"}


@pytest.mark.parametrize("hasher", sorted(HASHERS))
def test_any_of_three_hash_programs_will_do(node: StubNode, hasher: str) -> None:
    program_path(hasher)
    answered = parse_answer(output_without(node, HASHERS - {hasher}), "wg0")
    assert answered.digest == canonical_table(node.device, node.allowed_ips).digest


def test_a_node_without_any_hash_program_says_that_it_cannot_digest(node: StubNode) -> None:
    answered = parse_answer(output_without(node, HASHERS), "wg0")
    assert (answered.digest, answered.table) == (None, None)
    assert "wg show wg0 allowed-ips" not in node.calls


PROGRAMS = (
    *("awk", "cat", "env", "head", "openssl", "perl", "sh", "sha256sum", "shasum", "sleep", "sort"),
    *("timeout", "true"),
)


def output_without(
    node: StubNode, programs: set[str], *, shell: list[str] | None = None, sudo: bool = False
) -> bytes:
    """What a shell prints that does not find these programs, wherever on the machine they are."""
    folder = node.folder / "all"
    folder.mkdir()
    for name in set(PROGRAMS) - programs:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    for name in {"wg", "ip"} - programs:
        (folder / name).symlink_to(node.folder / name)
    request = inline_request("digest", device="wg0", sudo=sudo)
    script, paths = re.subn(rb"(?m)^PATH=.*$", f"PATH={folder}".encode(), request.stdin)
    assert paths == 1
    return subprocess.run(
        [*(shell or ["/bin/sh"]), *request.command.removeprefix("exec /bin/sh ").split()],
        input=script,
        capture_output=True,
        timeout=30,
        check=False,
    ).stdout


def test_the_region_command_is_passed_exactly(node: StubNode, shell: list[str]) -> None:
    command = """printf '%s' "it's $((1+1)) `echo x` \\"q\\" \\$5"; exit 0 # ü"""
    assert answer(node, shell=shell, region_command=command).region == """it's 2 x "q" $5"""


def test_a_region_command_that_prints_nothing_gives_no_region(node: StubNode) -> None:
    assert answer(node, region_command="true").region is None


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        ("echo fra; exit 3", "the region command failed (exit 3): fra"),
        ("exit 3", "the region command failed (exit 3)"),
        ("echo a; echo b", "the region command printed more than one line"),
    ],
)
def test_a_region_command_that_fails_is_a_gap(node: StubNode, command: str, detail: str) -> None:
    """A failed read must not pass for "no region"."""
    error = refused(node, region_command=command)
    assert (error.reason, error.detail) == (GapReason.UNREADABLE_OUTPUT, detail)


def test_no_command_waits_for_standard_input(node: StubNode, shell: list[str]) -> None:
    """Nor eats the script that comes from there: here it stays open, and one that reads it would hang."""
    request = inline_request("digest", device="wg0", region_command="cat")
    words = request.command.removeprefix("exec /bin/sh ").split()
    with subprocess.Popen(
        [*shell, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PATH": node.path}
    ) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdin.write(request.stdin)
        run.stdin.flush()
        try:
            run.wait(20)
        except subprocess.TimeoutExpired:
            run.kill()
            raise
        assert parse_answer(run.stdout.read(), "wg0").region is None


def test_a_script_cut_short_on_its_way_does_nothing(node: StubNode) -> None:
    request = inline_request("digest", device="wg0")
    for part in (2, 3, 5):
        run = subprocess.run(
            ["/bin/sh", *request.command.removeprefix("exec /bin/sh ").split()],
            input=request.stdin[: -len(request.stdin) // part],
            capture_output=True,
            env={"PATH": node.path},
            timeout=30,
            check=False,
        )
        assert run.stdout == b""
    assert node.calls == []


def installed(
    node: StubNode,
    command: str | None,
    *,
    shell: list[str] | None = None,
    sudo: bool = False,
    region_command: str = "",
) -> subprocess.CompletedProcess[bytes]:
    file = node.script("wgaudit-probe", probe_script("wg0", sudo, region_command))
    environment = {"PATH": node.path} | ({} if command is None else {"SSH_ORIGINAL_COMMAND": command})
    return subprocess.run(
        [*(shell or []), str(file), "text"], capture_output=True, env=environment, timeout=30, check=False
    )


DENIED = "echo 'Unable to access interface: Operation not permitted' >&2; exit 1"
STATES = {
    "healthy": {},
    "without rights": {"wg": DENIED},
    "failing half-way": {
        "wg": 'if [ "$3" = public-key ]; then exec cat {folder}/$3; fi; head -n 1 {folder}/$3; exit 3'
    },
    "warning": {"wg": "cat {folder}/$3; echo Warning: odd >&2"},
    "without a device": {"ip": "echo 'Device \"wg0\" does not exist.' >&2; exit 1"},
    "without a sort": {"sort": "cat >/dev/null; exit 2"},
    "without an awk": {"awk": "cat >/dev/null; exit 2"},
    "without a hash": {"sha256sum": "cat >/dev/null; exit 2"},
}


@pytest.mark.parametrize("mode", ["digest", "text", "base"])
@pytest.mark.parametrize(
    ("state", "sudo"), [*((state, False) for state in STATES), ("healthy", True), ("without rights", True)]
)
def test_the_installed_script_and_what_travels_of_it_answer_the_same(
    node: StubNode, shell: list[str], mode: Mode, state: str, sudo: bool
) -> None:
    """Byte by byte, with and without what can be asked for: no part is missed where it was left out."""
    node.script("sudo", '#!/bin/sh\nshift\nexec "$@"\n')
    for program, body in STATES[state].items():
        node.script(program, f"#!/bin/sh\n{body.replace('{folder}', str(node.folder))}\n")
    for endpoints, region_command in ((False, ""), (True, "echo fra")):
        ends = VARYING if mode == "base" else []
        asked = " ".join(["wgaudit-probe/1", mode, *(["endpoints"] if endpoints else []), *ends])
        whole = installed(node, asked, shell=shell, sudo=sudo, region_command=region_command)
        travelled = output(
            node,
            mode,
            shell=shell,
            endpoints=endpoints,
            sudo=sudo,
            region_command=region_command,
            varying=ends,
        )
        assert (travelled.stdout, travelled.returncode) == (whole.stdout, whole.returncode)


@pytest.mark.parametrize("mode", ["digest", "text", "base"])
@pytest.mark.parametrize("endpoints", ["", " endpoints", " met"])
def test_the_installed_script_answers_the_known_commands(node: StubNode, mode: str, endpoints: str) -> None:
    run = installed(node, f"wgaudit-probe/1 {mode}{endpoints}", region_command="echo fra")
    answered = parse_answer(run.stdout, "wg0")
    assert (answered.table is not None) == (mode == "text")
    assert (answered.endpoints is not None) == bool(endpoints)
    assert (answered.handshake_ages is not None) == (endpoints == " met")
    assert answered.region == "fra"


@pytest.mark.parametrize(
    "command",
    [
        None,
        "",
        "id",
        "wgaudit-probe/1",
        "wgaudit-probe/1 dump",
        "wgaudit-probe/1  digest",
        "wgaudit-probe/1 digest ",
        "wgaudit-probe/1 digest; touch {folder}/pwned",
        "wgaudit-probe/1 digest\ntouch {folder}/pwned",
        "$(touch {folder}/pwned)",
        "`touch {folder}/pwned`",
        "wgaudit-probe/1 digest endpoints device=wg1",
        "wgaudit-probe/1 met",
        "wgaudit-probe/1 digest endpoints met",
        "wgaudit-probe/2 digest",
        "wgaudit-probe/1 base abcdef;touch",
        "wgaudit-probe/1 base $(touch {folder}/pwned)",
        "wgaudit-probe/1 base abcdef\ntouch {folder}/pwned",
        "wgaudit-probe/1 base " + 1500 * "abcdef ",
        "wgaudit-probe/1 text abcdef",
        "exec /bin/sh -s -- wgaudit-probe/1 digest device=wg1 sudo=no endpoints=no",
    ],
)
def test_the_installed_script_refuses_everything_else(node: StubNode, command: str | None) -> None:
    """The audit's key can do nothing else: the words are compared whole, and never evaluated."""
    run = installed(node, command.format(folder=node.folder) if command is not None else None)
    assert run.returncode == 64
    with pytest.raises(ProbeError, match="refused") as caught:
        parse_answer(run.stdout, "wg0")
    assert caught.value.reason is GapReason.UNREADABLE_OUTPUT
    assert node.calls == []
    assert not (node.folder / "pwned").exists()


def test_the_script_works_in_an_environment_that_is_empty(node: StubNode) -> None:
    """Then the machine's own folders are searched; whatever is there, the answer has its frame."""
    request = inline_request("digest", device="wgaudit-none")
    run = subprocess.run(
        ["/bin/sh", *request.command.removeprefix("exec /bin/sh ").split()],
        input=request.stdin,
        capture_output=True,
        env={},
        timeout=30,
        check=False,
    )
    assert run.stdout.startswith(b"\nwgaudit-probe/1 begin\nerror no-")
    assert run.stdout.endswith(b"wgaudit-probe/1 end\n")


def test_a_link_of_another_kind_is_not_called_missing(node: StubNode) -> None:
    """AmneziaWG's device under plain wg."""
    said = case_text("nodes/12-wg-elsewhere/amneziawg-seen-by-wg").strip()
    node.script("wg", f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    error = refused(node)
    assert error.reason is GapReason.UNREADABLE_OUTPUT
    assert "ssh.wg_command" in error.detail


def test_wg_elsewhere_is_run_by_its_words_and_ip_beside_it(node: StubNode, shell: list[str]) -> None:
    """No shell reads the words: what stands for a variable, a file name or an end is a word like others."""
    node.script("enter", f'#!/bin/sh\necho "enter $1" >>{node.folder}/calls; shift 3; exec "$@"\n')
    (node.folder / "wg").rename(node.folder / "a wg; $x")
    words = ("enter", "it's * $HOME; exit", "x", "y", "a wg; $x")
    answered = answer(node, shell=shell, places=ProbePlaces(words))
    assert answered.device == node.device
    assert node.calls.count("enter it's * $HOME; exit") == 3


def test_wg_elsewhere_that_is_missing_is_named(node: StubNode) -> None:
    error = refused(node, places=ProbePlaces(("/opt/bin/awg",)))
    assert error.reason is GapReason.NO_WG
    assert "/opt/bin/awg" in error.detail


def test_an_installed_probe_has_its_places_fixed_in_it(node: StubNode) -> None:
    (node.folder / "wg").rename(node.folder / "awg")
    text = probe_script("wg0", False, "", ProbePlaces(("awg",)))
    file = node.script("wgaudit-probe", text)
    run = subprocess.run(
        [str(file)],
        capture_output=True,
        env={"PATH": node.path, "SSH_ORIGINAL_COMMAND": "wgaudit-probe/1 digest"},
        timeout=30,
        check=False,
    )
    assert parse_answer(run.stdout, "wg0").device == node.device


@pytest.mark.parametrize("sudo", [False, True])
def test_a_script_that_lost_its_beginning_does_nothing(node: StubNode, sudo: bool) -> None:
    """A login shell's start-up files may read from what was sent, by lines or by bytes."""
    node.script("sudo", '#!/bin/sh\nshift\nexec "$@"\n')
    request = inline_request("digest", device="wg0", sudo=sudo, endpoints=True)
    lines = request.stdin.splitlines(True)
    starts = {sum(map(len, lines[:number])) for number in range(4, len(lines))}
    for start in sorted(starts | {start + 7 for start in starts}):
        run = subprocess.run(
            ["/bin/sh", "-s"],
            input=request.stdin[start:],
            capture_output=True,
            env={"PATH": node.path},
            timeout=30,
            check=False,
            start_new_session=True,
        )
        with pytest.raises(ProbeError):
            parse_answer(run.stdout, "wg0")
    assert node.calls == []


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_the_first_lines_may_be_lost(node: StubNode, shell: list[str], lost: int) -> None:
    request = inline_request("digest", device="wg0")
    sent = b"".join(request.stdin.splitlines(True)[lost:])
    run = subprocess.run(
        [*shell, "-s"], input=sent, capture_output=True, env={"PATH": node.path}, timeout=30, check=False
    )
    assert parse_answer(run.stdout, "wg0").device == node.device
