"""Protocol of active witnesses: questions from nodes at mesh addresses, and their answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from auditor.nodes.stop import Stop
from auditor.values.addresses import Prefix
from auditor.values.models import NodeId, Registration
from auditor.values.witness_answers import AnswerSource, WitnessAnswer


@dataclass(frozen=True, slots=True)
class Question:
    """Question who is at a mesh address, to be asked from one node over its mesh."""

    observer: Registration
    """Node from which it is asked."""
    address: Prefix
    """One host's address. 127.0.0.1: the observer itself, whose own server's monitoring is asked."""
    source: AnswerSource

    @property
    def key(self) -> tuple[NodeId, Prefix, AnswerSource]:
        """What distinguishes it."""
        return self.observer.node, self.address, self.source


class Witnesses(Protocol):
    """Asks at mesh addresses, from nodes: every kind of server that `[[witnesses]]` names."""

    def ask(
        self, questions: Sequence[Question], registered: Sequence[Registration], stop: Stop
    ) -> AsyncGenerator[WitnessAnswer, None]:
        """Yield one answer for each distinct question, in the order in which they come; failed ones with their reason.

        Each node is logged in to once, for all of its questions. registered: the whole registry, to which answers are
        tied. stop: ends it early; questions that were not answered by then are `cut-short`. Raises nothing for I/O.
        """
        ...
