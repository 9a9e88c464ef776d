"""Patterns of host and user names as OpenSSH matches them: `*`, `?`, comma lists, and negation by `!`."""

from __future__ import annotations


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


def matches_list(text: str, patterns: str) -> bool:
    """Match a text against a comma list. One negated pattern that matches outweighs all others."""
    found = False
    for pattern in patterns.split(","):
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
