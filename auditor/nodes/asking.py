"""Order of the questions by which a node's state and route table are had, whatever carries them to the node."""

from __future__ import annotations

from typing import Protocol

from auditor.errors import GapReason, ProbeError
from auditor.nodes.probe.probe import Mode, ProbeAnswer
from auditor.nodes.table_store import TableStore
from auditor.nodes.varying import Varying
from auditor.values.route_table import RouteTable


class Ask(Protocol):
    """Asks one node once, on the connection that is open."""

    async def __call__(self, mode: Mode, varying: Varying | None = None) -> ProbeAnswer:
        """Return the node's answer. Raises `ProbeError`.

        `varying`: of mode `base`. A node that does not know this mode is asked for its digest in its place.
        """
        ...


async def look(ask: Ask, tables: TableStore) -> tuple[ProbeAnswer, str, bool]:
    """Ask a node for its digest, or its base and difference, and for its table's text only where that is new.

    Returns its newest answer, the digest of its table in the store, and whether the node can digest. Raises
    `ProbeError`. Where the table is fetched, the last answer is the node's, whole: it is of one moment.
    """
    varying = tables.varying
    answer = await ask("digest") if varying is None else await ask("base", varying)
    one = _Look(ask, tables, answer, divides=varying is None or answer.base is not None)
    if varying is not None and answer.base is not None:
        table = await one.divided(varying)
    elif answer.digest is not None:
        table = await tables.obtain(answer.digest, one.fetch)
    else:
        table = tables.add(await one.text())
    return one.answer, table, answer.digest is not None


async def look_further(answer: ProbeAnswer, ask: Ask, tables: TableStore) -> tuple[ProbeAnswer, str]:
    """Obtain the table of a node that told its digest by itself, asking it only where that is new.

    Returns its newest answer, and the digest of its table in the store. Raises `ProbeError`.
    """
    if answer.digest is None:
        raise ProbeError(GapReason.UNREADABLE_OUTPUT, "the node told no digest")
    one = _Look(ask, tables, answer, divides=True)
    table = await tables.obtain(answer.digest, one.fetch)
    return one.answer, table


class _Look:
    """Look at one node, from its first answer on. `divides`: it may know the mode `base`."""

    def __init__(self, ask: Ask, tables: TableStore, answer: ProbeAnswer, *, divides: bool) -> None:
        self._ask = ask
        self._tables = tables
        self._divides = divides
        self.answer = answer
        """Newest answer."""

    async def fetch(self) -> RouteTable | str:
        """Fetch the table of a digest: whole while few are known, else divided. Returns it, or its digest."""
        table = await (self._tables.text(self.text) if self._divides else self.text())
        if table is not None:
            return table
        varying = self._tables.varying
        if varying is None:
            return await self.text()
        self.answer = (await self._ask("base", varying)).beside(self.answer)
        return await self.divided(varying)

    async def divided(self, varying: Varying) -> str:
        """Find the table of the newest answer, by its base. Returns its digest in the store."""
        answer = self.answer
        if answer.base is None or answer.digest is None:
            return self._tables.add(await self.text())
        return await self._tables.obtain_divided(
            varying, answer.digest, answer.base, answer.varying, self.text
        )

    async def text(self) -> RouteTable:
        """Ask for the whole table."""
        answer = await self._ask("text")
        self.answer = answer = answer.beside(self.answer)
        if answer.table is None:
            raise ProbeError(GapReason.UNREADABLE_OUTPUT, "asked for the table, got none")
        if answer.spelled is not None:
            self._tables.respelled(answer.spelled, answer.table.digest)
        return answer.table
