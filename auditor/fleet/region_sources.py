"""Region of a node by what is known before it is looked at: its registration, its name, the address plan."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import NamedTuple

from auditor.fleet.address_plan import AddressPlan
from auditor.values.addresses import Prefix
from auditor.values.models import AuditPolicy, NodeId, Registration
from auditor.values.region_pattern import RegionPattern


class RegionWitness(NamedTuple):
    """Region of a node by one source."""

    source: str
    region: str


class RegionSources:
    """Sources of a node's region, by the policy."""

    def __init__(self, policy: AuditPolicy, plan: AddressPlan | None = None) -> None:
        self._pattern = RegionPattern(policy.name_pattern) if policy.name_pattern else None
        self._plan = plan or AddressPlan(policy.pools, policy.region_pools)
        self._topology = policy.topology

    def region(self, registration: Registration) -> str:
        """Return a node's region by the best of these sources; "" where none names one."""
        words = self.words(registration.node, registration)
        return words[0].region if words else ""

    def words(self, node: NodeId, registration: Registration | None) -> tuple[RegionWitness, ...]:
        """List a node's region by registration, name and address plan, in this order."""
        named = self._pattern.region(node.name) if self._pattern is not None else None
        planned: set[str] = set()
        if registration is not None and self._plan.regions:
            for prefix in itertools.filterfalse(self._is_route, registration.addresses):
                owners = self._plan.regions_of(prefix)
                # Of regions that share one prefix, the registration's own contradicts nobody.
                planned.update([registration.region] if registration.region in owners else owners[:1])
        return _words(
            registration.region if registration is not None else None, named, tuple(sorted(planned))
        )

    def _is_route(self, prefix: Prefix) -> bool:
        return self._plan.is_route(prefix, self._topology)


@lru_cache(maxsize=1024)
def _words(registered: str | None, named: str | None, planned: tuple[str, ...]) -> tuple[RegionWitness, ...]:
    """Make region witnesses, one shared value for equal ones: a fleet has few regions."""
    words = [RegionWitness("registration", registered)] if registered else []
    words += [RegionWitness("name", named)] if named else []
    return (*words, *(RegionWitness("address plan", region) for region in planned))
