"""Routes of other nodes during a move: look at a sample of observers, and set their peers if asked to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from auditor.errors import GapReason, ProbeError
from auditor.nodes.change.changes import NodeChanger, SetPeer
from auditor.nodes.interface import NodeSource
from auditor.nodes.table_store import TableStore
from auditor.repair.moves import Keeper, Move
from auditor.repair.peer_view import PeerView
from auditor.values.models import NodeId, Observation, Registration
from auditor.values.text import listed

AT_ONCE = 16
ROUTED = "routed"
"""Fact: the observers that routed the old address to the mover before peers were set, as a JSON list."""
SELF_ROUTED = "self-routed"
"""Fact: whether the mover itself gave the old address to the keeper before."""


@dataclass(frozen=True, slots=True)
class PeerLook:
    """Count of observers that route the new address to the mover, and the old one to its keeper."""

    asked: int
    new_right: int
    old_right: int
    wrong: tuple[str, ...] = ()
    """Names of observers that do not yet."""
    unseen: Mapping[str, str] = field(default_factory=dict)
    """Observers that did not answer, by name, with the reason."""
    still_old: int = 0
    """Observers that route the old address to the mover, and not the new one."""


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

    def others(self, move: Move) -> int:
        """Count the nodes that could be asked as observers of the move."""
        return sum(node != move.node for node in self._registrations)

    def named(self, names: Iterable[str]) -> tuple[NodeId, ...]:
        """Find the nodes with these names among those that are registered now."""
        wanted = frozenset(names)
        return tuple(sorted(node for node in self._registrations if str(node) in wanted))

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
            node: answer
            if isinstance(answer, ProbeError)
            else PeerView(answer, tables.tables[answer.table].text)
            for node, answer in sorted(answers.items())
        }

    def count(self, views: Mapping[NodeId, PeerView | ProbeError], move: Move, keeper: Keeper) -> PeerLook:
        """Count the observers that route both addresses as the move wants."""
        alone = self._alone(move, keeper)
        asked = new_right = old_right = still_old = 0
        wrong: list[str] = []
        unseen: dict[str, str] = {}
        for node, view in views.items():
            if isinstance(view, ProbeError):
                unseen[str(node)] = view.reason.value
                continue
            new = view.routes(move.new, move.public_key)
            old = not view.routes(move.old, move.public_key)
            still_old += not (new or old)
            if keeper.public_key is not None and alone and not self._delivers(view, node, move, keeper):
                old = old and view.routes(move.old, keeper.public_key)
            asked += 1
            new_right += new
            old_right += old
            if not (new and old):
                wrong.append(str(node))
        return PeerLook(asked, new_right, old_right, tuple(wrong), unseen, still_old)

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

    async def push(
        self, move: Move, keeper: Keeper, nodes: Iterable[NodeId] | None = None
    ) -> Mapping[str, str]:
        """Give the new address to the mover, and the old one to the keeper, on every other node, or on these alone.

        Returns those where it did not work, by name, with the reason. All that a node gives to the two
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

        chosen = self._registrations if nodes is None else nodes
        return await self._set([node for node in chosen if node != move.node], wanted)

    async def push_on_mover(self, move: Move, keeper: Keeper) -> None:
        """Give the old address to the keeper on the mover, which no longer holds it. Raises `ProbeError`."""
        await self._set_on_mover(move, keeper, give=True)

    async def push_back(self, move: Move, facts: Mapping[str, str]) -> Mapping[str, str]:
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
    ) -> Mapping[str, str]:
        failed: dict[str, str] = {}
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
                failed[str(node)] = str(error)

        await _each(views, one)
        if failed:
            names = sorted(f"{name} ({why})" for name, why in failed.items())
            self._say(f"peers not set on {listed(names, last=', ')}")
        return dict(sorted(failed.items()))


async def _each(nodes: Iterable[NodeId], act: Callable[[NodeId], Awaitable[None]]) -> None:
    bound = asyncio.Semaphore(AT_ONCE)

    async def one(node: NodeId) -> None:
        async with bound:
            await act(node)

    await asyncio.gather(*map(one, nodes))
