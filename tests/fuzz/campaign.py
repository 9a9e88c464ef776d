"""Mutations of a corpus, and what each must come to: no other exception, little memory, little time, one line."""

from __future__ import annotations

import random
import resource
import time

from tests.fuzz.targets import FuzzTarget

MOST_SECONDS = 5.0
MOST_MEGABYTES = 512
"""Growth of the process by one input, which is a few KB."""
WORDS = (
    *(
        b"\x00",
        b"\xff",
        b"\n",
        b"\r",
        b"\t",
        b" ",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b"," * 50,
        b"=",
        b"%h",
    ),
    *(
        b"null",
        b"true",
        b"-1",
        b"1e999",
        b"NaN",
        b"9" * 40,
        b"9" * 5000,
        b"[" * 2000,
        b"\\ud800",
        b"10.0.0.0/8",
    ),
    *(
        "\u202e".encode(),
        "\u2028".encode(),
        b"\x1b[2J",
        b"0001-01-01T00:00:00+14:00",
        b"9999-12-31T23:59:59-14:00",
    ),
)


def mutated(corpus: tuple[bytes, ...], chance: random.Random) -> bytes:
    """One input: pieces exchanged, doubled, cut out, overwritten, spliced from another."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((0, 1, 1, 4, 16, 200)))
        match chance.randrange(5):
            case 0:
                data[at:end] = chance.choice(WORDS)
            case 1:
                data[at:end] = data[at:end] * chance.choice((0, 2, 3, 100))
            case 2:
                data[at:end] = bytes(chance.randrange(256) for _ in range(end - at))
            case 3:
                other = chance.choice(corpus)
                start = chance.randrange(len(other) + 1)
                data[at:end] = other[start : start + chance.choice((1, 20, 500))]
            case _:
                del data[at:end]
    return bytes(data)


def try_one(target: FuzzTarget, raw: bytes) -> None:
    """Read one input. Raises `AssertionError` where it costs too much or tells badly, and whatever is not ours."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        target.read(raw)
    except target.errors as error:
        for line in getattr(error, "lines", (str(error),)):
            assert "\n" not in line, line
            assert len(line) < 4000, line[:200]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    assert grown < MOST_MEGABYTES, f"{grown} MB"
    assert time.monotonic() - begun < MOST_SECONDS
