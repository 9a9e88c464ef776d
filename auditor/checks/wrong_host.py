"""wrong-host: the server that answered is not the node that we asked for."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.fleet.fleet import Fleet
from auditor.values.findings import Evidence, Severity


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find nodes whose SSH host led to another node's device."""
    for observation, actual in fleet.wrong_hosts:
        asked = observation.node
        registration = fleet.by_node[asked]
        way = registration.ssh_host or registration.endpoint or "its registered host"
        yield Draft(
            identity=idents.by_node(asked),
            party=fleet.name(asked),
            reached_elsewhere=True,
            statement=(
                f"Asked for {fleet.name(asked)} at {way}, and {fleet.name(actual)} answered: the device holds "
                f"the key that is registered for {fleet.name(actual)}. {fleet.name(asked)} itself was not seen."
            ),
            nodes=(asked, actual),
            regions=fleet.regions((asked, actual)),
            evidence=Evidence(
                facts=(
                    ("asked for", fleet.name(asked)),
                    ("at", way),
                    ("registered key", registration.public_key or "(cannot be read)"),
                    ("answering key", observation.device.public_key),
                    ("answered by", fleet.name(actual)),
                )
            ),
        )


CHECK = Check(
    Ident.WRONG_HOST, Severity.CRITICAL, "The server that answered is not the node that we asked for.", run
)
