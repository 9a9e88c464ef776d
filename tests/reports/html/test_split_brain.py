"""The split-brain picture as numbers: who stands where, how thick, and that no two labels meet."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.reports.html.split_brain import (
    MOST_DESTINATIONS,
    MOST_REGIONS,
    Picture,
    shortened,
    split_brain,
)
from auditor.reports.outline import outline
from auditor.values.findings import Evidence, Finding
from auditor.values.models import NodeId
from auditor.values.report import Verdict
from tests.reports import sample
from tests.reports.strategies import picks

LABEL = 30
"""Pixels from the first line's top to the second line's foot."""


def name_of(node: NodeId) -> str:
    return node.name


def picture_of(finding: Finding) -> Picture:
    """The picture of a contested address."""
    grouped = outline(sample.report(Verdict.FINDINGS, (finding,)))
    made = split_brain(grouped.contested[0], name_of)
    assert made is not None
    return made


def with_regions(*regions: dict[str, int], nobody: dict[str, int] | None = None) -> Finding:
    """The address with so many observers by region for each claimant."""
    names = [f"edge-{number}" for number in range(len(regions))]
    routing = [sample.pick(name, counts) for name, counts in zip(names, regions, strict=True) if counts]
    routing += [sample.pick(None, nobody)] if nobody else []
    evidence = Evidence(claims=sample.claims("10.0.0.1/32", *names), routing=tuple(routing))
    return replace(sample.PAIR, evidence=evidence)


def test_regions_stand_on_the_left_and_claimants_in_their_order_on_the_right() -> None:
    picture = picture_of(sample.PAIR)
    assert [bar.name for bar in picture.regions] == ["fra", "nrt", "iad", "sin", "ams"]
    assert [(bar.mark, bar.name, bar.observers) for bar in picture.destinations] == [
        ("A", "edge-fra-1", 12),
        ("B", "edge-sin-1", 23),
        ("", "nobody", 1),
    ]


def test_a_claimant_that_nobody_sends_to_is_drawn() -> None:
    picture = picture_of(with_regions({"fra": 7}, {}))
    assert [(bar.name, bar.observers) for bar in picture.destinations] == [("edge-0", 7), ("edge-1", 0)]
    assert picture.destinations[1].height > 0


def test_bands_are_as_thick_as_observers_are_many() -> None:
    picture = picture_of(with_regions({"fra": 60}, {"fra": 20, "sin": 40}))
    heights = {bar.name: bar.height for bar in (*picture.regions, *picture.destinations)}
    assert heights["fra"] == pytest.approx(2 * heights["sin"], abs=0.2)
    assert heights["edge-0"] == pytest.approx(heights["edge-1"], abs=0.2)


def test_one_observer_among_5000_is_still_seen() -> None:
    picture = picture_of(with_regions({"fra": 4_999}, {"sin": 1}))
    assert min(bar.height for bar in picture.regions) >= 1
    assert [bar.share for bar in picture.destinations] == ["99%", "<1%"]


def test_the_table_beneath_has_the_pictures_numbers() -> None:
    picture = picture_of(sample.TRIPLE)
    assert [sum(row) for row in picture.numbers] == [bar.observers for bar in picture.regions]
    assert [sum(column) for column in zip(*picture.numbers, strict=True)] == [
        bar.observers for bar in picture.destinations
    ]
    assert sum(map(sum, picture.numbers)) == picture.observers == 35


def test_the_description_says_what_the_picture_shows() -> None:
    picture = picture_of(sample.PAIR)
    assert picture.title == "Who sends 10.0.0.1 where: 36 observers of 5 regions, 2 servers"
    assert "12 observers (33%) send to edge-fra-1: fra 6 and iad 6." in picture.description
    assert "1 observer (3%) sends to nobody: iad 1." in picture.description


def test_many_regions_and_keys_are_summed_up_and_it_says_so() -> None:
    regions = [f"region-{number}" for number in range(40)]
    picture = picture_of(
        with_regions(
            *({name: 3 + (number * place) % 7 for place, name in enumerate(regions)} for number in range(14)),
            nobody={"": 3},
        )
    )
    assert len(picture.regions) == MOST_REGIONS
    assert [bar.name for bar in picture.regions[-2:]] == ["30 others", "unknown"]
    assert len(picture.destinations) == MOST_DESTINATIONS + 1
    assert [bar.name for bar in picture.destinations[-2:]] == ["7 other keys", "nobody"]
    assert picture.summed_up == (
        "the smallest of 40 regions are one bar; of 14 keys, those that fewest observers send to are one bar"
    )
    assert sum(map(sum, picture.numbers)) == picture.observers


@given(st.lists(picks(), max_size=20).map(tuple))
def test_no_two_labels_meet_and_all_is_inside_whatever_the_numbers(routing: tuple[object, ...]) -> None:
    routed = (*sample.PAIR.evidence.routing, *routing)
    finding = replace(sample.PAIR, evidence=replace(sample.PAIR.evidence, routing=routed))
    picture = picture_of(finding)
    for bars in (picture.regions, picture.destinations):
        for above, below in pairwise(bars):
            assert below.middle - above.middle >= LABEL
            assert below.y >= above.y + above.height
        assert bars[0].y >= 0
        assert bars[-1].y + bars[-1].height <= picture.height
        assert bars[-1].middle + LABEL / 2 <= picture.height
    assert sum(map(sum, picture.numbers)) == picture.observers


def test_no_observer_means_no_picture() -> None:
    finding = replace(sample.PAIR, evidence=Evidence(claims=sample.PAIR.evidence.claims))
    grouped = outline(sample.report(Verdict.FINDINGS, (finding,)))
    assert split_brain(grouped.contested[0], name_of) is None


def test_a_long_name_is_cut_in_its_middle_and_whole_in_the_title() -> None:
    assert shortened("core-router-singapore-001", 13) == "core-r…re-001"
    assert shortened("edge-sin-1", 13) == "edge-sin-1"
    assert shortened("名前名前名前名前", 9) == "名前…名前"
