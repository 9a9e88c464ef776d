"""Mesh addresses and public keys as values: one spelling each, and a reason for every refusal."""

from __future__ import annotations

import base64
import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import InvalidValue
from auditor.values.addresses import (
    Network,
    Prefix,
    format_prefix,
    is_host,
    network,
    packed,
    parse_prefix,
    parse_public_key,
    prefix_sort_key,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10.0.0.1", "10.0.0.1/32"),
        ("10.0.0.1/32", "10.0.0.1/32"),
        ("10.1.0.0/24", "10.1.0.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("fdaa::1", "fdaa::1/128"),
        ("FDAA:0::1", "fdaa::1/128"),
        ("fdaa:0:0:0:0:0:0:1/128", "fdaa::1/128"),
        ("fd00:1::/64", "fd00:1::/64"),
        ("::/0", "::/0"),
    ],
)
def test_every_spelling_of_an_address_becomes_one_value(text: str, value: str) -> None:
    """As `wg` prints it."""
    assert parse_prefix(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("010.0.0.1", "leading zero"),
        ("10.0.0.01/32", "leading zero"),
        ("10.0.0.1/8", "host bits"),
        ("fd00::1/64", "host bits"),
        ("10.0.0.0/33", "longer than 32"),
        ("fd00::/129", "longer than 128"),
        ("10.0.0.0/", "prefix length"),
        ("10.0.0.0/08", "leading zero"),
        ("10.0.0.0/-1", "prefix length"),
        ("10.0.0.0/²", "prefix length"),
        ("10.0.0.0/٨", "prefix length"),
        ("10.0.0.0/8/8", "prefix length"),
        ("::ffff:10.0.0.1", "IPv4-mapped"),
        ("fe80::1%eth0", "zone"),
        ("10.0.0.1%wg0", "zone"),
        ("10.0.0", "not an IP address"),
        ("167772161", "not an IP address"),
        ("10.0.0.256", "not an IP address"),
        (" 10.0.0.1", "not an IP address"),
        ("10.0.0.1\n", "not an IP address"),
        ("10.0.0.1\x00", "not an IP address"),
        ("fd00::1::2", "not an IPv6 address"),
        ("fd00::1\x00", "not an IPv6 address"),
        ("(none)", "not an IP address"),
        ("1" * 500, "500 characters"),
    ],
)
def test_what_is_not_one_clear_address_is_refused_with_its_reason(text: str, reason: str) -> None:
    """And without repeating the text, which may be a secret in the wrong field."""
    with pytest.raises(InvalidValue, match=reason) as caught:
        parse_prefix(text)
    assert len(text) < 3 or text not in str(caught.value)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(0, 128))
def test_a_canonical_prefix_reads_back_as_itself(address: object, length: int) -> None:
    """Against the standard library's own networks."""
    value = ip_address(str(address))
    if value.version == 6 and value.ipv4_mapped is not None:
        return
    length = min(length, value.max_prefixlen)
    whole = (IPv4Network if value.version == 4 else IPv6Network)((int(value), length), strict=False)
    prefix = parse_prefix(f"{whole.network_address}/{length}")
    assert parse_prefix(prefix) == prefix
    assert network(prefix) == whole
    assert packed(prefix) == whole.network_address.packed
    assert is_host(prefix) == (length == value.max_prefixlen)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    """Whatever stands in Consul, the reader answers with a value or with its own error."""
    for read in (parse_prefix, parse_public_key):
        try:
            value = read(text)
        except InvalidValue:
            continue
        assert read(value) == value


@st.composite
def near(draw: st.DrawFn, texts: st.SearchStrategy[str], characters: str) -> str:
    """One of the texts, or one with a character or two put in, changed or taken out."""
    text = draw(texts)
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.sampled_from(["", *characters])) + text[place + draw(st.booleans()) :]
    return text


