"""Reading registrations from raw values: what is accepted, what is refused and why, and what never leaks."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import ProbeError
from auditor.nodes.underlay import target_for
from auditor.registry.records import (
    CatalogNode,
    KvItem,
    ReadingRules,
    ReadRecord,
    parse_fields,
    parse_json_record,
    read_catalog,
    read_kv,
)
from auditor.registry.spellings import AROUND
from auditor.settings.consul import ConsulFields
from auditor.settings.ssh import SshSettings
from auditor.values.addresses import Prefix, parse_prefix
from auditor.values.models import FieldFault, InvalidRegistration, NodeId, OtherKind, Registration
from tests.registry.records_of import PREFIX, key_of, record

NODE = NodeId("dc1", "edge-sin-1")
FIELDS = ConsulFields()
Layout = Literal["kv-json", "kv-fields"]
LAYOUTS: tuple[Layout, ...] = ("kv-json", "kv-fields")
KEY = key_of("edge-sin-1")

NO_NODES = ("::ffff:", "0.0.0.0", "127.", "255.")
hosts = (
    st.ip_addresses()
    .map(str)
    .filter(lambda text: not text.startswith(NO_NODES) and text not in ("::", "::1"))
)
plain_text = st.text(st.characters(min_codepoint=0x23, max_codepoint=0x7E), min_size=1, max_size=253)


def parse(value: bytes | None, fields: ConsulFields = FIELDS) -> ReadRecord:
    return parse_json_record(NODE, PREFIX + NODE.name, value, fields, 5, 6)


def good(value: bytes, fields: ConsulFields = FIELDS) -> Registration:
    parsed = parse(value, fields)
    assert parsed.whole is not None, parsed
    return parsed.whole


def refused(value: bytes | None) -> InvalidRegistration:
    parsed = parse(value)
    assert parsed.unreadable is not None, parsed
    return parsed.unreadable


def test_the_contracts_record_is_read_as_it_stands() -> None:
    registration = good(
        b'{"public_key": "%s", "ip": "10.0.0.1", "region": "sin", "endpoint": "198.18.0.12:51820",'
        b' "ssh_host": "198.18.0.12", "rack": "r7"}' % KEY.encode()
    )
    assert registration == Registration(
        node=NODE,
        public_key=KEY,
        addresses=(Prefix("10.0.0.1/32"),),
        region="sin",
        endpoint="198.18.0.12:51820",
        ssh_host="198.18.0.12",
        values={"rack": "r7"},
        where=PREFIX + NODE.name,
        create_index=5,
        modify_index=6,
    )


def test_several_addresses_keep_their_order_and_lose_their_repeats() -> None:
    registration = good(record("x", ["fdaa::1", "10.0.0.1/32", "FDAA:0::1", "10.1.0.0/24"]))
    assert registration.addresses == ("fdaa::1/128", "10.0.0.1/32", "10.1.0.0/24")


def test_optional_fields_may_be_missing_null_or_empty() -> None:
    registration = good(
        b'{"public_key": "%s", "ip": "10.0.0.1", "region": null, "endpoint": ""}' % KEY.encode()
    )
    assert (registration.region, registration.endpoint, registration.ssh_host) == (None, None, None)


def test_fields_are_found_at_dotted_paths() -> None:
    fields = ConsulFields(public_key="wg.key", address="wg.net.ips", region="where")
    value = json.dumps({"wg": {"key": KEY, "net": {"ips": ["10.0.0.1"]}}, "where": "sin"}).encode()
    registration = good(value, fields)
    assert (registration.public_key, registration.addresses, registration.region) == (
        KEY,
        ("10.0.0.1/32",),
        "sin",
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty value"),
        (b"", "empty value"),
        (b" \n", "empty value"),
        (b"hello", "not JSON: Expecting value at character 0"),
        (b'{"ip": ', "not JSON: Expecting value at character 7"),
        (b"\xff\xfe{", "not JSON: UTF-16 text that is cut off; write it as UTF-8"),
        ('{"ip": "10.0.0.1"}'.encode("utf-16-le"), "not JSON: UTF-16 text; write it as UTF-8"),
        (base64.b64encode(record("x")), "not JSON: base64, perhaps of JSON that was encoded twice"),
        (gzip.compress(record("x"), mtime=0), "not JSON: gzip data"),
        (b"[" * 50_000, "not JSON: its brackets are not closed"),
        (b'{"x":' + b"[" * 50_000 + b'"' + rb"\"" * 200_000, "not JSON: its brackets are not closed"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (
            json.dumps(json.dumps(json.loads(record("x")))).encode() * 2,
            "not JSON: Extra data at character 90",
        ),
        (b'{"region": "sin"}', "public_key: missing; ip: missing or empty"),
        (record("x", note="n" * 600_000), "600092 bytes, more than 524288"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_read_at_all_is_refused_with_its_reason(value: bytes | None, reason: str) -> None:
    assert refused(value).reason == reason
    assert parse(value).registration is None


@pytest.mark.parametrize(
    ("more", "field", "reason"),
    [
        ({"public_key": 5}, "public_key", "not a public key: 1 characters where 32 bytes of base64 are 44"),
        ({"public_key": ["x"]}, "public_key", "a list where text is meant"),
        ({"public_key": ""}, "public_key", "missing"),
        ({"ip": []}, "ip", "missing or empty"),
        ({"ip": ""}, "ip", "missing or empty"),
        ({"ip": 167772161}, "ip", "not an IP address"),
        ({"ip": {"v4": "10.0.0.1"}}, "ip", "an object where text is meant"),
        ({"ip": True}, "ip", "true or false where text is meant"),
        ({"ip": ["10.0.0.1", None]}, "ip[1]", "null where an address is meant"),
        ({"ip": ["10.0.0.1", ["10.0.0.2"]]}, "ip[1]", "a list where text is meant"),
        ({"ip": ["10.0.0.1", "10.0.0.2/33"]}, "ip[1]", "prefix length 33 is longer than 32 bits"),
        ({"ip": ["10.0.0.1"] * 65}, "ip", "65 addresses, more than 64; the rest is not read"),
        (
            {"ip": "010.0.0.1"},
            "ip",
            "not an IPv4 address: an octet with a leading zero is octal to some programs",
        ),
        ({"ip": "::ffff:10.0.0.1"}, "ip", "an IPv4-mapped IPv6 address; write the IPv4 address"),
        ({"ip": "fe80::1%eth0"}, "ip", "an address with a zone (%) holds on one machine only"),
        ({"ip": "10.0.0.1/08"}, "ip", "prefix length with a leading zero"),
        ({"ip": "10.0.0.1/255.0.255.0"}, "ip", "prefix length is not a number"),
        (
            {"ip": "10.0.0.1 255.0.0.0"},
            "ip[1]",
            "a netmask or the broadcast address, not a node's; write the length after the address (/8)",
        ),
        ({"ip": "0.0.0.0"}, "ip", "the unspecified address, which no node can have"),
        ({"ip": "::1"}, "ip", "a loopback address, which every machine has"),
        ({"region": ["sin"]}, "region", "a list where text is meant"),
        ({"region": False}, "region", "true or false where text is meant"),
        ({"ssh_host": "h" * 254}, "ssh_host", "254 characters, more than 253"),
        ({"region": "\ud800"}, "region", "holds a control character, or another that does not print"),
        ({"ssh_host": "a\nb"}, "ssh_host", "holds a control character, or another that does not print"),
        ({"state": {}}, "state", "an object where text is meant"),
    ],
    ids=str,
)
def test_a_field_that_cannot_be_read_costs_that_field(
    more: dict[str, object], field: str, reason: str
) -> None:
    read = parse(json.dumps(json.loads(record("x", endpoint="198.18.0.1:51820")) | more).encode())
    assert read.unreadable is not None
    assert read.unreadable.faults == (FieldFault(field, reason),)
    assert read.unreadable.reason == f"{field}: {reason}"
    whole = good(record("x", endpoint="198.18.0.1:51820"))
    assert read.registration is not None
    assert read.registration.endpoint == whole.endpoint
    assert read.registration.public_key == (None if field == "public_key" else whole.public_key)
    if "ip" not in more or isinstance(more["ip"], list):
        assert read.registration.addresses == (() if more.get("ip") == [] else whole.addresses)
    assert read.registration.all_addresses_read == (not field.startswith("ip"))


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (b'{"ip": "10.0.0.1", "public_key": "KEY", "region": "fra", "region": "sin"}', "region"),
        (b'{"ip": "10.0.0.1", "public_key": "KEY", "note": "a", "note": "b"}', None),
        (b'{"ip": "10.0.0.1", "ip": "10.0.0.1", "public_key": "KEY"}', None),
        (b'{"ip": "10.0.0.1", "public_key": "KEY", "region": "Z\xfcrich"}', "region"),
        (b'{"ip": "10.0.0.1", "public_key": "KEY", "note": "Z\xfcrich"}', None),
        (b'{"ip": "10.0.0.1", "public_key": "KEY", "note": "a\tb\x01"}', None),
        (b'{"ip": "10.0.0.1", "public_key": "KEY", "region": ' + b"[" * 5000 + b"]" * 5000 + b"}", "region"),
        (b'{"ip": "10.0.0.1", "public_key": "KEY", "note": ' + b"[" * 5000 + b"]" * 5000 + b"}", None),
        (b'{"ip": "10.0.0.1", "public_key": "KEY", "note": ' + b"9" * 5000 + b"}", None),
        (b'{"ip": "10.0.0.1", "public_key": "KEY", "note": "' + b"n" * 100_000 + b'"}', None),
        (b'{"ip": "10.0.0.1", "public_key": "KEY", "region": NaN}', "region"),
    ],
    ids=range(11),
)
def test_an_odd_value_elsewhere_costs_neither_address_nor_key(value: bytes, fault: str | None) -> None:
    read = parse(value.replace(b"KEY", KEY.encode()))
    assert read.registration is not None
    assert (read.registration.public_key, read.registration.addresses) == (KEY, ("10.0.0.1/32",))
    faults = read.unreadable.faults if read.unreadable is not None else ()
    assert [item.field for item in faults] == [fault] * bool(fault)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (" 10.0.0.1\r\n", ("10.0.0.1/32",)),
        ("\ufeff10.0.0.1", ("10.0.0.1/32",)),
        ('"10.0.0.1"', ("10.0.0.1/32",)),
        ("10.0.0.5/8", ("10.0.0.5/32",)),
        ("10.0.0.0/8", ("10.0.0.0/8",)),
        ("10.0.0.5/255.0.0.0", ("10.0.0.5/32",)),
        ("10.1.0.0/255.255.0.0", ("10.1.0.0/16",)),
        ("0.0.0.0/0", ("0.0.0.0/0",)),
        ("'10.0.0.1'", ("10.0.0.1/32",)),
        ("fdaa::5/64", ("fdaa::5/128",)),
        ("FDAA:0:0::1", ("fdaa::1/128",)),
        ("[fdaa::1]", ("fdaa::1/128",)),
        ("10.0.0.1,fdaa::1", ("10.0.0.1/32", "fdaa::1/128")),
        ("10.0.0.1; 10.0.0.2/8", ("10.0.0.1/32", "10.0.0.2/32")),
        ('["10.0.0.1", "10.0.0.2"]', ("10.0.0.1/32", "10.0.0.2/32")),
        ("[10.0.0.1, '10.0.0.2']", ("10.0.0.1/32", "10.0.0.2/32")),
        (["10.0.0.1/8 ", "10.0.0.1"], ("10.0.0.1/32",)),
        (["10.0.0.1,10.0.0.2"], ("10.0.0.1/32", "10.0.0.2/32")),
    ],
    ids=str,
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_addresses_are_read_as_people_and_tools_write_them(
    layout: Layout, written: object, read: tuple[str, ...]
) -> None:
    if layout == "kv-json":
        items = [KvItem(PREFIX + "n", record("x", written))]
    else:
        text = written if isinstance(written, str) else json.dumps(written)
        items = [KvItem(f"{PREFIX}n/ip", text.encode()), KvItem(f"{PREFIX}n/public_key", KEY.encode())]
    reading = read_kv(layout, "", PREFIX, items, FIELDS)
    assert reading.invalid == ()
    assert reading.registrations[0].addresses == read


@pytest.mark.parametrize(
    "written",
    [
        f" {KEY}\r\n",
        f"\ufeff{KEY}",
        KEY.rstrip("="),
        KEY.replace("+", "-").replace("/", "_"),
        KEY.replace("+", "-").replace("/", "_").rstrip("="),
        base64.b64decode(KEY).hex(),
        base64.b64decode(KEY).hex().upper(),
        f'"{KEY}"',
    ],
)
def test_a_key_in_another_spelling_is_the_key_as_wg_prints_it(written: str) -> None:
    assert good(json.dumps({"public_key": written, "ip": "10.0.0.1"}).encode()).public_key == KEY


def test_a_number_where_text_is_meant_is_its_digits_as_they_were_written() -> None:
    registration = good(b'{"public_key": "%s", "ip": "10.0.0.1", "region": 3.10, "rack": 7}' % KEY.encode())
    assert (registration.region, registration.values) == ("3.10", {"rack": "7"})


@pytest.mark.parametrize(
    "written",
    [
        json.dumps(record("x").decode()).encode(),
        b"\xef\xbb\xbf" + record("x"),
        record("x") + b"\0\r\n",
    ],
)
def test_a_record_is_read_behind_what_stands_around_it(written: bytes) -> None:
    assert good(written) == good(record("x"))


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\u202eb", "n" * 254, "sin/edge-1"])
def test_a_node_with_an_odd_name_still_claims_its_address(name: str) -> None:
    items = [KvItem(PREFIX + "plain", record("y", "10.0.0.2")), KvItem(PREFIX + name, record("x"))]
    reading = read_kv("kv-json", "dc1", PREFIX, items, FIELDS)
    assert [item.addresses for item in reading.registrations] == [("10.0.0.2/32",), ("10.0.0.1/32",)]
    assert [item.field for one in reading.invalid for item in one.faults] == ["node name"]
    assert [one.node for one in reading.invalid] == [reading.registrations[1].node]


# -- keys that are no registrations

LOCK = 0x2DDCCBC058A50C18
SEMAPHORE = 0xE0F69A2BAA414DE0


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (KvItem(f"{PREFIX}.lock", b"", flags=LOCK), OtherKind.LOCK),
        (KvItem(f"{PREFIX}lock", b"", flags=LOCK), OtherKind.LOCK),
        (KvItem(f"{PREFIX}.lock", b'{"Limit": 2}', flags=SEMAPHORE), OtherKind.SEMAPHORE),
        (KvItem(f"{PREFIX}5e1f", b"", flags=SEMAPHORE), OtherKind.SEMAPHORE),
        (KvItem(f"{PREFIX}leader", b"host-7", session=True), OtherKind.SESSION),
        (KvItem(f"{PREFIX}.keep", b""), OtherKind.DOT_NAME),
        (KvItem(f"{PREFIX}edge-1/.lock", b"", flags=LOCK), OtherKind.LOCK),
        (KvItem(f"{PREFIX}old/", b""), OtherKind.FOLDER),
        (KvItem(f"{PREFIX}next_ip", b"10.0.0.9"), OtherKind.IGNORED),
        (KvItem(f"{PREFIX}edge-1/next.tmp", b"x"), OtherKind.IGNORED),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_key_that_is_no_node_is_counted_and_never_judged(
    layout: Layout, item: KvItem, kind: OtherKind
) -> None:
    rules = ReadingRules(ignore=("next_ip", "*.tmp"))
    reading = read_kv(layout, "", PREFIX, [item], FIELDS, rules)
    assert (reading.registrations, reading.invalid) == ((), ())
    assert reading.others.counts == {kind: 1}


@pytest.mark.parametrize("held", [{"session": True}, {"flags": LOCK, "session": True}])
def test_a_lock_on_a_nodes_own_key_leaves_it_a_registration(held: dict[str, Any]) -> None:
    reading = read_kv("kv-json", "", PREFIX, [KvItem(f"{PREFIX}n", record("n"), **held)], FIELDS)
    assert [item.node.name for item in reading.registrations] == ["n"]
    assert reading.others.total == 0


def test_a_session_on_one_field_leaves_it_a_field() -> None:
    items = [
        KvItem(f"{PREFIX}n/ip", b"10.0.0.1", session=True),
        KvItem(f"{PREFIX}n/public_key", KEY.encode()),
        KvItem(f"{PREFIX}n/lock", b"", flags=LOCK),
    ]
    reading = read_kv("kv-fields", "", PREFIX, items, FIELDS)
    assert [item.addresses for item in reading.registrations] == [("10.0.0.1/32",)]
    assert (reading.invalid, reading.others.counts) == ((), {OtherKind.LOCK: 1})


def test_an_empty_value_of_an_ordinary_name_is_invalid() -> None:
    reading = read_kv("kv-json", "", PREFIX, [KvItem(f"{PREFIX}edge-1", b"")], FIELDS)
    assert [one.reason for one in reading.invalid] == ["empty value"]


# -- one record a device


def test_of_a_nodes_devices_the_audited_one_is_the_node() -> None:
    items = [
        KvItem(f"{PREFIX}n/wg0", record("n")),
        KvItem(f"{PREFIX}n/wg1", record("other", "172.20.0.1")),
        KvItem(f"{PREFIX}m/wg1", record("third", "172.20.0.1")),
    ]
    reading = read_kv("kv-json", "", PREFIX, items, FIELDS)
    assert [(item.node.name, item.where) for item in reading.registrations] == [("n", f"{PREFIX}n/wg0")]
    assert (reading.invalid, reading.others.counts) == ((), {OtherKind.DEVICE: 2})


def test_another_devices_record_is_counted_whatever_it_holds() -> None:
    items = [KvItem(f"{PREFIX}n/wg0", record("n")), KvItem(f"{PREFIX}n/wg1", b"{oops")]
    reading = read_kv("kv-json", "", PREFIX, items, FIELDS)
    assert (reading.invalid, reading.others.counts) == ((), {OtherKind.DEVICE: 1})


def test_without_a_key_of_the_audited_device_no_record_is_another_devices() -> None:
    items = [KvItem(f"{PREFIX}n/wg1", record("n"))]
    reading = read_kv("kv-json", "", PREFIX, items, FIELDS)
    assert (reading.registrations, reading.others.total) == ((), 0)
    assert "mesh.device" in reading.invalid[0].reason


def test_a_copy_below_a_nodes_own_key_claims_nothing() -> None:
    items = [KvItem(f"{PREFIX}n", record("n")), KvItem(f"{PREFIX}n/old", record("n", "10.0.0.2"))]
    reading = read_kv("kv-json", "", PREFIX, items, FIELDS)
    assert [item.addresses for item in reading.registrations] == [("10.0.0.1/32",)]
    assert [one.where for one in reading.invalid] == [f"{PREFIX}n/old"]


# -- retired


@pytest.mark.parametrize(
    ("state", "retired"),
    [
        ("decommissioned", True),
        (" decommissioned\n", True),
        ("Decommissioned", False),
        (5, True),
        (True, True),
        (False, False),
    ],
)
def test_a_state_is_matched_as_text(state: object, retired: bool) -> None:
    rules = ReadingRules(retired=frozenset({"decommissioned", "5", "true"}))
    (registration,) = read_kv(
        "kv-json", "", PREFIX, [KvItem(f"{PREFIX}n", record("n", state=state))], FIELDS, rules
    ).registrations
    assert registration.retired is retired


@pytest.mark.parametrize(
    "given_up", [{}, {"public_key": None, "ip": ""}, {"ip": [], "ssh_host": "198.18.0.1"}]
)
def test_a_retired_registration_may_have_given_its_key_and_address_up(given_up: dict[str, object]) -> None:
    rules = ReadingRules(retired=frozenset({"gone"}))
    value = json.dumps({"state": "gone", **given_up}).encode()
    reading = read_kv("kv-json", "", PREFIX, [KvItem(f"{PREFIX}n", value)], FIELDS, rules)
    assert (reading.invalid, [one.retired for one in reading.registrations]) == ((), [True])


@pytest.mark.parametrize("layout", ["kv-json", "kv-fields"])
def test_values_in_utf_16_are_read_where_a_byte_order_mark_says_so(
    layout: Literal["kv-json", "kv-fields"],
) -> None:
    whole = {"": record("n").decode()} if layout == "kv-json" else {"/ip": "10.0.0.1", "/public_key": KEY}
    items = [KvItem(f"{PREFIX}n{rest}", text.encode("utf-16")) for rest, text in whole.items()]
    reading = read_kv(layout, "", PREFIX, items, FIELDS)
    assert (reading.invalid, [one.addresses for one in reading.registrations]) == ((), [("10.0.0.1/32",)])


def test_a_key_that_is_not_32_bytes_names_its_field() -> None:
    reason = parse(b'{"public_key": "AAAA", "ip": "10.0.0.1"}').reason
    assert reason == "public_key: not a public key: 4 characters where 32 bytes of base64 are 44"


def test_an_invalid_registration_shows_the_first_80_characters() -> None:
    invalid = refused(b"not json " * 100)
    assert invalid.excerpt == ("not json " * 100)[:80]
    assert (invalid.node, invalid.where) == (NODE, PREFIX + NODE.name)


@pytest.mark.parametrize(
    "value",
    [
        b'{"private_key": "%s", "ip": "10.0.0.1"}' % key_of("secret").encode(),
        b"[Interface]\nPrivateKey = %s\n" % key_of("secret").encode(),
        key_of("secret").encode(),
        b'{"tokens": {"consul": "abcd-efgh"}, "ip": "10.0.0.1"}',
        b'{"note": "https://hooks.example/abcd-efgh"}',
    ],
)
def test_an_excerpt_shows_no_key_token_or_url(value: bytes) -> None:
    """A prefix may point at the wrong place, such as where a tool keeps private keys."""
    excerpt = refused(value).excerpt
    assert key_of("secret")[:10] not in excerpt
    assert "abcd" not in excerpt


def test_a_secret_in_a_key_of_its_own_is_not_shown_when_the_layout_is_wrong() -> None:
    items = [KvItem(f"{PREFIX}n/private_key", b"hunter2"), KvItem(f"{PREFIX}n/note", b"hello")]
    invalid = read_kv("kv-json", "", PREFIX, items, FIELDS).invalid
    assert [one.excerpt for one in invalid] == ["[not shown]", "hello"]
    assert all("kv-fields" in one.reason for one in invalid)


def test_values_for_the_host_template_hold_nothing_that_is_no_host() -> None:
    more = {
        "rack": "r7",
        "mgmt": "198.18.0.1",
        "mgmt6": "fd00::1",
        "private_key": "abc",
        "token": "abc",
        "other_key": key_of("other"),
        "url": "https://hooks.example/x",
        "note": "two words",
        "bad name": "x",
    }
    assert good(record("x", **more)).values == {"mgmt": "198.18.0.1", "mgmt6": "fd00::1", "rack": "r7"}


def test_values_are_at_most_32() -> None:
    assert len(good(record("x", **{f"v{i}": "x" for i in range(100)})).values) == 32


def test_a_key_that_ends_at_the_prefix_names_no_node() -> None:
    reading = read_kv("kv-json", "dc1", PREFIX, [KvItem(PREFIX, record("x"))], FIELDS)
    assert reading.registrations == ()
    assert [one.reason for one in reading.invalid] == ["no node name: the key ends at the prefix"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_only_an_empty_folder_key_is_passed_over(layout: Layout) -> None:
    empty = [KvItem(PREFIX, None), KvItem(PREFIX + "old/", b"")]
    reading = read_kv(layout, "", PREFIX, empty, FIELDS)
    assert (reading.registrations, reading.invalid) == ((), ())
    for key in (PREFIX, PREFIX + "old/"):
        full = read_kv(layout, "", PREFIX, [KvItem(key, b"text")], FIELDS)
        assert len(full.invalid) == 1


def test_a_name_in_markup_is_kept_as_it_came() -> None:
    items = [KvItem(PREFIX + "[red]<!channel>", record("x"))]
    assert read_kv("kv-json", "", PREFIX, items, FIELDS).registrations[0].node.name == "[red]<!channel>"


def test_a_folder_of_keys_is_one_registration_with_the_address_keys_indexes() -> None:
    items = [
        KvItem(f"{PREFIX}n/ip", b"10.0.0.1 , fdaa::1", 11, 12),
        KvItem(f"{PREFIX}n/public_key", KEY.encode() + b"\n", 1, 2),
        KvItem(f"{PREFIX}n/rack", b"r7", 3, 4),
        KvItem(f"{PREFIX}n/blob", b"\xff\xfe", 5, 6),
    ]
    (registration,) = read_kv("kv-fields", "dc1", PREFIX, items, FIELDS).registrations
    assert registration.addresses == ("10.0.0.1/32", "fdaa::1/128")
    assert registration.values == {"rack": "r7"}
    assert (registration.create_index, registration.modify_index) == (11, 12)
    assert registration.where == f"{PREFIX}n/"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("ip", None, "ip: missing or empty"),
        ("ip", b" \n", "ip: missing or empty"),
        ("ip", b"\xff\xfe1", "ip: UTF-16 text that is cut off; write it as UTF-8"),
        ("ip", "10.0.0.1".encode("utf-16-le"), "ip: UTF-16 text; write it as UTF-8"),
        ("ip", b"\xff", "ip: not UTF-8 text"),
        ("ip", b'["10.0.0.1"', "ip: not an IP address"),
        ("ip", b'["10.0.0.1", "10.0.0.2/x"]', "ip[1]: prefix length is not a number"),
        ("public_key", None, "public_key: missing"),
        ("region", b"x" * 600_000, "region: larger than 524288 bytes"),
    ],
)
def test_a_field_of_a_folder_that_cannot_be_read_is_named_with_its_reason(
    field: str, value: bytes | None, reason: str
) -> None:
    folder: dict[str, bytes | None] = {"ip": b"10.0.0.1", "public_key": KEY.encode()}
    items = [KvItem(f"{PREFIX}n/{name}", content) for name, content in (folder | {field: value}).items()]
    (invalid,) = read_kv("kv-fields", "", PREFIX, items, FIELDS).invalid
    assert (invalid.node.name, invalid.reason) == ("n", reason)


def test_a_record_under_the_field_layout_asks_for_the_other_layout() -> None:
    (invalid,) = read_kv("kv-fields", "", PREFIX, [KvItem(PREFIX + "n", record("n"))], FIELDS).invalid
    assert "kv-json" in invalid.reason


def test_a_catalog_node_takes_its_ssh_host_from_its_address_unless_the_meta_says_otherwise() -> None:
    meta = {"public_key": KEY, "ip": "10.0.0.1"}
    nodes = [
        CatalogNode("a", "198.18.0.1", meta, 3, 4),
        CatalogNode("b", "198.18.0.2", {**meta, "ssh_host": "mgmt.example"}),
        CatalogNode("no-mesh-node", "198.18.0.3", {"region": "sin", "consul-network-segment": ""}),
    ]
    reading = read_catalog("dc1", nodes, FIELDS)
    assert [one.ssh_host for one in reading.registrations] == ["198.18.0.1", "mgmt.example"]
    assert [one.create_index for one in reading.registrations] == [3, None]
    assert reading.invalid == ()


def test_a_catalog_node_with_half_of_the_mesh_meta_is_reported() -> None:
    reading = read_catalog("dc1", [CatalogNode("a", "198.18.0.1", {"ip": "10.0.0.1"})], FIELDS)
    assert [one.reason for one in reading.invalid] == ["public_key: missing"]


@given(st.lists(hosts, min_size=1, max_size=8, unique=True), st.none() | plain_text, st.none() | plain_text)
def test_what_was_written_is_what_is_read(texts: list[str], region: str | None, host: str | None) -> None:
    """Round trip, in both KV layouts."""
    expected = tuple(parse_prefix(text) for text in texts)
    registration = good(record("edge-sin-1", texts, region=region, ssh_host=host))
    assert (registration.public_key, registration.addresses) == (KEY, expected)
    assert (registration.region, registration.ssh_host) == (region, host)

    fields = parse_fields(NODE, "", {"public_key": KEY, "ip": ", ".join(texts)}, FIELDS)
    assert fields.whole is not None
    assert fields.whole.addresses == expected


@given(st.binary(max_size=200), st.text(max_size=20))
def test_garbage_never_raises_and_never_becomes_a_registration(value: bytes, name: str) -> None:
    for layout in LAYOUTS:
        for key in (PREFIX + name, f"{PREFIX}{name}/ip"):
            reading = read_kv(layout, "", PREFIX, [KvItem(key, value)], FIELDS)
            assert reading.registrations == ()
            assert all(len(one.excerpt) <= 80 for one in reading.invalid)
            assert len(reading.invalid) + reading.others.total == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["ip", "public_key", "region", "endpoint", "ssh_host", "x"]), json_values)
)
def test_any_json_object_is_read_or_refused(document: dict[str, object]) -> None:
    parsed = parse(json.dumps(document).encode())
    assert parsed.registration is not None or parsed.unreadable is not None
    if parsed.unreadable is not None:
        json.dumps(parsed.unreadable.where + parsed.unreadable.excerpt).encode()


@given(st.permutations([*json.loads(record("x", region="sin", ssh_host="h", a="1", b="2")).items()]))
def test_the_order_of_a_records_fields_does_not_matter(pairs: list[tuple[str, object]]) -> None:
    ordered = record("x", region="sin", ssh_host="h", a="1", b="2")
    assert repr(good(json.dumps(dict(pairs)).encode())) == repr(good(ordered))


@given(st.permutations(["ip", "public_key", "region", "rack"]))
def test_the_order_of_a_folders_keys_does_not_matter(order: list[str]) -> None:
    values = {"ip": b"10.0.0.1", "public_key": KEY.encode(), "region": b"sin", "rack": b"r7"}
    items = [KvItem(f"{PREFIX}n/{name}", values[name]) for name in order]
    expected = [KvItem(f"{PREFIX}n/{name}", value) for name, value in values.items()]
    assert read_kv("kv-fields", "", PREFIX, items, FIELDS) == read_kv(
        "kv-fields", "", PREFIX, expected, FIELDS
    )


@given(st.text(' {}[]",:0ab\\\n\ufeff', max_size=24))
def test_what_is_no_json_is_refused_in_the_words_of_the_standard_library(text: str) -> None:
    """Whichever way its decoder is called."""
    expected = ["empty value"]
    # Of `{ ` the end is at character 2, and of `{` at character 1.
    for asked in (text.strip(AROUND), text.removeprefix("\ufeff")):
        try:
            json.loads(asked, strict=False)
        except json.JSONDecodeError as error:
            expected.append(f"not JSON: {error.msg.removesuffix(' at')} at character {error.pos}")
        else:
            return
    reason = refused(text.encode()).reason
    assert reason in expected or reason.startswith("not JSON: UTF-16")


@given(st.text(" \t\r\n", max_size=3), st.text(" \t\r\n", max_size=3))
def test_blanks_around_a_record_do_not_matter(before: str, after: str) -> None:
    value = record("x", region="sin", rack="r7")
    assert good(before.encode() + value + after.encode()) == good(value)


def test_no_password_of_a_host_and_no_encoded_key_gets_past_reading() -> None:
    """In a registration's host or endpoint, and in the excerpt of one that cannot be read."""
    made = good(
        record("edge-sin-1", ssh_host="root:planted@198.18.0.12", endpoint="root:planted@198.18.0.12:51820")
    )
    assert made.ssh_host == "[login]@198.18.0.12"
    assert "planted" not in str(made.endpoint)
    assert good(record("edge-sin-1", ssh_host="root:a@planted@198.18.0.12")).ssh_host == "[login]@198.18.0.12"
    encoded = base64.b64encode(base64.b64encode(bytes(range(32)))).decode()
    parsed = parse(f'{{"x": "{encoded}", "y": '.encode())
    assert parsed.unreadable is not None
    assert encoded[:20] not in parsed.unreadable.excerpt


def test_a_password_in_a_value_of_the_host_template_is_masked_in_the_gap() -> None:
    made = good(record("edge-sin-1", mgmt="root:pl@nted@198.18.0.12", rack="r7"))
    assert made.values == {"mgmt": "[login]@198.18.0.12", "rack": "r7"}
    with pytest.raises(ProbeError, match=r"\[login\]@198\.18\.0\.12") as caught:
        target_for(made, SshSettings(host="{mgmt}"), ())
    assert "nted" not in str(caught.value)


@pytest.mark.parametrize("value", [b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_alone_is_one_unreadable_registration(value: bytes) -> None:
    assert refused(value).reason.startswith("not JSON")
