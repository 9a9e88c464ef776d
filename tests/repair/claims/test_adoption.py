"""Adopting a registry on a real Consul: what gets a claim, what is refused, and what disagrees afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest

from auditor.errors import AdoptionDisturbed, AllocationError, NotAdoptable, NotAdopted, StoreError
from auditor.registry.interface import Operation, Stored
from auditor.repair.claims.adopted import adopted_key, read_adopted
from auditor.repair.claims.adoption import adopt
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix
from auditor.values.models import Device, NodeId, Observation, Snapshot
from auditor.values.report import Report
from auditor.values.route_table import RouteTable
from tests.parts.consul import ConsulServer
from tests.registry.records_of import PREFIX, key_of, record
from tests.repair.registry import CLAIMS, NOW, Delegating, RegistryOnConsul

pytestmark = pytest.mark.xdist_group("consul")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    with ConsulServer(tmp_path_factory.mktemp("consul")) as running:
        yield running


@pytest.fixture
def registry(server: ConsulServer) -> Iterator[RegistryOnConsul]:
    """Empty, and not adopted."""
    yield RegistryOnConsul(server)
    server.delete("", recurse=True)


def live(registry: RegistryOnConsul, node: str, address: str, routed: Sequence[str] = ()) -> Snapshot:
    """One node with one address on its device, and a route table."""
    own = f"{key_of(node)}\t{address}\n"
    text = "".join(sorted({own, *(f"{key_of('ghost')}\t{prefix}\n" for prefix in routed)}))
    table = RouteTable(text.encode())
    device = Device("wg0", key_of(node), (Prefix(address),))
    return Snapshot(
        NOW,
        NOW,
        registry.config.policy(),
        (),
        observations=(Observation(NodeId("", node), device, table.digest),),
        tables={table.digest: table},
    )


def what(registry: RegistryOnConsul) -> list[str]:
    return [item.what for item in registry.differences()]


def claim(address: str, state: ClaimState, node: str, by: str = "allocate") -> AddressClaim:
    return AddressClaim(Prefix(f"{address}/32"), state, node, key_of(node), NOW, None, by)


# What gets a claim


def test_each_registered_address_gets_a_claim_of_its_node(registry: RegistryOnConsul) -> None:
    """More of them than one transaction takes."""
    registry.server.put_many({f"{PREFIX}n{n}": record(f"n{n}", f"10.16.0.{n + 2}") for n in range(70)})
    registry.register("two", ["10.32.0.5", "10.32.0.6"])
    adoption = registry.adopt()
    assert (adoption.registered, adoption.written) == (72, 72)
    held = registry.claim("10.32.0.6")
    assert held == AddressClaim(
        Prefix("10.32.0.6/32"), ClaimState.HELD, "two", key_of("two"), NOW, None, "adopt"
    )
    assert registry.differences() == ()


def test_adopting_again_writes_nothing_that_is_so_already(registry: RegistryOnConsul) -> None:
    registry.register("a", "10.16.0.5")
    registry.adopt()
    marker = read_adopted(registry.store, CLAIMS)
    assert registry.adopt().written == 0
    assert read_adopted(registry.store, CLAIMS) == marker


def test_an_adoption_that_was_interrupted_hands_out_nothing_and_goes_on_when_repeated(
    registry: RegistryOnConsul,
) -> None:
    registry.server.put_many({f"{PREFIX}n{n}": record(f"n{n}", f"10.16.0.{n + 2}") for n in range(40)})

    class Stops(Delegating):
        commits = 0

        def commit(self, operations: Sequence[Operation]) -> None:
            self.commits += 1
            if self.commits == 2:
                raise StoreError("gone")
            registry.store.commit(operations)

    with pytest.raises(StoreError, match="gone"):
        adopt(Stops(registry.store), registry.settings, registry.config.policy())
    with pytest.raises(NotAdopted):
        registry.allocate("new")
    adoption = registry.adopt()
    assert (adoption.registered, adoption.written) == (40, 8)
    assert registry.differences() == ()


def test_a_registration_that_comes_while_claims_are_built_stops_the_first_adoption(
    registry: RegistryOnConsul,
) -> None:
    """Who wrote it knows no claims, so the address would be free for the next one."""
    registry.register("a", "10.16.0.5")

    class Meanwhile(Delegating):
        def commit(self, operations: Sequence[Operation]) -> None:
            registry.register("b", "10.16.0.6")
            registry.store.commit(operations)

    with pytest.raises(AdoptionDisturbed, match="run `wgaudit adopt` again"):
        adopt(Meanwhile(registry.store), registry.settings, registry.config.policy())
    assert registry.store.read(adopted_key(CLAIMS)) is None


def test_a_registration_that_changes_under_its_claim_stops_the_adoption(registry: RegistryOnConsul) -> None:
    registry.register("a", "10.16.0.5")

    class Meanwhile(Delegating):
        def commit(self, operations: Sequence[Operation]) -> None:
            registry.register("a", "10.16.0.6")
            registry.store.commit(operations)

    with pytest.raises(AdoptionDisturbed):
        adopt(Meanwhile(registry.store), registry.settings, registry.config.policy())
    assert registry.claim("10.16.0.5") is None


def test_what_is_seen_live_without_a_registration_is_kept_off(registry: RegistryOnConsul) -> None:
    registry.register("a", "10.16.0.5")
    adoption = registry.adopt(live=live(registry, "a", "10.16.0.9/32", ["10.16.0.10/32"]))
    assert adoption.seen == ("10.16.0.10/32",) or adoption.seen == ("10.16.0.9/32", "10.16.0.10/32")
    for prefix in adoption.seen:
        seen = registry.claim(prefix.removesuffix("/32"))
        assert seen is not None
        assert seen.state is ClaimState.SEEN
    assert registry.differences() == ()


def test_a_registered_network_is_kept_off_as_a_whole(registry: RegistryOnConsul) -> None:
    registry.register("gateway", ["10.16.0.0/25", "10.16.0.130"])
    assert registry.adopt().networks == ("10.16.0.0/25",)
    assert int(str(registry.allocate("edge-1")).rpartition(".")[2]) >= 128
    assert registry.differences() == ()


def test_a_network_that_holds_a_whole_pool_is_named_and_does_not_stop_allocation(
    registry: RegistryOnConsul,
) -> None:
    """An exit node has the default route; keeping all of it off would leave nothing."""
    registry.register("exit", ["0.0.0.0/0", "10.16.0.7"])
    adoption = registry.adopt()
    assert (adoption.networks, adoption.too_wide) == ((), ("0.0.0.0/0",))
    assert registry.allocate("edge-1").created
    assert registry.differences() == ()


def test_an_agreed_shared_address_is_kept_off_and_is_no_difference(server: ConsulServer) -> None:
    shared = {"address": "10.16.0.53", "nodes": ["a", "b"], "reason": "anycast", "until": "2026-12-01"}
    try:
        registry = RegistryOnConsul(server, shared=[shared])  # type: ignore[arg-type]
        registry.register("a", "10.16.0.53")
        registry.register("b", "10.16.0.53")
        assert registry.adopt().networks == ("10.16.0.53/32",)
        assert registry.differences() == ()
        registry.now += timedelta(days=365)
        with pytest.raises(NotAdoptable):
            registry.adopt()
    finally:
        server.delete("", recurse=True)


def test_ipv6_registrations_get_claims_under_keys_without_colons(registry: RegistryOnConsul) -> None:
    registry.register("a", "fd00:10::7")
    registry.adopt()
    stored = registry.store.read(f"{CLAIMS}fd00-10--7")
    assert stored is not None
    assert registry.differences() == ()


def test_a_claim_whose_registration_is_gone_goes_into_quarantine_and_is_not_lost(
    registry: RegistryOnConsul,
) -> None:
    registry.adopt()
    given = registry.allocate("edge-1")
    registry.server.delete(PREFIX + "edge-1")
    assert [item.what for item in registry.differences()] == [
        f"{given} is claimed by edge-1 ({key_of('edge-1')[:8]}…), and no registration has it"
    ]
    assert registry.adopt().orphans == (given.address,)
    released = registry.claim(str(given))
    assert released is not None
    assert (released.state, released.until) == (ClaimState.RELEASED, NOW + timedelta(days=30))
    assert registry.differences() == ()


RETIRING = {"fields": {"state": "state"}, "retired": ["decommissioned"]}


@pytest.fixture
def retiring(server: ConsulServer) -> Iterator[RegistryOnConsul]:
    """One whose configuration says which state is retired."""
    yield RegistryOnConsul(server, consul=RETIRING)
    server.delete("", recurse=True)


def test_a_retired_registration_gets_no_claim_and_is_no_duplicate(retiring: RegistryOnConsul) -> None:
    """Its address may be another node's by now, or be given to one."""
    retiring.register("old", ["10.16.0.5", "10.16.0.6"], state="decommissioned")
    retiring.register("new", "10.16.0.5")
    assert retiring.adopt().registered == 1
    held = retiring.claim("10.16.0.5")
    assert held is not None
    assert held.node == "new"
    assert retiring.claim("10.16.0.6") is None
    assert retiring.differences() == ()


