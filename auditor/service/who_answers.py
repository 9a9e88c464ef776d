"""Asking who answers at a mesh address, from nodes over their mesh: chooses observers, asks, weighs the answers."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from auditor.errors import InvalidValue, UsageError
from auditor.fleet.registered import Registered
from auditor.nodes.stop import Stop
from auditor.service.advice import advice
from auditor.service.parts import build_registry, build_witnesses
from auditor.service.version import VERSION
from auditor.settings.file import Config
from auditor.values.addresses import Prefix, is_host, parse_prefix
from auditor.values.asked_addresses import AskedAddress, Asking, outcome_of
from auditor.values.models import NodeId, Registration, RegistryReading, Snapshot
from auditor.values.text import for_log, listed
from auditor.values.witness_answers import AnswerSource, WitnessAnswer
from auditor.witnesses.interface import Question, Witnesses
from auditor.witnesses.sampling import questions_for

SETUP = '[[witnesses]] with type = "nats"'
"""What a configuration without witnesses lacks."""
_LONGEST_QUOTE = 80
_MOST_NAMED = 6
_LIKE_AN_ADDRESS = re.compile(r"[0-9.]+([/%].*)?|.*:.*")


@dataclass(frozen=True, slots=True)
class AskRequest:
    """What a person wants to know."""

    target: str
    """Mesh address, or a node's name for all of its addresses."""
    origins: tuple[str, ...] = ()
    """Nodes and regions to ask from; empty: a few nodes of each region."""
    everyone: bool = False
    """True: NATS is asked from every node, not from a few of each region."""


class AskProgress:
    """Hears how far the asking is. This one listens to nothing."""

    def begins(self, questions: int, observers: int) -> None:
        """Take the numbers of questions, and of nodes that ask them."""

    def answered(self) -> None:
        """Count one more question that was answered, or given up."""


async def ask(config: Config, request: AskRequest, stop: Stop, progress: AskProgress) -> Asking:
    """Ask who answers at the target. A question or a read that fails is told in the outcome.

    Raises `UsageError` for a target or an origin that cannot be, and `ConfigError`.
    """
    target = request.target.strip()
    if not target:
        raise UsageError("ask: the target is empty; name a mesh address or a node")
    witnesses = build_witnesses(config)
    if witnesses is None:
        raise UsageError(
            f"ask: no witness is configured: add {SETUP} to the configuration file (docs/witnesses.md)"
        )
    started = datetime.now(UTC)
    reading = await stop.bound(build_registry(config).read())
    if reading is None:
        return Asking(started, (), cut_short=stop.reason, mesh=config.alerts.mesh, version=VERSION)
    fleet = _RegisteredFleet(config, reading, started)
    gaps = tuple(gap for gap in reading.gaps if gap.hides_registrations)
    if not fleet.registered.registrations and gaps:
        return Asking(started, (), gaps=gaps, mesh=config.alerts.mesh, version=VERSION)
    addresses = fleet.addresses(target)
    questions = fleet.questions(addresses, request)
    answers = await _answers(witnesses, questions, reading.registrations, stop, progress)
    asked = []
    for address in addresses:
        holders, agreed = fleet.holders(address), fleet.is_agreed(address)
        here = tuple(answer for answer in answers if answer.address == address)
        asked.append(AskedAddress(address, holders, agreed, here, *outcome_of(here, holders, agreed=agreed)))
    named = {node for item in asked for node in item.holders}
    named |= {node for answer in answers for node in (answer.observer, answer.node) if node is not None}
    return Asking(
        asked_at=started,
        addresses=tuple(asked),
        regions={node: region for node in named if (region := fleet.registered.region(node))},
        ambiguous_names=fleet.registered.ambiguous_names,
        gaps=gaps,
        cut_short=stop.reason,
        advice={
            answer.reason: advice(answer.reason, answer.detail)
            for answer in answers
            if answer.reason is not None
        },
        mesh=config.alerts.mesh,
        version=VERSION,
    )


async def _answers(
    witnesses: Witnesses,
    questions: Sequence[Question],
    registered: Sequence[Registration],
    stop: Stop,
    progress: AskProgress,
) -> list[WitnessAnswer]:
    progress.begins(len(questions), len({question.observer.node for question in questions}))
    answers = []
    async with aclosing(witnesses.ask(questions, registered, stop)) as stream:
        async for answer in stream:
            progress.answered()
            answers.append(answer)
    return answers


