"""What every message says beside its incidents: who sends it, and where its reader goes next."""

from __future__ import annotations

from dataclasses import dataclass

from alerts.models import BLIND_CHECK, UNSEEN_CHECK, Incident, Status
from auditor.errors import InvalidValue
from auditor.values.addresses import Prefix, format_prefix, parse_public_key
from auditor.values.guide import INSTALLED, Guide


@dataclass(frozen=True, slots=True)
class Leads:
    """Commands that lead on from an incident, spelled for a shell; "" where there is none."""

    explain: str
    """Tells its whole story."""
    affected: str = ""
    """Lists all whom it concerns."""
    plan: str = ""
    """Plans its repair."""
    restore: str = ""
    """Puts a lost registration back."""

    @property
    def each(self) -> tuple[tuple[str, str], ...]:
        """Label and command of those that there are, in the order in which they are run."""
        labelled = (
            ("Run", self.explain),
            ("Who is affected", self.affected),
            ("Repair", self.plan),
            ("Put it back", self.restore),
        )
        return tuple((label, command) for label, command in labelled if command)


@dataclass(frozen=True, slots=True)
class Sender:
    """Sender of messages: its version, and the guide of those who read them."""

    guide: Guide = INSTALLED
    version: str = ""
    """Version of wgaudit; "" where nobody said it."""
    repairable: frozenset[str] = frozenset()
    """Checks about a contested address, which `wgaudit plan --address` takes."""
    restorable: frozenset[str] = frozenset()
    """Checks about a lost registration, which `wgaudit restore` puts back by the incident's subject."""

    def leads(self, incident: Incident, status: Status = Status.FIRING) -> Leads:
        """Make the commands for an incident. One that is over has its story alone."""
        explain = self.guide.spelled(self._explain(incident)) or self.sweep
        if status is Status.RESOLVED or incident.check in (BLIND_CHECK, UNSEEN_CHECK):
            return Leads(explain)
        affected = self.guide.spelled(self.guide.command("affected", target=_affected(incident)))
        plan = None
        if incident.check in self.repairable and incident.address:
            address = format_prefix(Prefix(incident.address))
            plan = self.guide.spelled(self.guide.command("plan", "--address", address))
        restore = None
        if incident.check in self.restorable:
            restore = self.guide.spelled(self.guide.command("restore", target=incident.subject))
        return Leads(explain, affected or "", plan or "", restore or "")

    @property
    def sweep(self) -> str:
        """Make the command that sweeps again."""
        command = self.guide.command("sweep")
        return self.guide.spelled(command) or " ".join(command)

    def _explain(self, incident: Incident) -> tuple[str, ...]:
        if incident.check == UNSEEN_CHECK and len(incident.nodes) == 1:
            return self.guide.command("doctor", "--node", incident.nodes[0])
        if incident.check in (BLIND_CHECK, UNSEEN_CHECK):
            return self.guide.command("sweep")
        return self.guide.command("explain", target=_target(incident))

    def documentation(self, incident: Incident) -> str:
        """Give the place that explains the incident: a link, if a browser reads docs/findings.md, or its path."""
        return self.guide.documentation(incident.check)

    def link(self, incident: Incident) -> str:
        """Give the link to the place that explains the incident; "" where no browser reads the documentation."""
        return self.guide.documentation(incident.check) if self.guide.docs_url else ""


def _target(incident: Incident) -> str:
    """Address, key or node to explain, as `wgaudit explain` takes it."""
    if incident.address:
        return format_prefix(Prefix(incident.address))
    if len(incident.nodes) == 1 and not _is_key(incident.subject):
        return incident.nodes[0]
    return incident.subject


def _affected(incident: Incident) -> str:
    """Address or node whose incident it is, else the incident's fingerprint, as `wgaudit affected` takes it."""
    if incident.address:
        return format_prefix(Prefix(incident.address))
    if len(incident.nodes) == 1 and not _is_key(incident.subject):
        return incident.nodes[0]
    return incident.fingerprint


def _is_key(text: str) -> bool:
    try:
        parse_public_key(text)
    except InvalidValue:
        return False
    return True


PLAIN_SENDER = Sender()
"""Sender whose readers run the program as it is installed."""