def test_a_claim_of_a_node_that_was_retired_goes_into_quarantine(retiring: RegistryOnConsul) -> None:
    retiring.register("old", "10.16.0.5")
    retiring.adopt()
    retiring.register("old", "10.16.0.5", state="decommissioned")
    assert what(retiring) == [
        f"10.16.0.5 is claimed by old ({key_of('old')[:8]}…), which is retired: `wgaudit adopt` puts it into quarantine"
    ]
    assert retiring.adopt().orphans == (Prefix("10.16.0.5/32"),)
    released = retiring.claim("10.16.0.5")
    assert released is not None
    assert (released.state, released.until) == (ClaimState.RELEASED, NOW + timedelta(days=30))


def test_a_claim_of_a_retired_node_stays_while_its_address_is_live(retiring: RegistryOnConsul) -> None:
    retiring.register("old", "10.16.0.5")
    retiring.adopt()
    retiring.register("old", "10.16.0.5", state="decommissioned")
    assert retiring.adopt(live=live(retiring, "old", "10.16.0.5/32")).orphans == ()
    held = retiring.claim("10.16.0.5")
    assert held is not None
    assert held.state is ClaimState.HELD


def test_a_retired_node_is_given_no_address_until_it_was_released(retiring: RegistryOnConsul) -> None:
    """Else a retired node would be live."""
    retiring.adopt()
    given = retiring.allocate("edge-1")
    retiring.register("edge-1", str(given), state="decommissioned")
    with pytest.raises(AllocationError, match=r"is retired \(state decommissioned\)"):
        retiring.allocate("edge-1")
    assert retiring.allocator.release("edge-1").addresses == (given.address,)
    assert retiring.allocate("edge-1").address != given.address


