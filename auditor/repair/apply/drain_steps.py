"""The first and the last step of a move: out of production, and back where the move took the node out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from auditor.errors import DrainFailed, Surprise
from auditor.repair.apply.stages import BEFORE, BY_US, LEFT_OUT, OUT
from auditor.repair.drain.interface import Drainer, DrainTarget
from auditor.repair.moves import Move
from auditor.values.addresses import Prefix
from auditor.values.models import Registration

BACK = "in production"
"""Fact: whether the node was put back."""

_OURS = "this apply took it out of production: leave --no-drain away, so that it is put back"


class DrainSteps:
    """Takes movers out of production and puts them back. All raise `DrainFailed`."""

    def __init__(self, drainer: Drainer | None, plan: str, *, left_out: bool = False) -> None:
        """Take the means. plan: the plan's ident, for the reason. left_out: a person wants nobody drained."""
        self._drainer = drainer
        self._plan = plan
        self._left_out = left_out

    async def out(
        self,
        move: Move,
        registration: Registration,
        facts: Mapping[str, str],
        note: Callable[[Mapping[str, str]], None],
    ) -> Mapping[str, str]:
        """Take the node out, unless it is so already. note: journals who did, before it is done."""
        if self._left_out:
            if facts.get(OUT) == BY_US:
                raise Surprise(_OURS)
            note({OUT: LEFT_OUT})
            return {}
        target = _target(move, registration, move.old)
        if OUT not in facts:
            before = await self._means().is_drained(target)
            note({OUT: BEFORE if before else BY_US})
            if before:
                return {}
        elif facts[OUT] != BY_US:
            return {}
        await self._means().drain(target, self._reason(move))
        return {}

    async def out_again(
        self, move: Move, registration: Registration, facts: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Take a node that was put back out again, for its way back."""
        if facts.get(OUT) == BY_US and not self._left_out:
            await self._means().drain(_target(move, registration, move.new), self._reason(move))
        return {}

    async def back(
        self, move: Move, registration: Registration, facts: Mapping[str, str], address: Prefix
    ) -> Mapping[str, str]:
        """Put the node back, if this plan took it out. address: the one that it has now."""
        if facts.get(OUT) != BY_US:
            return {}
        if self._left_out:
            raise Surprise(_OURS)
        await self._means().undrain(_target(move, registration, address))
        return {BACK: "again"}

    def _means(self) -> Drainer:
        if self._drainer is None:
            raise DrainFailed("this configuration has no repair.drain")
        return self._drainer

    def _reason(self, move: Move) -> str:
        return f"wgaudit plan {self._plan}: {move.ident} is moved"


def _target(move: Move, registration: Registration, address: Prefix) -> DrainTarget:
    return DrainTarget(registration, move.region, address)
