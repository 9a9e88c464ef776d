"""Reading registrations from raw values: what is accepted, what is refused and why, and what never leaks."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.registry.records import (
    CatalogNode,
    KvItem,
    ReadRecord,
    parse_fields,
    parse_json_record,
    read_catalog,
    read_kv,
)
from auditor.settings.consul import ConsulFields
from auditor.values.addresses import Prefix, parse_prefix
from auditor.values.models import InvalidRegistration, NodeId, Registration
from tests.registry.records_of import PREFIX, key_of, record

NODE = NodeId("dc1", "edge-sin-1")
FIELDS = ConsulFields()
Layout = Literal["kv-json", "kv-fields"]
LAYOUTS: tuple[Layout, ...] = ("kv-json", "kv-fields")
KEY = key_of("edge-sin-1")

hosts = st.ip_addresses().map(str).filter(lambda text: not text.startswith("::ffff:"))
plain_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=253)


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
        (b"hello", "not JSON: Expecting value at character 0"),
        (b'{"ip": ', "not JSON: Expecting value at character 7"),
        (b"\xff\xfe", "not JSON: not UTF-8 text"),
        (b"[" * 50_000, "not JSON that can be read: a number too long, or nested too deep"),
        (b'{"ip": ' + b"9" * 5000 + b"}", "not JSON that can be read: a number too long, or nested too deep"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b'{"ip": "10.0.0.1", "ip": "10.0.0.2"}', 'the name "ip" stands twice'),
        (b'{"a": {"b": 1, "b": 2}}', 'the name "b" stands twice'),
        (b'{"ip": "10.0.0.1"}', "no public_key: field public_key is missing"),
        (b'{"ip": "10.0.0.1", "public_key": 5}', "public_key: not text"),
        (record("x", None), "no address: field ip is missing or empty"),
        (record("x", ""), "no address: field ip is missing or empty"),
        (record("x", []), "no address: field ip is missing or empty"),
        (record("x", 167772161), "ip: not text"),
        (record("x", {"v4": "10.0.0.1"}), "ip: not text"),
        (record("x", ["10.0.0.1", 5]), "ip[1]: not text"),
        (record("x", "10.0.0.1/8"), "ip: host bits set beyond /8"),
        (record("x", ["10.0.0.1", "10.0.0.2/8"]), "ip[1]: host bits set beyond /8"),
        (
            record("x", "010.0.0.1"),
            "ip: not an IPv4 address: an octet with a leading zero is octal to some programs",
        ),
        (record("x", "::ffff:10.0.0.1"), "ip: an IPv4-mapped IPv6 address; write the IPv4 address"),
        (record("x", "fe80::1%eth0"), "ip: an address with a zone (%) holds on one machine only"),
        (record("x", ["10.0.0.1"] * 65), "ip: 65 addresses, more than 64"),
        (record("x", region=["sin"]), "region: not text"),
        (record("x", endpoint=51820), "endpoint: not text"),
        (record("x", ssh_host="h" * 254), "ssh_host: 254 characters, more than 253"),
        (record("x", region="\ud800"), "region: holds a control character, or another that does not print"),
        (record("x", ssh_host="a\nb"), "ssh_host: holds a control character, or another that does not print"),
        (record("x", note="n" * 65_536), "65628 bytes, more than 65536"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_read_is_refused_with_its_reason(value: bytes | None, reason: str) -> None:
    assert refused(value).reason == reason


def test_a_key_that_is_not_32_bytes_names_its_field() -> None:
    reason = refused(b'{"public_key": "AAAA", "ip": "10.0.0.1"}').reason
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
        "number": 5,
        "bad name": "x",
    }
    assert good(record("x", **more)).values == {"mgmt": "198.18.0.1", "mgmt6": "fd00::1", "rack": "r7"}


def test_values_are_at_most_32() -> None:
    assert len(good(record("x", **{f"v{i}": "x" for i in range(100)})).values) == 32


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a/b", "key has a folder where a node is expected; is consul.layout kv-fields?"),
        ("a\x1b[31m", "node name: holds a control character, or another that does not print"),
        ("a\u202eb", "node name: holds a control character, or another that does not print"),
        ("n" * 254, "node name: 254 characters, more than 253"),
        ("", "no node name: the key ends at the prefix"),
    ],
)
def test_a_name_that_is_none_is_an_invalid_registration_with_the_name_as_it_came(
    name: str, reason: str
) -> None:
    reading = read_kv("kv-json", "dc1", PREFIX, [KvItem(PREFIX + name, record("x"))], FIELDS)
    assert reading.registrations == ()
    (invalid,) = reading.invalid
    assert invalid.reason == reason
    assert invalid.node == NodeId("dc1", name[:253])


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
        ("ip", None, "no address: field ip is missing or empty"),
        ("ip", b" \n", "no address: field ip is missing or empty"),
        ("ip", b"\xff", "ip: not UTF-8 text"),
        ("ip", b'["10.0.0.1"', "ip: begins like a JSON list, but is none"),
        ("ip", b'["10.0.0.1", "10.0.0.2/8"]', "ip[1]: host bits set beyond /8"),
        ("ip", b"10.0.0.1;10.0.0.2", "ip: not an IP address"),
        ("public_key", None, "no public_key: field public_key is missing"),
        ("other", b"x" * 65_537, "other: larger than 65536 bytes"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_with_its_reason(
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
    assert [one.reason for one in reading.invalid] == ["no public_key: field public_key is missing"]


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
            assert len(reading.invalid) == (0 if key.endswith("/") and not value else 1)


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
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        expected = f"not JSON: {error.msg.removesuffix(' at')} at character {error.pos}"
    else:
        return
    reason = refused(text.encode()).reason
    assert reason in (expected, "empty value") or "stands twice" in reason


@given(st.text(" \t\r\n", max_size=3), st.text(" \t\r\n", max_size=3))
def test_blanks_around_a_record_do_not_matter(before: str, after: str) -> None:
    value = record("x", region="sin", rack="r7")
    assert good(before.encode() + value + after.encode()) == good(value)
