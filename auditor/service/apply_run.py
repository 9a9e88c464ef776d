"""Parts of an apply: its preconditions, the order of its moves, and its executor."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from auditor.errors import ConfigError, Surprise, UsageError
from auditor.nodes.underlay import uses_mesh_address
from auditor.repair.apply.answering import MoveAnswers
from auditor.repair.apply.executor import Executor
from auditor.repair.apply.journal import Journal
from auditor.repair.apply.ledger import Ledger, out_of_place
from auditor.repair.apply.outcome import unverified
from auditor.repair.apply.steps import ApplyOptions
from auditor.repair.apply.waiting import PeerWait
from auditor.repair.claims.registration import AllocatorPolicy, allocator_policy
from auditor.repair.drain.interface import Drainer
from auditor.repair.moves import Move, RepairPlan
from auditor.service.draining import build_drainer
from auditor.service.parts import build_access, build_registry, build_store, build_witnesses, probe_places
from auditor.settings.file import Config
from auditor.values.drains import DrainMeans, DrainPolicy
from auditor.values.text import for_log


def claim_settings(config: Config, plan: RepairPlan, *, no_drain: bool = False) -> AllocatorPolicy:
    """Read the settings of claims. Raises `UsageError` where they, or others, do not fit the plan.

    no_drain: nobody is taken out of production, so it does not matter how.
    """
    # Claims of several datacenters stand in a store each, and a move touches its own alone.
    consul = config.consul.model_copy(update={"datacenters": ()})
    try:
        found = allocator_policy(config.model_copy(update={"consul": consul}))
    except ConfigError as error:
        raise UsageError(f"apply: {error}") from None
    for key, here, there in (
        ("mesh.device", config.mesh.device, plan.device),
        ("repair.claims_prefix", config.repair.claims_prefix, plan.claims_prefix),
        # The words that are run are the configuration's, whatever a plan's file says.
        ("repair.drain", *map(_spelled, (config.repair.drain_policy(), plan.drain))),
    ):
        if here != there and not (key == "repair.drain" and no_drain):
            raise UsageError(
                f"apply: the plan was made with {key} = {there[:100]}, and this configuration has {here[:100]}; "
                "make a new plan with it"
            )
    if uses_mesh_address(config.ssh.host):
        raise UsageError(
            "apply: ssh.host leads to nodes by their mesh address, which is what changes; make it the underlay's"
        )
    if config.ssh.probe == "installed":
        raise UsageError(
            'apply: ssh.probe = "installed" lets nothing be changed; use one with ssh.probe = "inline"'
        )
    for move in plan.moves:
        if fault := out_of_place(move, found):
            raise UsageError(f"apply: {fault}; make a new plan with this configuration")
    return found


def _spelled(drain: DrainPolicy | None) -> str:
    if drain is None:
        return "nothing"
    if drain.means is not DrainMeans.COMMAND:
        return drain.means.value
    return for_log(f"{shlex.join(drain.drain)}, and back {shlex.join(drain.undrain)}")


def moves_to_make(plan: RepairPlan, journal: Journal) -> Sequence[Move]:
    """List the incomplete moves. One that is unfinished comes first, even where earlier ones were left out."""
    states = {move.ident: journal.progress(move.ident) for move in plan.moves}
    left = (move for move in plan.moves if not states[move.ident].complete)
    return sorted(left, key=lambda move: not states[move.ident].begun)


def moves_to_look_at_again(plan: RepairPlan, journal: Journal) -> Sequence[Move]:
    """List the complete moves of which something was not verified, in the plan's order."""
    states = ((move, journal.progress(move.ident)) for move in plan.moves)
    return [move for move, state in states if state.complete and unverified(move, state)]


def moves_to_take_back(plan: RepairPlan, journal: Journal) -> Sequence[Move]:
    """List the moves that were begun, the unfinished one first (it was the last to be begun), then the latest first."""
    states = {move.ident: journal.progress(move.ident) for move in plan.moves}
    begun = (move for move in reversed(plan.moves) if states[move.ident].begun)
    return sorted(begun, key=lambda move: not states[move.ident].unfinished)


async def build_executor(
    config: Config,
    plan: RepairPlan,
    journal: Journal,
    claims: AllocatorPolicy,
    options: ApplyOptions,
    say: Callable[[str], None],
    waiting: Callable[[PeerWait], None] | None = None,
    noted: Callable[[Drainer], Drainer] = lambda drainer: drainer,
) -> Executor:
    """Read the registry, and build the executor of the plan's moves.

    say: receives a line for each step. waiting: receives the counts while observers are waited for.
    noted: has what takes nodes out of production noted in the state.
    Raises `Surprise` where the registry cannot be read whole, and `ConfigError`.
    """
    from auditor.nodes.ssh import SshChanger, SshNodes  # asyncssh: an apply that is refused needs none of it

    access = build_access(config.ssh)
    reading = await build_registry(config).read()
    if reading.gaps:
        gap = reading.gaps[0]
        raise Surprise(
            f"the registry cannot be read whole: {gap.reason.value}: {gap.detail}; nothing was changed"
        )
    access.expect(reading.registrations)
    datacenters = {move.node.datacenter for move in plan.moves}
    stores = {name: build_store(config, name) for name in datacenters}
    witnesses = build_witnesses(config, access)
    drainer = build_drainer(config, reading.registrations) if plan.drain is not None else None
    return Executor(
        plan,
        journal,
        Ledger(stores, claims, plan.ident),
        SshChanger(access, plan.device),
        SshNodes(access, plan.device, places=probe_places(config)),
        {item.node: item for item in reading.registrations if not item.retired},
        options,
        say,
        waiting,
        None if drainer is None else noted(drainer),
        MoveAnswers(witnesses, [item.source for item in config.witnesses]) if witnesses is not None else None,
    )
