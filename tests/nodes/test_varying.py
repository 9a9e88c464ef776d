"""Tables asked for as base and difference: what is kept is what a node has, however it was asked, and whoever lies."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import GapReason, ProbeError
from auditor.nodes.asking import look
from auditor.nodes.probe.probe import Mode, ProbeAnswer, format_answer, parse_answer
from auditor.nodes.table_store import PATIENCE, TableStore
from auditor.nodes.varying import FEW, Varying
from auditor.values.addresses import PublicKey
from auditor.values.models import Device
from auditor.values.route_table import RouteTable
from tests import virtual_time
from tests.fleets import key_of

OWN = key_of("own")
KEYS = sorted(key_of(f"n{number}") for number in range(100))
Prefixes = Mapping[str, tuple[str, ...]]
PLAIN: Prefixes = {key: (f"10.0.0.{number}/32",) for number, key in enumerate(KEYS)}


def table_of(prefixes: Prefixes) -> RouteTable:
    """The table of a device without addresses, whose peers have these prefixes."""
    lines = [f"{key}\t{prefix}\n" for key, texts in prefixes.items() for prefix in texts]
    return RouteTable("".join(sorted([*lines, f"{OWN}\t(none)\n"])).encode())


class FakeNode:
    """A node that answers byte for byte as the probe does."""

    def __init__(self, prefixes: Prefixes, *, old: bool = False) -> None:
        self.table = table_of(prefixes)
        self.asked: list[Mode] = []
        self._prefixes = prefixes
        self._old = old

    async def __call__(self, mode: Mode, varying: Varying | None = None) -> ProbeAnswer:
        if varying is not None and self._old:
            mode, varying = "digest", None
        self.asked.append(mode)
        await asyncio.sleep(0)
        return parse_answer(format_answer(self.answer(mode, varying)), "wg0")

    def answer(self, mode: Mode, varying: Varying | None) -> ProbeAnswer:
        device = Device("wg0", PublicKey(OWN), ())
        if varying is None:
            text = self.table if mode == "text" else None
            return ProbeAnswer(device, digest=None if text else self.table.digest, table=text)
        told: dict[str, list[str]] = {}
        lines: dict[str, None] = {}
        for line in self.table.text.decode().splitlines():
            key, _, prefix = line.partition("\t")
            if key[39:43] in varying.ends:
                told.setdefault(key, []).append(prefix)
                lines[key] = None
            else:
                lines[line] = None
        base = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
        prefixes = tuple(tuple(text.encode() for text in texts) for texts in told.values())
        return ProbeAnswer(device, digest=self.table.digest, base=base, varying=prefixes)


async def ask_all(nodes: Sequence[FakeNode], tables: TableStore) -> list[str]:
    """Look at all of them, some at the same time."""
    found: list[str] = []
    for start in range(0, len(nodes), 10):
        looked = await asyncio.gather(*(look(node, tables) for node in nodes[start : start + 10]))
        found += [digest for _, digest, _ in looked]
    return found


texts = st.sampled_from(["10.0.0.1/32", "10.0.0.2/32", "10.9.0.0/16", "fd00::1/128"])
prefixes_of_a_key = st.just(("(none)",)) | st.lists(texts, unique=True, max_size=3).map(
    lambda found: tuple(sorted(found))
)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(KEYS[:12]), prefixes_of_a_key, max_size=12), min_size=1, max_size=25
    ),
    st.sets(st.integers(0, 39)),
)
def test_every_node_is_kept_with_its_own_table_under_its_own_digest(
    changes: list[dict[str, tuple[str, ...]]], old: set[int]
) -> None:
    """Whatever varies, whoever has an older probe, and at the second look too: as if each text had come whole."""
    nodes = [FakeNode({**PLAIN, **change}, old=number in old) for number, change in enumerate(changes)]
    tables = TableStore()
    for found in (asyncio.run(ask_all(nodes, tables)) for _ in range(2)):
        assert found == [node.table.digest for node in nodes]
        assert [tables.tables[digest].text for digest in found] == [node.table.text for node in nodes]
    assert tables.tables.keys() == {node.table.digest for node in nodes}


def contested(pairs: int, number: int) -> Prefixes:
    """A table with so many contested pairs, each won by one of the two."""
    dice = random.Random(number)  # noqa: S311  (no secrets)
    prefixes = dict(PLAIN)
    for pair in range(pairs):
        winner, loser = dice.sample(KEYS[2 * pair : 2 * pair + 2], 2)
        prefixes |= {winner: (f"10.0.0.{2 * pair}/32",), loser: ("(none)",)}
    return prefixes


def test_of_hundreds_of_distinct_tables_a_dozen_come_as_text() -> None:
    """The others are asked once, for base and difference."""
    nodes = [FakeNode(contested(10, number)) for number in range(200)]
    tables = TableStore()
    asyncio.run(ask_all(nodes, tables))
    assert len(tables.tables) > 3 * FEW
    assert sum(node.asked.count("text") for node in nodes) <= FEW + 4
    assert all(node.asked == ["base"] for node in nodes[50:])
    assert len({table.base for table in tables.tables.values()}) == 1


def test_a_few_distinct_tables_all_come_as_text() -> None:
    """Nobody is asked for a difference that is not worth it."""
    nodes = [FakeNode(contested(10, number % (FEW - 1))) for number in range(50)]
    asyncio.run(ask_all(nodes, TableStore()))
    assert {mode for node in nodes for mode in node.asked} == {"digest", "text"}


def test_where_too_much_varies_every_table_comes_as_text() -> None:
    """Whoever has been asked for a base in vain a few dozen times asks for none."""
    nodes = [FakeNode(contested(40, number)) for number in range(100)]
    assert asyncio.run(ask_all(nodes, TableStore())) == [node.table.digest for node in nodes]
    assert all(node.asked == ["digest", "text"] for node in nodes[80:])


class Liar(FakeNode):
    """A node that says of its own table that it has another one's digest."""

    def __init__(self, prefixes: Prefixes, victim: FakeNode, base: str | None = None) -> None:
        super().__init__(prefixes)
        self._victim = victim
        self._base = base

    def answer(self, mode: Mode, varying: Varying | None) -> ProbeAnswer:
        honest = super().answer(mode, varying)
        if mode == "text":
            return honest
        base = honest.base and (self._base or honest.base)
        return ProbeAnswer(honest.device, self._victim.table.digest, base=base, varying=honest.varying)


