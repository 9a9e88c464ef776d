"""PURE: the part of a node's name that tells its region, as a pattern, held against the registered regions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from auditor.values.region_pattern import RegionPattern
from auditor.values.registry_guess import PatternGuess

_LEAST_SHARE = 0.6
"""Share of names of which a pattern must read the registered region to be proposed."""
_MOST_DIFFERING = 3
_PLACES = 4
"""Parts of a name from either end that are looked at."""
_SEPARATORS = "-._"
_FEWEST_NAMES = 3
_MOST_WORDS = 64


def guess_pattern(regions: Mapping[str, str | None]) -> PatternGuess | None:
    """Guess the pattern from the nodes' names and their registered regions.

    Where no region is registered, the part is taken that has few different words of letters. None: no part tells it.
    """
    known = {name: region for name, region in regions.items() if region}
    candidates = dict.fromkeys(_patterns(tuple(known or regions), tuple(sorted({*known.values()}))))
    if not known:
        found = [guess for pattern in candidates if (guess := _by_words(pattern, tuple(regions)))]
    else:
        found = [counted_pattern(pattern, regions) for pattern in candidates]
    best = max(found, key=lambda guess: guess.matching, default=None)
    if best is None or best.matching < _LEAST_SHARE * best.of or best.matching < min(2, best.of):
        return None
    return best


def counted_pattern(pattern: str, regions: Mapping[str, str | None]) -> PatternGuess:
    """Hold a pattern against the registered regions. Raises `InvalidValue` for a pattern that is none."""
    compiled = RegionPattern(pattern)
    known = {name: region for name, region in regions.items() if region}
    if not known:
        read = sum(compiled.region(name) is not None for name in regions)
        return PatternGuess(pattern, read, len(regions), (), False)
    differing, matching = [], 0
    for name, region in sorted(known.items()):
        named = compiled.region(name)
        if named == region:
            matching += 1
        elif named is not None:
            differing.append((name, named, region))
    return PatternGuess(pattern, matching, len(known), tuple(differing[:_MOST_DIFFERING]), True)


def _patterns(names: Sequence[str], regions: Sequence[str]) -> Iterator[str]:
    """Yield patterns for each part of the names, counted from either end, with the most usual separator."""
    separators = Counter(letter for name in names for letter in name if letter in _SEPARATORS)
    if not separators:
        return
    letter = separators.most_common(1)[0][0]
    separator, other = r"\." if letter == "." else letter, f"[^{letter}]"
    for group in _groups(regions, other):
        for place in range(_PLACES):
            yield f"^{_repeated(f'{other}+{separator}', place)}(?P<region>{group})(?:{separator}|$)"
            yield f"(?:^|{separator})(?P<region>{group}){_repeated(f'{separator}{other}+', place)}$"
            # fra1, fra2: the number of a site behind the region.
            yield f"^{_repeated(f'{other}+{separator}', place)}(?P<region>{group})[0-9]+(?:{separator}|$)"


def _groups(regions: Sequence[str], other: str) -> Iterator[str]:
    """Yield forms of a region's name, the narrowest first: three letters, letters, anything."""
    lengths = {len(region) for region in regions}
    letters = all(re.fullmatch(r"[a-z]+", region) for region in regions)
    if regions and letters and len(lengths) == 1:
        yield f"[a-z]{{{lengths.pop()}}}"
    elif regions and letters:
        yield "[a-z]+"
    elif regions:
        yield f"{other}+"
    else:
        yield "[a-z]{3}"


def _repeated(part: str, times: int) -> str:
    return {0: "", 1: part}.get(times, f"(?:{part}){{{times}}}")


def _by_words(pattern: str, names: Sequence[str]) -> PatternGuess | None:
    """Take a pattern for a region's where it reads few different words, each of several names."""
    compiled = RegionPattern(pattern)
    words = Counter(word for name in names if (word := compiled.region(name)) is not None)
    several = len(names) >= _FEWEST_NAMES and 2 <= len(words) <= min(_MOST_WORDS, len(names) // 2)
    return PatternGuess(pattern, words.total(), len(names), (), False) if several else None
