"""The quick way to read Consul's list of keys: it says what the library's way says, or nothing."""

from __future__ import annotations

import base64
import json

import pytest
from consul.base import CB, Response
from hypothesis import example, given
from hypothesis import strategies as st

from auditor.errors import RegistryError
from auditor.registry.answers import kv_items, quick_kv_items
from auditor.registry.records import KvItem
from tests.registry.records_of import PREFIX, record

Row = dict[str, object]


def row(name: str, value: bytes | None, **more: object) -> Row:
    """One row as Consul writes it."""
    text = None if value is None else base64.b64encode(value).decode()
    return {
        "LockIndex": 0,
        "Key": PREFIX + name,
        "Flags": 0,
        "Value": text,
        "CreateIndex": 5,
        "ModifyIndex": 6,
        **more,
    }


def read_by_the_library(body: bytes) -> list[KvItem] | None:
    """What python-consul2's decoder and the checks after it make of the body; None where they refuse it."""
    try:
        answer = CB.json(decode="Value", map=lambda found: found or None)(
            Response(200, {}, body.decode(), body)
        )
        return kv_items(answer, PREFIX, "asked")
    except (ValueError, TypeError, AttributeError, RecursionError, RegistryError):
        return None


def quickly(body: bytes) -> list[KvItem] | None:
    items = quick_kv_items(body, PREFIX)
    return None if items is None else list(items)


ordinary = st.builds(
    row,
    st.text(max_size=12),
    st.none() | st.binary(max_size=40),
    CreateIndex=st.integers(0, 2**64),
    ModifyIndex=st.integers(0, 2**64),
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
odd = st.builds(
    lambda whole, field, value: {**whole, field: value},
    ordinary,
    st.sampled_from(["Key", "Value", "CreateIndex", "ModifyIndex", "Session"]),
    scalars | st.lists(scalars, max_size=2) | st.just("d29ybGQ") | st.just("d29y*bGQ="),
) | st.builds(
    lambda whole, field: {k: v for k, v in whole.items() if k != field},
    ordinary,
    st.sampled_from(["Key", "Value", "CreateIndex", "ModifyIndex"]),
)


def test_an_ordinary_answer_is_read_in_the_quick_way() -> None:
    body = json.dumps([row("edge-sin-1", record("edge-sin-1")), row("old/", None)]).encode()
    assert quickly(body) == [
        KvItem(PREFIX + "edge-sin-1", record("edge-sin-1"), 5, 6),
        KvItem(PREFIX + "old/", None, 5, 6),
    ]


@given(st.lists(ordinary, max_size=4), st.booleans())
def test_every_answer_of_a_consul_is_read_in_the_quick_way_and_as_the_library_reads_it(
    rows: list[Row], ascii_only: bool
) -> None:
    body = json.dumps(rows, ensure_ascii=ascii_only).encode()
    assert quickly(body) == read_by_the_library(body)


@example([], b"null")
@example([], b"{}")
@example([], b'""')
@example([], b"NaN")
@given(st.lists(ordinary | odd | scalars, max_size=3), st.binary(max_size=3))
def test_whatever_the_quick_way_reads_the_library_reads_the_same(rows: list[object], after: bytes) -> None:
    """And where it reads nothing, the library is asked."""
    body = (json.dumps(rows).encode() if rows else b"") + after
    found = quickly(body)
    if found is not None:
        assert found == read_by_the_library(body)


@given(st.lists(ordinary, min_size=1, max_size=3), st.data())
def test_a_body_that_is_cut_or_changed_is_never_read_otherwise_than_by_the_library(
    rows: list[Row], data: st.DataObject
) -> None:
    body = bytearray(json.dumps(rows).encode())
    place = data.draw(st.integers(0, len(body) - 1))
    body[place : place + data.draw(st.integers(0, 2))] = data.draw(
        st.sampled_from(list(b'{}[]",:0.eE-\\u \xff\x00')).map(lambda one: bytes([one]))
    )
    found = quickly(bytes(body))
    if found is not None:
        assert found == read_by_the_library(bytes(body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b'{"Key": "x"}',
        b"{}",
        b'[{"Key": "elsewhere/x", "Value": null, "CreateIndex": 1, "ModifyIndex": 1}]',
        b'[{"Key": "wireguard/nodes/x", "Value": "x", "CreateIndex": 1, "ModifyIndex": 1}]',
        b'[{"Key": "wireguard/nodes/x", "Value": 7, "CreateIndex": 1, "ModifyIndex": 1}]',
        b'[{"Key": "wireguard/nodes/x", "Value": null, "CreateIndex": true, "ModifyIndex": 1}]',
        b'[{"Key": "wireguard/nodes/x", "Value": null}]',
        b"[" * 100_000,
    ],
    ids=lambda body: body[:24].decode(),
)
def test_an_odd_answer_is_left_to_the_library(body: bytes) -> None:
    assert quickly(body) is None
