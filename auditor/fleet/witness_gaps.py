"""Gaps of active witnesses: questions that got no answer, one gap for each address or observer that has the fault."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from auditor.errors import GapReason
from auditor.values.addresses import format_prefix
from auditor.values.answer_words import SOURCE_WORDS
from auditor.values.models import Gap, NodeId
from auditor.values.text import count, listed
from auditor.values.witness_answers import OWN_LOOPBACK, WitnessAnswer

_OF_ADDRESS = frozenset(
    {
        GapReason.NO_ANSWER,
        GapReason.ANSWER_REFUSED,
        GapReason.UNREADABLE_ANSWER,
        GapReason.LOGINS_COUNTED,
    }
)
"""Reasons that are about who is at the address; all others are about the way through the observer."""
_NAMED = 3


def unanswered(answers: Sequence[WitnessAnswer], name_of: Callable[[NodeId], str]) -> tuple[Gap, ...]:
    """Word questions without an answer as gaps. None is about a node: nobody is unseen for want of an answer."""
    groups: dict[tuple[object, ...], list[WitnessAnswer]] = defaultdict(list)
    for answer in answers:
        if answer.reason is GapReason.CUT_SHORT:
            groups[answer.source, answer.reason].append(answer)
        elif answer.reason is not None:
            place = answer.address if _is_of_address(answer) else answer.observer
            groups[answer.source, answer.reason, place].append(answer)
    return tuple(
        Gap("witness", group[0].reason, _detail(group, name_of))
        for group in groups.values()
        if group[0].reason is not None
    )


def _is_of_address(answer: WitnessAnswer) -> bool:
    return answer.reason in _OF_ADDRESS and answer.address != OWN_LOOPBACK


def _detail(group: Sequence[WitnessAnswer], name_of: Callable[[NodeId], str]) -> str:
    first = min(group, key=lambda item: (item.address, item.observer))
    words = SOURCE_WORDS[first.source]
    addresses = listed(dict.fromkeys(map(_place, sorted(group, key=lambda item: item.address))), most=_NAMED)
    observers = sorted({name_of(answer.observer) for answer in group})
    if first.reason is GapReason.CUT_SHORT:
        asked = f"{count(len(group), 'question')} ({words})"
    elif _is_of_address(first):
        asked = f"{addresses} ({words}), asked from {listed(observers, most=_NAMED)}"
    else:
        asked = f"{observers[0]}, asked for {addresses} ({words})"
    return f"{asked}: {first.detail}"


def _place(answer: WitnessAnswer) -> str:
    return "its own monitoring" if answer.address == OWN_LOOPBACK else format_prefix(answer.address)
