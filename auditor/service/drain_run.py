"""Draining and undraining nodes by a person's wish: which nodes are meant, and each taken out or put back."""

from __future__ import annotations

import shlex
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from auditor.errors import DrainFailed, InvalidValue, StateError, Surprise, UsageError
from auditor.fleet.fleet import Fleet
from auditor.repair.drain.command import words_for
from auditor.repair.drain.interface import Drainer, DrainTarget
from auditor.service.alert_state import existing_state, state_place
from auditor.service.draining import Complain, drained_nodes
from auditor.service.parts import build_registry
from auditor.settings.file import Config
from auditor.state import history
from auditor.values.addresses import Prefix, is_host, parse_prefix
from auditor.values.drains import DrainMeans, DrainPolicy
from auditor.values.models import NodeId, Registration, RegistryReading, Snapshot
from auditor.values.text import for_log, listed


@dataclass(frozen=True, slots=True)
class DrainOutcome:
    """Outcome for one node."""

    node: NodeId
    words: str
    """What is so now, in a few words."""
    failed: bool = False


class DrainTargets:
    """Nodes that a person named, found in the registry as it is now."""

    def __init__(self, config: Config, reading: RegistryReading, complain: Complain) -> None:
        """Take the registry's reading."""
        self.registrations = reading.registrations
        self._config = config
        self._complain = complain
        now = datetime.now(UTC)
        self._fleet = Fleet(Snapshot(now, now, config.policy(), reading.registrations, reading.invalid))
        self._by_node = {item.node: item for item in reading.registrations}
        self._whole = not reading.gaps

    def named(self, command: str, words: Sequence[str], *, back: bool) -> list[DrainTarget]:
        """Find nodes by names, by an address that they are registered with, or by a finding's fingerprint.

        command: for errors. back: nodes that the state remembers as drained count, registered or not. Raises
        `UsageError`, and `Surprise` where an unread part of the registry may hold others with the address.
        """
        known = set(self._by_node)
        if back:
            known |= set(drained_nodes(self._config, self._complain))
        nodes = [node for word in words for node in self._meant(command, word, known)]
        return [self._target(node) for node in dict.fromkeys(nodes)]

    def drained(self) -> list[DrainTarget]:
        """Find the nodes that the state remembers as drained."""
        return [self._target(node) for node in drained_nodes(self._config, self._complain)]

    def _meant(self, command: str, word: str, known: set[NodeId]) -> Sequence[NodeId]:
        named = [node for node in sorted(known) if word in (node.name, str(node))]
        if len(named) > 1:
            names = listed(map(str, named))
            raise UsageError(
                f"{command}: {for_log(word, most=80)} is in several datacenters; name one: {for_log(names)}"
            )
        if named:
            return named
        try:
            prefix = parse_prefix(word)
        except InvalidValue:
            return self._of_finding(command, word, known)
        holders = [node for node, item in sorted(self._by_node.items()) if prefix in item.addresses]
        if not self._whole:
            raise Surprise(
                f"{command}: the registry was not read whole, so not all with {for_log(word)} are known; name the nodes"
            )
        if not holders:
            raise UsageError(f"{command}: nobody is registered with {for_log(word)}")
        return holders

    def _of_finding(self, command: str, word: str, known: set[NodeId]) -> Sequence[NodeId]:
        shown = for_log(word, most=80)
        unknown = UsageError(
            f"{command}: {shown}: no node of that name is registered, and no finding that the state knows begins so"
        )
        try:
            with existing_state(state_place(self._config)) as state:
                finding = None if state is None else history.finding(state.store, word)
        except UsageError:
            raise unknown from None
        except StateError as error:
            raise UsageError(f"{command}: {shown}: no node of that name is registered; {error}") from None
        if finding is None:
            raise unknown
        found = [node for node in sorted(known) if {node.name, str(node)} & set(finding.nodes)]
        if not found:
            raise UsageError(f"{command}: {shown}: none of the finding's nodes is registered now")
        return found

    def _target(self, node: NodeId) -> DrainTarget:
        registration = self._by_node.get(node) or Registration(node, None, ())
        return DrainTarget(registration, self._fleet.region(node), _address(registration))


def _address(registration: Registration) -> Prefix | None:
    return next(filter(is_host, registration.addresses), None)


async def read_targets(config: Config, complain: Complain) -> DrainTargets:
    """Read the registry once. Raises `Surprise` where nothing of it could be read."""
    reading = await build_registry(config).read()
    for gap in reading.gaps:
        complain(f"the registry was not read whole: {gap.reason.value}: {for_log(gap.detail, most=200)}")
    if reading.gaps and not reading.registrations:
        raise Surprise("no registration could be read, so no node is known")
    return DrainTargets(config, reading, complain)


def plan_words(policy: DrainPolicy, target: DrainTarget, *, back: bool) -> str:
    """Word what would be done with one node. Raises `DrainFailed` where its values are none for the command."""
    match policy.means:
        case DrainMeans.COMMAND:
            return f"`{shlex.join(words_for(policy, target, back=back))}`, here"
        case DrainMeans.CONSUL_MAINTENANCE:
            return f"`consul maint -{'disable' if back else 'enable'}` on it, over SSH"
        case DrainMeans.NOMAD_ELIGIBILITY:
            return f"made {'eligible' if back else 'ineligible'} in Nomad"


async def carried_out(
    drainer: Drainer, targets: Sequence[DrainTarget], reason: str, *, back: bool
) -> AsyncGenerator[DrainOutcome, None]:
    """Take each node out, or put it back, one after the other; a failure keeps back none of the others."""
    for target in targets:
        try:
            if back:
                await drainer.undrain(target)
                yield DrainOutcome(target.node, "back in production")
            elif await drainer.is_drained(target):
                yield DrainOutcome(target.node, "out of production already")
            else:
                await drainer.drain(target, reason)
                yield DrainOutcome(target.node, "out of production")
        except DrainFailed as error:
            yield DrainOutcome(target.node, str(error), failed=True)
