"""unregistered-peer: a peer on observers' devices that the registry does not list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.fleet.fleet import Fleet
from auditor.fleet.observer_sets import SAMPLE
from auditor.values.addresses import Prefix, PublicKey, format_prefix, is_host, prefix_sort_key
from auditor.values.findings import Claim, Evidence, Severity, Witness
from auditor.values.text import count, listed


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find keys that at least one observer has as a peer and no registration knows."""
    known = fleet.known_keys | fleet.unread_keys
    extra = fleet.routes.deviations.extra_keys
    found = fleet.routes.observers_with(extra, extra.keys() - known)
    routed_to: dict[PublicKey, set[Prefix]] = defaultdict(set)
    for lines in (fleet.routes.deviations.extra, fleet.routes.deviations.passing):
        for prefix, keys in lines.items():
            for key in keys.keys() & found.keys():
                routed_to[key].add(prefix)
    heard_at = _heard_at(fleet, found.keys())
    for key, observers in found.items():
        if routed_to[key] and routed_to[key] <= fleet.registered.keyless_prefixes:
            continue  # the peer of a registration whose key cannot be read, which is its own finding
        prefixes = sorted(routed_to[key], key=prefix_sort_key)
        owner = fleet.node_of_key(key)
        unseen = fleet.unseen_holder(key) if owner is None else None
        endpoints = sorted(heard_at[key])
        routed = f" with {listed(map(format_prefix, prefixes))}" if prefixes else " with no address"
        held = f" {fleet.name(owner)}'s device holds this key." if owner else ""
        heard = f" Last heard from {listed(endpoints)}." if endpoints else ""
        displaced = [
            idents.displaced_allowed_ips(prefix, claim.node)
            for prefix in prefixes
            for claim in fleet.registered_claims.get(prefix, ())
            if claim.node is not None
        ]
        yield Draft(
            identity=idents.by_key(key),
            public_key=key,
            party=key,
            # A key that a registered node's own device holds is that node's drift, whatever else is registered.
            from_absence=owner is None,
            hidden_at=(unseen,) if unseen else (),
            statement=(
                f"Key {key} is a peer on {count(len(observers), 'observer')}{routed}, but in no registration: "
                f"a ghost server, or our view of the registry is filtered.{held}{heard}"
            ),
            nodes=(owner,) if owner else (),
            regions=fleet.regions((owner,) if owner else ()),
            evidence=Evidence(
                claims=tuple(
                    Claim(Witness.ROUTED, prefix, key, owner, "allowed-ips of observers")
                    for prefix in prefixes
                ),
                observers=len(observers),
                sample=observers.first(),
                everyone=observers.nodes,
                facts=tuple(("endpoint", endpoint) for endpoint in endpoints[:SAMPLE]),
            ),
            follows_from=(
                *(
                    (idents.registration_vanished(fleet.lost[key].registration.node),)
                    if key in fleet.lost
                    else ()
                ),
                *((idents.key_drift(owner),) if owner else ()),
                *(idents.split_routing(prefix) for prefix in prefixes),
                *(idents.retired_but_live(node) for prefix in prefixes for node in fleet.retired_at(prefix)),
                *displaced,
                *(idents.overlapping_allowed_ips(prefix, key) for prefix in prefixes if not is_host(prefix)),
            ),
        )


def _heard_at(fleet: Fleet, keys: Set[PublicKey]) -> Mapping[PublicKey, set[str]]:
    """List the endpoints at which observers heard these keys last, where they were asked for endpoints."""
    heard_at: dict[PublicKey, set[str]] = defaultdict(set)
    for observation in fleet.witnesses:
        endpoints = observation.endpoints or {}
        for key in endpoints.keys() & keys:
            heard_at[key].add(endpoints[key])
    return heard_at


CHECK = Check(
    Ident.UNREGISTERED_PEER, Severity.WARNING, "A peer on an observer's device is not in the registry.", run
)
