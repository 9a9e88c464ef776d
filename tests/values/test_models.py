"""What the values that all rooms share derive from their own fields."""

from __future__ import annotations

from typing import get_args, get_type_hints

from auditor.errors import GapReason, GapScope
from auditor.values.models import Gap


def test_each_source_of_a_gap_has_a_scope() -> None:
    """A source without one would end a report."""
    sources = get_args(get_type_hints(Gap)["source"])
    scopes = {source: Gap(source, GapReason.INTERNAL, "").scope for source in sources}
    assert scopes == {
        "consul": GapScope.REGISTRY,
        "file": GapScope.REGISTRY,
        "ssh": GapScope.NODE,
        "witness": GapScope.WITNESS,
        "sweep": GapScope.SWEEP,
    }
