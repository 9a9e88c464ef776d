"""Keys and URLs do not get through, whole or cut; other text does."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from auditor.values.text import masked

words = st.text(st.characters(categories=["Ll"], max_codepoint=127), max_size=10)
keys = st.binary(min_size=32, max_size=32).map(lambda raw: base64.b64encode(raw).decode())


@given(words, keys, words)
def test_no_key_gets_through(before: str, key: str, after: str) -> None:
    assert key not in masked(f"{before} {key} {after}")


@given(keys, st.integers(12, 43))
def test_the_beginning_of_a_key_at_a_cut_does_not_get_through(key: str, kept: int) -> None:
    assert key[:12] not in masked(f"Key is not valid: {key[:kept]}", cut=True)


def test_a_url_does_not_get_through() -> None:
    assert masked("to https://hooks.example.net/services/T0/B0/x failed") == "to [url] failed"


def test_plain_words_and_paths_get_through() -> None:
    text = "Unable to access interface: No such device (/usr/bin/wg)"
    assert masked(text) == text
