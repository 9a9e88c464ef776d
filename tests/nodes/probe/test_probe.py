"""Reading a node's answer: whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from importlib import resources
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import ConfigError, GapReason, ProbeError
from auditor.nodes.probe.probe import (
    FRAMING,
    ProbeAnswer,
    ProbePlaces,
    canonical_table,
    follow_request,
    format_answer,
    inline_request,
    installed_request,
    packed_request,
    parse_answer,
    probe_script,
    read_request,
)
from auditor.values.addresses import Prefix, PublicKey, parse_prefix
from auditor.values.models import Device
from auditor.values.route_table import RouteTable
from tests.nodes.stubs import key
from tests.parts.cases import case_text

OWN, PEER = key(1), key(2)
DEVICE = Device("wg0", OWN, (Prefix("10.0.0.1/32"),))
TABLE = canonical_table(DEVICE, f"{PEER}\t10.0.0.2/32\n")

keys = st.binary(min_size=32, max_size=32).map(lambda data: PublicKey(base64.b64encode(data).decode()))
hosts = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda value: parse_prefix(str(IPv4Address(value)))),
    st.integers(2**97, 2**128 - 1).map(lambda value: parse_prefix(str(IPv6Address(value)))),
)


@st.composite
def networks(draw: st.DrawFn) -> Prefix:
    length = draw(st.integers(0, 32))
    value = draw(st.integers(0, 2**32 - 1)) >> (32 - length) << (32 - length)
    return parse_prefix(f"{IPv4Address(value)}/{length}")


@st.composite
def answers(draw: st.DrawFn) -> ProbeAnswer:
    own, *peers = draw(st.lists(keys, min_size=1, max_size=8, unique=True))
    held = tuple(draw(st.lists(hosts, max_size=3, unique=True)))
    device = Device("wg0", own, held, draw(st.none() | st.booleans()))
    region = draw(st.none() | st.text("abcxyz-0 ÄÖ", min_size=1, max_size=20).map(str.strip).filter(bool))
    endpoints = draw(st.none() | st.just(dict.fromkeys(peers, "198.18.0.1:51820")))
    ages = None
    if endpoints:
        ages = draw(st.none() | st.dictionaries(st.sampled_from(peers), st.integers(0, 2**33)))
    if draw(st.booleans()):
        digest = draw(st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex))
        return ProbeAnswer(device, digest, None, region, endpoints, ages)
    lines = [
        f"{peer}\t{' '.join(draw(st.lists(networks() | hosts, max_size=3))) or '(none)'}" for peer in peers
    ]
    return ProbeAnswer(device, None, canonical_table(device, "\n".join(lines)), region, endpoints, ages)


def refused(data: bytes) -> ProbeError:
    with pytest.raises(ProbeError) as caught:
        parse_answer(data, "wg0")
    return caught.value


def answer_with(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in ("wgaudit-probe/1 begin", *lines, "wgaudit-probe/1 end")).encode()


def table_with(*lines: str) -> bytes:
    return answer_with(f"key {OWN}", "address 10.0.0.1", "table", *lines)


@given(answers())
def test_an_answer_reads_back_as_it_was_written(answer: ProbeAnswer) -> None:
    assert parse_answer(format_answer(answer), "wg0") == answer


@given(answers(), st.data())
def test_an_answer_cut_short_anywhere_is_never_an_observation(
    answer: ProbeAnswer, data: st.DataObject
) -> None:
    """A short output is a gap: no beginning of an answer may pass for one."""
    whole = format_answer(answer)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert refused(whole[:cut]).reason is GapReason.UNREADABLE_OUTPUT


def test_every_cut_of_one_answer_with_a_table_is_refused() -> None:
    whole = format_answer(ProbeAnswer(DEVICE, None, TABLE, "fra", {PEER: "198.18.0.2:51820"}))
    for cut in range(len(whole)):
        assert refused(whole[:cut]).reason is GapReason.UNREADABLE_OUTPUT


@given(st.binary(max_size=300))
def test_garbage_is_unreadable_and_its_detail_is_fit_for_a_terminal(data: bytes) -> None:
    error = refused(data)
    assert error.reason is GapReason.UNREADABLE_OUTPUT
    assert error.detail.isprintable()
    assert len(error.detail) < 400


@given(answers(), st.data())
def test_one_changed_byte_gives_an_error_or_another_whole_answer(
    answer: ProbeAnswer, data: st.DataObject
) -> None:
    """Never a crash: a node may print what it likes."""
    whole = bytearray(format_answer(answer))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = parse_answer(bytes(whole), "wg0")
    except ProbeError:
        return
    assert parse_answer(format_answer(read), "wg0") == read


@given(st.binary(max_size=2000).filter(lambda noise: b"wgaudit-probe/1" not in noise), answers())
def test_noise_of_start_up_files_before_the_answer_is_skipped(noise: bytes, answer: ProbeAnswer) -> None:
    assert parse_answer(noise + format_answer(answer), "wg0") == answer


def test_endless_noise_is_not_searched_for_an_answer() -> None:
    noise = b"x" * 100_000
    assert refused(noise + format_answer(ProbeAnswer(DEVICE, "a" * 64))).reason is GapReason.UNREADABLE_OUTPUT


def test_what_follows_the_end_makes_an_answer_unreadable() -> None:
    assert "something follows" in refused(format_answer(ProbeAnswer(DEVICE, "a" * 64)) + b"x").detail


@pytest.mark.parametrize("reason", ["sudo", "no-wg", "no-device"])
def test_an_error_line_becomes_the_gap_that_it_names(reason: str) -> None:
    error = refused(answer_with(f"error {reason} what wg said"))
    assert (error.reason, error.detail) == (GapReason(reason), "what wg said")


def test_an_error_line_after_the_table_discards_the_table() -> None:
    """wg may fail half-way: its exit status comes after the lines that it printed."""
    assert refused(table_with(*lines_of(TABLE), "error no-device gone")).reason is GapReason.NO_DEVICE


def test_a_reason_that_the_probe_does_not_know_is_unreadable() -> None:
    assert refused(answer_with("error auth please")).reason is GapReason.UNREADABLE_OUTPUT


def test_escape_sequences_of_a_node_never_reach_a_detail() -> None:
    error = refused(answer_with("error sudo \x1b[31mred\x07 \u202eright to left"))
    assert "\x1b" not in error.detail
    assert "\u202e" not in error.detail


def test_a_failure_of_the_node_itself_is_its_reason_and_its_words() -> None:
    error = refused(answer_with("error no-wg wg was not found"))
    assert (error.reason, error.detail) == (GapReason.NO_WG, "wg was not found")


def lines_of(table: RouteTable) -> list[str]:
    return table.text.decode().splitlines()


@pytest.mark.parametrize(
    "line",
    [
        f"{PEER[:-2]}B=\t10.0.0.2/32",
        f"{PEER[:-1]}\t10.0.0.2/32",
        f"{PEER}\t10.0.0.256/32",
        f"{PEER}\t10.0.0.02/32",
        f"{PEER}\t10.0.0.2/33",
        f"{PEER}\t10.0.0.2",
        f"{PEER}\t10.0.0.2/24",
        f"{PEER}\t010.0.0.0/8",
        f"{PEER}\t1234/32",
        f"{PEER}\tabc/128",
        f"{PEER}\tfdaa::1/129",
        f"{PEER}\tfdaa::1/64",
        f"{PEER}\t::ffff:010.0.0.1/128",
        f"{PEER}\t(nobody)",
        f"{PEER}\t10.0.0.2/32 10.0.0.3/32",
        f"{PEER} 10.0.0.2/32",
        "",
        "Unable to access interface: No such device",
    ],
)
def test_a_line_that_wg_would_not_print_makes_the_table_unreadable(line: str) -> None:
    assert refused(table_with(f"{OWN}\t10.0.0.1/32", line)).reason is GapReason.UNREADABLE_OUTPUT


@pytest.mark.parametrize(
    "prefix", ["0.0.0.0/0", "10.1.0.0/16", "::/0", "fdaa::/64", "::ffff:10.0.0.1/128", "(none)"]
)
def test_whatever_wg_prints_is_taken(prefix: str) -> None:
    answer = parse_answer(table_with(f"{OWN}\t10.0.0.1/32", f"{PEER}\t{prefix}"), "wg0")
    assert answer.table is not None
    assert lines_of(answer.table)[1] == f"{PEER}\t{prefix}"


@pytest.mark.parametrize(
    ("spelled", "canonical"),
    [
        ("FDAA::1/128", "fdaa::1/128"),
        ("fdaa:0::1/128", "fdaa::1/128"),
        ("fdaa:0:0:0:0:0:0:1/128", "fdaa::1/128"),
        ("fdaa::1:0:0:0:0/80", "fdaa:0:0:1::/80"),
        ("::FFFF:10.0.0.1/128", "::ffff:10.0.0.1/128"),
        (
            case_text("nodes/11-ipv6-spelling/allowed-ips-musl-1.1").split()[1],
            "2001:db8:1:0:211:22ff:fe33:4455/128",
        ),
    ],
)
def test_ipv6_is_compared_however_a_node_spells_it(spelled: str, canonical: str) -> None:
    """And its digest is that of the canonical table, so equal tables are one."""
    lines = sorted([f"{OWN}\t10.0.0.1/32", f"{PEER}\t{spelled}", f"{PEER}\tfd00::9/128"])
    answer = parse_answer(table_with(*lines), "wg0")
    assert answer.table is not None
    assert lines_of(answer.table) == sorted([lines[0], f"{PEER}\t{canonical}", f"{PEER}\tfd00::9/128"])
    raw = "".join(f"{line}\n" for line in lines).encode()
    assert answer.spelled == hashlib.sha256(raw).hexdigest()


def test_a_canonical_table_has_no_other_spelling() -> None:
    answer = parse_answer(table_with(*lines_of(TABLE)), "wg0")
    assert (answer.table, answer.spelled) == (TABLE, None)


def test_own_addresses_are_compared_however_a_node_spells_them() -> None:
    """busybox's ip may spell one otherwise than its wg does."""
    lines = [f"key {OWN}", "address FDAA:0:0::1", "table", f"{OWN}\tFDAA:0:0::1/128"]
    assert parse_answer(answer_with(*lines), "wg0").device.addresses == ("fdaa::1/128",)


