"""Sections of the documents that travel with the program, found by ident: a check, an alert, a gap's reason."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

NAMES = ("findings", "gaps", "runbook")
"""Documents, by the names of their files in docs/."""


@dataclass(frozen=True, slots=True)
class DocumentSection:
    """Section of a document, or a whole one."""

    ident: str
    """Anchor of its heading; of a whole document the document's name."""
    document: str
    """Name of its document."""
    text: str
    """Markdown, its heading included."""

    @property
    def place(self) -> str:
        """Path within the project: `docs/findings.md#duplicate-address`."""
        anchor = f"#{self.ident}" if self.ident != self.document else ""
        return f"docs/{self.document}.md{anchor}"


def known_idents() -> frozenset[str]:
    """List everything that the documents explain."""
    return frozenset(_sections())


def sections_of(ident: str) -> tuple[DocumentSection, ...]:
    """Find the sections of an ident: one, or two where a check and a reason have one name. Empty: there is none."""
    return _sections().get(ident, ())


@cache
def _sections() -> Mapping[str, tuple[DocumentSection, ...]]:
    found: dict[str, tuple[DocumentSection, ...]] = defaultdict(tuple)
    for name in NAMES:
        text = resources.files("auditor.documents").joinpath(f"{name}.md").read_text(encoding="utf-8")
        found[name] += (DocumentSection(name, name, text),)
        for section in _split(name, text):
            found[section.ident] += (section,)
    return dict(found)


def _split(document: str, text: str) -> Iterator[DocumentSection]:
    """Split a document at its headings of the second level; one of the first level ends a section too."""
    lines: list[str] = []
    ident, fenced = "", False
    for line in [*text.splitlines(), "# "]:
        fenced ^= line.lstrip().startswith("```")
        if not fenced and line.startswith(("# ", "## ")):
            if ident:
                yield DocumentSection(ident, document, "\n".join(lines).strip() + "\n")
            ident, lines = (anchor(line[3:]) if line.startswith("## ") else ""), []
        lines.append(line)


def anchor(heading: str) -> str:
    """Return the anchor that a heading gets where Markdown is rendered."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
