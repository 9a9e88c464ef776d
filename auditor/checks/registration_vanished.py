"""registration-vanished: a node was registered until lately, is gone from the registry, and its key is live."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import key_places
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import format_prefix, prefix_sort_key
from auditor.values.findings import Claim, Evidence, Severity, Witness
from auditor.values.models import LostRegistration
from auditor.values.text import listed, minute

LOST_RECORD = "lost record"
"""Label of the fact that has the text to write at the finding's `where`."""


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find lost registrations whose key a device holds, or observers have as a peer."""
    if not fleet.lost:
        return
    found = fleet.routes.observers_with(fleet.routes.deviations.extra_keys, fleet.lost.keys())
    routed = fleet.routes.extra_prefixes(found.keys())
    for key, lost in sorted(fleet.lost.items(), key=lambda entry: entry[1].registration.node):
        observers, holders = found.get(key), fleet.device_holders.get(key, ())
        if not observers and not holders:
            continue
        registration = lost.registration
        name = fleet.name(registration.node)
        prefixes = sorted(routed[key], key=prefix_sort_key)
        places = key_places(fleet, observers, holders, prefixes)
        had = listed(map(format_prefix, registration.addresses)) or "no address"
        unread = "" if lost.released is not None else " Whether it was released on purpose could not be read."
        region = registration.region
        yield Draft(
            identity=idents.by_node(registration.node),
            party=name,
            from_absence=True,
            statement=(
                f"{name} was registered with {had} when it was last read, {minute(lost.last_read)}. Its registration "
                f"is gone, but its key is {places}.{_own_word(lost)}{unread}"
            ),
            nodes=tuple(dict.fromkeys((registration.node, *holders))),
            regions=tuple(sorted({region} if region else {*fleet.regions((registration.node,))})),
            evidence=Evidence(
                claims=tuple(
                    Claim(Witness.ROUTED, prefix, key, registration.node, "allowed-ips of observers")
                    for prefix in prefixes
                ),
                observers=len(observers) if observers else 0,
                sample=observers.first() if observers else (),
                everyone=observers.nodes if observers else None,
                facts=(
                    ("lost key", key),
                    ("where", registration.where),
                    *(
                        (("datacenter", registration.node.datacenter),)
                        if registration.node.datacenter
                        else ()
                    ),
                    *(((LOST_RECORD, lost.record),) if lost.record else ()),
                    *((("the node itself", _looked_at(lost)),) if lost.look is not None else ()),
                ),
            ),
            follows_from=tuple(
                reference
                for prefix in registration.addresses
                for reference in (idents.duplicate_address(prefix), idents.split_routing(prefix))
            ),
        )


def _own_word(lost: LostRegistration) -> str:
    """Word what the node itself says, with a blank before it; "" where it was not asked."""
    return "" if lost.look is None else f" Asked at its last host, {_looked_at(lost)}."


def _looked_at(lost: LostRegistration) -> str:
    look = lost.look
    assert look is not None  # noqa: S101  (asked for by both callers)
    if look.public_key is None:
        return f"it does not answer: {look.why_not}"
    if look.public_key != lost.registration.public_key:
        return "a device with another key answers"
    held = sorted(look.addresses, key=prefix_sort_key)
    if not held:
        return "its device has that key, and no address"
    still = "still " if set(held) & set(lost.registration.addresses) else ""
    return f"its device {still}has {listed(map(format_prefix, held))}"


CHECK = Check(
    Ident.REGISTRATION_VANISHED,
    Severity.ERROR,
    "A node was registered until lately, is gone from the registry, and is live in the mesh.",
    run,
)
