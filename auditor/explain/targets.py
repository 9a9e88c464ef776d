"""Target of `explain` and `affected`: what a person may name of a sweep, and the findings that are about it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from auditor.errors import InvalidValue, UsageError
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix, PublicKey, covers, format_prefix, network, parse_prefix
from auditor.values.findings import Finding
from auditor.values.models import Gap, InvalidRegistration, NodeId, Snapshot
from auditor.values.report import Report
from auditor.values.text import count, for_log

SHORTEST_KEY = 6
"""Characters of a key that must at least be given."""
_LONGEST_QUOTE = 80
_LONGEST_DETAIL = 200
_MOST_GAPS = 2
"""Gaps that an error's one line tells with their details; the others are counted."""
_WHOLE_EXCERPT = 80
"""An excerpt as long as this may end in the middle of an address."""
LENGTH_OF_FINGERPRINT = 20
_FINGERPRINT = re.compile(r"[0-9a-f]{4,20}")
_KEBAB = re.compile(r"[a-z]+(?:-[a-z]+)+")
_NEARLY = 0.85
"""Likeness from which on a word is taken for a mistyped ident: one or two letters of it."""
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?")


class Address(NamedTuple):
    """The target is an address or prefix; whether anybody has it is another question."""

    prefix: Prefix


class Key(NamedTuple):
    """The target is a key that the sweep saw."""

    public_key: PublicKey


class Region(NamedTuple):
    """The target is a region that a node of the sweep is in."""

    region: str


class Topic(NamedTuple):
    """The target is an ident that the documents explain: of a check, of an alert, or of a gap's reason."""

    ident: str


Target = Address | NodeId | Key | Finding | Region | Topic


def find_target(
    snapshot: Snapshot,
    report: Report,
    fleet: Fleet,
    text: str,
    command: str = "explain",
    idents: Collection[str] = (),
) -> Target:
    """Read a target. A node's name wins over an ident (of `idents`), that over a region, that over a fingerprint.

    A fingerprint and a key may be cut short, to characters that no other one begins with. Raises `UsageError` where it
    fits nothing, or more than one thing.
    """
    if not text:
        raise UsageError(
            f"{command}: the target is empty; name an address, a node, a region, a check, a key or a fingerprint"
        )
    try:
        return Address(parse_prefix(text))
    except InvalidValue:
        # No address; then it is a name, an ident, a fingerprint or a key.
        nodes = named_nodes(snapshot, text)
    if len(nodes) == 1:
        return nodes[0]
    if nodes:
        listed = ", ".join(_quoted(str(node)) for node in nodes[:6])
        raise UsageError(f"{command}: {_quoted(text)} is a node in several datacenters; name one: {listed}")
    if text in idents:
        return Topic(text)
    if text in known_regions(snapshot, fleet):
        return Region(text)
    finding, key = _finding(report, text, command), _key(fleet, snapshot, text, command)
    if finding is not None and key is not None:
        raise UsageError(
            f"{command}: {_quoted(text)} begins the fingerprint {finding.fingerprint} and the key {key.public_key}; "
            "give more of it"
        )
    if finding is not None:
        return finding
    if key is not None:
        return key
    raise _unknown(snapshot, report, fleet, text, "it may be there all the same", command, idents)


def refuse_mistyped_ident(
    text: str, idents: Collection[str], known: Collection[str], command: str = "explain"
) -> None:
    """Refuse a target that is nearly an ident, before the fleet is looked at for it. Raises `UsageError`.

    known: names of nodes and regions that an earlier look knows; they are never refused, nor what holds a digit, as
    nodes' names do, or names a datacenter.
    """
    if text in idents or text in known or not _KEBAB.fullmatch(text):
        return
    near = difflib.get_close_matches(text[:_LONGEST_QUOTE], sorted(idents), n=1, cutoff=_NEARLY)
    if near:
        raise UsageError(
            f"{command}: nothing is called {_quoted(text)}; did you mean {near[0]}? (A node of that name is named "
            "with its datacenter, NODE@DATACENTER.) The fleet was not looked at"
        )


