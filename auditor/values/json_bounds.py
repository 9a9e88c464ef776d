"""Bounds on JSON from files and servers, checked before anything is built of it: little text, little memory."""

from __future__ import annotations

import json
import math
import re

from auditor.errors import InvalidValue

SPARE_VALUES = 100_000
"""Values that any text may hold."""
BYTES_A_VALUE = 8
"""Bytes of text for each value beyond: what we write has more, names and all."""
VALUES_A_PACKED_BYTE = 2
"""Values for each byte of a packed file: names and keys do not pack well."""
LONGEST_NUMBER = 32
"""Characters of a number; 2**64 has 20 digits."""
LONGEST_NAME = 1024
LONGEST_TEXT = 128 * 1024
"""Characters of a text inside an object, but for a route table's."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_count(raw: bytes | bytearray, packed: int | None = None) -> None:
    """Refuse a text of more values than its length could honestly hold. Raises `InvalidValue`.

    packed: bytes that it was packed into.
    """
    check_density(count_values(raw), len(raw), packed)


def count_values(raw: bytes | bytearray) -> int:
    """Count the values of a text from above: marks inside texts count too, of which what we write has few."""
    return sum(map(raw.count, (b",", b"[", b"{")))


def check_density(values: int, size: int, packed: int | None = None) -> None:
    """Refuse so many values in a text of so many bytes, packed into so many. Raises `InvalidValue`."""
    room = size // BYTES_A_VALUE
    if packed is not None:
        room = min(room, packed * VALUES_A_PACKED_BYTE)
    if values > SPARE_VALUES + room:
        held = size if packed is None else packed
        raise InvalidValue(f"{values:,} values in {held:,} bytes; nothing that is meant is so dense")


def check_json(raw: bytes, packed: int | None = None) -> None:
    """Check a text of JSON, and keep nothing. Raises `InvalidValue` that names the fault without repeating it.

    Refused are too many values, numbers and names too long, a name that stands twice in one object (readers differ in
    which they take), `NaN` and `Infinity`, and what is nested too deep or no JSON.
    """
    check_count(raw, packed)
    try:
        _DECODER.decode(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidValue("not JSON: not UTF-8 text") from None
    except RecursionError:
        raise InvalidValue("not JSON that can be read: nested too deep") from None
    except json.JSONDecodeError as error:
        raise InvalidValue(f"not JSON: {error.msg} at character {error.pos}") from None


def short_integer(text: str) -> int:
    """Read a whole number of JSON. Raises `InvalidValue` where it is too long."""
    _short_number(text)
    return int(text)


def _kept_nothing(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise InvalidValue("a name stands twice in one object")
    for name, value in pairs:
        if len(name) > LONGEST_NAME:
            raise InvalidValue(f"a name of {len(name):,} characters")
        if isinstance(value, str) and len(value) > LONGEST_TEXT and not _DIGEST.fullmatch(name):
            raise InvalidValue(f"{name[:40]}: a text of {len(value):,} characters")


def _short_number(text: str) -> None:
    if len(text) > LONGEST_NUMBER:
        raise InvalidValue(f"a number of {len(text):,} characters")


def _finite(text: str) -> None:
    _short_number(text)
    if not math.isfinite(float(text)):
        raise InvalidValue("a number that is too large")


def _no_number(text: str) -> None:
    raise InvalidValue(f"{text} is no number of JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_kept_nothing, parse_int=_short_number, parse_float=_finite, parse_constant=_no_number
)
