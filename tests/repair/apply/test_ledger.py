"""The registry's side of a move on a real Consul: compare-and-set, doubt that is read back, and records kept whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import InvalidValue, LedgerSurprise, StoreError
from auditor.registry.interface import KeyStore, Operation, Stored
from auditor.repair.apply.ledger import Ledger
from auditor.repair.claims.record import replace_address
from auditor.repair.moves import Keeper, Move, Rule
from auditor.values.models import NodeId
from tests.fleets import key_of
from tests.parts.consul import ConsulServer
from tests.repair.fleet import CLAIMS, KEEPER, MOVER, NEW, NODES, OLD, Bench

pytestmark = pytest.mark.xdist_group("consul")
KEPT = Keeper(KEEPER, key_of(KEEPER.name), Rule.OLDEST, "the oldest")
NOBODY = Keeper(None, None, Rule.FALLBACK_NOBODY, "the fallback")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    with ConsulServer(tmp_path_factory.mktemp("ledger")) as running:
        yield running


@pytest.fixture
def bench(server: ConsulServer, tmp_path: Path) -> Bench:
    made = Bench(tmp_path, server)
    made.reset()
    return made


def ledger_of(bench: Bench, store: KeyStore | None = None) -> Ledger:
    return Ledger({"": store or bench.store}, bench.allocation, "0123456789", pause=lambda _: None)


def claimed(
    bench: Bench, address: str, node: NodeId, state: str = "held", by: str = "adopt", **more: Any
) -> None:
    claim = {"state": state, "node": node.name, "public_key": key_of(node.name), "at": "2026-01-01T00:00:00Z"}
    bench.server.put(CLAIMS + address, json.dumps(claim | {"by": by} | more).encode())


class Doubtful:
    """The store behind a network that loses what it is told of the n-th write: before, or after, it came through."""

    def __init__(self, store: KeyStore, *, lands: bool, lost: int = 1) -> None:
        self._store = store
        self._lands = lands
        self._lost = lost

    def read(self, key: str) -> Stored | None:
        return self._store.read(key)

    def list(self, prefix: str) -> tuple[Stored, ...]:
        return self._store.list(prefix)

    def commit(self, operations: Sequence[Operation]) -> None:
        if self._lost == 0:
            return self._store.commit(operations)
        self._lost -= 1
        if self._lands:
            self._store.commit(operations)
        raise StoreError("the connection was reset")


def call_of(ledger: Ledger, name: str, move: Move) -> None:
    """One of the four writing calls."""
    if name == "register":
        ledger.register(move, KEPT)
    else:
        getattr(ledger, name)(move)


def all_of_it(ledger: Ledger, move: Move) -> None:
    ledger.check(move)
    ledger.reserve(move)
    ledger.register(move, KEPT)
    ledger.verify(move)


def test_a_move_claims_the_new_address_and_writes_the_registration(bench: Bench) -> None:
    all_of_it(ledger_of(bench), bench.move())
    assert bench.registry()[CLAIMS + "10.9.0.7"] == ("held", MOVER.name)
    assert json.loads(bench.registry()[NODES + MOVER.name])["ip"] == "10.9.0.7"


def test_each_call_may_be_repeated_and_writes_nothing_then(bench: Bench) -> None:
    ledger, move = ledger_of(bench), bench.move()
    for name in ("reserve", "register", "unregister", "unreserve"):
        call_of(ledger, name, move)
        before = bench.store.list("wireguard/")
        call_of(ledger, name, move)
        assert bench.store.list("wireguard/") == before


def test_there_and_back_the_registry_is_as_it_was(bench: Bench) -> None:
    claimed(bench, "10.0.0.1", MOVER)
    before = bench.registry()
    ledger, move = ledger_of(bench), bench.move()
    all_of_it(ledger, move)
    assert bench.registry()[CLAIMS + "10.0.0.1"] == ("held", KEEPER.name)
    ledger.unregister(move)
    ledger.unreserve(move)
    assert bench.registry() == before


@pytest.mark.parametrize("lands", [True, False], ids=["came-through", "was-lost"])
def test_a_write_in_doubt_is_settled_by_reading(bench: Bench, lands: bool) -> None:
    move = bench.move()
    for name in ("reserve", "register", "unregister", "unreserve"):
        call_of(ledger_of(bench, Doubtful(bench.store, lands=lands)), name, move)
    assert CLAIMS + "10.9.0.7" not in bench.registry()


def test_a_store_that_never_confirms_ends_with_what_it_said_last(bench: Bench) -> None:
    ticks = iter(range(1000))
    ledger = Ledger(
        {"": Doubtful(bench.store, lands=False, lost=99)},
        bench.allocation,
        "0123456789",
        clock=lambda: float(next(ticks)),
        pause=lambda _: None,
    )
    with pytest.raises(StoreError, match="not confirmed by the store within 5 s: the connection was reset"):
        ledger.reserve(bench.move())


def test_a_write_that_was_refused_for_good_is_not_tried_again(bench: Bench) -> None:
    tries: list[int] = []

    class Forbidding(Doubtful):
        def commit(self, operations: Sequence[Operation]) -> None:
            tries.append(len(operations))
            raise StoreError("Permission denied", permanent=True)

    with pytest.raises(StoreError, match="Permission denied"):
        ledger_of(bench, Forbidding(bench.store, lands=False)).reserve(bench.move())
    assert len(tries) == 1


def test_a_registration_that_changes_under_way_is_not_written_over(bench: Bench) -> None:
    ledger, move = ledger_of(bench), bench.move()
    ledger.reserve(move)
    other = json.dumps({"public_key": key_of(MOVER.name), "ip": "10.0.0.1", "region": "sin"}).encode()
    bench.server.put(move.where, other)
    with pytest.raises(LedgerSurprise, match="was written meanwhile"):
        ledger.register(move, KEPT)
    stored = bench.store.read(move.where)
    assert stored is not None
    assert stored.value == other
    ledger.unreserve(move)


def test_the_way_back_does_not_write_over_somebody_elses_addresses(bench: Bench) -> None:
    ledger, move = ledger_of(bench), bench.move()
    ledger.reserve(move)
    ledger.register(move, KEPT)
    bench.server.put(move.where, json.dumps({"public_key": key_of(MOVER.name), "ip": "10.5.5.5"}).encode())
    with pytest.raises(LedgerSurprise, match="other addresses by now"):
        ledger.unregister(move)


def test_a_claim_does_not_go_while_the_registration_has_the_address(bench: Bench) -> None:
    """A write in doubt may come through late; the address must not be handed out to somebody else then."""
    ledger, move = ledger_of(bench), bench.move()
    ledger.reserve(move)
    ledger.register(move, KEPT)
    with pytest.raises(LedgerSurprise, match="so its claim stays"):
        ledger.unreserve(move)


@pytest.mark.parametrize("state", ["held", "reserved", "seen", "released"])
def test_a_claim_of_another_hand_stops_it(bench: Bench, state: str) -> None:
    until = {"until": "2999-01-01T00:00:00Z"} if state == "released" else {}
    claimed(bench, "10.9.0.7", NodeId("", "db-nrt-9"), state, **until)
    for call in (ledger_of(bench).check, ledger_of(bench).reserve):
        with pytest.raises(LedgerSurprise, match=f"claimed meanwhile: {state} for db-nrt-9 by adopt"):
            call(bench.move())


def test_a_quarantine_that_is_over_is_nobodys(bench: Bench) -> None:
    claimed(bench, "10.9.0.7", NodeId("", "db-nrt-9"), "released", until="2026-01-02T00:00:00Z")
    all_of_it(ledger_of(bench), bench.move())
    assert bench.registry()[CLAIMS + "10.9.0.7"] == ("held", MOVER.name)


def test_a_registration_that_cannot_be_read_and_names_the_new_address_stops_it(bench: Bench) -> None:
    bench.server.put(NODES + "broken", b'{"public_key": "?", "ip": "10.9.0.7"}')
    with pytest.raises(LedgerSurprise, match="registered meanwhile: wireguard/nodes/broken"):
        ledger_of(bench).check(bench.move())


@pytest.mark.parametrize(
    ("keeper", "expected"),
    [
        (KEPT, ("held", KEEPER.name)),
        (NOBODY, ("released", MOVER.name)),
        (Keeper(NodeId("dc2", "far"), key_of("far"), Rule.CHOSEN, "far"), ("seen", "far")),
    ],
    ids=["keeper", "nobody", "keeper-of-another-datacenter"],
)
def test_the_old_addresss_claim_goes_to_who_has_it_now(
    bench: Bench, keeper: Keeper, expected: object
) -> None:
    claimed(bench, "10.0.0.1", MOVER)
    ledger, move = ledger_of(bench), bench.move()
    ledger.reserve(move)
    ledger.register(move, keeper)
    assert bench.registry()[CLAIMS + "10.0.0.1"] == expected


def test_the_keepers_own_claim_stays_as_it_is(bench: Bench) -> None:
    claimed(bench, "10.0.0.1", KEEPER)
    before = bench.store.read(CLAIMS + "10.0.0.1")
    all_of_it(ledger_of(bench), bench.move())
    assert bench.store.read(CLAIMS + "10.0.0.1") == before


# -- the record


@pytest.mark.parametrize(
    ("record", "path", "expected"),
    [
        ('{"ip": "10.0.0.1"}', "ip", '{"ip": "10.9.0.7"}'),
        ('{"ip":"10.0.0.1/32" }', "ip", '{"ip":"10.9.0.7/32" }'),
        (
            '{"z": 1.10, "ip": ["fd00::1", "10.0.0.1"], "a": 1e3}',
            "ip",
            '{"z": 1.10, "ip": ["fd00::1", "10.9.0.7"], "a": 1e3}',
        ),
        (
            '{"x": {"ip": "10.0.0.1"}, "net": {"wg": {"ip": "10.0.0.1"}}}',
            "net.wg.ip",
            '{"x": {"ip": "10.0.0.1"}, "net": {"wg": {"ip": "10.9.0.7"}}}',
        ),
        (' {"é": "\\ud800", "ip":\n"10.0.0.1"}\n', "ip", ' {"é": "\\ud800", "ip":\n"10.9.0.7"}\n'),
    ],
)
def test_one_address_is_replaced_and_every_other_byte_stays(record: str, path: str, expected: str) -> None:
    assert replace_address(record.encode(), path, OLD, NEW) == expected.encode()


@pytest.mark.parametrize(
    "record",
    [
        "",
        "[]",
        "{",
        '{"ip": "10.0.0.2"}',
        '{"ip": 7}',
        '{"other": "10.0.0.1"}',
        '{"ip": {"ip": "10.0.0.1"}}',
        '"ip"',
        '{"ip": ["10.0.0.2"',
        "[" * 9999,
    ],
)
def test_where_the_address_does_not_stand_nothing_is_replaced(record: str) -> None:
    with pytest.raises(InvalidValue, match=r"10\.0\.0\.1 does not stand in ip"):
        replace_address(record.encode(), "ip", OLD, NEW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text().filter(lambda name: name != "ip"), JSON, max_size=4), st.booleans())
def test_whatever_stands_beside_it_is_kept(others: dict[str, Any], last: bool) -> None:
    def text(address: str) -> str:
        return json.dumps({**others, "ip": address} if last else {"ip": address, **others})

    assert replace_address(text("10.0.0.1").encode(), "ip", OLD, NEW).decode() == text("10.9.0.7")


def test_a_record_with_the_address_in_two_spellings_is_left_to_a_person(bench: Bench) -> None:
    """One of them would stay, or both would become one: neither is what the plan says."""
    bench.server.put(
        NODES + MOVER.name,
        json.dumps({"public_key": key_of(MOVER.name), "ip": ["10.0.0.1", "10.9.0.7"]}).encode(),
    )
    move = bench.move(addresses=(OLD, NEW))
    ledger = ledger_of(bench)
    ledger.reserve(move)
    with pytest.raises(LedgerSurprise, match="do it by hand"):
        ledger.register(move, KEPT)
