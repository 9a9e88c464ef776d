"""Answers between a begin and an end line: cut out whole, whatever stands before them, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import GapReason, ProbeError
from auditor.nodes.framing import MAX_NOISE, Framing, error_line

FRAMING = Framing("script/1", "the script")


@given(noise=st.binary(max_size=200), lines=st.lists(st.from_regex(r"\A[a-z ]{0,20}\Z"), max_size=5))
def test_the_body_is_what_was_wrapped_behind_any_noise(noise: bytes, lines: list[str]) -> None:
    body = "".join(f"{line}\n" for line in lines).encode()
    assert FRAMING.body(noise + FRAMING.wrap(body)) == body


@pytest.mark.parametrize("cut", [1, 5, len(b"script/1 end\n")])
def test_an_answer_without_its_end_is_no_answer(cut: int) -> None:
    with pytest.raises(ProbeError, match="cut short") as caught:
        FRAMING.body(FRAMING.wrap(b"key value\n")[:-cut])
    assert caught.value.reason is GapReason.UNREADABLE_OUTPUT


def test_an_answer_behind_too_much_noise_did_not_begin() -> None:
    """The search for it is bounded."""
    data = b"x" * (MAX_NOISE + 1) + FRAMING.wrap(b"")
    assert not FRAMING.begun(data)
    with pytest.raises(ProbeError, match="no answer of the script: xxx"):
        FRAMING.body(data)


def test_an_error_line_is_found_behind_other_lines_and_only_at_a_lines_beginning() -> None:
    assert error_line(b"key a\nerror no-wg wg was not found\n") == ("no-wg", "wg was not found")
    assert error_line(b"note error no-wg\n") is None
