"""Claims as text: what is written is read again, and what is no claim is refused with its reason."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import InvalidValue
from auditor.repair.claims.claim import claim_bytes, claim_key, claimed_prefix, read_claim
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import parse_prefix
from tests.registry.records_of import key_of

CLAIMS = "wireguard/claims/"
V4, V6 = st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(2**64, 2**128 - 1).map(IPv6Address)
PREFIXES = st.one_of(V4, V6).map(lambda address: parse_prefix(str(address)))
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001  (hypothesis adds the zone)
    lambda time: time.replace(microsecond=0, tzinfo=UTC)
)
NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
CLAIM = st.builds(
    AddressClaim,
    PREFIXES,
    st.sampled_from(ClaimState),
    NAMES,
    st.none() | NAMES.map(key_of),
    TIMES,
    st.none() | TIMES,
    NAMES,
)


@given(claim=CLAIM)
def test_a_claim_is_read_as_it_was_written(claim: AddressClaim) -> None:
    key = claim_key(CLAIMS, claim.prefix)
    assert ":" not in key
    assert read_claim(CLAIMS, key, claim_bytes(claim)) == claim
    assert claimed_prefix(CLAIMS, key) == claim.prefix


@given(value=st.binary(max_size=200))
def test_any_bytes_are_a_claim_or_refused_with_a_reason(value: bytes) -> None:
    with contextlib.suppress(InvalidValue):
        assert read_claim(CLAIMS, f"{CLAIMS}10.0.0.7", value).prefix == "10.0.0.7/32"


def written(**changes: object) -> bytes:
    document = {"state": "held", "node": "a", "public_key": key_of("a"), "at": "2026-03-01T03:00:00Z"}
    return json.dumps({**document, **changes}).encode()


def test_what_others_write_needs_no_more_than_the_document_says() -> None:
    claim = read_claim(CLAIMS, f"{CLAIMS}10.0.0.7", written())
    assert (claim.state, claim.node, claim.until, claim.by) == (ClaimState.HELD, "a", None, "")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": "mine"}, "its state is none of"),
        ({"state": ["held"]}, "its state is none of"),
        ({"state": {}}, "its state is none of"),
        ({"node": 7}, "node and by must be text"),
        ({"node": "a\x1b[2J"}, "node and by must be text"),
        ({"public_key": "swordfish"}, "not a public key"),
        ({"public_key": 7}, "public_key is not text"),
        ({"at": None}, "at is no time"),
        ({"at": "2026-03-01T03:00:00"}, "at is no time with its zone"),
        ({"until": "soon"}, "until is no time"),
        ({"until": "0001-01-01T00:00:00+14:00"}, "until is no time"),
        ({"by": "x" * 5000}, "more than 4096"),
    ],
)
def test_what_is_no_claim_is_refused_with_its_reason(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason):
        read_claim(CLAIMS, f"{CLAIMS}10.0.0.7", written(**changes))


@pytest.mark.parametrize("value", [b"", b"null", b"[]", b"\xff", b"[" * 4000, b'{"state": "held"'])
def test_what_is_no_json_object_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidValue, match=r"not JSON|not a JSON object"):
        read_claim(CLAIMS, f"{CLAIMS}10.0.0.7", value)


@pytest.mark.parametrize(
    "last", ["", "adopted", "10.0.0.0-8", "10.0.0.07", "fd00::7", "fd00-0-0--7", "10.0.0.7/32"]
)
def test_a_key_that_names_no_single_address_in_canonical_form_is_none(last: str) -> None:
    with pytest.raises(InvalidValue):
        claimed_prefix(CLAIMS, CLAIMS + last)