def known_regions(snapshot: Snapshot, fleet: Fleet) -> frozenset[str]:
    """List the regions of all nodes that the sweep heard of."""
    return frozenset(region for node in _nodes(snapshot) if (region := fleet.region(node)))


def _finding(report: Report, text: str, command: str) -> Finding | None:
    """Find the finding whose fingerprint begins so."""
    start = text.removesuffix("…").removesuffix("...").lower()
    if not _FINGERPRINT.fullmatch(start):
        return None
    matching = [item for item in report.findings if item.fingerprint.startswith(start)]
    if len(matching) > 1:
        listed = ", ".join(item.fingerprint for item in matching[:3])
        raise UsageError(
            f"{command}: {len(matching):,} fingerprints start with {_quoted(start)}; give more of it: {listed}"
        )
    return matching[0] if matching else None


def unknown_address(
    snapshot: Snapshot, report: Report, fleet: Fleet, prefix: Prefix, command: str = "explain"
) -> UsageError:
    """The error for an address that the sweep saw nothing of: whether it may be treated as free, too."""
    return _unknown(snapshot, report, fleet, format_prefix(prefix), "do not treat it as free", command)


def unreadable_with(items: Iterable[InvalidRegistration], prefix: Prefix) -> tuple[InvalidRegistration, ...]:
    """Select the unreadable registrations whose excerpt shows the address, or a prefix that covers it."""
    return tuple(item for item in items if any(_is_or_covers(text, prefix) for text in _addresses_in(item)))


def _addresses_in(item: InvalidRegistration) -> Iterable[str]:
    for match in _ADDRESS.finditer(item.excerpt):
        if match.end() < _WHOLE_EXCERPT:
            yield match[0]


def _is_or_covers(text: str, prefix: Prefix) -> bool:
    try:
        found = parse_prefix(text)
    except InvalidValue:
        # `10.0.0.7/8` is no prefix, and perhaps the very reason why it could not be read: still that address.
        address, slash, _ = text.partition("/")
        return bool(slash) and _is_or_covers(address, prefix)
    return covers(network(found), network(prefix))


def not_seen(report: Report, *, details: bool = True) -> list[str]:
    """List reasons why an unseen target may exist all the same, one clause each. Empty: the sweep saw all.

    `details`: the first gaps are listed too, and not only counted.
    """
    coverage, reasons = report.coverage, []
    if not coverage.registered:
        reasons.append("no registration was seen")
    elif coverage.observed < coverage.registered:
        reasons.append(f"only {coverage.observed:,} of {count(coverage.registered, 'registered node')} seen")
    if coverage.unreadable:
        reasons.append(f"{count(coverage.unreadable, 'registration')} unreadable")
    if report.cut_short:
        reasons.append(f"the sweep was cut short ({report.cut_short})")
    if report.not_seen:
        which = f" ({_first_gaps(report.not_seen)})" if details else ""
        reasons.append(f"{count(len(report.not_seen), 'gap')}{which}")
    return reasons


def _first_gaps(gaps: Iterable[Gap]) -> str:
    # The registry's first: it may hide any number of nodes.
    ordered = sorted(gaps, key=lambda gap: gap.node is not None)
    named = [
        f"{_bounded(gap.node)}: {gap.reason}" if gap.node else f"{gap.reason}: {_bounded(gap.detail)}"
        for gap in ordered[:_MOST_GAPS]
    ]
    more = len(ordered) - len(named)
    return "; ".join([*named, f"{more:,} more"] if more else named)


