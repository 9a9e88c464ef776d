"""Patterns of host and user names as OpenSSH matches them: `*`, `?`, comma lists, and negation by `!`."""

from __future__ import annotations

from collections.abc import Sequence


def matches(text: str, pattern: str) -> bool:
    """Match the whole text against one pattern of `*` and `?`, in time bounded by the product of the lengths."""
    if "*" not in pattern and "?" not in pattern:
        return text == pattern
    at = mark = 0
    star = -1
    place = 0
    while at < len(text):
        if place < len(pattern) and pattern[place] == "*":
            star, mark = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in ("?", text[at]):
            at += 1
            place += 1
        elif star >= 0:
            # The last star takes one character more; the ones before it need not be tried again.
            mark += 1
            at, place = mark, star + 1
        else:
            return False
    return all(character == "*" for character in pattern[place:])


class NamePatterns:
    """A list of patterns, prepared for many names. One negated pattern that matches outweighs all others."""

    __slots__ = ("_ends", "_heads", "_others", "_plain")

    def __init__(self, patterns: Sequence[str]) -> None:
        plain, ends, heads, others = set(), [], [], []
        for pattern in patterns:
            wild = pattern.count("*")
            if pattern.startswith("!") or "?" in pattern or wild > 1:
                others.append(pattern)
            elif not wild:
                plain.add(pattern)
            elif pattern.startswith("*"):
                ends.append(pattern[1:])
            elif pattern.endswith("*"):
                heads.append(pattern[:-1])
            else:
                others.append(pattern)
        self._plain, self._ends, self._heads = frozenset(plain), tuple(ends), tuple(heads)
        self._others = tuple(others)
        if any(pattern.startswith("!") for pattern in others):
            # Then no pattern is looked at alone.
            self._plain, self._ends, self._heads = frozenset(), (), ()
            self._others = tuple(patterns)

    def match(self, text: str) -> bool:
        """Tell whether the text matches the list."""
        return (
            text in self._plain
            or (self._ends != () and text.endswith(self._ends))
            or (self._heads != () and text.startswith(self._heads))
            or (self._others != () and _matches_one(text, self._others))
        )


def matches_list(text: str, patterns: str) -> bool:
    """Match a text against a comma list. One negated pattern that matches outweighs all others."""
    return _matches_one(text, patterns.split(","))


def _matches_one(text: str, patterns: Sequence[str]) -> bool:
    found = False
    for pattern in patterns:
        negated = pattern.startswith("!")
        if matches(text, pattern[negated:]):
            if negated:
                return False
            found = True
    return found


def lowered(name: str) -> str:
    """Lower the ASCII letters of a name, as ssh does; no others."""
    return name.translate(_LOWER)


_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