@pytest.mark.parametrize(
    ("spelled", "canonical"),
    [
        ("[fe80::1%eth0]:51820", "[fe80::1%eth0]:51820"),
        ("[FE80:0:0::1%eth0]:51820", "[fe80::1%eth0]:51820"),
        ("[2001:db8:1::211:22ff:fe33:4455]:1", "[2001:db8:1:0:211:22ff:fe33:4455]:1"),
    ],
)
def test_an_endpoint_may_have_a_scope_and_any_spelling(spelled: str, canonical: str) -> None:
    lines = [f"key {OWN}", f"endpoint {PEER} {spelled}", "endpoints 1", "digest none"]
    assert parse_answer(answer_with(*lines), "wg0").endpoints == {PEER: canonical}


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([f"{PEER}\t10.0.0.2/32", f"{OWN}\t10.0.0.1/32"], "not sorted"),
        ([f"{OWN}\t10.0.0.1/32", f"{PEER}\t10.0.0.2/32", f"{PEER}\t10.0.0.2/32"], "twice"),
        ([f"{PEER}\t10.0.0.2/32"], "own lines"),
        ([f"{OWN}\t10.0.0.1/32", f"{OWN}\t10.0.0.9/32"], "own lines"),
        ([f"{OWN}\t10.0.0.1/32", f"{PEER}\t(none)", f"{PEER}\t10.0.0.2/32"], "(none)"),
    ],
)
def test_a_table_that_contradicts_itself_is_unreadable(lines: list[str], why: str) -> None:
    assert why in refused(table_with(*lines)).detail


