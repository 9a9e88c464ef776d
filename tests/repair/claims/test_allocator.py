"""The allocator on a real Consul: each rule by which an address is handed out, kept off, or taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from auditor.errors import AllocationError, ConfigError, NotAdopted, StoreConflict, StoreError, UsageError
from auditor.registry.interface import Glance, IndexedStore, Operation
from auditor.repair import allocate, release
from auditor.repair.claims.adopted import adopted_bytes, adopted_key
from auditor.repair.claims.allocator import Allocator
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix, PublicKey
from tests.parts.consul import ConsulServer
from tests.registry.records_of import PREFIX, key_of, record
from tests.repair.registry import CLAIMS, NOW, Delegating, RegistryOnConsul

pytestmark = pytest.mark.xdist_group("consul")

SIN = Prefix("10.16.0.0/24")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    with ConsulServer(tmp_path_factory.mktemp("consul")) as running:
        yield running


@pytest.fixture
def registry(server: ConsulServer) -> Iterator[RegistryOnConsul]:
    """Adopted, and empty but for that."""
    found = RegistryOnConsul(server)
    found.adopt()
    yield found
    server.delete("", recurse=True)


class Failing(Delegating):
    """A store whose commits fail, before or after they were done: what a network does to a caller."""

    def __init__(self, store: IndexedStore, *, done: bool, times: int = 1) -> None:
        super().__init__(store)
        self._done = done
        self._left = times
        self.commits = 0

    def commit(self, operations: Sequence[Operation]) -> None:
        self.commits += 1
        if self._left <= 0:
            self._store.commit(operations)
            return
        self._left -= 1
        if self._done:
            self._store.commit(operations)
        raise StoreError("the connection ended before the answer did")


# What is handed out


def test_an_address_comes_with_its_claim_and_its_registration(registry: RegistryOnConsul) -> None:
    given = registry.allocate("edge-1", endpoint="198.18.0.7:51820", ssh_host="edge-1.example.net")
    assert given.created
    assert str(given).startswith("10.16.0.")
    assert registry.claim(str(given)) == AddressClaim(
        given.address, ClaimState.HELD, "edge-1", key_of("edge-1"), NOW, None, "allocate"
    )
    stored = registry.store.read(PREFIX + "edge-1")
    assert stored is not None
    assert json.loads(stored.value) == {
        "public_key": key_of("edge-1"),
        "ip": str(given),
        "region": "sin",
        "endpoint": "198.18.0.7:51820",
        "ssh_host": "edge-1.example.net",
    }
    assert registry.differences() == ()


def test_the_same_node_and_key_get_the_same_address_again(registry: RegistryOnConsul) -> None:
    given = registry.allocate("edge-1")
    again = registry.allocate("edge-1")
    assert (again.address, again.created) == (given.address, False)


def test_parallel_calls_for_one_node_get_one_address(registry: RegistryOnConsul) -> None:
    with ThreadPoolExecutor(6) as pool:
        given = list(pool.map(lambda _: registry.allocate("edge-1").address, range(6)))
    assert len(set(given)) == 1
    assert registry.differences() == ()


def test_parallel_nodes_in_a_crowded_prefix_get_different_addresses(server: ConsulServer) -> None:
    """As many nodes as there are addresses: 29 of a /27, all at once."""
    registry = RegistryOnConsul(server, pools={"sin": "10.16.0.0/27"})
    registry.adopt()
    try:
        with ThreadPoolExecutor(8) as pool:
            given = list(pool.map(lambda n: registry.allocate(f"n{n}").address, range(29)))
        assert len(set(given)) == 29
        assert registry.differences() == ()
        with pytest.raises(AllocationError, match=r"no free address in 10\.16\.0\.0/27; widen"):
            registry.allocate("one-more")
    finally:
        server.delete("", recurse=True)


def test_a_region_with_nothing_of_its_own_to_give_says_so(server: ConsulServer) -> None:
    """A region beyond the pools, and one that others fill: no address of them would pass the audit."""
    registry = RegistryOnConsul(server, pools={"sin": "192.168.0.0/24"})
    registry.adopt()
    try:
        with pytest.raises(
            AllocationError, match=r"nothing in 192\.168\.0\.0/24 is to be given to region sin"
        ):
            registry.allocate("edge-1")
    finally:
        server.delete("", recurse=True)


def test_a_registered_node_keeps_the_address_that_was_adopted(server: ConsulServer) -> None:
    registry = RegistryOnConsul(server)
    registry.register("edge-1", "10.16.0.77")
    registry.adopt()
    try:
        given = registry.allocate("edge-1")
        assert (str(given), given.created) == ("10.16.0.77", False)
    finally:
        server.delete("", recurse=True)


def test_ipv6_addresses_are_handed_out_too(server: ConsulServer) -> None:
    registry = RegistryOnConsul(server, pools={"sin": "fd00:10::/64"}, mesh={"pools": ["fd00:10::/32"]})
    registry.adopt()
    try:
        given = registry.allocate("edge-1")
        assert given.address.startswith("fd00:10:")
        assert given.address.endswith("/128")
        assert registry.store.read(CLAIMS + str(given).replace(":", "-")) is not None
        assert registry.differences() == ()
        assert registry.allocate("edge-1").address == given.address
    finally:
        server.delete("", recurse=True)


def test_a_registration_has_its_values_at_the_configured_paths(server: ConsulServer) -> None:
    registry = RegistryOnConsul(server, consul={"fields": {"address": "wg.ip", "public_key": "wg.key"}})
    registry.adopt()
    try:
        given = registry.allocate("edge-1")
        stored = registry.store.read(PREFIX + "edge-1")
        assert stored is not None
        assert json.loads(stored.value)["wg"] == {"ip": str(given), "key": key_of("edge-1")}
        assert registry.allocate("edge-1").address == given.address
    finally:
        server.delete("", recurse=True)


# What is kept off


@pytest.mark.parametrize(
    ("last", "what"), [("0", "network"), ("1", "first"), ("255", "broadcast")], ids=lambda value: value
)
def test_the_network_first_and_broadcast_address_is_never_given(
    registry: RegistryOnConsul, last: str, what: str
) -> None:
    """Not even where it is the only one left."""
    registry.take_all(SIN, but=f"10.16.0.{last}")
    with pytest.raises(AllocationError, match="no free address"):
        registry.allocate("edge-1")
    assert registry.store.read(PREFIX + "edge-1") is None


def test_the_last_free_address_of_a_crowded_prefix_is_found(registry: RegistryOnConsul) -> None:
    """All others have claims that say that they were seen live: those stay with whoever uses them."""
    registry.take_all(SIN, but="10.16.0.99")
    assert str(registry.allocate("edge-1")) == "10.16.0.99"


@pytest.mark.parametrize("state", [ClaimState.SEEN, ClaimState.HELD, ClaimState.RESERVED])
def test_an_address_with_a_claim_that_stands_is_given_to_nobody(
    registry: RegistryOnConsul, state: ClaimState
) -> None:
    registry.take_all(SIN, but="10.16.0.99")
    over = NOW - timedelta(days=1)
    claim = AddressClaim(Prefix("10.16.0.99/32"), state, "other", key_of("other"), over, over)
    registry.put_claim(claim)
    with pytest.raises(AllocationError, match="no free address"):
        registry.allocate("edge-1")
    assert registry.claim("10.16.0.99") is not None


def test_a_claim_that_cannot_be_read_keeps_its_address(registry: RegistryOnConsul) -> None:
    registry.take_all(SIN, but="10.16.0.99")
    registry.server.put(f"{CLAIMS}10.16.0.99", b"{what is this")
    with pytest.raises(AllocationError, match="no free address"):
        registry.allocate("edge-1")


def test_nothing_is_given_out_of_a_network_that_the_marker_names(registry: RegistryOnConsul) -> None:
    """A node has the whole of it, or it is seen in route tables."""
    registry.server.put(
        adopted_key(CLAIMS), adopted_bytes([Prefix("10.16.0.0/25"), Prefix("10.16.0.128/26")], NOW)
    )
    for number in range(8):
        assert int(str(registry.allocate(f"n{number}")).rpartition(".")[2]) >= 192


def test_a_network_that_is_adopted_while_an_address_is_allocated_is_heeded(
    registry: RegistryOnConsul,
) -> None:
    """The transaction holds only for the marker as it was read."""

    class Meanwhile(Failing):
        def commit(self, operations: Sequence[Operation]) -> None:
            if self.commits == 0:
                networks = [Prefix("10.16.0.0/25"), Prefix("10.16.0.128/26"), Prefix("10.16.0.192/27")]
                registry.server.put(adopted_key(CLAIMS), adopted_bytes(networks, NOW))
            super().commit(operations)

    # Of three nodes, at least one would have been given an address below it.
    for node in ("edge-1", "edge-2", "edge-3"):
        store = Meanwhile(registry.store, done=False, times=0)
        given = Allocator(store, registry.settings).allocate(node, key_of(node), "sin")
        assert int(str(given).rpartition(".")[2]) >= 224


# Quarantine


def test_a_released_address_is_given_to_nobody_until_its_quarantine_is_over(
    registry: RegistryOnConsul,
) -> None:
    registry.take_all(SIN, but="10.16.0.99")
    registry.allocate("edge-1")
    released = registry.allocator.release("edge-1")
    assert released.addresses == ("10.16.0.99/32",)
    assert registry.store.read(PREFIX + "edge-1") is None
    registry.later(days=29.9)
    with pytest.raises(AllocationError, match="no free address"):
        registry.allocate("edge-2")
    registry.later(days=0.2)
    assert str(registry.allocate("edge-2")) == "10.16.0.99"
    claim = registry.claim("10.16.0.99")
    assert claim is not None
    assert (claim.state, claim.node) == (ClaimState.HELD, "edge-2")


def test_releasing_twice_is_no_error(registry: RegistryOnConsul) -> None:
    registry.allocate("edge-1")
    registry.allocator.release("edge-1")
    assert registry.allocator.release("edge-1").addresses == ()
    assert registry.differences() == ()


def test_releasing_frees_no_address_that_is_claimed_for_another_node(registry: RegistryOnConsul) -> None:
    given = registry.allocate("edge-1")
    registry.register("thief", str(given))
    assert registry.allocator.release("thief").addresses == ()
    claim = registry.claim(str(given))
    assert claim is not None
    assert (claim.state, claim.node) == (ClaimState.HELD, "edge-1")


def test_releasing_an_address_without_a_claim_puts_it_into_quarantine_all_the_same(
    registry: RegistryOnConsul,
) -> None:
    registry.register("by-hand", "10.16.0.50")
    registry.allocator.release("by-hand")
    claim = registry.claim("10.16.0.50")
    assert claim is not None
    assert claim.state is ClaimState.RELEASED


def test_a_release_that_was_done_but_not_answered_is_found_by_reading(registry: RegistryOnConsul) -> None:
    given = registry.allocate("edge-1")
    store = Failing(registry.store, done=True)
    released = Allocator(store, registry.settings, pause=lambda _: None).release("edge-1")
    assert (released.addresses, store.commits) == ((given.address,), 1)


def test_a_release_that_is_in_doubt_does_not_free_what_was_allocated_anew_since(
    registry: RegistryOnConsul,
) -> None:
    registry.allocate("edge-1")
    store = Failing(registry.store, done=True)
    # While it waits to read back, the node is provisioned again.
    Allocator(store, registry.settings, pause=lambda _: void(registry.allocate("edge-1"))).release("edge-1")
    assert registry.store.read(PREFIX + "edge-1") is not None
    assert registry.differences() == ()


def void(_: object) -> None:
    """Lets a lambda call something for its effect."""


# Refusals


def test_another_key_for_a_registered_node_is_refused(registry: RegistryOnConsul) -> None:
    registry.allocate("edge-1")
    with pytest.raises(AllocationError, match=r"another key .*wgaudit release --node edge-1"):
        registry.allocator.allocate("edge-1", key_of("another"), "sin")


def test_an_address_whose_claim_is_anothers_is_not_confirmed(registry: RegistryOnConsul) -> None:
    """Two nodes are registered with it, by a tool that knows no claims: only the claimant gets it."""
    given = registry.allocate("edge-1")
    registry.register("edge-2", str(given))
    with pytest.raises(AllocationError, match="no claim says that it is its own"):
        registry.allocate("edge-2")


@pytest.mark.parametrize("state", [ClaimState.RESERVED, ClaimState.RELEASED, ClaimState.SEEN])
def test_an_address_whose_claim_does_not_say_held_is_not_confirmed(
    registry: RegistryOnConsul, state: ClaimState
) -> None:
    given = registry.allocate("edge-1")
    registry.put_claim(AddressClaim(given.address, state, "edge-1", key_of("edge-1"), NOW, NOW))
    with pytest.raises(AllocationError, match="no claim says that it is its own"):
        registry.allocate("edge-1")


def test_a_registry_that_was_not_adopted_is_refused(server: ConsulServer) -> None:
    with pytest.raises(NotAdopted, match="run `wgaudit adopt` once"):
        RegistryOnConsul(server).allocate("edge-1")
    assert server.request("GET", f"/v1/kv/{PREFIX}edge-1").status == 404


def test_an_unknown_region_is_refused_and_the_known_ones_named(registry: RegistryOnConsul) -> None:
    with pytest.raises(UsageError, match=r"'ams' is not in .*; known: fra, sin"):
        registry.allocate("edge-1", "ams")


@pytest.mark.parametrize("node", ["", "a/b", "../x", "-a", "a b", "ü", "a" * 254, "a\n"])
def test_what_is_no_name_of_a_node_is_refused(registry: RegistryOnConsul, node: str) -> None:
    for call in (registry.allocate, registry.allocator.release):
        with pytest.raises(UsageError, match="not a node's name"):
            call(node)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"endpoint": "here"}, "not an endpoint"),
        ({"endpoint": "h:70000"}, "not an endpoint"),
        ({"ssh_host": "root@h"}, "not an SSH host"),
        ({"rack": "r7"}, "not rack"),
    ],
)
def test_values_that_a_registration_cannot_have_are_refused(
    registry: RegistryOnConsul, values: dict[str, str], what: str
) -> None:
    with pytest.raises(UsageError, match=what):
        registry.allocate("edge-1", **values)


@pytest.mark.parametrize(
    ("tables", "what"),
    [
        ({"consul": {"layout": "kv-fields"}}, 'need layout = "kv-json"'),
        ({"consul": {"file": "/tmp/kv.json"}}, "consul.file is only read"),
        ({"consul": {"datacenters": ["*"]}}, "one datacenter's store only"),
        ({"consul": {"fields": {"endpoint": "ip"}}}, "two values have one path"),
        ({"repair": {"claims_prefix": "wireguard/nodes/claims/"}}, "lie in each other"),
    ],
)
def test_a_configuration_that_cannot_hold_claims_is_refused(
    server: ConsulServer, tables: dict[str, dict[str, object]], what: str
) -> None:
    with pytest.raises(ConfigError, match=what):
        RegistryOnConsul(server, **tables)


# Errors and doubt


def test_a_write_that_was_done_but_not_answered_is_found_by_reading(registry: RegistryOnConsul) -> None:
    store = Failing(registry.store, done=True)
    given = Allocator(store, registry.settings, pause=lambda _: None).allocate(
        "edge-1", key_of("edge-1"), "sin"
    )
    assert (given.created, store.commits) == (True, 1)
    assert registry.allocate("edge-1").address == given.address


def test_a_write_that_was_not_done_is_tried_again(registry: RegistryOnConsul) -> None:
    store = Failing(registry.store, done=False, times=3)
    given = Allocator(store, registry.settings, pause=lambda _: None).allocate(
        "edge-1", key_of("edge-1"), "sin"
    )
    assert (given.created, store.commits) == (True, 4)
    assert registry.differences() == ()


def test_a_write_that_lands_after_the_next_try_changes_nothing(registry: RegistryOnConsul) -> None:
    """The first transaction hangs somewhere on the way, and arrives when the second was done."""

    class Late(Failing):
        def commit(self, operations: Sequence[Operation]) -> None:
            if self.commits == 0:
                self.late = operations
            super().commit(operations)

    store = Late(registry.store, done=False)
    given = Allocator(store, registry.settings, pause=lambda _: None).allocate(
        "edge-1", key_of("edge-1"), "sin"
    )
    with pytest.raises(StoreConflict):
        registry.store.commit(store.late)
    assert registry.allocate("edge-1").address == given.address
    assert registry.differences() == ()


def test_a_store_that_never_confirms_gives_no_address_and_says_what_is_not_known(
    registry: RegistryOnConsul,
) -> None:
    times = iter(range(1000))
    store = Failing(registry.store, done=False, times=1000)
    allocator = Allocator(store, registry.settings, clock=lambda: next(times), pause=lambda _: None)
    with pytest.raises(AllocationError, match="not known whether it came through: repeat the call"):
        allocator.allocate("edge-1", key_of("edge-1"), "sin")


def test_what_the_token_may_not_do_is_told_at_once(registry: RegistryOnConsul) -> None:
    class Forbidden(Failing):
        def glance(self, key: str) -> Glance:  # noqa: ARG002  (the store's signature)
            raise StoreError("403 Permission denied", permanent=True)

    pauses: list[float] = []
    allocator = Allocator(Forbidden(registry.store, done=False), registry.settings, pause=pauses.append)
    with pytest.raises(AllocationError, match="403 Permission denied; nothing was written"):
        allocator.allocate("edge-1", key_of("edge-1"), "sin")
    assert pauses == []


# From Python


def test_the_functions_for_python_take_a_configuration_or_its_file(
    registry: RegistryOnConsul, tmp_path: Path
) -> None:
    file = tmp_path / "wgaudit.toml"
    file.write_text(f'[consul]\nurl = "{registry.server.url}"\n[regions.pools]\nsin = "10.16.0.0/24"\n')
    given = allocate("edge-1", key_of("edge-1"), "sin", config=file, endpoint="198.18.0.7:51820")
    assert str(allocate("edge-1", key_of("edge-1"), "sin", config=registry.config)) == str(given)
    assert release("edge-1", config=file).addresses == (given.address,)


def test_the_function_for_python_refuses_a_bad_key_without_repeating_it(registry: RegistryOnConsul) -> None:
    with pytest.raises(UsageError, match="not a public key") as refused:
        allocate("edge-1", PublicKey("swordfish"), "sin", config=registry.config)
    assert "swordfish" not in str(refused.value)


def test_a_registration_that_cannot_be_read_is_no_free_node(registry: RegistryOnConsul) -> None:
    registry.server.put(PREFIX + "edge-1", record("edge-1", "10.0.0.300"))
    for call in (registry.allocate, registry.allocator.release):
        with pytest.raises(AllocationError, match="the registration cannot be read"):
            call("edge-1")
