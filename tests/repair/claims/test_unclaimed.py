"""Registrations that came without claims, on a real Consul: kept off, their keys refused, and at what cost."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from auditor.errors import AllocationError, StoreError, UsageError
from auditor.repair.claims.allocator import Allocator
from auditor.repair.claims.key_claim import key_claim_key
from auditor.repair.claims.unclaimed import check_mark_key, read_marks
from auditor.values.address_claims import ClaimState
from auditor.values.addresses import PublicKey
from tests.parts.chaos import ChaosProxy
from tests.parts.consul import ConsulServer
from tests.registry.records_of import PREFIX, key_of, record
from tests.repair.registry import CLAIMS, Delegating, RegistryOnConsul

pytestmark = pytest.mark.xdist_group("consul")

ONE_FREE = {"sin": "10.64.0.0/30"}
"""Prefix whose first, network and broadcast address leave 10.64.0.2 alone."""
TWO_FREE = {"sin": "10.64.0.0/29"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    with ConsulServer(tmp_path_factory.mktemp("consul")) as running:
        yield running


@pytest.fixture
def emptied(server: ConsulServer) -> Iterator[ConsulServer]:
    yield server
    server.delete("", recurse=True)


def test_an_address_that_somebody_registered_without_a_claim_is_not_handed_out(emptied: ConsulServer) -> None:
    """10.64.0.2 was: adopted, then registered by a tool that knows of no claims."""
    registry = RegistryOnConsul(emptied, pools=ONE_FREE)
    registry.adopt()
    registry.register("foreign", "10.64.0.2")
    with pytest.raises(AllocationError, match=r"no free address in 10\.64\.0\.0/30"):
        registry.allocate("edge-1")
    claim = registry.claim("10.64.0.2")
    assert claim is not None
    assert (claim.state, claim.node, claim.public_key) == (ClaimState.HELD, "foreign", key_of("foreign"))


def test_a_tool_that_registers_without_claims_is_told_until_somebody_adopts(emptied: ConsulServer) -> None:
    registry = RegistryOnConsul(emptied)
    registry.adopt()
    registry.register("foreign", "10.16.0.9")
    registry.allocate("edge-1")
    (difference,) = registry.differences()
    assert difference.what.startswith("10.16.0.9 was registered for foreign without a claim")
    registry.adopt()
    assert registry.differences() == ()


def test_an_address_that_was_released_and_is_registered_again_by_hand_is_kept_off(
    emptied: ConsulServer,
) -> None:
    registry = RegistryOnConsul(emptied, pools=ONE_FREE)
    registry.adopt()
    registry.allocate("edge-1")
    registry.allocator.release("edge-1")
    registry.register("foreign", "10.64.0.2")
    registry.later(days=60)
    with pytest.raises(AllocationError, match="no free address"):
        registry.allocate("edge-2")


def test_an_address_that_two_registered_without_claims_is_kept_off_and_nobodys(emptied: ConsulServer) -> None:
    registry = RegistryOnConsul(emptied, pools=ONE_FREE)
    registry.adopt()
    registry.register("a", "10.64.0.2")
    registry.register("b", "10.64.0.2")
    with pytest.raises(AllocationError, match="no free address"):
        registry.allocate("edge-1")
    claim = registry.claim("10.64.0.2")
    assert claim is not None
    assert (claim.state, claim.node) == (ClaimState.SEEN, "")


def test_a_network_that_was_registered_without_a_claim_is_kept_off_as_a_whole(emptied: ConsulServer) -> None:
    registry = RegistryOnConsul(emptied, pools=TWO_FREE)
    registry.adopt()
    registry.register("foreign", ["10.64.0.2", "10.64.0.4/30"])
    given = registry.allocate("edge-1")
    assert str(given) == "10.64.0.3"


def test_a_registration_that_comes_between_two_allocations_of_many_is_seen(emptied: ConsulServer) -> None:
    registry = RegistryOnConsul(emptied, pools=TWO_FREE)
    registry.adopt()
    given = {str(registry.allocate("edge-1"))}
    free = sorted({f"10.64.0.{last}" for last in range(2, 7)} - given)
    registry.register("foreign", free[0])
    given |= {str(registry.allocate(f"edge-{number}")) for number in range(2, 5)}
    assert given == {f"10.64.0.{last}" for last in range(2, 7)} - {free[0]}


# Keys


def test_a_key_that_another_node_was_allocated_with_is_refused(emptied: ConsulServer) -> None:
    """A cloned image: it brings its key along."""
    registry = RegistryOnConsul(emptied)
    registry.adopt()
    registry.allocate("edge-1")
    with pytest.raises(
        AllocationError, match=r"allocate clone: key-registered: key .* is registered for edge-1 \(wireguard"
    ):
        registry.allocator.allocate("clone", key_of("edge-1"), "sin")
    assert registry.store.read(PREFIX + "clone") is None


@pytest.mark.parametrize("adopted_before", [True, False])
def test_a_key_that_another_node_registered_itself_is_refused(
    emptied: ConsulServer, adopted_before: bool
) -> None:
    registry = RegistryOnConsul(emptied)
    if adopted_before:
        registry.adopt()
    registry.register("foreign", "10.16.0.9")
    if not adopted_before:
        registry.adopt()
    with pytest.raises(AllocationError, match="key-registered"):
        registry.allocator.allocate("clone", key_of("foreign"), "sin")


def test_a_key_that_its_node_gave_up_is_free_again(emptied: ConsulServer) -> None:
    """Released, registered anew with another key, or gone from the registry: its registration decides."""
    registry = RegistryOnConsul(emptied)
    registry.adopt()

    def moved_on(node: str, how: str) -> PublicKey:
        registry.allocate(node)
        if how == "released":
            registry.allocator.release(node)
            assert registry.store.read(key_claim_key(CLAIMS, key_of(node))) is None
        elif how == "deleted":
            emptied.delete(PREFIX + node)
        else:
            stored = registry.store.read(PREFIX + node)
            assert stored is not None
            document = json.loads(stored.value) | {"public_key": key_of("another")}
            emptied.put(PREFIX + node, json.dumps(document).encode())
        return key_of(node)

    for number, how in enumerate(("released", "deleted", "registered anew")):
        key = moved_on(f"old-{number}", how)
        assert registry.allocator.allocate(f"new-{number}", key, "sin").created, how
    with pytest.raises(AllocationError, match="key-registered"):
        registry.allocator.allocate("clone", key_of("another"), "sin")


# The same judgement as `wgaudit check`


def test_what_a_sweep_would_find_fault_with_is_refused_by_its_ident(emptied: ConsulServer) -> None:
    pattern = {"name_pattern": "^[a-z]+-(?P<region>[a-z]{3})-"}
    registry = RegistryOnConsul(emptied, regions={**pattern, "pools": {"sin": "10.16.0.0/24"}})
    registry.adopt()
    with pytest.raises(UsageError, match=r"allocate edge-fra-1: region-mismatch: .* name says fra"):
        registry.allocate("edge-fra-1")
    with pytest.raises(UsageError, match=r"host-in-mesh: the endpoint 10\.0\.0\.7 lies in a pool"):
        registry.allocate("edge-sin-1", endpoint="10.0.0.7:51820")
    assert registry.allocate("edge-sin-1", endpoint="198.18.0.7:51820").created


# Its cost


def requests(proxy: ChaosProxy) -> int:
    return sum(proxy.requests.values())


def test_an_allocation_costs_three_requests_and_one_in_a_busy_store_two_more(emptied: ConsulServer) -> None:
    """Whatever else is written to Consul: none of them grows with the registry."""
    RegistryOnConsul(emptied).adopt()
    with ChaosProxy(emptied.url) as proxy:
        registry = RegistryOnConsul(emptied, consul={"url": proxy.url})
        registry.allocate("a")
        assert requests(proxy) == 3
        emptied.put("somebody/elses", b"lock")
        registry.allocate("b")
        assert requests(proxy) == 3 + 5
        registry.allocate("c")
        assert requests(proxy) == 3 + 5 + 3


def test_the_registry_is_read_whole_once_for_what_came_without_a_claim(emptied: ConsulServer) -> None:
    RegistryOnConsul(emptied).adopt()
    with ChaosProxy(emptied.url) as proxy:
        registry = RegistryOnConsul(emptied, consul={"url": proxy.url})
        emptied.put(PREFIX + "foreign", record("foreign", "10.16.0.9"))
        registry.allocate("a")
        once = requests(proxy)
        registry.allocate("b")
        registry.allocator.release("a")
        before = requests(proxy)
        registry.allocate("c")
        assert once > 5
        assert requests(proxy) - before == 3


def test_a_registry_that_was_adopted_before_there_was_a_mark_is_read_whole_and_then_marked(
    emptied: ConsulServer,
) -> None:
    registry = RegistryOnConsul(emptied)
    registry.register("old", "10.16.0.9")
    registry.adopt()
    emptied.delete(check_mark_key(CLAIMS))
    emptied.delete(key_claim_key(CLAIMS, key_of("old")))
    assert registry.allocate("edge-1").created
    assert read_marks(registry.store, CLAIMS).checked
    with pytest.raises(AllocationError, match="key-registered"):
        registry.allocator.allocate("clone", key_of("old"), "sin")


class WithoutLists(Delegating):
    """A store whose token may list no keys at the prefix itself, as Consul's `enable_key_list_policy` makes it."""

    def newest(self, prefix: str) -> int:
        raise StoreError(f"{prefix}: Permission denied", permanent=True)


def test_where_indexes_may_not_be_asked_for_the_registry_is_read_each_time(emptied: ConsulServer) -> None:
    registry = RegistryOnConsul(emptied, pools=ONE_FREE)
    registry.adopt()
    registry.register("foreign", "10.64.0.2")
    allocator = Allocator(WithoutLists(registry.store), registry.settings)
    with pytest.raises(AllocationError, match="no free address"):
        allocator.allocate("edge-1", key_of("edge-1"), "sin")