@pytest.mark.parametrize(
    "lines",
    [
        ["address 10.0.0.1", "digest none"],
        [f"key {OWN}", f"key {PEER}", "digest none"],
        [f"key {OWN}", "address 10.0.0.1/8", "digest none"],
        [f"key {OWN}", "address fe80::1%wg0", "digest none"],
        [f"key {OWN}", "digest ABC"],
        [f"key {OWN}"],
        [f"key {OWN}", "digest none", "table"],
        [f"key {OWN}", f"region {'x' * 101}", "digest none"],
        [f"key {OWN}", f"endpoint {PEER} 198.18.0.1:51820", "endpoints 2", "digest none"],
        [f"key {OWN}", f"endpoint {PEER} 198.18.0.1:51820", "digest none"],
        [f"key {OWN}", f"endpoint {PEER} nowhere", "endpoints 1", "digest none"],
        [f"key {OWN}", f"endpoint {PEER} 198.18.0.1:51820 never", "endpoints 1", "digest none"],
        [f"key {OWN}", f"endpoint {PEER} 198.18.0.1:51820 -1", "endpoints 1", "digest none"],
        [
            f"key {OWN}",
            f"endpoint {PEER} 198.18.0.1:51820 9",
            f"endpoint {OWN} 198.18.0.1:51820",
            "endpoints 2",
            "digest none",
        ],
        [f"key {OWN}", "color blue", "digest none"],
        [f"key {OWN}", "link sideways", "digest none"],
        [f"key {OWN}", "link up", "link up", "digest none"],
        [f"key {OWN}", *(f"address 10.0.{i // 256}.{i % 256}" for i in range(1025)), "digest none"],
    ],
)
def test_an_answer_with_a_line_missing_doubled_or_wrong_is_unreadable(lines: list[str]) -> None:
    assert refused(answer_with(*lines)).reason is GapReason.UNREADABLE_OUTPUT