def learned() -> TableStore:
    """A store that knows what varies."""
    tables = TableStore()
    asyncio.run(ask_all([FakeNode(contested(10, number)) for number in range(20)], tables))
    assert tables.varying is not None
    return tables


def test_a_digest_that_a_node_says_falsely_is_believed_of_nobody_else() -> None:
    """Neither of one that is asked alike, nor of one that is asked for its digest alone."""
    for old in (False, True):
        tables, honest = learned(), FakeNode(contested(10, 1000), old=old)
        asyncio.run(ask_all([Liar(contested(10, 2000), honest)], tables))
        assert tables.tables[honest.table.digest].text != honest.table.text
        assert asyncio.run(ask_all([honest], tables)) == [honest.table.digest]
        assert tables.tables[honest.table.digest].text == honest.table.text


def test_a_table_with_a_false_digest_is_kept_under_its_own_where_the_other_is_known() -> None:
    tables, honest = learned(), FakeNode(contested(10, 1000))
    liar = Liar(contested(10, 2000), honest)
    assert asyncio.run(ask_all([honest, liar], tables)) == [honest.table.digest, liar.table.digest]
    assert tables.tables[honest.table.digest].text == honest.table.text


def test_a_base_that_no_text_has_is_asked_for_as_text() -> None:
    """A node that says a base which is nobody's costs one text, its own."""
    tables, other = learned(), FakeNode(contested(10, 1000))
    liar = Liar(contested(10, 2000), FakeNode(contested(10, 3000)), base="0" * 64)
    assert asyncio.run(ask_all([liar, other], tables)) == [liar.table.digest, other.table.digest]
    assert liar.asked == ["base", "text"]
    assert other.asked == ["base"]


def test_nodes_that_stall_on_their_text_hold_nobody_up_for_long() -> None:
    """The first few of many distinct tables never come: the others fetch theirs themselves."""

    class Stalling(FakeNode):
        async def __call__(self, mode: Mode, varying: Varying | None = None) -> ProbeAnswer:
            if mode == "text":
                await asyncio.sleep(3600)
            return await super().__call__(mode, varying)

    async def main() -> list[str]:
        tables = TableStore()
        stalling = [asyncio.create_task(look(Stalling(contested(10, n)), tables)) for n in range(FEW)]
        others = [FakeNode(contested(10, 100 + number)) for number in range(20)]
        found = await asyncio.gather(*(look(node, tables) for node in others))
        for task in stalling:
            task.cancel()
        assert [digest for _, digest, _ in found] == [node.table.digest for node in others]
        return []

    _, seconds = virtual_time.run(main())
    assert seconds <= 2 * PATIENCE


def test_a_node_that_fails_at_its_text_gives_its_turn_away() -> None:
    """Nobody waits for what does not come."""

    class Failing(FakeNode):
        async def __call__(self, mode: Mode, varying: Varying | None = None) -> ProbeAnswer:
            if mode == "text":
                raise ProbeError(GapReason.CONNECTION_LOST, "planted")
            return await super().__call__(mode, varying)

    async def main() -> list[object]:
        tables = TableStore()
        nodes = [(Failing if n < 12 else FakeNode)(contested(10, n)) for n in range(40)]
        return await asyncio.gather(*(look(node, tables) for node in nodes), return_exceptions=True)

    results, seconds = virtual_time.run(main())
    assert sum(isinstance(item, ProbeError) for item in results) <= 12
    assert all(not isinstance(item, Exception) for item in results[12:])
    assert seconds < PATIENCE
