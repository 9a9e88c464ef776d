"""unsettled-registration: a registration that changes its key, address, region or host in sweep after sweep."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import motion
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import format_prefix
from auditor.values.findings import Evidence, Severity

_ADDRESSES = 20
"""Addresses that the evidence names."""


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find nodes whose registration did not hold still in this sweep, nor in the one before."""
    for node in sorted(fleet.in_flight_nodes & fleet.unsettled_before):
        forms = fleet.registered.in_flight[node]
        addresses = sorted({prefix for form in forms for prefix in form.addresses})
        yield Draft(
            identity=idents.by_node(node),
            party=fleet.name(node),
            statement=(
                f"The registration of {fleet.name(node)} did not hold still while this sweep looked, nor in the sweep "
                f"before: {motion(fleet, node)}. It cannot be compared with its device."
            ),
            nodes=(node,),
            regions=fleet.regions((node,)),
            evidence=Evidence(
                facts=(
                    ("registration", forms[0].where),
                    *(("address", format_prefix(prefix)) for prefix in addresses[:_ADDRESSES]),
                )
            ),
        )


CHECK = Check(
    Ident.UNSETTLED_REGISTRATION,
    Severity.WARNING,
    "A registration changes its key, address, region or host in sweep after sweep.",
    run,
)
