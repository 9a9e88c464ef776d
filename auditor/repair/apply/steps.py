"""The steps of a move and their undo: on the mover's device, in the registry, at its peers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace

from auditor.errors import Stopped, Surprise
from auditor.nodes.change.changes import (
    AddAddress,
    Change,
    DeviceState,
    DropAddress,
    NodeChanger,
    RewriteFiles,
)
from auditor.repair.apply.answering import MoveAnswers
from auditor.repair.apply.drain_steps import DrainSteps
from auditor.repair.apply.ledger import Ledger
from auditor.repair.apply.observers import ROUTED, PeerLook, PeerRoutes
from auditor.repair.apply.outcome import (
    ASKED,
    BOOT_FILES,
    BY_HAND,
    FLEET,
    NOT_SET,
    UNSEEN,
    WHY_LEFT,
    read_table,
    table,
)
from auditor.repair.apply.waiting import PeerWait
from auditor.repair.moves import Keeper, Move, Step
from auditor.repair.peer_view import PeerView
from auditor.values.addresses import Prefix, format_prefix
from auditor.values.models import NodeId, Registration

Facts = Mapping[str, str]

HELD = "held"
"""Fact: whether the device held the new address before it was added; then the way back leaves it there."""


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """Options of an apply."""

    push_peers: bool = False
    """Set the observers' allowed-ips ourselves; else wait for the fleet's own agent."""
    wait: float = 300.0
    """Seconds that observers may take to route the new address."""
    sample: int = 20
    """Observers that are asked."""
    poll: float = 2.0
    """Seconds between two looks at observers that do not route the new address yet."""
    no_drain: bool = False
    """Nobody is taken out of production, whatever the plan says."""


@dataclass(frozen=True, slots=True)
class Task:
    """One step of one move, at the moment when it is made or taken back."""

    move: Move
    """The move, with the registration that it meets now."""
    keeper: Keeper
    facts: Facts
    """Facts in the journal of this move so far."""
    note: Callable[[Facts], None]
    """Journal what undo needs, before the change."""


class Steps:
    """Make steps and takes them back. Each may be repeated. All raise `Surprise` and the errors of the parts."""

    def __init__(
        self,
        ledger: Ledger,
        changer: NodeChanger,
        observers: PeerRoutes,
        registrations: dict[NodeId, Registration],
        options: ApplyOptions,
        stopping: asyncio.Event,
        waiting: Callable[[PeerWait], None],
        drains: DrainSteps,
        answers: MoveAnswers | None = None,
    ) -> None:
        """`registrations`: the registry as it is now; kept so here. `stopping`: ends a wait with `Stopped`.

        waiting: receives the counts of each look after which the wait goes on. drains: makes the first and last step.
        answers: asks who answers at the new address; None: nothing is configured that could.
        """
        self._drains = drains
        self._answers = answers
        self._ledger = ledger
        self._changer = changer
        self._observers = observers
        self._registrations = registrations
        self._options = options
        self._stopping = stopping
        self._waiting = waiting
        self._do: Mapping[Step, Callable[[Task], Awaitable[Facts]]] = {
            Step.DRAIN: self._drain,
            Step.RESERVE: self._reserve,
            Step.ADD: self._add,
            Step.REGISTER: self._register,
            Step.PEERS: self._set_peers,
            Step.PERSIST: self._persist,
            Step.REMOVE: self._remove,
            Step.VERIFY: self._verify,
            Step.UNDRAIN: self._undrain,
        }
        self._undo: Mapping[Step, Callable[[Task], Awaitable[Facts]]] = {
            Step.DRAIN: self._undrain_old,
            Step.RESERVE: self._unreserve,
            Step.ADD: self._take_off,
            Step.REGISTER: self._unregister,
            Step.PEERS: self._unset_peers,
            Step.PERSIST: self._unpersist,
            Step.REMOVE: self._bring_back,
            Step.VERIFY: self._nothing,
            Step.UNDRAIN: self._drain_again,
        }

    async def do(self, step: Step, task: Task) -> Facts:
        """Make one step. Returns facts for the journal and the screen."""
        return await self._do[step](task)

    async def undo(self, step: Step, task: Task) -> Facts:
        """Take one step back, whether it was made, made in part, or not."""
        return await self._undo[step](task)

    async def check(self, move: Move, keeper: Keeper, *, others_moved: bool) -> None:
        """Check the preconditions just before the first change. Raises `Surprise`.

        others_moved: whether the same plan has moved others off the old address already.
        """
        self._check_registry(move, keeper)
        await asyncio.to_thread(self._ledger.check, move)
        device = await self._device(move)
        if move.old not in device.addresses:
            raise Surprise(f"{_held(device)}, not {format_prefix(move.old)}; make a new plan")
        views = await self._observers.look(self._observers.sample(move, self._options.sample))
        for node, view in views.items():
            if isinstance(view, PeerView) and (others := view.others_with(move.new, move.public_key)):
                raise Surprise(
                    f"{node} routes {format_prefix(move.new)} to another key ({others[0][:8]}…), so it is in use; "
                    "make a new plan"
                )
        claimed = keeper.node is not None or others_moved or self._claimed_by_others(move)
        seen = (view for view in views.values() if isinstance(view, PeerView))
        if not claimed and not any(view.others_with(move.old, move.public_key) for view in seen):
            raise Surprise(
                f"nobody else claims {format_prefix(move.old)} any more, in the registry or on an observer; "
                "make a new plan"
            )

    async def check_begun(self, move: Move, done: Collection[Step]) -> None:
        """Check what the journal says to be done against the world, before anything is built on it.

        Raises `Surprise` and what the ledger raises.
        """
        self._check_place(move)
        await asyncio.to_thread(self._ledger.check_begun, move, done)

    def _check_place(self, move: Move) -> None:
        """Check that the registration that is read for the node is the one that the plan would write."""
        registration = self._way(move.node)
        if (registration.where, registration.public_key) != (move.where, move.public_key):
            raise Surprise("it is registered under another key or place than the plan has; make a new plan")

    def _claimed_by_others(self, move: Move) -> bool:
        return any(
            move.old in registration.addresses
            for node, registration in self._registrations.items()
            if node != move.node
        )

    def _check_registry(self, move: Move, keeper: Keeper) -> None:
        """Check the move against the registry as it was read at the start, all datacenters."""
        self._check_place(move)
        if keeper.node is not None:
            kept = self._registrations.get(keeper.node)
            if kept is None or kept.public_key != keeper.public_key or move.old not in kept.addresses:
                raise Surprise(
                    f"{keeper.node} was to keep {format_prefix(move.old)}, and is no longer registered so; "
                    "make a new plan"
                )
        for node, registration in self._registrations.items():
            if node != move.node and move.new in registration.addresses:
                raise Surprise(
                    f"{format_prefix(move.new)} is registered meanwhile, for {node}; make a new plan"
                )

    # -- drain and undrain

    async def _drain(self, task: Task) -> Facts:
        return await self._drains.out(task.move, self._way(task.move.node), task.facts, task.note)

    async def _undrain_old(self, task: Task) -> Facts:
        return await self._drains.back(task.move, self._way(task.move.node), task.facts, task.move.old)

    async def _undrain(self, task: Task) -> Facts:
        return await self._drains.back(task.move, self._way(task.move.node), task.facts, task.move.new)

    async def _drain_again(self, task: Task) -> Facts:
        return await self._drains.out_again(task.move, self._way(task.move.node), task.facts)

    # -- reserve

    async def _reserve(self, task: Task) -> Facts:
        return await asyncio.to_thread(self._ledger.reserve, task.move)

    async def _unreserve(self, task: Task) -> Facts:
        return await asyncio.to_thread(self._ledger.unreserve, task.move)

    # -- add

    async def _add(self, task: Task) -> Facts:
        move = task.move
        device = await self._device(move)
        if HELD not in task.facts:
            task.note({HELD: "yes" if move.new in device.addresses else "no"})
        if move.new in device.addresses:
            return {}
        if move.old not in device.addresses:
            raise Surprise(f"{_held(device)}, not {format_prefix(move.old)}")
        device = await self._changed(move, AddAddress(move.new, like=move.old))
        if not {move.old, move.new} <= set(device.addresses):
            raise Surprise(
                f"{_held(device)}, not both {format_prefix(move.old)} and {format_prefix(move.new)}"
            )
        return {}

    async def _take_off(self, task: Task) -> Facts:
        move = task.move
        if task.facts.get(HELD) != "no":
            return {}  # it was there before, or nothing was added yet
        device = await self._device(move)
        if move.new not in device.addresses:
            return {}
        if move.old not in device.addresses:
            raise Surprise(
                f"{_held(device)}, not {format_prefix(move.old)}; {format_prefix(move.new)} is left where it is"
            )
        device = await self._changed(move, DropAddress(move.new, keep=move.old))
        if move.new in device.addresses or move.old not in device.addresses:
            raise Surprise(
                f"{_held(device)}, where it should hold {format_prefix(move.old)} and not {format_prefix(move.new)}"
            )
        return {}

    # -- register

    async def _register(self, task: Task) -> Facts:
        facts = await asyncio.to_thread(self._ledger.register, task.move, task.keeper)
        self._registered(task.move, task.move.addresses_after)
        return facts

    async def _unregister(self, task: Task) -> Facts:
        facts = await asyncio.to_thread(self._ledger.unregister, task.move)
        self._registered(task.move, task.move.addresses)
        return facts

    # -- peers

    async def _set_peers(self, task: Task) -> Facts:
        facts: dict[str, str] = {}
        if self._options.push_peers:
            if ROUTED not in task.facts:
                task.note(await self._observers.before_push(task.move, task.keeper))
            facts[NOT_SET] = table(await self._observers.push(task.move, task.keeper))
        seen = await self._until_routed(task)
        return {"observers": f"{seen.new_right} of {seen.asked}", **facts}

    async def _unset_peers(self, task: Task) -> Facts:
        if ROUTED not in task.facts:
            return {}  # they were the agent's business
        failed = await self._observers.push_back(task.move, task.facts)
        # Who was not there when peers were set has nothing to be set back.
        spared = read_table(task.facts, NOT_SET) or {}
        if left := [f"{name} ({why})" for name, why in failed.items() if name not in spared]:
            # Going on would free the address while somebody may still route it: stop, so that it can be repeated.
            raise Surprise(f"peers are not set back on {', '.join(left)}; repeat it when they answer")
        return {}

    # -- persist

    async def _persist(self, task: Task) -> Facts:
        device = await self._changed(task.move, RewriteFiles(task.move.old, task.move.new))
        return {**_files(device), **_notes(device)}

    async def _unpersist(self, task: Task) -> Facts:
        device = await self._changed(task.move, RewriteFiles(task.move.new, task.move.old))
        return {**_files(device), **_notes(device)}

    # -- remove

    async def _remove(self, task: Task) -> Facts:
        move = task.move
        facts: Facts = {}
        device = await self._device(move)
        if move.new not in device.addresses:
            raise Surprise(
                f"{_held(device)}, not {format_prefix(move.new)}; {format_prefix(move.old)} is left where it is"
            )
        if move.old in device.addresses:
            device = await self._changed(move, DropAddress(move.old, keep=move.new))
            self._check_moved(move, device)
            facts = _notes(device)
        if self._options.push_peers:
            # Not before: a device that still holds the address would route it to itself.
            await self._observers.push_on_mover(move, task.keeper)
        return facts

    async def _bring_back(self, task: Task) -> Facts:
        move = task.move
        device = await self._device(move)
        if move.old not in device.addresses:
            device = await self._changed(move, AddAddress(move.old, like=move.new))
            if move.old not in device.addresses:
                raise Surprise(f"{_held(device)}, not {format_prefix(move.old)}")
        if ROUTED in task.facts:
            await self._observers.push_back_on_mover(move, task.keeper, task.facts)
        return {}

    # -- verify

    async def _verify(self, task: Task) -> Facts:
        """Device, registry and observers agree, and the mover itself routes the old address to its keeper."""
        move, keeper = task.move, task.keeper
        await asyncio.to_thread(self._ledger.verify, move)
        self._check_moved(move, await self._device(move))
        await self._until_routed(task, only=(move.node,))
        seen = await self._until_routed(task)
        whom = f"to {keeper.node}" if keeper.node is not None else f"no longer to {move.node}"
        return {
            format_prefix(move.new): f"{seen.new_right} of {seen.asked} observers route it to {move.node}",
            format_prefix(move.old): f"{seen.old_right} of {seen.asked} route it {whom}",
            UNSEEN: table(seen.unseen),
            ASKED: str(seen.asked + len(seen.unseen)),
            FLEET: str(self._observers.others(move)),
            **await self._answered(move, seen.unseen),
        }

    async def _answered(self, move: Move, unseen: Collection[str]) -> Facts:
        """Ask observers that were seen who answers at the new address."""
        if self._answers is None:
            return {}
        sample = self._observers.sample(move, self._options.sample)
        observers = [self._way(node) for node in sample if str(node) not in unseen]
        return await self._answers.facts(move, observers, self._registrations.values())

    async def again(self, task: Task) -> Facts:
        """Look again at a move that is done: its files, its device, the registry, and all that was not seen.

        Files that name the old address yet are rewritten where they can be by now; with `push_peers`, peers that could
        not be set are set.
        """
        missed = read_table(task.facts, NOT_SET) or {}
        if missed and self._options.push_peers:
            await self._observers.push(task.move, task.keeper, self._observers.named(missed))
        facts = {**await self._persist(task), **await self._verify(task)}
        views = await self._observers.look(self._observers.named(missed))
        right = {
            str(node)
            for node, view in views.items()
            if not (look := self._observers.count({node: view}, task.move, task.keeper)).wrong and look.asked
        }
        facts[NOT_SET] = table({name: why for name, why in missed.items() if name not in right})
        return facts

    async def _nothing(self, task: Task) -> Facts:  # noqa: ARG002  (a check changed nothing)
        return {}

    # -- the mover

    async def _device(self, move: Move) -> DeviceState:
        """A fresh look at the mover's device, which must have its key."""
        return self._its_own(move, await self._changer.look(self._way(move.node)))

    async def _changed(self, move: Move, change: Change) -> DeviceState:
        return self._its_own(move, await self._changer.change(self._way(move.node), change))

    def _its_own(self, move: Move, device: DeviceState) -> DeviceState:
        if device.public_key != move.public_key:
            raise Surprise("its device has another key than the plan; make a new plan")
        return device

    def _check_moved(self, move: Move, device: DeviceState) -> None:
        if move.new not in device.addresses or move.old in device.addresses:
            raise Surprise(
                f"{_held(device)}, where it should hold {format_prefix(move.new)} and not {format_prefix(move.old)}"
            )

    def _way(self, node: NodeId) -> Registration:
        registration = self._registrations.get(node)
        if registration is None:
            raise Surprise(f"{node} is no longer registered; make a new plan")
        return registration

    def _registered(self, move: Move, addresses: tuple[Prefix, ...]) -> None:
        self._registrations[move.node] = replace(self._way(move.node), addresses=addresses)

    # -- waiting

    async def _until_routed(self, task: Task, only: tuple[NodeId, ...] = ()) -> PeerLook:
        """Wait until every observer of the sample, or of `only`, routes both addresses right."""
        move = task.move
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = began + self._options.wait
        nodes = only or self._observers.sample(move, self._options.sample)
        while True:
            if self._stopping.is_set():
                raise Stopped("stopped as asked")
            seen = self._observers.count(await self._observers.look(nodes), move, task.keeper)
            if seen.asked and not seen.wrong:
                return seen
            left = deadline - loop.time()
            if left <= 0:
                raise Surprise(self._still(seen, move))
            self._waiting(
                PeerWait(
                    move, task.keeper, seen, loop.time() - began, self._options.wait, only == (move.node,)
                )
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), min(left, self._options.poll))

    def _still(self, seen: PeerLook, move: Move) -> str:
        names = (
            ", ".join((*seen.wrong, *(f"{name} ({why})" for name, why in seen.unseen.items()))[:5])
            or "there is nobody else to ask"
        )
        return (
            f"after {self._options.wait:g} s {seen.new_right} of {seen.asked} observers route "
            f"{format_prefix(move.new)} to "
            f"it, and {seen.old_right} of {seen.asked} route {format_prefix(move.old)} as they should; not yet: {names}"
        )


def _held(device: DeviceState) -> str:
    return f"its device holds {', '.join(map(format_prefix, device.addresses)) or 'no address'}"


def _files(device: DeviceState) -> Facts:
    """The files that a restart reads, as facts: those that have the wanted address, and those left to a person."""
    left = {
        f"{item.path} line {item.line}" if item.line is not None else item.path: WHY_LEFT[item.why]
        for item in device.by_hand
    }
    return {BOOT_FILES: table(dict.fromkeys(device.files, "")), BY_HAND: table(left)}


def _notes(device: DeviceState) -> Facts:
    """Notes of the node on its change, as facts."""
    return {"note": "; ".join(device.notes)} if device.notes else {}
