"""invalid-registration: a registration that cannot be read. Reported, never dropped."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks.interface import Check
from auditor.fleet.fleet import Fleet
from auditor.values.models import Evidence, Finding, Severity

IDENT = "invalid-registration"


def run(fleet: Fleet) -> Iterable[Finding]:
    """One finding a registration."""
    for item in fleet.invalid:
        yield Finding(
            check=IDENT,
            severity=Severity.ERROR,
            subject=fleet.name(item.node) or item.where,
            identity=f"{item.node} {item.where}",
            summary=(
                f"The registration at {item.where} cannot be read: {_sentence(item.reason)} "
                "Its node is not audited."
            ),
            nodes=(item.node,),
            regions=fleet.regions((item.node,)),
            evidence=Evidence(
                facts=(("where", item.where), ("reason", item.reason), ("begins", item.excerpt or "(empty)"))
            ),
        )


def _sentence(text: str) -> str:
    """The text with an end: a reason may be a question already."""
    return text if text.endswith(("?", "!", ".")) else f"{text}."


CHECK = Check(IDENT, Severity.ERROR, "A registration cannot be read.", run)