def _unknown(
    snapshot: Snapshot,
    report: Report,
    fleet: Fleet,
    text: str,
    warning: str,
    command: str = "explain",
    idents: Collection[str] = (),
) -> UsageError:
    """The error for a target that the sweep saw nothing of, with the nearest known names."""
    nodes = _nodes(snapshot)
    names = {node.name for node in nodes} | {str(node) for node in nodes} | {*idents}
    names |= {format_prefix(prefix) for prefix in (*fleet.registered_claims, *fleet.device_claims)}
    names |= known_regions(snapshot, fleet)
    close = difflib.get_close_matches(text[:_LONGEST_QUOTE], sorted(names), n=3)
    nearest = f"; nearest known: {', '.join(map(_quoted, close))}" if close else ""
    # Not seen is not the same as not there.
    unseen = not_seen(report)
    caveat = f"; {warning}: {', '.join(unseen)}" if unseen else ""
    if len(text) == LENGTH_OF_FINGERPRINT and _FINGERPRINT.fullmatch(text):
        caveat += f"; as a fingerprint, `wgaudit history show {text}` has what is known of it"
    return UsageError(
        f"{command}: the sweep saw no address, node, region, key or finding {_quoted(text)}{caveat}{nearest}"
    )


def about_address(finding: Finding, prefix: Prefix) -> bool:
    """Tell whether the finding is about the address, or rests on a claim to it or a fact about it."""
    text = format_prefix(prefix)
    return (
        finding.address == prefix
        or any(claim.prefix == prefix for claim in finding.evidence.claims)
        or any(value in (text, prefix) for _, value in finding.evidence.facts)
    )


def stands_at(finding: Finding, places: Collection[str]) -> bool:
    """Tell whether the finding is about an unreadable registration at one of these places."""
    return any(label == "where" and value in places for label, value in finding.evidence.facts)


def about_node(finding: Finding, node: NodeId, report: Report) -> bool:
    """Tell whether the finding names the node, or rests on a claim of it."""
    return (
        node in finding.nodes
        or finding.subject in (str(node), report.name(node))
        or any(claim.node == node for claim in finding.evidence.claims)
    )


def about_key(finding: Finding, key: PublicKey) -> bool:
    """Tell whether the finding is about the key, by subject, claim, pick or fact."""
    evidence = finding.evidence
    return (
        finding.public_key == key
        or any(claim.public_key == key for claim in evidence.claims)
        or any(pick.public_key == key for pick in evidence.routing)
        or any(value == key for _, value in evidence.facts)
    )


def named_nodes(snapshot: Snapshot, text: str) -> list[NodeId]:
    """List the nodes of a name, given alone or with a datacenter (`name@datacenter`)."""
    return [node for node in _nodes(snapshot) if text in (node.name, str(node))]


def _nodes(snapshot: Snapshot) -> list[NodeId]:
    """Every node that the sweep heard of, those that it could not see included."""
    known: set[NodeId] = set()
    for group in (snapshot.registrations, snapshot.invalid, snapshot.in_flight, snapshot.observations):
        known |= {item.node for item in group}
    known |= {item.registration.node for item in snapshot.memory.lost}
    known |= {NodeId(gap.datacenter or "", gap.node) for gap in snapshot.gaps if gap.node is not None}
    return sorted(known)


def _key(fleet: Fleet, snapshot: Snapshot, text: str, command: str) -> Key | None:
    # A report shows keys cut short, with an ellipsis: what is copied from there must do.
    start = text.removesuffix("…").removesuffix("...")
    if len(start) < SHORTEST_KEY:
        return None
    keys = fleet.known_keys | {item.device.public_key for item in snapshot.observations}
    keys |= fleet.routes.deviations.extra_keys.keys()
    matching = sorted(key for key in keys if key.startswith(start))
    if len(matching) > 1:
        raise UsageError(
            f"{command}: {len(matching):,} keys start with {_quoted(start)}; give more of it: "
            f"{', '.join(matching[:3])}"
        )
    return Key(matching[0]) if matching else None


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST_DETAIL else f"{text[:_LONGEST_DETAIL]}…"


def _quoted(text: str) -> str:
    """A name in quotes, harmless and bounded: it ends up in an error's one line."""
    return f"'{for_log(text, most=_LONGEST_QUOTE)}'"
