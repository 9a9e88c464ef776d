"""Routes of other nodes during a move: look at a sample of observers, and set their peers if asked to."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from auditor.errors import GapReason, InvalidValue, ProbeError
from auditor.nodes.change.changes import NodeChanger, SetPeer
from auditor.nodes.interface import NodeSource, TableStore
from auditor.repair.moves import Keeper, Move
from auditor.values.addresses import Prefix, PublicKey, parse_prefix
from auditor.values.models import NodeId, Observation, Registration, RouteTable
from auditor.values.text import listed

AT_ONCE = 16
ROUTED = "routed"
"""Fact: the observers that routed the old address to the mover before peers were set, as a JSON list."""
SELF_ROUTED = "self-routed"
"""Fact: whether the mover itself gave the old address to the keeper before."""


@dataclass(frozen=True, slots=True)
class PeerView:
    """Observation of one node, with its route table."""

    observation: Observation
    table: RouteTable

    def routes(self, prefix: Prefix, key: PublicKey) -> bool:
        """Tell whether exactly this prefix is given to this key, the device's own addresses included."""
        line = f"{key}\t{prefix}\n".encode()
        return self.table.text.startswith(line) or b"\n" + line in self.table.text

    def others_with(self, prefix: Prefix, key: PublicKey) -> tuple[str, ...]:
        """Keys other than this one that have exactly this prefix."""
        pattern = rb"(?m)^(.+)\t%s$" % re.escape(prefix.encode())
        found = {match.decode("ascii", "replace") for match in re.findall(pattern, self.table.text)}
        return tuple(sorted(found - {key}))

    def allowed_ips(self, key: PublicKey) -> tuple[Prefix, ...]:
        """All that is given to this key. Raises `ProbeError`."""
        found = re.findall(rb"(?m)^%s\t(.+)$" % re.escape(key.encode()), self.table.text)
        try:
            return tuple(parse_prefix(text.decode("ascii")) for text in found if text != b"(none)")
        except (InvalidValue, UnicodeDecodeError):
            raise ProbeError(GapReason.UNREADABLE_OUTPUT, "an allowed-ip that is no prefix") from None


@dataclass(frozen=True, slots=True)
class PeerLook:
    """Count of observers that route the new address to the mover, and the old one to its keeper."""

    asked: int
    new_right: int
    old_right: int
    wrong: tuple[str, ...] = ()
    """Names of observers that do not yet."""
    unseen: tuple[str, ...] = ()
    """Names of observers that did not answer, with the reason."""


