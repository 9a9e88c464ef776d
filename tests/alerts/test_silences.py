"""Which silence mutes what, and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.silences import active, expired, matches, muting
from tests.alerts.incidents import MINUTE, NOW, finding, incidents, report, silence

(TOLD,) = incidents(report(finding("10.0.0.9", "ab", regions=("fra", "sin"))))
WORDS = {
    "checks": ("duplicate-address", "key-drift"),
    "addresses": ("10.0.0.9/32", "10.0.0.8/32"),
    "names": ("a", "b", "c"),
    "regions": ("fra", "sin", "ams"),
}
matchers = st.fixed_dictionaries({kind: st.sets(st.sampled_from(words)) for kind, words in WORDS.items()})


@pytest.mark.parametrize(
    ("matcher", "mutes"),
    [
        ({"checks": {"duplicate-address"}}, True),
        ({"checks": {"duplicate-address", "key-drift"}}, True),
        ({"checks": {"key-drift"}}, False),
        ({"addresses": {"10.0.0.9/32"}}, True),
        ({"addresses": {"10.0.0.0/8"}}, False),
        ({"names": {"a", "b"}}, True),
        ({"names": {"a", "b", "c"}}, True),
        ({"names": {"a"}}, False),
        ({"regions": {"fra", "sin"}}, True),
        ({"regions": {"fra"}}, False),
        ({}, False),
        ({"checks": {"duplicate-address"}, "names": {"a", "b"}}, True),
        ({"checks": {"key-drift"}, "names": {"a", "b"}}, False),
        ({"addresses": {"10.0.0.9/32"}, "regions": {"fra"}}, False),
    ],
)
def test_all_matchers_that_are_set_must_match(matcher: dict[str, set[str]], mutes: bool) -> None:
    """Nodes and regions must cover all of the incident's; what sets nothing matches nothing."""
    assert matches(silence(**matcher), TOLD) is mutes  # type: ignore[arg-type]


@pytest.mark.parametrize("matcher", [{"names": {"a"}}, {"regions": {"fra"}}, {"addresses": {""}}])
def test_an_incident_without_nodes_regions_or_address_is_matched_by_none_of_them(
    matcher: dict[str, set[str]],
) -> None:
    """All of nothing is not a match."""
    bare = replace(TOLD, nodes=(), regions=(), address="")
    assert matches(silence(**matcher), bare) is False  # type: ignore[arg-type]


@given(matchers)
def test_one_matcher_more_never_mutes_more(words: dict[str, set[str]]) -> None:
    """Each narrows it, unless it was the first."""
    full = silence(**words)  # type: ignore[arg-type]
    for kind, given_words in words.items():
        rest = {other: found for other, found in words.items() if other != kind}
        if given_words and any(rest.values()) and matches(full, TOLD):
            assert matches(silence(**rest), TOLD)  # type: ignore[arg-type]


@given(matchers)
def test_one_claimant_more_never_mutes_more(words: dict[str, set[str]]) -> None:
    """A silence for a planned pair does not hide a third."""
    more = replace(TOLD, nodes=(*TOLD.nodes, "stranger"))
    mute = silence(**words)  # type: ignore[arg-type]
    assert matches(mute, TOLD) or not matches(mute, more)


@pytest.mark.parametrize(
    ("after_start", "holds"), [(-1, False), (0, True), (59, True), (60, False), (61, False)]
)
def test_a_silence_holds_from_its_start_up_to_its_end(after_start: int, holds: bool) -> None:
    """For one minute; at its end it is over."""
    mute = silence(names="ab", start=NOW, end=NOW + MINUTE)
    now = NOW + timedelta(seconds=after_start)
    assert active(mute, now) is holds
    assert (muting(TOLD, [mute], now) is mute) is holds


def test_of_several_the_one_that_ends_last_is_named() -> None:
    """In whatever order they come."""
    mutes = [
        silence(ident, names="ab", end=NOW + end * MINUTE) for ident, end in (("s1", 5), ("s2", 9), ("s3", 9))
    ]
    others = [silence("past", names="ab", end=NOW), silence("other", names="cd")]
    for order in permutations((*mutes, *others)):
        found = muting(TOLD, order, NOW)
        assert found is not None
        assert found.ident == "s3"


def test_nothing_is_muted_without_silences() -> None:
    """None."""
    assert muting(TOLD, (), NOW) is None


@pytest.mark.parametrize(("start", "end", "ends"), [(-9, 9, 0), (-9, -1, -1), (-9, 0, 0), (5, 9, 5)])
def test_an_expired_silence_never_holds_again(start: int, end: int, ends: int) -> None:
    """One that ended stays as it was; one that had not begun never begins."""
    mute = silence(names="ab", start=NOW + start * MINUTE, end=NOW + end * MINUTE)
    over = expired(mute, NOW)
    assert over == replace(mute, ends_at=NOW + ends * MINUTE)
    assert not any(active(over, NOW + minute * MINUTE) for minute in range(20))


def test_a_name_with_its_datacenter_is_matched_as_it_is_shown() -> None:
    """People copy it from the page."""
    told = replace(TOLD, nodes=("a@dc1", "b"))
    assert matches(silence(names={"a@dc1", "b"}), told)
    assert not matches(silence(names={"a", "b"}), told)
