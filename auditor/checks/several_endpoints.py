"""several-endpoints: one key met at several outer hosts at once, as a clone is that no mesh address shows."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import peer
from auditor.fleet.fleet import Fleet
from auditor.fleet.met_hosts import MetPlace
from auditor.fleet.observer_sets import SAMPLE
from auditor.values.findings import Evidence, Guess, GuessedCause, Severity, Sureness
from auditor.values.text import count, listed

_EACH = 2  # observers of each place that are named, so that whoever asks again asks at both


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find keys that observers meet at two or more outer hosts, with sessions that are alive at each."""
    for key, places in sorted(fleet.met_at_once.items()):
        owner = fleet.node_of_key(key)
        nodes = (owner,) if owner is not None else ()
        observers = sorted({node for place in places for node in place.observers})
        sample = sorted({node for place in places for node in place.observers[:_EACH]})
        registered = any(place.registered for place in places)
        yield Draft(
            identity=idents.by_key(key),
            public_key=key,
            party=key,
            statement=(
                f"Key {key} of {peer(fleet, key)} is met at {count(len(places), 'outer host')} at once: "
                f"{listed(map(_words, places))}" + ("." if registered else "; none of them is registered.")
            ),
            guess=Guess(
                GuessedCause.CLONED_IMAGE,
                Sureness.POSSIBLE,
                "a server with a copy of the key answers at one of them; a node that moved within the last three "
                "minutes, or has two ways out, looks the same",
            ),
            nodes=nodes,
            regions=fleet.regions(nodes),
            evidence=Evidence(
                observers=len(observers),
                sample=tuple(sample[:SAMPLE]),
                everyone=lambda observers=tuple(observers): observers,  # type: ignore[misc]
                facts=tuple((_label(place), _told(fleet, place)) for place in places[:SAMPLE]),
            ),
            follows_from=(
                idents.duplicate_public_key(key),
                idents.unregistered_peer(key),
            ),
        )


def _words(place: MetPlace) -> str:
    which = ", the registered one" if place.registered else ""
    return f"{listed(place.hosts, most=3)}{which} ({count(len(place.observers), 'observer')})"


def _label(place: MetPlace) -> str:
    return f"met at {listed(place.hosts, most=3)} by"


def _told(fleet: Fleet, place: MetPlace) -> str:
    return listed(map(fleet.name, place.observers[:SAMPLE]), total=len(place.observers))


CHECK = Check(
    Ident.SEVERAL_ENDPOINTS, Severity.WARNING, "One key is met at several outer hosts at once.", run
)