def test_a_node_that_cannot_digest_says_so() -> None:
    answer = parse_answer(answer_with(f"key {OWN}", "digest none"), "wg0")
    assert (answer.digest, answer.table) == (None, None)


def test_an_empty_region_is_no_region() -> None:
    assert parse_answer(answer_with(f"key {OWN}", "region ", "digest none"), "wg0").region is None


def test_no_endpoints_and_none_asked_for_are_told_apart() -> None:
    assert parse_answer(answer_with(f"key {OWN}", "digest none"), "wg0").endpoints is None
    assert parse_answer(answer_with(f"key {OWN}", "endpoints 0", "digest none"), "wg0").endpoints == {}


def test_the_table_has_one_prefix_a_line_and_the_nodes_own_address() -> None:
    table = canonical_table(DEVICE, f"{PEER}\t10.0.0.2/32 10.1.0.0/24\n{key(3)}\t(none)\n")
    assert lines_of(table) == [
        f"{OWN}\t10.0.0.1/32",
        f"{PEER}\t10.0.0.2/32",
        f"{PEER}\t10.1.0.0/24",
        f"{key(3)}\t(none)",
    ]


def test_all_nodes_of_a_healthy_mesh_have_one_table() -> None:
    """The design's growth rests on this: equal tables are fetched and compared once."""
    devices = [Device("wg0", key(n), (Prefix(f"10.0.0.{n}/32"),)) for n in range(1, 6)]
    tables = {
        canonical_table(
            device,
            "".join(f"{d.public_key}\t{d.addresses[0]}\n" for d in reversed(devices) if d is not device),
        )
        for device in devices
    }
    assert len(tables) == 1


@pytest.mark.parametrize("mode", ["digest", "text"])
@pytest.mark.parametrize(("endpoints", "handshakes"), [(False, False), (True, False), (True, True)])
def test_a_request_is_read_as_it_was_made(mode: str, endpoints: bool, handshakes: bool) -> None:
    assert mode in ("digest", "text")
    asked = {"endpoints": endpoints, "handshakes": handshakes}
    inline = inline_request(mode, device="wg0", **asked)  # type: ignore[arg-type]
    installed = installed_request(mode, **asked)  # type: ignore[arg-type]
    assert read_request(inline.command) == read_request(installed.command) == (mode, endpoints)
    assert read_request(packed_request(inline).command) == (mode, endpoints)


