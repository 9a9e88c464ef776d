"""Answers between a begin and an end line: cut out whole, whatever stands before them, or not at all."""

from __future__ import annotations

import itertools

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


# --- what goes on -----------------------------------------------------------------------------------

LIMIT = 300
PIECES = st.one_of(
    st.sampled_from(
        [
            FRAMING.wrap(b""),
            FRAMING.wrap(b"key value\n"),
            FRAMING.wrap(b"x" * 280 + b"\n"),
            FRAMING.wrap(b"x" * 310 + b"\n"),
            FRAMING.word("beat"),
            FRAMING.word("done"),
            b"\n",
            b"script/1 begin\n",
            b"script/1 end\n",
            b"script/1 beat",
            b"script/2 beat\n",
            b"y" * 1100,
        ]
    ),
    st.binary(max_size=20),
)


def parsed(pieces: list[bytes]) -> list[object]:
    stream = FRAMING.stream(("beat", "done"), LIMIT)
    said = [word for piece in pieces for word in stream.feed(piece)]
    return [(word.reason, word.detail) if isinstance(word, ProbeError) else word for word in said]


@given(st.lists(PIECES, max_size=12).map(b"".join), st.lists(st.integers(0, 3000), max_size=20))
def test_however_a_stream_is_cut_it_says_the_same(data: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    assert parsed(pieces) == parsed([data]) == parsed([bytes([byte]) for byte in data])


def test_a_stream_is_answers_and_words_behind_a_login_shells_noise() -> None:
    data = b"welcome\nno newline" + FRAMING.wrap(b"key 1\n") + FRAMING.word("beat") + FRAMING.wrap(b"")
    assert parsed([data]) == [b"key 1\n", "beat", b""]


@pytest.mark.parametrize(
    ("foreign", "detail"),
    [
        (b"hello\n", "something else than the script prints there: hello"),
        (b"script/1 beats\n", "something else than the script prints there: script/1 beats"),
        (b"script/1 end\n", "something else than the script prints there: script/1 end"),
        (b"\n\nscript/1 begin\n", "something else than the script prints there"),
        (b"z" * 2000, f"something else than the script prints there: {'z' * 200}"),
    ],
)
def test_foreign_text_between_answers_ends_a_stream_with_its_place(foreign: bytes, detail: str) -> None:
    said = parsed([FRAMING.wrap(b"key 1\n"), foreign, FRAMING.word("beat")])
    assert said == [b"key 1\n", (GapReason.UNREADABLE_OUTPUT, detail)]


def test_a_stream_holds_no_more_than_its_bound() -> None:
    assert parsed([FRAMING.wrap(b"x\n" * 1000)]) == [
        (GapReason.OUTPUT_TOO_LARGE, f"an answer of more than {LIMIT} bytes")
    ]
    stream = FRAMING.stream((), LIMIT)
    said = [word for _ in range(100) for word in stream.feed(b"x" * 1000)]
    assert len(said) == 1
    assert len(stream.said) <= 800