class _RegisteredFleet:
    """What one reading of the registry says, for questions."""

    def __init__(self, config: Config, reading: RegistryReading, now: datetime) -> None:
        self._config = config
        self._now = now
        self.registered = Registered(
            Snapshot(now, now, config.policy(), reading.registrations, reading.invalid, gaps=reading.gaps)
        )
        self._whole = not any(gap.hides_registrations for gap in reading.gaps)

    def holders(self, address: Prefix) -> tuple[NodeId, ...]:
        """List the nodes that are registered for an address."""
        found = self.registered.claims.claimants.get(address, ())
        return tuple(dict.fromkeys(item.node for item in found))

    def is_agreed(self, address: Prefix) -> bool:
        """Tell whether the holders of an address may share it."""
        names = {node.name for node in self.holders(address)}
        return any(
            item.address == address and item.until > self._now and names <= set(item.nodes)
            for item in self._config.shared
        )

    # -- what is asked for

    def addresses(self, target: str) -> tuple[Prefix, ...]:
        """Find the addresses that a target means. Raises `UsageError`."""
        shown = _quoted(target)
        try:
            address = parse_prefix(target)
        except InvalidValue as error:
            named = self._named(target)
            if not named and _LIKE_AN_ADDRESS.fullmatch(target):
                raise UsageError(f"ask: {shown}: {error}; name one mesh address, or a node") from None
            return self._addresses_of(self._one(named, target, "ask"))
        if not is_host(address):
            raise UsageError(f"ask: {shown} is a network, and a question needs one address of it")
        plan = self.registered.address_plan
        if not plan.lies_in_a_pool(address) and not self.holders(address):
            pools = listed(self._config.mesh.pools, most=_MOST_NAMED)
            raise UsageError(
                f"ask: {shown} lies in no pool of the mesh ({pools}), and nobody is registered for it: a question "
                "there would leave the mesh"
            )
        return (address,)

    def _addresses_of(self, node: Registration) -> tuple[Prefix, ...]:
        hosts = tuple(address for address in node.addresses if is_host(address))
        if not hosts:
            raise UsageError(f"ask: {_quoted(str(node.node))} is registered without an address of its own")
        return hosts

    def _named(self, name: str) -> list[Registration]:
        return [item for item in self.registered.registrations if name in (item.node.name, str(item.node))]

    def _one(self, named: Sequence[Registration], name: str, place: str) -> Registration:
        """Take the only node of a name. Raises `UsageError`."""
        if not named:
            if any(name in (item.node.name, str(item.node)) for item in self.registered.retired):
                raise UsageError(
                    f"{place}: {_quoted(name)} is retired in the registry, so nothing is asked of it"
                )
            raise UsageError(f"{place}: {_quoted(name)} is no registered node{self._near(name, ())}")
        if len(named) > 1:
            several = listed([_quoted(str(item.node)) for item in named], most=_MOST_NAMED)
            raise UsageError(
                f"{place}: {_quoted(name)} is a node in several datacenters; name one: {several}"
            )
        return named[0]

    def _near(self, name: str, beside: Iterable[str]) -> str:
        known = {item.node.name for item in self.registered.registrations}.union(beside)
        near = difflib.get_close_matches(name[:_LONGEST_QUOTE], known, n=3)
        words = f"; near it: {listed(map(_quoted, near))}" if near else ""
        return words if self._whole else f"{words}; the registry was not read whole, so it may be one"

    # -- from where

    def questions(self, addresses: Sequence[Prefix], request: AskRequest) -> tuple[Question, ...]:
        """Choose who asks, and what. Raises `UsageError` where nobody can."""
        holders = {address: self.holders(address) for address in addresses}
        own = set().union(*holders.values())
        named, sampled = self._origins(request.origins, own)
        settings = {item.source: item for item in self._config.witnesses}
        questions: dict[object, Question] = {}
        for source, witness in settings.items():
            # Each connection for a host key counts as a failed login with some servers: few, and spread out.
            every = request.everyone and source is AnswerSource.NATS
            for observers, each in ((sampled, None if every else witness.observers), ({"": named}, None)):
                for question in questions_for(
                    addresses,
                    observers,
                    source,
                    claimants=holders,
                    each_region=each,
                    seed=self._now.isoformat(),
                ):
                    questions.setdefault(question.key, question)
        if not questions:
            where = f" among --from {' '.join(map(_quoted, request.origins))}" if request.origins else ""
            raise UsageError(
                f"ask: there is nobody to ask from{where}: a node is not asked about its own address"
            )
        return tuple(questions.values())

    def _origins(
        self, origins: Sequence[str], own: Collection[NodeId]
    ) -> tuple[list[Registration], Mapping[str, Sequence[Registration]]]:
        """Return the nodes that are named, and the others by region, of which a few are taken. Raises `UsageError`."""
        by_region: dict[str, list[Registration]] = defaultdict(list)
        for item in self._free():
            by_region[self.registered.region(item.node)].append(item)
        if not origins:
            return [], by_region
        named: list[Registration] = []
        sampled: dict[str, Sequence[Registration]] = {}
        every: dict[str, list[Registration]] = defaultdict(list)
        for item in self.registered.registrations:
            every[self.registered.region(item.node)].append(item)
        for origin in origins:
            found = self._named(origin)
            if found:
                node = self._one(found, origin, "ask: --from")
                if node.node in own:
                    raise UsageError(
                        f"ask: --from: {_quoted(origin)} is registered for the address itself, so it would meet itself"
                    )
                named.append(node)
            elif origin and origin in every:
                sampled[origin] = by_region.get(origin) or every[origin]
            else:
                regions = listed([_quoted(name) for name in sorted(filter(None, every))], most=_MOST_NAMED)
                known = f" (regions: {regions})" if regions else ""
                raise UsageError(
                    f"ask: --from: {_quoted(origin)} is neither a registered node nor a region of one{known}"
                    f"{self._near(origin, every)}"
                )
        return named, sampled

    def _free(self) -> Sequence[Registration]:
        """List the nodes that can ask: those that share no address with another, if there are any.

        Answers to a node with a contested address may go to its rival.
        """
        contested = {
            item.node
            for address, items in self.registered.claims.claimants.items()
            if len({item.node for item in items}) > 1 and not self.is_agreed(address)
            for item in items
        }
        every = self.registered.registrations
        return [item for item in every if item.node not in contested] or every


def _quoted(text: str) -> str:
    return for_log(text, most=_LONGEST_QUOTE) or '""'
