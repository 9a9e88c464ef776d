"""What a JSON text may hold before anything is built of it."""

from __future__ import annotations

import json

import pytest

from auditor.errors import InvalidValue
from auditor.values.json_bounds import LONGEST_NUMBER, SPARE_VALUES, check_json


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" + "0," * 2 * SPARE_VALUES + "0]", "values in .* so dense"),
        ("[" * 99_000 + "]" * 99_000, "nested too deep"),
        ('{"a": {"b": 1, "c": 2, "b": 1}}', "a name stands twice"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1e999}', "too large"),
        (f'{{"a": {"9" * (LONGEST_NUMBER + 1)}}}', "a number of 33 characters"),
        (f'{{"a": {"9" * 5000}}}', "a number of 5,000 characters"),
        (f'{{"{"n" * 2000}": 1}}', "a name of 2,000 characters"),
        (f'{{"a": "{"x" * 200_000}"}}', "a text of 200,000 characters"),
        ('{"a": 1', "not JSON"),
        ("", "not JSON"),
    ],
)
def test_what_no_file_of_ours_holds_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidValue, match=says) as caught:
        check_json(text.encode())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_what_is_not_text_is_refused() -> None:
    with pytest.raises(InvalidValue, match="not UTF-8"):
        check_json(b'{"a": "\xff"}')


def test_a_packed_text_may_hold_less() -> None:
    """It unpacks to as much as its maker likes."""
    text = json.dumps([{"source": "ssh", "detail": "x" * 40}] * 60_000).encode()
    check_json(text)
    with pytest.raises(InvalidValue, match="values in 9,000 bytes"):
        check_json(text, packed=9000)


def test_a_large_text_of_honest_values_passes() -> None:
    check_json(json.dumps([{"name": f"edge-{n}", "address": "10.0.0.1/32"} for n in range(60_000)]).encode())
