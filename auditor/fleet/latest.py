"""Latest state of a snapshot: each node as it was last seen, and the rounds of its looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from auditor.fleet.fleet import Fleet
from auditor.fleet.registered import Registered
from auditor.values.addresses import PublicKey
from auditor.values.models import Looks, NodeId, Observation, SecondLook, Snapshot


def latest_state(snapshot: Snapshot, registered: Registered | None = None) -> Snapshot:
    """Reduce the snapshot to each node as it was last seen, without the second look.

    A node that was not seen again, or in whose place another server answered then, counts as it was first seen.
    `registered`: index of the same registrations by an earlier fleet, for reuse.
    """
    second = snapshot.second_look
    if second is None:
        return snapshot
    renewed = {item.node: item for item in seen_again(snapshot, second, registered).witnesses}
    newest = tuple(renewed.get(item.node, item) for item in snapshot.observations)
    return replace(snapshot, observations=newest, second_look=None)


def seen_again(snapshot: Snapshot, second: SecondLook, registered: Registered | None = None) -> Fleet:
    """Index the nodes that answered again, and no others, as a fleet."""
    return Fleet(replace(snapshot, observations=second.observations, second_look=None), registered)


def looks_of(snapshot: Snapshot, second: SecondLook) -> Mapping[NodeId, Looks]:
    """List the rounds of nodes that answered after the first look. All others answered in the first alone."""
    if second.looks:
        return second.looks
    first = {item.node: item for item in snapshot.observations}
    return {
        item.node: Looks(0, int(not shows_the_same(first.get(item.node), item)), 1)
        for item in second.observations
    }


def shows_the_same(before: Observation | None, now: Observation) -> bool:
    """Tell whether a node shows what it showed before.

    Its peers' endpoints and handshakes come and go, and decide nothing; nor does how much it sent to whom in vain.
    """
    return before is not None and _decisive(before) == _decisive(now)


def _decisive(observation: Observation) -> tuple[Observation, Sequence[tuple[PublicKey, bool]]]:
    in_vain = sorted((item.public_key, item.unanswered) for item in observation.one_way or ())
    plain = replace(observation, endpoints=None, handshake_ages=None, digested=True, one_way=None)
    return plain, in_vain
