"""Answers at a mesh address as sums and in words, the same in every form and every alert."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from auditor.errors import GapReason
from auditor.values.models import NodeId
from auditor.values.text import for_detail
from auditor.values.witness_answers import AnswerSource, Reached, WitnessAnswer

SOURCE_WORDS: Mapping[str, str] = {
    AnswerSource.NATS: "NATS",
    AnswerSource.SSH_HOST_KEY: "SSH host key",
}
"""Kinds of servers, as people call them."""

_FAILURES: Mapping[GapReason, str] = {
    GapReason.NO_ANSWER: "timed out",
    GapReason.ANSWER_REFUSED: "refused",
    GapReason.UNREADABLE_ANSWER: "gave no readable answer",
    GapReason.FORWARDING_REFUSED: "may not connect on",
    GapReason.LOGINS_COUNTED: "not asked, for the server counts logins",
    GapReason.CUT_SHORT: "not asked in time",
}
_MOST_SERVERS = 6
_MOST_SAMPLE = 5
_LONGEST_SAID = 60


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions to one kind of server at one address, by what came of them."""

    source: AnswerSource
    answered: tuple[Reached, ...]
    """Most observers first."""
    unanswered: tuple[Reached, ...]
    """By reason, most observers first: never taken for "nobody is there"."""

    @property
    def observers(self) -> int:
        """Number of observers that were asked to look."""
        return sum(item.observers for item in (*self.answered, *self.unanswered))


def asked(answers: Iterable[Reached]) -> tuple[Asked, ...]:
    """Group answers by the kind of server."""
    every = sorted(answers, key=lambda item: -item.observers)
    return tuple(
        Asked(
            source,
            tuple(item for item in every if item.source is source and item.reason is None),
            tuple(item for item in every if item.source is source and item.reason is not None),
        )
        for source in AnswerSource
        if any(item.source is source for item in every)
    )


def reached_by(answers: Iterable[WitnessAnswer], region_of: Callable[[NodeId], str]) -> tuple[Reached, ...]:
    """Group the observers of one address by whom they met: most observers first, failures last.

    region_of: an observer's region, "" where it is not known.
    """
    groups: dict[tuple[object, ...], list[WitnessAnswer]] = defaultdict(list)
    for answer in answers:
        groups[answer.source, answer.said, answer.node, answer.region, answer.reason].append(answer)
    made = []
    for group in groups.values():
        first, observers = group[0], tuple(sorted({answer.observer for answer in group}))
        made.append(
            Reached(
                first.source,
                first.said,
                first.node,
                len(observers),
                Counter(map(region_of, observers)),
                first.region,
                first.reason,
                observers[:_MOST_SAMPLE],
                partial(tuple, observers),
            )
        )
    return tuple(
        sorted(made, key=lambda item: (item.reason is not None, -item.observers, item.source, item.said))
    )


def failure_words(reason: GapReason) -> str:
    """Word why there was no answer, behind a number of observers: `timed out`.

    Reasons of the way to the observer itself are named as they are: it could not ask.
    """
    return _FAILURES.get(reason, f"could not ask ({reason.value})")


def called(said: str, most: int = _LONGEST_SAID) -> str:
    """Quote what a server calls itself, which may be a lie: one line, bounded, without a quote of its own."""
    shown = for_detail(said).replace('"', "'")
    return f'"{shown[: most - 1]}…"' if len(shown) > most else f'"{shown}"'


def server_words(reached: Reached, name_of: Callable[[NodeId], str]) -> str:
    """Name the server that was met: the node that it is tied to, else what it calls itself."""
    if reached.node is not None:
        return name_of(reached.node)
    return f"{called(reached.said)} (no registered node)"


def server_remark(reached: Reached, region_of: Callable[[NodeId], str]) -> str:
    """Word what a server says of itself, where that is not what is known of its node; else "".

    region_of: a node's region, "" where it is not known.
    """
    if reached.node is None:
        says = f", says its region is {called(reached.region)}" if reached.region else ""
        return f"no registered node{says}"
    if reached.region and reached.region != region_of(reached.node):
        return f"says its region is {called(reached.region)}"
    return ""


def asked_words(item: Asked, who: Callable[[Reached], str]) -> str:
    """Return `of 12 asked, 9 reached edge-fra-1, 2 edge-sin-1, 1 timed out`.

    who: words a server that answered.
    """
    servers: Counter[str] = Counter()
    for reached in item.answered:
        servers[who(reached)] += reached.observers
    words = [
        f"{number:,} {'reached ' if place == 0 else ''}{server}"
        for place, (server, number) in enumerate(servers.most_common(_MOST_SERVERS))
    ]
    if others := servers.most_common()[_MOST_SERVERS:]:
        words.append(f"{sum(number for _, number in others):,} one of {len(others):,} other servers")
    failures: Counter[str] = Counter()
    for reached in item.unanswered:
        if reached.reason is not None:
            failures[failure_words(reached.reason)] += reached.observers
    words += [f"{number:,} {failure}" for failure, number in failures.most_common()]
    return f"of {item.observers:,} asked, {', '.join(words)}"


def answers_sentence(answers: Sequence[Reached], name_of: Callable[[NodeId], str]) -> str:
    """Return `Of 12 asked, 9 reached edge-fra-1, 2 edge-sin-1, 1 timed out.`; "" where nobody was asked.

    With several kinds of servers, each has a part of its own: `NATS: of 12 asked, …; SSH host key: of 3 asked, …`.
    """
    groups = asked(answers)
    parts = [asked_words(item, lambda reached: server_words(reached, name_of)) for item in groups]
    if len(parts) > 1:
        parts = [f"{SOURCE_WORDS[item.source]}: {part}" for item, part in zip(groups, parts, strict=True)]
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""
