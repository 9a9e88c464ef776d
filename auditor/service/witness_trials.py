"""Trials of witnesses: whether nodes connect on for the audit's key, and whether who answers is tied to a node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import aclosing

from auditor.errors import ConfigError, GapReason
from auditor.nodes.key_options import key_options
from auditor.nodes.stop import Stop
from auditor.service import parts
from auditor.service.advice import advice
from auditor.service.consul_trials import CORRECT
from auditor.settings.file import Config
from auditor.settings.witnesses import WitnessSettings
from auditor.values.addresses import is_host
from auditor.values.models import NodeId, Registration
from auditor.values.text import count, listed
from auditor.values.trials import Trial, TrialOutcome
from auditor.values.witness_answers import OWN_LOOPBACK, AnswerSource, WitnessAnswer
from auditor.witnesses.interface import Question

_NAMED = 5
_NO_CLUE = frozenset({GapReason.NO_ANSWER, GapReason.ANSWER_REFUSED})
"""Reasons for which the node connected on, and nobody is known to listen there: not every node has such a server."""


async def witness_trials(
    config: Config, every: Sequence[Registration], answered: Sequence[Registration]
) -> tuple[Trial, ...]:
    """Have each node that answered ask one other node who it is. every: the whole registry. Nothing runs on a node."""
    if not config.witnesses:
        return ()
    try:
        witnesses = parts.build_witnesses(config)
    except ConfigError as error:
        return (Trial("witnesses", "[[witnesses]]", str(error), TrialOutcome.FAILS, CORRECT),)
    assert witnesses is not None  # noqa: S101  (some are configured)
    questions = [question for item in config.witnesses for question in _questions(item, every, answered)]
    async with aclosing(witnesses.ask(questions, every, Stop())) as stream:
        answers = [answer async for answer in stream]
    return tuple(
        trial
        for item in config.witnesses
        for trial in _trials(config, item, [one for one in answers if one.source is item.source])
    )


def _questions(
    kind: WitnessSettings, every: Sequence[Registration], answered: Sequence[Registration]
) -> Iterator[Question]:
    """Have each node ask its neighbour in the list, and its own monitoring where that is configured."""
    there = [
        (item.node, address)
        for item in (*answered, *every)
        if not item.retired
        for address in item.addresses[:1]
        if is_host(address)
    ]
    for observer in answered:
        place = next((at for at, (node, _) in enumerate(there) if node == observer.node), -1)
        others = [entry for entry in there[place + 1 :] + there if entry[0] != observer.node]
        free = [address for _, address in others if address not in observer.addresses]
        if free:
            yield Question(observer, free[0], kind.source)
        if kind.source is AnswerSource.NATS and kind.monitoring_port is not None:
            yield Question(observer, OWN_LOOPBACK, kind.source)


def _trials(config: Config, kind: WitnessSettings, answers: Sequence[WitnessAnswer]) -> Iterator[Trial]:
    part = f"witnesses: {kind.type}"
    if not answers:
        yield Trial(part, "-", "no node to ask from, or none to ask for", TrialOutcome.UNTRIED)
        return
    failed: dict[GapReason, list[WitnessAnswer]] = {}
    for answer in answers:
        if answer.reason is not None and answer.reason not in _NO_CLUE:
            failed.setdefault(answer.reason, []).append(answer)
    fine = [answer for answer in answers if answer.reason is None or answer.reason in _NO_CLUE]
    said = [answer for answer in fine if answer.reason is None]
    strange = [answer for answer in said if answer.node is None]
    if fine:
        got = f"{count(len(fine), 'question')} went through: {len(said):,} answered"
        silent = len(fine) - len(said)
        got += f", {silent:,} not (no server there, or a firewall)" if silent else ""
        yield Trial(part, _who(fine), got, TrialOutcome.WORKS)
    if strange:
        got = f"{count(len(strange), 'answer')} tied to no node, such as {strange[0].said[:60]!r}"
        todo = (
            "correct witnesses.name: what the servers call themselves"
            if kind.source is AnswerSource.NATS
            else "add the keys to the witness' known_hosts"
        )
        yield Trial(f"{part}: names", _who(strange), got, TrialOutcome.WARNS, todo)
    for number, (reason, items) in enumerate(failed.items()):
        name = part if not fine and not number else f"{part}: {reason}"
        more = f" (and {len(items) - 1:,} more)" if len(items) > 1 else ""
        todo = advice(reason, items[0].detail)
        if reason is GapReason.FORWARDING_REFUSED:
            todo = f"put {key_options(config.witnesses)} before the key there; see docs/security.md"
        yield Trial(name, _who(items), f"{reason}: {items[0].detail}{more}", TrialOutcome.FAILS, todo, reason)


def _who(answers: Sequence[WitnessAnswer]) -> str:
    nodes: dict[NodeId, None] = dict.fromkeys(answer.observer for answer in answers)
    return listed(map(str, nodes), most=_NAMED, last=", ")
