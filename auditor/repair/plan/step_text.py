"""PURE: a plan in words: what each move needs, changes and leaves a way back from; the same in every format."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from auditor.repair.claims.claim import claim_key
from auditor.repair.moves import Contested, Kind, Move, RepairPlan, Rule
from auditor.values.addresses import format_prefix
from auditor.values.drains import DrainMeans, DrainPolicy, command_words
from auditor.values.models import NodeId
from auditor.values.text import listed

WG_QUICK = "/etc/wireguard/{device}.conf"
BOOT_FOLDERS = (
    "/etc/netplan",
    "/etc/NetworkManager/system-connections",
    "/etc/systemd/network",
    "/run/systemd/network",
    "/usr/lib/systemd/network",
)
"""Folders of files that may bring a device up, beside wg-quick's file."""

RULES: Mapping[Rule, str] = {
    Rule.CHOSEN: "--keep names who keeps it; this stands above every other rule",
    Rule.FALLBACK_NOBODY: (
        "a pool's first address comes from an allocator that could not read the registry; nobody keeps it, "
        "for repair.fallback_keeper is nobody"
    ),
    Rule.ONLY_REGISTERED: "who holds it against its own registration goes back to what is registered",
    Rule.CARRIES_WORKLOAD: "nodes that carry no workload move first, whoever is the oldest",
    Rule.OLDEST: "the oldest registration (lowest CreateIndex) keeps it",
}
"""Sentence of each rule, in the order in which they are applied."""


_MOST_SERVICES = 6


class Words(NamedTuple):
    """A label and one sentence about a move."""

    label: str
    text: str


class Wording:
    """Describes the moves of one plan in words."""

    def __init__(self, plan: RepairPlan) -> None:
        self._plan = plan
        places: dict[str, set[str]] = defaultdict(set)
        for contested in plan.contested:
            for node in (*contested.claimants, *(item for move in contested.moves for item in move.sample)):
                places[node.name].add(node.datacenter)
        for left in plan.left_out:
            if left.node is not None:
                places[left.node.name].add(left.node.datacenter)
        self._ambiguous = frozenset(name for name, datacenters in places.items() if len(datacenters) > 1)

    def name(self, node: NodeId | None) -> str:
        """Return the node's name; with its datacenter only where the name alone is not enough."""
        if node is None:
            return "nobody"
        return str(node) if node.name in self._ambiguous else node.name

    def moves(self, contested: Contested, move: Move) -> tuple[Words, ...]:
        """Describe preconditions, write, change on the node, peers, check afterwards, and the way back."""
        drain = self._plan.drain
        return (
            Words("before", self.before(move)),
            *([Words("drain", drained(drain, move))] if drain is not None else []),
            Words("consul", self.consul(move)),
            Words("node", self.node(move)),
            Words("file", self.file(move)),
            Words("peers", self.peers(contested, move)),
            Words("after", self.after(contested, move)),
            Words("back", self.back(move)),
        )

    def before(self, move: Move) -> str:
        """Describe the preconditions at the moment of the change."""
        index = "its index is not known" if move.modify_index is None else f"ModifyIndex {move.modify_index}"
        device = f"{self._plan.device} has its registered key and holds {format_prefix(move.old)}"
        if move.kind is Kind.RESTORE:
            return f"{move.where} still says {_list(move)}; {device}"
        return f"{move.where} is as it was ({index}, {_list(move)}); {device}; {format_prefix(move.new)} is unclaimed"

    def consul(self, move: Move) -> str:
        """Describe the write: exact keys, the index that is compared, and the address before and after."""
        if move.kind is Kind.RESTORE:
            return "nothing: the registration is right as it is"
        index = "cas (index not known)" if move.modify_index is None else f"cas {move.modify_index}"
        claim = claim_key(self._plan.claims_prefix, move.new)
        change = f"{format_prefix(move.old)} → {format_prefix(move.new)}"
        return f"{claim}, cas 0: claimed for it; {move.where}, {index}: {change}"

    def node(self, move: Move) -> str:
        """Describe the change on the device."""
        old, new = format_prefix(move.old), format_prefix(move.new)
        device = self._plan.device
        return (
            f"first `ip addr add {new}/LEN dev {device}`; once the peers have it `ip addr del {old}/LEN "
            f"dev {device}`; LEN is the length that stands at {old}"
        )

    def file(self, move: Move) -> str:
        """Describe the change of the file that the device comes up from."""
        wg_quick = WG_QUICK.format(device=self._plan.device)
        old, new = format_prefix(move.old), format_prefix(move.new)
        return (
            f"{old} → {new} where a plain line gives it to {self._plan.device}: {wg_quick}, netplan, NetworkManager's "
            "key files, systemd-networkd's files and drop-ins; what is found and not rewritten is named"
        )

    def peers(self, contested: Contested, move: Move) -> str:
        """Describe the state that the node's peers must show."""
        after = ", ".join(move.addresses_after)
        keeper = contested.keeper
        text = f"every peer has {after} at {move.public_key}"
        if keeper.node is not None and keeper.public_key is not None:
            theirs = ", ".join(keeper.addresses) or move.old
            text += f"; then {theirs} at {keeper.public_key} ({self.name(keeper.node)}) again"
        return text

    def after(self, contested: Contested, move: Move) -> str:
        """Describe the check after the move."""
        old, new = format_prefix(move.old), format_prefix(move.new)
        text = f"its device holds {new} and not {old}; all observers route {new} to it"
        if contested.keeper.node is not None:
            text += f" and {old} to {self.name(contested.keeper.node)}"
        return text

    def back(self, move: Move) -> str:
        """Describe the way back, the last change first."""
        old, new = format_prefix(move.old), format_prefix(move.new)
        steps = [f"add {old} to the device again", f"{old} in the file again"]
        if move.kind is Kind.RENUMBER:
            steps.append(f"{new} → {old} in {move.where}, by cas")
        steps.append(f"peers as before: {', '.join(move.addresses)} at its key")
        if move.kind is Kind.RENUMBER:
            steps += [f"drop {new} from the device", "remove its claim"]
        if self._plan.drain is not None:
            steps.append("back into production, if the move took it out")
        return "; ".join(steps) + f"; {old} is contested again then"

    def origin(self, move: Move) -> str:
        """Describe the prefix that the new address is taken from, and whether the node carries workload."""
        if move.kind is Kind.RESTORE:
            text = "as registered"
        elif move.chosen:
            text = f"chosen by --to, in {move.source}"
        elif move.region:
            text = f"out of {move.source}, region {move.region}"
        else:
            text = f"out of {move.source}"
        idle = {True: "no workload", False: "carries workload", None: ""}[move.idle]
        return ", ".join(filter(None, (text, idle, self.services(move))))

    def services(self, move: Move) -> str:
        """Describe the services that the node carries by Consul's catalog; "" where none is known."""
        found = self._plan.carried.get(move.node, ())
        words = [item.name if item.instances == 1 else f"{item.name} ({item.instances:,})" for item in found]
        return f"services: {listed(words, most=_MOST_SERVICES, total=len(words))}" if words else ""