def test_the_ends_of_varying_keys_are_words_of_the_command() -> None:
    request = inline_request("base", device="wg0", endpoints=True, varying=["bc+/", "abcd"])
    assert request.command.endswith(" wgaudit-probe/1 base endpoints bc+/ abcd")
    assert read_request(request.command) == ("base", True)
    request = inline_request("base", device="wg0", endpoints=True, handshakes=True, varying=["bc+/"])
    assert request.command.endswith(" wgaudit-probe/1 base met bc+/")
    assert read_request(request.command) == ("base", True)


BASE_LINES = f"key {OWN}\ndigest {'1' * 64}\nbase {'2' * 64}\nvarying\n"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (BASE_LINES + "10.0.0.1/32 -\n", "would not print"),
        (BASE_LINES + "10.0.0.1/32 10.0.0.1/32\n", "twice"),
        (BASE_LINES + "10.0.0.1/33\n", "longer than"),
        (BASE_LINES + "10.0.0\n", "would not print"),
        (BASE_LINES + "10.0.0.1 10.0.0.1/32\n", "twice"),
        (BASE_LINES + "fd00::1\n", "would not print"),
        (BASE_LINES + "\n", "would not print"),
        (BASE_LINES.replace("varying\n", ""), "without its digests"),
        (BASE_LINES.replace(f"digest {'1' * 64}", "digest none"), "without its digests"),
        (BASE_LINES.replace(f"base {'2' * 64}\n", ""), "without its digests"),
        (BASE_LINES.replace("2" * 64, "2" * 63), "64 hex digits"),
    ],
)
def test_a_base_that_is_not_told_as_the_probe_does_is_refused(body: str, says: str) -> None:
    with pytest.raises(ProbeError, match=says):
        parse_answer(FRAMING.wrap(body.encode()), "wg0")


@pytest.mark.parametrize(
    "command", ["", "ls", "wgaudit-probe/2 digest", "wgaudit-probe/1", "wgaudit-probe/1 dump"]
)
def test_another_command_is_no_request(command: str) -> None:
    with pytest.raises(ValueError, match="not a request"):
        read_request(command)


def test_the_command_line_holds_nothing_that_a_login_shell_would_change() -> None:
    """Whatever shell root has (fish, csh …): words, and neither device nor region command is among them."""
    request = inline_request("text", device="wg0", sudo=True, region_command="cat '/etc/region'; $(x) `y`")
    assert request.command == "exec /bin/sh -s -- wgaudit-probe/1 text"
    request = inline_request("digest", device="wg0", endpoints=True)
    assert request.command == "exec /bin/sh -s -- wgaudit-probe/1 digest endpoints"


SCRIPT = (resources.files("auditor.nodes.probe") / "probe.sh").read_text(encoding="utf-8")
PARTS = {
    "digest": "send_digest",
    "text": "send_text",
    "base": "send_base",
    "follow": "hang_up",
    "sudo": "sudo -n",
    "address_devices": "inside_pools",
    "endpoints": "ask endpoints",
    "met": "!= met ] || ask",
    "routes": "route show table all",
    "hints": "hinted = 1",
    "shadows": "route get",
    "transfer": "ask transfer",
    "region_command": "sh -c",
    "installed": "SSH_ORIGINAL_COMMAND",
}
WANTED = st.fixed_dictionaries(
    {
        "sudo": st.booleans(),
        "endpoints": st.booleans(),
        "region_command": st.sampled_from(["", "cat /etc/region", "echo '\n# no comment'\n  echo x"]),
    }
)


Sent = Literal["digest", "text", "base", "follow"]


def sent(mode: Sent, wanted: dict[str, Any]) -> str:
    if mode == "follow":
        return follow_request(device="wg0", interval=5.0, **wanted).stdin.decode()
    return inline_request(mode, device="wg0", **wanted).stdin.decode()


