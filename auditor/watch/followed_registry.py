"""PURE: one datacenter of a followed registry: its newest reading, and what of it was read only once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from auditor.errors import GapReason
from auditor.gather.settling import moving_values
from auditor.registry.interface import RegistryNews
from auditor.values.models import Gap, InvalidRegistration, NodeId, Registration, RegistryReading
from auditor.watch.view import FollowedDatacenter

MOST_FORMS = 8
"""Forms of one registration in flight that are kept: the first one, and the newest others."""


@dataclass(frozen=True, slots=True)
class RegistryChange:
    """Change that news of a datacenter brought. False where it brought none."""

    something: bool = False
    """True: something is not as before, readability and what is confirmed included."""
    content: bool = False
    """True: registrations or gaps are not as before, or this is the first reading."""
    nodes: frozenset[NodeId] = frozenset()
    """Nodes whose registrations are not as before; of a first reading, none."""
    forms: tuple[Registration, ...] = ()
    """Forms before and after of their registrations."""

    def __bool__(self) -> bool:
        return self.something


class DatacenterState:
    """State of one datacenter that is followed."""

    def __init__(self, news: RegistryNews) -> None:
        """Begin with its first news."""
        self.name = news.datacenter
        self.reading = news.reading
        """Newest reading."""
        self.known = {item.node: item for item in news.reading.registrations}
        """Registrations by node, as last read; those of a datacenter that cannot be read now, from before."""
        self._invalid = _by_node(news.reading.invalid)
        self._gaps = gap_kinds(news.reading)
        """Gaps that `known` was read with."""
        self.whole_once = not news.reading.gaps
        self._news = news
        self._unconfirmed: dict[NodeId, list[Registration]] = {}
        """Forms, oldest first, of registrations that changed and are to be read once more."""
        self._event = news.event
        self._event_at = news.arrived_at if news.event else None

    def is_newer(self, news: RegistryNews, asked_at: datetime | None) -> bool:
        """Tell whether the reading at hand is newer than this one. asked_at: see `Live.read`."""
        held = self._news
        if news.arrived_at < held.arrived_at:
            # An answer to a question is taken at once, and may so pass news that arrived a moment before it and tell
            # of a later write. Those are not told a second time.
            return (news.index or 0) <= (held.index or 0)
        overtaken = asked_at is not None and held.arrived_at >= asked_at
        return overtaken and (news.index or 0) < (held.index or 0)

    def take(self, news: RegistryNews, *, again: bool) -> RegistryChange:
        """Take in later news. again: they were asked for to confirm what is at hand, and do not where they differ."""
        before, unconfirmed = self.reading, self.unconfirmed
        self._news, self.reading = news, news.reading
        if news.event:
            self._event, self._event_at = news.event, news.arrived_at
        self.whole_once = self.whole_once or not news.reading.gaps
        nodes, forms = self._compared(news, again=again)
        content = (
            bool(nodes)
            or before.gaps != news.reading.gaps
            or before.others != news.reading.others
            or before.registrations != news.reading.registrations
            or before.invalid != news.reading.invalid
        )
        return RegistryChange(content or unconfirmed != self.unconfirmed, content, nodes, forms)

    def _compared(
        self, news: RegistryNews, *, again: bool
    ) -> tuple[frozenset[NodeId], tuple[Registration, ...]]:
        """Compare with what is known, and keep what is new. Returns nodes that changed, and their forms."""
        known, read = self.known, {item.node: item for item in news.reading.registrations}
        invalid, gaps = _by_node(news.reading.invalid), gap_kinds(news.reading)
        if gaps != self._gaps:
            # Where one reading saw less than the other, a difference proves nothing.
            if gaps < self._gaps:
                self.known, self._invalid, self._gaps = read, invalid, gaps
            else:
                self.known = {**known, **read}
            return frozenset(), ()
        nodes = frozenset(self._changes(read, invalid))
        if news.confirmed:
            self._unconfirmed = {}
        if again or not news.confirmed:
            self._put_in_flight(nodes, read)
        self.known, self._invalid = read, invalid
        forms = (form for node in sorted(nodes) for form in (known.get(node), read.get(node)))
        return nodes, tuple(form for form in forms if form is not None)

    def _changes(
        self,
        read: Mapping[NodeId, Registration],
        invalid: Mapping[NodeId, tuple[InvalidRegistration, ...]],
    ) -> Iterable[NodeId]:
        for node in {*self.known, *read}:
            old, new = self.known.get(node), read.get(node)
            if old is not new and moving_values(old) != moving_values(new):
                yield node
        for node in {*self._invalid, *invalid}:
            if self._invalid.get(node) != invalid.get(node):
                yield node

    def _put_in_flight(self, nodes: Iterable[NodeId], read: Mapping[NodeId, Registration]) -> None:
        for node in nodes:
            forms = self._unconfirmed.setdefault(node, [])
            for form in (self.known.get(node), read.get(node)):
                if form is not None and (not forms or moving_values(forms[-1]) != moving_values(form)):
                    forms.append(form)
            if len(forms) > MOST_FORMS:
                del forms[1 : len(forms) - MOST_FORMS + 1]

    @property
    def unconfirmed(self) -> frozenset[NodeId]:
        """Nodes whose registrations changed, and are to be read once more."""
        return frozenset(self._unconfirmed)

    def in_flight(self) -> Iterable[Registration]:
        """List the forms of registrations that are to be read once more, oldest first."""
        for node in sorted(self._unconfirmed):
            yield from self._unconfirmed[node]

    def invalid(self) -> Iterable[InvalidRegistration]:
        """List the parts of registrations that cannot be read, without those that may be half written."""
        return (item for item in self.reading.invalid if item.node not in self._unconfirmed)

    def unsettled_gaps(self) -> Iterable[Gap]:
        """List a gap for each registration of which nothing is readable, and that may be half written."""
        for node in sorted(self._unconfirmed):
            if not self._unconfirmed[node]:
                detail = "its registration was written just now, and is to be read once more"
                yield Gap("sweep", GapReason.UNSETTLED, detail, node.name, node.datacenter or None)

    def followed(self) -> FollowedDatacenter:
        """Show how it is followed."""
        return FollowedDatacenter(
            name=self.name,
            readable=not any(gap.hides_registrations for gap in self.reading.gaps),
            arrived_at=self._news.arrived_at,
            index=self._news.index,
            registrations=len(self.reading.registrations),
            event=self._event,
            event_at=self._event_at,
        )


def gap_kinds(reading: RegistryReading) -> frozenset[tuple[GapReason, str | None]]:
    """List what a reading lacks, and why, in a form that can be compared with another reading's."""
    # A detail may hold a number that is another each time.
    return frozenset((gap.reason, gap.datacenter) for gap in reading.gaps)


def _by_node(items: Iterable[InvalidRegistration]) -> dict[NodeId, tuple[InvalidRegistration, ...]]:
    found: dict[NodeId, tuple[InvalidRegistration, ...]] = {}
    for item in items:
        found[item.node] = (*found.get(item.node, ()), item)
    return found
