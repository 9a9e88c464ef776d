"""device-down: the device is there, and its link is down."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.fleet.fleet import Fleet
from auditor.values.findings import Severity


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find nodes whose own device reports its link as down. A probe without the link's state proves nothing."""
    for observation in fleet.witnesses:
        device = observation.device
        if device.link_up is not False:
            continue
        name = fleet.name(observation.node)
        yield Draft(
            identity=idents.by_node(observation.node),
            party=name,
            statement=f"{name}: {device.name} is there, but its link is down. Nothing reaches {name} through the mesh.",
            nodes=(observation.node,),
            regions=fleet.regions((observation.node,)),
            follows_from=(idents.duplicate_public_key(device.public_key),),
        )


CHECK = Check(
    Ident.DEVICE_DOWN,
    Severity.ERROR,
    "The device is there and its link is down: nothing reaches the node.",
    run,
)
