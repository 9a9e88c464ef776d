"""Memory of alerted sweeps that helps to judge the next look, where there is a state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from alerts.incidents import groups, incident
from alerts.memory.memory_for_judging import read_memory, read_seen, read_silences, read_standing_incidents
from alerts.models import Silence, Standing
from alerts.silences import active, muting
from auditor.checks.idents import Ident
from auditor.errors import StateError
from auditor.service.alert_state import existing_tables
from auditor.state.drained_nodes import read_drained
from auditor.state.known_findings import read_standing_findings
from auditor.state.known_registrations import (
    RememberedRegistrations,
    read_latest_writes,
    read_remembered_registrations,
)
from auditor.state.places import StatePlace
from auditor.values.addresses import PublicKey
from auditor.values.models import Memory, NodeId
from auditor.values.report import Report
from auditor.values.stored_values import TableReader

LATEST_CHANGES = 500
"""Number of changes of registrations that are looked through for writes that an earlier watch was told of."""
_BY_ANSWERS = frozenset({Ident.ANSWERED_BY_OTHER, Ident.REGION_MISMATCH})
"""Checks whose findings may rest on answers of witnesses."""
MOST_GHOSTS = 10_000
"""Number of standing findings that are read for what was alerted."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """Memory of alerted sweeps for the next look."""

    memory: Memory = field(default_factory=Memory)
    datacenters: frozenset[str] = frozenset()
    """Those that were read whole."""
    silences: tuple[Silence, ...] = ()
    """Every silence, those that are over included."""
    registered: RememberedRegistrations = field(default_factory=lambda: RememberedRegistrations({}))
    """What the registry said when it was last read."""
    readable: bool = True
    """False: the state could not be read, which was said."""


def remembered_in(state: TableReader) -> Remembered:
    """Read the memory from the tables of an opened state. Raises `StateError`."""
    standing = read_standing_findings(state, MOST_GHOSTS)
    ghosts = frozenset(PublicKey(item.subject) for item in standing if item.check == Ident.UNREGISTERED_PEER)
    several = frozenset(PublicKey(item.subject) for item in standing if item.check == Ident.SEVERAL_ENDPOINTS)
    return Remembered(
        replace(
            read_memory(state),
            ghosts=ghosts,
            several=several,
            met={
                mark: _observers(item)
                for mark, item in read_standing_incidents(state).items()
                if item.incident.check in _BY_ANSWERS
            },
            writes=read_latest_writes(state, LATEST_CHANGES),
            drained=read_drained(state),
        ),
        frozenset(place[0] for place in read_seen(state) if len(place) == 1),
        tuple(read_silences(state)),
        read_remembered_registrations(state),
    )


def _observers(standing: Standing) -> frozenset[NodeId]:
    """Name the nodes that showed an incident, without those that it is about."""
    names = set(standing.incident.nodes)
    return frozenset(node for node in standing.nodes if not names & {node.name, str(node)})


def with_silences(report: Report, silences: Iterable[Silence], now: datetime) -> Report:
    """Mark the findings whose alerts a silence mutes now, as an alerted sweep does."""
    holding = [silence for silence in silences if active(silence, now)]
    if not holding:
        return report
    incidents = (incident(report, group) for group in groups(report))
    muted = {found.fingerprint: silence for found in incidents if (silence := muting(found, holding, now))}
    return marked(report, muted)


def marked(report: Report, muted: Mapping[str, Silence]) -> Report:
    """Say of each finding, and of those that follow from it, which silence mutes it. muted: by fingerprint."""
    marks = {
        mark: f"{silence.ident} until {silence.ends_at:%Y-%m-%d %H:%M} UTC: {silence.comment}"
        for mark, silence in muted.items()
    }
    findings = tuple(
        replace(item, silenced=marks.get(item.caused_by or item.fingerprint)) for item in report.findings
    )
    return replace(report, findings=findings)


def remembered(place: StatePlace, complain: Callable[[str], None]) -> Remembered:
    """Read the memory from the state. A state that cannot be read is a complaint, and the memory is empty.

    Only `sweep --alert` and the watch write it; nothing is created here.
    """
    try:
        with existing_tables(place) as tables:
            return Remembered() if tables is None else remembered_in(tables)
    except StateError as error:
        complain(
            f"{error}; judged without what earlier sweeps saw; a datacenter that has left Consul's list is not missed"
        )
        return Remembered(readable=False)
