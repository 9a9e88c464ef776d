"""Patterns of names, as ssh matches them."""

from __future__ import annotations

import pytest

from auditor.nodes.patterns import NamePatterns, lowered, matches, matches_list


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("node", "node", True),
        ("node", "n*e", True),
        ("node", "*", True),
        ("", "*", True),
        ("", "?", False),
        ("node", "n?de", True),
        ("node", "n?e", False),
        ("node", "*o*d*", True),
        ("node", "*o*x*", False),
        ("aab", "*ab", True),
        ("n[o]de", "n[o]de", True),
        ("node", "n[o]de", False),
    ],
)
def test_a_pattern_matches_the_whole_text(text: str, pattern: str, expected: bool) -> None:
    assert matches(text, pattern) is expected


def test_many_stars_end_in_time() -> None:
    assert not matches("a" * 20_000, "*a" * 200 + "*b")


def test_a_negated_pattern_outweighs_what_stands_before_it_and_behind() -> None:
    assert matches_list("a", "*,!b")
    assert not matches_list("b", "*,!b")
    assert not matches_list("b", "!b,*")
    assert not matches_list("a", "!b")


def test_only_ascii_letters_are_lowered() -> None:
    assert lowered("NODE-\u0130") == "node-\u0130"


@pytest.mark.parametrize(
    "patterns", ["a", "*a", "a*", "*a*", "a?", "*", "b,a", "*,!a", "!a,*", "!b,a", "a*a", "!b"]
)
def test_prepared_patterns_match_what_the_list_matches(patterns: str) -> None:
    prepared = NamePatterns(patterns.split(","))
    for text in ("", "a", "b", "aa", "ab", "ba", "aba"):
        assert prepared.match(text) is matches_list(text, patterns)


def test_a_comma_in_a_pattern_of_a_list_separates_nothing() -> None:
    assert not NamePatterns(["a?,b"]).match("b")
