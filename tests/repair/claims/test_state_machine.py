"""Any order of allocate, release, adopt and crash, with errors before, after and long after a commit."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from auditor.errors import AllocationError, StoreConflict, StoreError
from auditor.registry.interface import Operation
from auditor.registry.store import ConsulStore
from auditor.repair.claims.adoption import adopt, check
from auditor.repair.claims.allocator import Allocator
from auditor.repair.claims.registration import AllocatorPolicy
from auditor.settings.consul import ConsulSettings
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.models import AuditPolicy
from tests.fleets import key_of
from tests.parts.consul import ConsulServer
from tests.repair.registry import Delegating

NAMES = ("a", "b", "c", "d")
POOL = Prefix("10.9.0.0/28")
"""Thirteen addresses that may be handed out: few enough for nodes to meet, and for quarantine to be felt."""
NUMBERS = itertools.count()


class Killed(BaseException):
    """The process is gone. Nothing of ours may catch it."""


class FaultyStore(Delegating):
    """A real store whose commits fail in the way that `plan` says, one entry a commit; then they do not fail."""

    def __init__(self, store: ConsulStore) -> None:
        super().__init__(store)
        self.plan: list[str] = []
        self.late: list[Sequence[Operation]] = []
        """Commits that are still on their way."""

    def commit(self, operations: Sequence[Operation]) -> None:
        how = self.plan.pop(0) if self.plan else "well"
        if how in ("late", "killed, late"):
            self.late.append(operations)
        elif how not in ("lost", "killed before"):
            self._store.commit(operations)
        if how.startswith("killed"):
            raise Killed
        if how != "well":
            raise StoreError(f"planted: {how}")

    def land(self) -> None:
        """What was on its way arrives; nobody is there any more who would hear what becomes of it."""
        arriving, self.late = self.late, []
        for operations in arriving:
            with contextlib.suppress(StoreConflict):
                self._store.commit(operations)


FATES = st.lists(st.sampled_from(["well", "lost", "unheard", "late"]), max_size=3)
DEATHS = st.sampled_from(["killed before", "killed after", "killed, late"])


class Provisioning(RuleBasedStateMachine):
    """One registry, and what the nodes in it were told."""

    server: ConsulServer

    def __init__(self) -> None:
        super().__init__()
        place = f"machine-{next(NUMBERS)}/"
        self.settings = AllocatorPolicy(
            registry_prefix=f"{place}nodes/",
            claims_prefix=f"{place}claims/",
            region_pools={"fra": POOL},
            pools=(POOL,),
        )
        self.straight = ConsulStore(ConsulSettings(url=self.server.url), None)
        self.store = FaultyStore(self.straight)
        self.clock = 0.0
        self.allocator = Allocator(self.store, self.settings, clock=lambda: self.clock, pause=self._pause)
        self.told: dict[str, tuple[str, str]] = {}
        """Node: the key and the address that it was told, while no release has begun."""
        self.used: dict[str, str] = {}
        """Address: the node that was ever told it. None of them is over: quarantine lasts longer than a run."""

        self.leaving: set[str] = set()
        """Nodes of which a release is on its way whose asker is gone: what they are told now may not last."""

    def _pause(self, seconds: float) -> None:
        self.clock += seconds

    @initialize(registered=st.sets(st.sampled_from(NAMES), max_size=2))
    def a_registry_that_is_older_than_claims(self, registered: set[str]) -> None:
        for number, name in enumerate(sorted(registered)):
            record = {"public_key": key_of(name), "ip": f"10.9.0.{number + 1}", "region": "fra"}
            self.server.put(self.settings.registry_prefix + name, json.dumps(record).encode())
            self.told[name] = (key_of(name), f"10.9.0.{number + 1}/32")
            self.used[f"10.9.0.{number + 1}/32"] = name
        adopt(self.straight, self.settings, AuditPolicy())

    @rule(name=st.sampled_from(NAMES), fates=FATES)
    def allocate(self, name: str, fates: list[str]) -> None:
        """Whatever the commits meet, what is told is held."""
        self._allocate(name, key_of(name), fates)

    @rule(name=st.sampled_from(NAMES), fates=FATES)
    def allocate_with_another_key(self, name: str, fates: list[str]) -> None:
        """A reinstalled server, or two with one name: whoever is registered stays."""
        self._allocate(name, key_of(f"{name} anew"), fates)

    def _allocate(self, name: str, key: PublicKey, fates: list[str]) -> None:
        self.store.plan = fates
        try:
            told = self.allocator.allocate(name, key, "fra")
        except AllocationError as error:
            assert "another key" in str(error) or "no free address" in str(error), error  # noqa: PT017
        else:
            before = self.told.get(name)
            assert before in (None, (key, told.address)), f"{name} had {before}, and is told {told}"
            assert self.used.get(told.address, name) == name, "it was another's, and is not free yet"
            if name not in self.leaving:
                self.told[name] = (key, told.address)
            self.used[told.address] = name
        self._after()

    @rule(name=st.sampled_from(NAMES), fates=FATES)
    def release(self, name: str, fates: list[str]) -> None:
        """What a node was told counts until it is released."""
        self.store.plan = fates
        self.told.pop(name, None)
        self.allocator.release(name)
        assert self.straight.read(self.settings.registry_prefix + name) is None
        self._after()

    @rule(name=st.sampled_from(NAMES), death=DEATHS, releases=st.booleans())
    def crash(self, name: str, death: str, releases: bool) -> None:
        """Whoever asked is gone, before its commit, after it, or while it is on its way."""
        self.store.plan = [death]
        if releases:
            self.told.pop(name, None)
            self.leaving.add(name)
        try:
            if releases:
                self.allocator.release(name)
            else:
                self.allocator.allocate(name, key_of(name), "fra")
        except (Killed, AllocationError):
            pass
        self.store.plan = []

    @precondition(lambda self: self.store.late)
    @rule()
    def what_was_on_its_way_arrives(self) -> None:
        self._after()

    @rule()
    def adopt_again(self) -> None:
        """It has nothing to do, and does nothing."""
        before = self.straight.list(self.settings.claims_prefix)
        adopt(self.straight, self.settings, AuditPolicy())
        assert self.straight.list(self.settings.claims_prefix) == before

    @invariant()
    def claims_and_registrations_agree(self) -> None:
        assert check(self.straight, self.settings) == ()

    @invariant()
    def no_address_is_registered_twice(self) -> None:
        records = [json.loads(item.value) for item in self.straight.list(self.settings.registry_prefix)]
        assert len({record["ip"] for record in records}) == len(records)

    @invariant()
    def what_was_told_is_held(self) -> None:
        for name, (key, address) in self.told.items():
            stored = self.straight.read(self.settings.registry_prefix + name)
            assert stored is not None, f"{name} was told {address}, and is not registered"
            record = json.loads(stored.value)
            assert (record["public_key"], f"{record['ip']}/32") == (key, address)

    def _after(self) -> None:
        """One operation later, at the latest, what was late has arrived."""
        self.store.plan = []
        self.store.land()
        self.leaving.clear()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    with ConsulServer(Path(tmp_path_factory.mktemp("consul"))) as running:
        yield running


def test_whatever_order_things_come_in_no_address_is_doubled_and_no_word_broken(
    server: ConsulServer, record_property: Callable[[str, object], None]
) -> None:
    """Held against the store after every single step."""

    class OnThisServer(Provisioning):
        pass

    OnThisServer.server = server
    run_state_machine_as_test(
        OnThisServer,
        settings=settings(
            max_examples=8,
            stateful_step_count=12,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
