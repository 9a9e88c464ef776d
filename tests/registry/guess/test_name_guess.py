"""Guess at the place of the region in names, held against registered regions."""

from __future__ import annotations

import pytest

from auditor.registry.guess.name_guess import counted_pattern, guess_pattern
from auditor.values.region_pattern import RegionPattern


@pytest.mark.parametrize(
    "regions",
    [
        {"edge-fra-1": "fra", "db-sin-2": "sin"},
        {"fra-edge-1": "fra", "sin-db-2": "sin"},
        {"edge1.fra.example": "fra", "edge2.sin.example": "sin"},
        {"web-12-fra": "fra", "web-frontend-3-sin": "sin"},
        {"edge-fra1-1": "fra", "db-sin2-2": "sin"},
        {"edge-eu-1": "eu", "db-asia-2": "asia"},
        {"edge_eu1_1": "eu1", "db_us2_2": "us2"},
    ],
)
def test_the_part_that_is_the_region_is_found(regions: dict[str, str | None]) -> None:
    found = guess_pattern(regions)
    assert found is not None
    assert {name: RegionPattern(found.pattern).region(name) for name in regions} == regions
    assert (found.matching, found.of) == (len(regions), len(regions))


def test_names_that_do_not_fit_are_named_with_both_regions() -> None:
    regions: dict[str, str | None] = {f"edge-fra-{number}": "fra" for number in range(9)}
    found = guess_pattern({**regions, "edge-fra-9": "sin"})
    assert found is not None
    assert (found.matching, found.of, found.differing) == (9, 10, (("edge-fra-9", "fra", "sin"),))


def test_names_without_a_region_give_no_pattern() -> None:
    assert guess_pattern({f"host{number}": "fra" for number in range(9)}) is None
    assert guess_pattern({f"a-{number}": ["fra", "sin", "ams"][number % 3] for number in range(9)}) is None


def test_without_registered_regions_few_words_of_many_names_are_taken() -> None:
    names: dict[str, str | None] = {
        f"edge-{['fra', 'sin'][number % 2]}-{number}": None for number in range(8)
    }
    found = guess_pattern(names)
    assert found is not None
    assert not found.against_registered
    assert RegionPattern(found.pattern).region("edge-fra-0") == "fra"


def test_a_pattern_that_a_person_names_is_counted() -> None:
    found = counted_pattern("^(?P<region>[a-z]+)-", {"fra-1": "fra", "sin-1": "fra"})
    assert (found.matching, found.of) == (1, 2)
