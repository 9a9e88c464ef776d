"""PURE: what shows that a node is where the registry says, and nowhere else: device, routes, answers, each counted.

The registry is what it is compared with. An address is old where it is not registered for the node: so nothing has
to be remembered of a move to find what it left behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from auditor.repair.peer_view import PeerView
from auditor.values.addresses import Prefix, PublicKey, format_prefix, is_host
from auditor.values.models import Gap, NodeId, Registration
from auditor.values.text import count, listed
from auditor.values.witness_answers import WitnessAnswer

_NAMED = 5

View = PeerView | Gap
"""One node as it was seen, or why it was not."""


class VerificationOutcome(StrEnum):
    """VerificationOutcome of one verification."""

    VERIFIED = "verified"
    NOT_VERIFIED = "not-verified"
    UNKNOWN = "unknown"
    """Too little was seen to tell."""


class VerifiedSubject(StrEnum):
    """Thing that is verified of a node."""

    REGISTRATION = "registration"
    DEVICE = "device"
    ROUTES = "routes"
    OLD_ADDRESSES = "old-addresses"
    ANSWERS = "answers"


@dataclass(frozen=True, slots=True)
class VerifiedThing:
    """One thing that was looked at, and what came of it."""

    subject: VerifiedSubject
    outcome: VerificationOutcome
    statement: str
    """Facts in one clause, for people."""
    right: int = 0
    """Observers that show it as it should be."""
    asked: int = 0
    """Observers that were to show it."""
    wrong: tuple[tuple[str, str], ...] = ()
    """Node, and what it shows instead."""
    unseen: tuple[tuple[str, str], ...] = ()
    """Node, and why it showed nothing."""


@dataclass(frozen=True, slots=True)
class NodeVerification:
    """All that was verified of one node."""

    node: NodeId
    addresses: tuple[Prefix, ...]
    """Registered ones."""
    things: tuple[VerifiedThing, ...]

    @property
    def outcome(self) -> VerificationOutcome:
        """The worst of all."""
        return worst(item.outcome for item in self.things)


def worst(outcomes: Iterable[VerificationOutcome]) -> VerificationOutcome:
    """Return the worst of these: what is wrong counts more than what is not known."""
    found = set(outcomes)
    for outcome in (VerificationOutcome.NOT_VERIFIED, VerificationOutcome.UNKNOWN):
        if outcome in found:
            return outcome
    return VerificationOutcome.VERIFIED


@dataclass(frozen=True, slots=True)
class SeenOfNode:
    """What was seen of one node and by its observers."""

    registration: Registration
    own: View
    observers: Mapping[NodeId, View]
    answers: Sequence[WitnessAnswer] | None = None
    """None: no witness is configured."""
    before: tuple[Prefix, ...] = ()
    """Addresses that were registered for it earlier, as far as that is remembered."""


def verified(
    seen: SeenOfNode,
    *,
    minimum: float,
    partial: bool,
    is_route: Callable[[Prefix], bool],
    holder_of: Callable[[PublicKey], str],
) -> NodeVerification:
    """Compare what was seen with the registration.

    minimum: share of observers that must be seen. partial: not every observer need have the node as a peer. is_route:
    whether a prefix is a route alone, and nobody's address. holder_of: names the node of a key.
    """
    things = [_device(seen), *_peers(seen, minimum, is_route, holder_of, partial=partial)]
    if seen.answers is not None:
        things.append(_answers(seen.registration, seen.answers))
    return NodeVerification(seen.registration.node, seen.registration.addresses, tuple(things))


def _device(seen: SeenOfNode) -> VerifiedThing:
    registration, own = seen.registration, seen.own
    name = str(registration.node)
    if isinstance(own, Gap):
        return _unknown(VerifiedSubject.DEVICE, "it was not seen itself", ((name, own.reason.value),))
    device = own.observation.device
    if device.public_key != registration.public_key:
        return _not(
            VerifiedSubject.DEVICE,
            "another key than the registered one is on it",
            ((name, device.public_key),),
        )
    held, registered = set(device.addresses), set(filter(is_host, registration.addresses))
    left, missing = sorted(held - registered), sorted(registered - held)
    if left or missing:
        parts = [f"holds {_texts(left)}, which is not registered" if left else ""]
        parts.append(f"lacks {_texts(missing)}" if missing else "")
        words = " and ".join(filter(None, parts))
        return _not(VerifiedSubject.DEVICE, f"its device {words}", ((name, words),))
    if device.link_up is False:
        return _not(VerifiedSubject.DEVICE, "the link of its device is down", ((name, "link down"),))
    return VerifiedThing(
        VerifiedSubject.DEVICE,
        VerificationOutcome.VERIFIED,
        f"its device holds {_texts(sorted(held))} and no other address",
        1,
        1,
    )


def _peers(
    seen: SeenOfNode,
    minimum: float,
    is_route: Callable[[Prefix], bool],
    holder_of: Callable[[PublicKey], str],
    *,
    partial: bool,
) -> Iterable[VerifiedThing]:
    registration = seen.registration
    key, name = registration.public_key, str(registration.node)
    if key is None:
        raise AssertionError("what has no readable key cannot be compared with routes")
    wanted = tuple(prefix for prefix in registration.addresses if not is_route(prefix))
    unseen = tuple(
        (str(node), view.reason.value) for node, view in seen.observers.items() if isinstance(view, Gap)
    )
    views = {node: view for node, view in seen.observers.items() if isinstance(view, PeerView)}
    if partial:
        peers = {node: view for node, view in views.items() if view.has_peer(key)}
        unseen_share = len(unseen) / max(1, len(seen.observers))
        asked, views = len(peers) + len(unseen), peers
    else:
        asked, unseen_share = len(seen.observers), len(unseen) / max(1, len(seen.observers))
    enough = bool(views) and 1 - unseen_share >= minimum
    astray, old = [], []
    for node, view in views.items():
        lacking = [prefix for prefix in wanted if not view.routes(prefix, key)]
        if lacking:
            astray.append((str(node), "; ".join(_given(view, prefix, key, holder_of) for prefix in lacking)))
        extra = [
            item
            for item in view.allowed_ips(key)
            if item not in registration.addresses and not is_route(item)
        ]
        if extra:
            old.append((str(node), f"gives it {_texts(extra)}"))
    total, addresses = len(views), _texts(wanted)
    yield _counted(
        VerifiedSubject.ROUTES,
        f"{total - len(astray):,} of {count(total, 'observer')} give {addresses} to {name}",
        total,
        tuple(astray),
        asked,
        unseen,
        enough=enough,
    )
    gone = [prefix for prefix in seen.before if prefix not in registration.addresses]
    earlier = f" ({_texts(gone)} earlier)" if gone else ""
    yield _counted(
        VerifiedSubject.OLD_ADDRESSES,
        f"{total - len(old):,} of {count(total, 'observer')} give {name} no other address{earlier}",
        total,
        tuple(old),
        asked,
        unseen,
        enough=enough,
    )


def _given(view: PeerView, prefix: Prefix, key: PublicKey, holder_of: Callable[[PublicKey], str]) -> str:
    others = view.others_with(prefix, key)
    return f"{format_prefix(prefix)} goes to {listed(map(holder_of, others)) if others else 'nobody'}"


def _answers(registration: Registration, answers: Sequence[WitnessAnswer]) -> VerifiedThing:
    right = [item for item in answers if item.node == registration.node]
    wrong = [item for item in answers if item.node is not None and item.node != registration.node]
    silent = [item for item in answers if item.node is None]
    unseen = tuple((str(item.observer), _why(item)) for item in silent)
    asked = len(answers)
    said = f"of {asked:,} asked, {len(right):,} reached {registration.node}"
    others = Counter(str(item.node) for item in wrong)
    said += "".join(f", {number:,} {name}" for name, number in others.most_common(_NAMED))
    if silent:
        said += f", {len(silent):,} got no answer that names a node"
    outcome = (
        VerificationOutcome.NOT_VERIFIED
        if wrong
        else VerificationOutcome.VERIFIED
        if right
        else VerificationOutcome.UNKNOWN
    )
    shows = tuple((str(item.observer), f"reached {item.node}") for item in wrong)
    return VerifiedThing(VerifiedSubject.ANSWERS, outcome, said, len(right), asked, shows, unseen)


def _why(answer: WitnessAnswer) -> str:
    return answer.reason.value if answer.reason is not None else f"a server of no node: {answer.said[:60]}"


def _counted(
    subject: VerifiedSubject,
    statement: str,
    total: int,
    wrong: tuple[tuple[str, str], ...],
    asked: int,
    unseen: tuple[tuple[str, str], ...],
    *,
    enough: bool,
) -> VerifiedThing:
    outcome = (
        VerificationOutcome.NOT_VERIFIED
        if wrong
        else VerificationOutcome.VERIFIED
        if enough
        else VerificationOutcome.UNKNOWN
    )
    statement = statement if total else "no observer was seen"
    return VerifiedThing(subject, outcome, statement, total - len(wrong), asked, wrong, unseen)


def _outcome(wrong: Sequence[object], *, enough: bool) -> VerificationOutcome:
    if wrong:
        return VerificationOutcome.NOT_VERIFIED
    return VerificationOutcome.VERIFIED if enough else VerificationOutcome.UNKNOWN


def _unknown(
    subject: VerifiedSubject, statement: str, unseen: tuple[tuple[str, str], ...] = ()
) -> VerifiedThing:
    return VerifiedThing(subject, VerificationOutcome.UNKNOWN, statement, 0, 1, (), unseen)


def _not(subject: VerifiedSubject, statement: str, wrong: tuple[tuple[str, str], ...]) -> VerifiedThing:
    return VerifiedThing(subject, VerificationOutcome.NOT_VERIFIED, statement, 0, 1, wrong)


def _texts(prefixes: Iterable[Prefix]) -> str:
    return listed(map(format_prefix, prefixes), last=" and ") or "no address"