@given(st.sampled_from(["digest", "text", "base", "follow"]), WANTED)
def test_what_travels_are_lines_of_the_script_in_their_order(mode: Sent, wanted: dict[str, Any]) -> None:
    """Whoever has read the script has read what runs: lines are left out and unindented, none is changed."""
    text = sent(mode, wanted)
    yes = {name: "yes" for name in ("sudo", "endpoints") if wanted[name]}
    command = {"region_command": wanted["region_command"]} if wanted["region_command"] else {}
    follows = {"interval": "5", "seconds": "20", "beat": "30"} if mode == "follow" else {"seconds": "20"}
    settings = {"device": "wg0", "mode": mode, **follows, **yes, **command}
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items())
    before, mark, after = text.partition(head)
    assert mark
    mine = (*before.splitlines(), *after.splitlines()[:2], after.splitlines()[-2])
    lines = iter([line.lstrip() for line in SCRIPT.splitlines()])
    assert all(line in lines for line in after.splitlines() if line not in mine)


@given(st.sampled_from(["digest", "text", "base", "follow"]), WANTED)
def test_no_comment_and_no_empty_line_travels(mode: Sent, wanted: dict[str, Any]) -> None:
    lines = sent(mode, wanted | {"region_command": ""}).splitlines()
    assert not [line for line in lines if not line.strip() or line.startswith(("#", " ", "\t"))]


@given(st.sampled_from(["digest", "text", "base", "follow"]), WANTED)
def test_of_the_scripts_parts_only_those_travel_that_were_asked_for(
    mode: Sent, wanted: dict[str, Any]
) -> None:
    text = sent(mode, wanted)
    asked = ({"follow", "digest", "transfer"} if mode == "follow" else {mode}) | {
        name for name, value in wanted.items() if value
    }
    assert {name for name, sign in PARTS.items() if sign in text} == asked


def test_each_part_of_the_script_is_known_and_ends() -> None:
    """A mark with a slip of the pen would take the rest of the script away."""
    open_parts: list[str] = []
    for mark, name in re.findall(r"(?m)^ *# (only|end) (\S+)$", SCRIPT):
        if mark == "only":
            open_parts.append(name.removesuffix(":"))
            assert open_parts[-1] in PARTS
        else:
            assert open_parts.pop() == name
    assert not open_parts


def test_the_installed_script_keeps_every_line_and_comment() -> None:
    assert probe_script("wg0", True, "").endswith(SCRIPT)


def test_a_healthy_node_costs_little_more_than_a_hundredth_of_its_table_in_bytes() -> None:
    """5,000 peers: what goes there and what comes back, against the lines that a naive audit would fetch."""
    peers = "".join(f"{key(n)}\t10.16.{n >> 8}.{n & 255}/32\n" for n in range(2, 5001))
    table = canonical_table(DEVICE, peers)
    places = ProbePlaces(pools=(Prefix("10.0.0.0/8"),))
    request = packed_request(inline_request("digest", device="wg0", places=places, closely=False))
    answer = format_answer(ProbeAnswer(DEVICE, table.digest, shadows=()))
    assert len(request.command) + len(request.stdin) + len(answer) <= len(table.text) / 85


def test_a_nul_character_in_the_region_command_is_refused() -> None:
    with pytest.raises(ConfigError, match="NUL"):
        probe_script("wg0", False, "cat /etc/\0region")


def test_the_script_never_asks_for_what_prints_private_keys() -> None:
    script = probe_script("wg0", True, "")
    assert "dump" not in script
    assert "showconf" not in script


@pytest.mark.parametrize("word", ["\x1b[2J", "a\rb", "\u202eevil", "x" * 5000])
def test_a_line_that_the_probe_never_prints_reaches_no_terminal_as_it_came(word: str) -> None:
    """Its first word too is cleaned and cut before it stands in a gap's detail."""
    data = f"\nwgaudit-probe/1 begin\n{word} 1\nwgaudit-probe/1 end\n".encode()

    with pytest.raises(ProbeError) as caught:
        parse_answer(data, "wg0")

    assert caught.value.detail.isprintable()
    assert len(caught.value.detail) < 1000
