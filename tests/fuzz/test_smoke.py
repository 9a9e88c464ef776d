"""A few seconds of the campaign: the corpus as it is, and some mutations of it."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.campaign import mutated, try_one
from tests.fuzz.targets import targets

TARGETS = targets()


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_read_or_refused_in_one_line(name: str) -> None:
    target, chance = TARGETS[name], random.Random(name)  # noqa: S311  (no secret)
    assert target.corpus
    for raw in (b"", *target.corpus, *(mutated(target.corpus, chance) for _ in range(60))):
        try_one(target, raw)