def test_a_marker_that_cannot_be_read_stops_allocation_until_the_registry_is_adopted_again(
    registry: RegistryOnConsul,
) -> None:
    registry.server.put(adopted_key(CLAIMS), b"[]")
    with pytest.raises(AllocationError, match="the marker cannot be read; run `wgaudit adopt` again"):
        registry.allocate("edge-1")
    registry.adopt()
    assert registry.allocate("edge-1").created


# What is refused


@pytest.mark.parametrize(
    ("records", "check"),
    [
        ({"a": record("a"), "b": record("b")}, "duplicate-address"),
        ({"a": record("a"), "b": record("a", "10.0.0.2")}, "duplicate-public-key"),
        ({"a": record("a"), "b": b"{"}, "invalid-registration"),
    ],
)
def test_a_registry_with_faults_is_refused_with_the_findings_and_nothing_is_written(
    registry: RegistryOnConsul, records: dict[str, bytes], check: str
) -> None:
    registry.server.put_many({PREFIX + node: value for node, value in records.items()})
    with pytest.raises(NotAdoptable, match="nothing was adopted: 1 finding stands") as refused:
        registry.adopt()
    assert isinstance(refused.value.report, Report)
    assert [item.check for item in refused.value.report.findings] == [check]
    assert registry.store.list(CLAIMS) == ()


# What disagrees


def test_each_kind_of_disagreement_is_told_in_one_sentence(registry: RegistryOnConsul) -> None:
    registry.adopt()
    registry.register("unclaimed", "10.16.0.5")
    registry.put_claim(claim("10.16.0.6", ClaimState.HELD, "gone"))
    registry.register("a", "10.16.0.7")
    registry.put_claim(claim("10.16.0.7", ClaimState.HELD, "b"))
    registry.register("c", "10.16.0.8")
    registry.put_claim(claim("10.16.0.8", ClaimState.RELEASED, "c"))
    registry.put_claim(claim("10.16.0.9", ClaimState.RESERVED, "d", "apply 1a2b3c"))
    registry.server.put(f"{CLAIMS}10.16.0.10", b"?")
    registry.register("e", "10.16.0.11")
    registry.register("f", "10.16.0.11")
    registry.put_claim(claim("10.16.0.11", ClaimState.HELD, "e"))
    registry.register("g", "10.17.0.0/24")
    registry.server.put(f"{PREFIX}h", b"?")
    assert what(registry) == [
        f"{CLAIMS}10.16.0.10: not a claim that can be read: not JSON",
        f"{PREFIX}h: the registration cannot be read: not JSON: Expecting value at character 0",
        "10.16.0.5 is registered for unclaimed and has no claim",
        f"10.16.0.6 is claimed by gone ({key_of('gone')[:8]}…), and no registration has it",
        f"10.16.0.7 is registered for a, and its claim belongs to b ({key_of('b')[:8]}…)",
        "10.16.0.8 is registered for c, and its claim says released",
        f"10.16.0.9 is reserved for d ({key_of('d')[:8]}…) by apply 1a2b3c",
        "10.16.0.11 is registered for 2 nodes: e, f",
        "10.17.0.0/24 of g is not in the marker: run `wgaudit adopt` again",
    ]
    assert [item.address for item in registry.differences() if item.under_way] == ["10.16.0.9/32"]


def test_an_allocation_between_the_two_reads_of_a_comparison_is_no_difference(
    registry: RegistryOnConsul, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.adopt()
    listed = registry.store.list
    names = iter(("edge-1", "edge-2"))

    def list_and_allocate(prefix: str) -> tuple[Stored, ...]:
        found = listed(prefix)
        if prefix == CLAIMS:
            registry.allocate(next(names))
        return found

    monkeypatch.setattr(registry.store, "list", list_and_allocate)
    assert registry.differences() == ()