class PeerRoutes:
    """Look at the other nodes of one fleet, and change their peers."""

    def __init__(
        self,
        nodes: NodeSource,
        changer: NodeChanger,
        registrations: Mapping[NodeId, Registration],
        say: Callable[[str], None],
    ) -> None:
        """`registrations`: the registry as it is now; its owner keeps it current."""
        self._nodes = nodes
        self._changer = changer
        self._registrations = registrations
        self._say = say

    def sample(self, move: Move, size: int) -> tuple[NodeId, ...]:
        """Choose observers: first those that route the old address to the mover by the plan, then others evenly."""
        chosen = [
            node for node in dict.fromkeys(move.sample) if node in self._registrations and node != move.node
        ]
        others = sorted(node for node in self._registrations if node != move.node and node not in chosen)
        room = min(max(0, size - len(chosen)), len(others))
        chosen += [others[number * len(others) // room] for number in range(room)]
        return tuple(chosen[:size])

    async def look(self, nodes: Iterable[NodeId]) -> Mapping[NodeId, PeerView | ProbeError]:
        """Look at each node: its view or the error, by node."""
        tables = TableStore()
        answers: dict[NodeId, Observation | ProbeError] = {}

        async def one(node: NodeId) -> None:
            registration = self._registrations[node]
            try:
                observation = await self._nodes.observe(registration, tables)
                if observation.device.public_key != registration.public_key:
                    raise ProbeError(GapReason.WRONG_HOST, "a device with another key answered")
                answers[node] = observation
            except ProbeError as error:
                answers[node] = error

        await _each(nodes, one)
        return {
            node: answer if isinstance(answer, ProbeError) else PeerView(answer, tables.tables[answer.table])
            for node, answer in sorted(answers.items())
        }

    def count(self, views: Mapping[NodeId, PeerView | ProbeError], move: Move, keeper: Keeper) -> PeerLook:
        """Count the observers that route both addresses as the move wants."""
        alone = self._alone(move, keeper)
        asked = new_right = old_right = 0
        wrong: list[str] = []
        unseen: list[str] = []
        for node, view in views.items():
            if isinstance(view, ProbeError):
                unseen.append(f"{node} ({view.reason.value})")
                continue
            new = view.routes(move.new, move.public_key)
            old = not view.routes(move.old, move.public_key)
            if keeper.public_key is not None and alone and not self._delivers(view, node, move, keeper):
                old = old and view.routes(move.old, keeper.public_key)
            asked += 1
            new_right += new
            old_right += old
            if not (new and old):
                wrong.append(str(node))
        return PeerLook(asked, new_right, old_right, tuple(wrong), tuple(unseen))

    def _alone(self, move: Move, keeper: Keeper) -> bool:
        """Tell whether nobody but the keeper is registered with the old address: else any of them may be routed to."""
        return not any(
            move.old in registration.addresses and node not in (move.node, keeper.node)
            for node, registration in self._registrations.items()
        )

    def _delivers(self, view: PeerView, node: NodeId, move: Move, keeper: Keeper) -> bool:
        """Tell whether this is another claimant, whose device takes the old address for its own."""
        return node != keeper.node and move.old in view.observation.device.addresses

    # -- setting peers

    async def before_push(self, move: Move, keeper: Keeper) -> Mapping[str, str]:
        """Facts of the fleet that undo needs, taken before any peer is set."""
        views = await self.look(self._registrations)
        routed = [
            str(node)
            for node, view in views.items()
            if node != move.node and isinstance(view, PeerView) and view.routes(move.old, move.public_key)
        ]
        own = views[move.node]
        self_routed = (
            isinstance(own, PeerView)
            and keeper.public_key is not None
            and own.routes(move.old, keeper.public_key)
        )
        return {ROUTED: json.dumps(routed), SELF_ROUTED: "yes" if self_routed else "no"}

    async def push(self, move: Move, keeper: Keeper) -> tuple[str, ...]:
        """Give the new address to the mover, and the old one to the keeper, on every other node.

        Returns the names of those where it did not work, with the reason. All that a node gives to the two
        beside is left as it is. Who holds the old address itself gets no peer for it: it would route to itself.
        """

        claimants = {
            registration.public_key
            for node, registration in self._registrations.items()
            if move.old in registration.addresses and node not in (move.node, keeper.node)
        }

        def wanted(node: NodeId, view: PeerView) -> Iterable[SetPeer]:
            if node != move.node:
                mine = [
                    prefix
                    for prefix in view.allowed_ips(move.public_key)
                    if prefix not in (move.old, move.new)
                ]
                yield SetPeer(move.public_key, (*mine, move.new))
            if keeper.public_key is None or move.old in view.observation.device.addresses:
                return
            if claimants.intersection(view.others_with(move.old, keeper.public_key)):
                return  # another who still has to move: it loses the address by its own move
            # Whoever took the prefix last has it: the keeper gets it back where the mover had it.
            theirs = [prefix for prefix in view.allowed_ips(keeper.public_key) if prefix != move.old]
            yield SetPeer(keeper.public_key, (*theirs, move.old))

        return await self._set([node for node in self._registrations if node != move.node], wanted)

    async def push_on_mover(self, move: Move, keeper: Keeper) -> None:
        """Give the old address to the keeper on the mover, which no longer holds it. Raises `ProbeError`."""
        await self._set_on_mover(move, keeper, give=True)

    async def push_back(self, move: Move, facts: Mapping[str, str]) -> tuple[str, ...]:
        """Take back what `push` did, by what `before_push` saw: as `push`."""
        routed = frozenset(json.loads(facts[ROUTED]))

        def wanted(node: NodeId, view: PeerView) -> Iterable[SetPeer]:
            mine = [
                prefix for prefix in view.allowed_ips(move.public_key) if prefix not in (move.old, move.new)
            ]
            yield SetPeer(move.public_key, (*mine, move.old) if str(node) in routed else tuple(mine))

        return await self._set([node for node in self._registrations if node != move.node], wanted)

    async def push_back_on_mover(self, move: Move, keeper: Keeper, facts: Mapping[str, str]) -> None:
        """The mover holds the old address again, and its peer has it only if it had it before. Raises `ProbeError`."""
        if facts[SELF_ROUTED] == "no":
            await self._set_on_mover(move, keeper, give=False)

    async def _set_on_mover(self, move: Move, keeper: Keeper, *, give: bool) -> None:
        if keeper.public_key is None:
            return
        view = (await self.look([move.node]))[move.node]
        if isinstance(view, ProbeError):
            raise view
        theirs = [prefix for prefix in view.allowed_ips(keeper.public_key) if prefix != move.old]
        peer = SetPeer(keeper.public_key, (*theirs, move.old) if give else tuple(theirs))
        await self._changer.change(self._registrations[move.node], peer)

    async def _set(
        self, nodes: Iterable[NodeId], wanted: Callable[[NodeId, PeerView], Iterable[SetPeer]]
    ) -> tuple[str, ...]:
        failed: list[str] = []
        views = await self.look(nodes)

        async def one(node: NodeId) -> None:
            view = views[node]
            try:
                if isinstance(view, ProbeError):
                    raise view
                own = self._registrations[node].public_key
                for peer in wanted(node, view):
                    if peer.public_key != own and frozenset(peer.allowed_ips) != frozenset(
                        view.allowed_ips(peer.public_key)
                    ):
                        await self._changer.change(self._registrations[node], peer)
            except ProbeError as error:
                failed.append(f"{node} ({error})")

        await _each(views, one)
        if failed:
            self._say(f"peers not set on {listed(sorted(failed), last=', ')}")
        return tuple(sorted(failed))


async def _each(nodes: Iterable[NodeId], act: Callable[[NodeId], Awaitable[None]]) -> None:
    bound = asyncio.Semaphore(AT_ONCE)

    async def one(node: NodeId) -> None:
        async with bound:
            await act(node)

    await asyncio.gather(*map(one, nodes))
