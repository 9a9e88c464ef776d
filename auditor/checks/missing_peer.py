"""missing-peer: a registered node that is no peer on an observer's device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from auditor.addresses import PublicKey
from auditor.checks.interface import Check
from auditor.checks.wording import count, listed
from auditor.claims import Fleet
from auditor.models import Evidence, Finding, Observation, Severity, fingerprint
from auditor.routes import SAMPLE

IDENT = "missing-peer"

LONELY_SHARE = 0.5
"""An observer that lacks more than this share of all peers is one finding, not one for each peer."""


def run(fleet: Fleet) -> Iterable[Finding]:
    """One finding a registered node that observers lack, and one an observer that lacks most nodes."""
    if fleet.policy.topology == "partial":
        return
    lacking: dict[PublicKey, list[Observation]] = defaultdict(list)
    expected = fleet.routes.expected_keys - 1
    for deviation in fleet.routes.deviations:
        absent_here = deviation.absent_keys
        for observation in deviation.holders:
            if observation.node in fleet.in_flight_nodes:
                continue
            own = observation.device.public_key
            registration = fleet.by_node.get(observation.node)
            # A node never has itself as a peer, under its live key or under the one it is registered with.
            selves = {own} | ({registration.public_key} if registration else set())
            absent = absent_here - selves
            if absent and len(absent) > LONELY_SHARE * expected and expected > 1:
                yield _lonely(fleet, observation, len(absent), expected)
                continue
            for key in absent:
                lacking[key].append(observation)
    for key, observers in sorted(lacking.items()):
        node = fleet.by_key[key][0].node
        observers.sort(key=lambda item: item.node)
        yield Finding(
            check=IDENT,
            severity=Severity.WARNING,
            subject=fleet.name(node),
            identity=str(node),
            summary=(
                f"{fleet.name(node)} is registered, but is no peer on {count(len(observers), 'observer')}: "
                f"{listed(fleet.name(item.node) for item in observers)}."
            ),
            nodes=(node,),
            regions=fleet.regions((node,)),
            evidence=Evidence(
                observers=len(observers),
                sample=tuple(item.node for item in observers[:SAMPLE]),
                facts=(("registered key", key),),
            ),
            follows_from=(
                fingerprint("key-drift", str(node)),
                fingerprint("duplicate-public-key", key),
                fingerprint("wrong-host", str(node)),
            ),
        )


def _lonely(fleet: Fleet, observation: Observation, absent: int, expected: int) -> Finding:
    node = observation.node
    return Finding(
        check=IDENT,
        severity=Severity.WARNING,
        subject=f"peers of {fleet.name(node)}",
        identity=f"peers of {node}",
        summary=(
            f"{fleet.name(node)} lacks {absent:,} of the {expected:,} peers that the registry lists: "
            "its own peer list is old, or was never written."
        ),
        nodes=(node,),
        regions=fleet.regions((node,)),
        evidence=Evidence(observers=1, sample=(node,)),
        follows_from=(fingerprint("key-drift", str(node)),),
    )


CHECK = Check(IDENT, Severity.WARNING, "A registered node is no peer on an observer's device.", run)