def drained(drain: DrainPolicy, move: Move) -> str:
    """Describe how the node is taken out of production and put back."""
    out, back = (shell_words(drain, move, back=way) for way in (False, True))
    match drain.means:
        case DrainMeans.COMMAND:
            return f"first `{out}`, here; once it was verified `{back}`"
        case DrainMeans.CONSUL_MAINTENANCE:
            return (
                "first `consul maint -enable` on it, over SSH; once it was verified `consul maint -disable`"
            )
        case DrainMeans.NOMAD_ELIGIBILITY:
            return "first made ineligible in Nomad; once it was verified eligible again"


def shell_words(drain: DrainPolicy, move: Move, *, back: bool) -> str:
    """Return the command line of this move, quoted for a shell; "" where the means is no command.

    back: the one that puts the node back, at its new address. Raises `InvalidValue` where the plan was not ours.
    """
    address = format_prefix(move.new if back else move.old)
    words = command_words(drain.words(back=back), node=move.node.name, region=move.region, address=address)
    return shlex.join(words)


def rules_of(plan: RepairPlan) -> tuple[Rule, ...]:
    """Return the rules that decided something in the plan, in the order in which they are asked."""
    used = {contested.keeper.rule for contested in plan.contested}
    used |= {move.rule for contested in plan.contested for move in contested.moves}
    return tuple(rule for rule in RULES if rule in used)


def incomplete(plan: RepairPlan) -> int:
    """Count the contested addresses that the plan leaves out, in whole or in part."""
    return len(plan.left_out) + sum(bool(contested.left_out) for contested in plan.contested)


def _list(move: Move) -> str:
    return ", ".join(map(format_prefix, move.addresses))
