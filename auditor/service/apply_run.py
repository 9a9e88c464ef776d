"""Parts of an apply: its preconditions, the order of its moves, and its executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from auditor.errors import ConfigError, Surprise, UsageError
from auditor.nodes.underlay import uses_mesh_address
from auditor.repair.apply.executor import Executor
from auditor.repair.apply.journal import Journal
from auditor.repair.apply.ledger import Ledger, out_of_place
from auditor.repair.apply.steps import ApplyOptions
from auditor.repair.claims.registration import AllocatorPolicy, allocator_policy
from auditor.repair.moves import Move, RepairPlan
from auditor.service.parts import build_access, build_registry, build_store, probe_places
from auditor.settings.file import Config


def claim_settings(config: Config, plan: RepairPlan) -> AllocatorPolicy:
    """Read the settings of claims. Raises `UsageError` where they do not fit the plan."""
    # Claims of several datacenters stand in a store each, and a move touches its own alone.
    consul = config.consul.model_copy(update={"datacenters": ()})
    try:
        found = allocator_policy(config.model_copy(update={"consul": consul}))
    except ConfigError as error:
        raise UsageError(f"apply: {error}") from None
    for key, here, there in (
        ("mesh.device", config.mesh.device, plan.device),
        ("repair.claims_prefix", config.repair.claims_prefix, plan.claims_prefix),
    ):
        if here != there:
            raise UsageError(
                f"apply: the plan was made with {key} = {there[:100]}, and this configuration has {here}"
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


def moves_to_make(plan: RepairPlan, journal: Journal) -> Sequence[Move]:
    """List the incomplete moves. One that is unfinished comes first, even where earlier ones were left out."""
    states = {move.ident: journal.progress(move.ident) for move in plan.moves}
    left = (move for move in plan.moves if not states[move.ident].complete)
    return sorted(left, key=lambda move: not states[move.ident].begun)


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
) -> Executor:
    """Read the registry, and build the executor of the plan's moves.

    say: receives a line for each step. Raises `Surprise` where the registry cannot be read whole, and `ConfigError`.
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
    return Executor(
        plan,
        journal,
        Ledger(stores, claims, plan.ident),
        SshChanger(access, plan.device),
        SshNodes(access, plan.device, places=probe_places(config)),
        {item.node: item for item in reading.registrations if not item.retired},
        options,
        say,
    )