spelled_addresses = st.one_of(
    st.ip_addresses().map(str),
    st.builds("{}/{}".format, st.ip_addresses(), st.sampled_from([0, 8, 24, 31, 32, 33, 64, 128, 129])),
    st.builds("10.0.0.0/{}".format, st.integers(0, 40)),
    st.text("0123456789./:af", max_size=20),
)


def as_the_standard_library_reads(text: str) -> Network | None:
    """Its network, or None; what it takes and we refuse for a reason of our own is None too."""
    _, slash, length = text.partition("/")
    if "%" in text or (slash and not re.fullmatch("0|[1-9][0-9]{0,2}", length)):
        return None
    try:
        found = ip_network(text)
    except ValueError:
        return None
    mapped = found.version == 6 and found.network_address.ipv4_mapped is not None
    return None if mapped else found


@settings(max_examples=100)
@given(near(spelled_addresses, "0123456789./:af% \n\x00٣"))
def test_an_address_is_read_as_the_standard_library_reads_it(text: str) -> None:
    """Whichever of our ways it takes: the short one for single IPv4 addresses, or the long one."""
    expected = as_the_standard_library_reads(text)
    try:
        prefix = parse_prefix(text)
    except InvalidValue:
        assert expected is None
        return
    assert network(prefix) == expected
    assert parse_prefix(prefix) == prefix
    if isinstance(expected, IPv4Network):
        assert prefix == str(expected)


@settings(max_examples=100)
@given(near(st.binary(min_size=31, max_size=33).map(base64.b64encode).map(bytes.decode), "AB+/=-_ \né"))
def test_a_key_is_read_where_its_base64_is_that_of_32_bytes(text: str) -> None:
    """Against the standard library: 32 bytes, and the very text that they would be written as."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    expected = len(raw) == 32 and base64.b64encode(raw).decode() == text
    try:
        assert parse_public_key(text) == text
    except InvalidValue:
        assert not expected
    else:
        assert expected


@given(st.binary(min_size=32, max_size=32))
def test_every_key_of_32_bytes_is_read(raw: bytes) -> None:
    """In its one base64 spelling."""
    text = base64.b64encode(raw).decode()
    assert parse_public_key(text) == text


@given(st.binary(max_size=64).filter(lambda raw: len(raw) != 32))
def test_a_key_of_another_length_is_refused(raw: bytes) -> None:
    """However well its base64 is formed."""
    with pytest.raises(InvalidValue, match="not a public key"):
        parse_public_key(base64.b64encode(raw).decode())


def test_a_second_spelling_of_a_key_is_refused() -> None:
    """The last character's two low bits do not reach the 32 bytes: `B` would be `A` once more."""
    text = "A" * 42 + "A="
    assert parse_public_key(text) == text
    with pytest.raises(InvalidValue, match="canonical"):
        parse_public_key("A" * 42 + "B=")


def test_a_key_with_a_newline_after_it_is_refused() -> None:
    """A regular expression's `$` would let it through."""
    with pytest.raises(InvalidValue):
        parse_public_key("A" * 43 + "=\n")


def test_a_host_is_shown_without_its_length_and_a_network_with_it() -> None:
    """As people write them."""
    assert format_prefix(Prefix("10.0.0.1/32")) == "10.0.0.1"
    assert format_prefix(Prefix("fd00::1/128")) == "fd00::1"
    assert format_prefix(Prefix("10.0.0.0/24")) == "10.0.0.0/24"
    assert format_prefix(Prefix("fd00::/32")) == "fd00::/32"


def test_an_ipv6_prefix_of_32_bits_is_no_host() -> None:
    """`/32` means one address in IPv4 only."""
    assert not is_host(Prefix("fd00::/32"))


def test_addresses_sort_by_value_and_not_by_text() -> None:
    """IPv4 before IPv6, 10.0.0.2 before 10.0.0.10, the wider prefix first."""
    values = ["10.0.0.2/32", "10.0.0.10/32", "10.1.0.0/16", "10.1.0.0/24", "10.1.0.0/32", "fd00::2/128"]
    assert sorted(map(Prefix, reversed(values)), key=prefix_sort_key) == values
