"""Templates of HTML pages: their environment, in which no foreign text goes out unescaped, and their stylesheets."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from auditor.reports.outline import fullest_first
from auditor.values.text import LONGEST_TEXT, count, for_log, for_terminal, listed

_OWN = PackageLoader("auditor.reports.html")
_LONGEST_NAME = 80
_MOST_NAMES = 12


@lru_cache(maxsize=2)
def environment(*packages: str) -> Environment:
    """Make the environment of this room's templates, and of those of further packages.

    Whatever a template writes is made harmless to look at (`_harmless`), and then escaped for HTML.
    """
    made = Environment(
        loader=ChoiceLoader([*map(PackageLoader, packages), _OWN]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": lambda number: f"{number:,}",
        "name": name_words,
        "text": text_words,
        "listed": listed_names,
        "counted": count,
        "by_region": by_region_words,
    }
    return made


def stylesheet(name: str) -> str:
    """Return a stylesheet of this room's templates."""
    return _OWN.get_source(environment(), name)[0]


def style_hash(css: str) -> str:
    """Return the source expression by which a Content-Security-Policy allows this very stylesheet."""
    return f"sha256-{base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()}"


def _harmless(value: object) -> object:
    return value if isinstance(value, Markup) or not isinstance(value, str) else for_log(value)


# -- foreign words


def name_words(text: str) -> str:
    """Make a foreign name harmless, and cut it."""
    return for_terminal(text, most=_LONGEST_NAME) or "(no name)"


def text_words(text: str) -> str:
    """Make a foreign text harmless, and cut it."""
    return for_terminal(text, most=LONGEST_TEXT)


def listed_names(names: Sequence[str], most: int = _MOST_NAMES, total: int = 0) -> str:
    """List foreign names, the first of them."""
    return listed(
        [name_words(name) for name in names[:most]], most=most, total=max(total, len(names)), last=", "
    )


def by_region_words(counts: Mapping[str, int], most: int = 12) -> str:
    """List counts by region, the largest first."""
    ordered = fullest_first(counts)
    words = [
        f"{name_words(region) if region else 'no region'} {number:,}" for region, number in ordered[:most]
    ]
    if rest := ordered[most:]:
        words.append(f"{count(len(rest), 'other region')} {sum(number for _, number in rest):,}")
    return ", ".join(words)
