"""Who is affected as CSV: one row an address and observer, and one for each node that was not seen."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from functools import cache
from io import StringIO

from auditor.explain.affected import Affected
from auditor.explain.reach import Group
from auditor.values.addresses import Prefix
from auditor.values.models import NodeId
from auditor.values.text import for_csv

COLUMNS = ("address", "observer", "region", "reach", "to", "key", "obstacle", "by", "loses")
_BETWEEN = "; "
"""Stands between names where a cell has several."""


def render_affected_csv(found: Affected) -> str:
    """Render the observers of a target, RFC 4180 with a head; no cell is a formula to a spreadsheet.

    reach: nodes, itself, nobody, or not-seen, where it is not known.
    """
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    clean = cache(for_csv)  # the same names, a million times
    writer.writerows(map(clean, row) for row in _rows(found))
    return stream.getvalue()


def _rows(found: Affected) -> Iterator[tuple[str, ...]]:
    written: set[tuple[Prefix, NodeId]] = set()
    for place in found.places:
        for group in place.groups:
            observers = group.list_observers()
            if found.own:
                written.update((place.address, node) for node in observers)
            yield from _group_rows(found, place.address, group, observers)
    for own in found.own:
        for loss in own.losses:
            if (loss.address, own.node) not in written:
                yield from _group_rows(found, loss.address, loss.group, (own.node,))
    for node in found.unseen:
        yield ("", found.name(node), found.region(node), "not-seen", *[""] * 5)


def _group_rows(
    found: Affected, address: Prefix, group: Group, observers: Iterable[NodeId]
) -> Iterator[tuple[str, ...]]:
    to = group.destinations
    sent = (
        group.reach,
        _joined(found.name(node) for each in to for node in each.nodes),
        _joined(each.public_key for each in to),
        _joined(each.obstacle.value for each in to if each.obstacle is not None),
        group.by or "",
    )
    loses = _joined(map(found.name, group.loses))
    for node in observers:
        lost = loses if node not in group.loses else _joined(map(found.name, group.lost_by(node)))
        yield (address, found.name(node), found.region(node), *sent, lost)


def _joined(texts: Iterable[str]) -> str:
    return _BETWEEN.join(texts)
