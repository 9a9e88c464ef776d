"""invalid-registration: a registration that cannot be read. Reported, never dropped."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.fleet.fleet import Fleet
from auditor.values.findings import Evidence, Severity


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find registrations of which something cannot be read, and name each field."""
    readable = {item.where for item in (*fleet.registrations, *fleet.retired)}
    for item in fleet.invalid:
        outcome = (
            "What can be read of it is audited." if item.where in readable else "Its node is not audited."
        )
        facts = [(f"field {fault.field}", fault.reason) for fault in item.faults] or [("reason", item.reason)]
        yield Draft(
            identity=(str(item.node), item.where),
            party=fleet.name(item.node) or item.where,
            statement=(
                f"The registration at {item.where} cannot be read: {_sentence(item.reason)} {outcome}"
            ),
            nodes=(item.node,),
            regions=fleet.regions((item.node,)),
            evidence=Evidence(facts=(("where", item.where), *facts, ("begins", item.excerpt or "(empty)"))),
        )


def _sentence(text: str) -> str:
    """End the text with a full stop, unless it is a question already."""
    return text if text.endswith(("?", "!", ".")) else f"{text}."


CHECK = Check(Ident.INVALID_REGISTRATION, Severity.ERROR, "A registration cannot be read.", run)
