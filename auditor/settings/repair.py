"""Settings of repair and of the allocator."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictInt, field_validator

from auditor.settings.base import Seconds, Settings
from auditor.values.address_claims import RepairPolicy
from auditor.values.names import VALUE_NAME


class RepairSettings(Settings):
    """Settings of plan, apply, allocate and release."""

    claims_prefix: str = "wireguard/claims/"
    """Consul keys `<claims_prefix><address>`: one an address, so that nobody can hold it twice."""
    quarantine_days: StrictInt = Field(default=30, ge=0, le=3650)
    """Days in which a released address is given to nobody."""
    fallback_keeper: Literal["oldest", "nobody"] = "oldest"
    """The keeper of an address that came from the allocator's fallback."""
    workload_field: str = Field(default="", pattern=f"^({VALUE_NAME})?$")
    """Value of a registration that says that the node carries workload. Empty: not used."""
    workload_service: str = Field(default="", max_length=128)
    """Consul service whose nodes carry workload. Empty: not used."""
    timeout: Seconds = 30.0
    """Seconds until an allocation that Consul has not confirmed is given up."""
    wait: Seconds = 300.0
    """Seconds that apply waits until observers route a new address."""
    sample: StrictInt = Field(default=20, ge=1, le=10_000)
    """Observers that are asked whether they route a new address to its node."""

    @field_validator("claims_prefix")
    @classmethod
    def _prefix(cls, prefix: str) -> str:
        if not prefix.endswith("/") or prefix.startswith("/") or len(prefix) < 2:
            raise ValueError("must end with / and not begin with it")
        return prefix

    def policy(self) -> RepairPolicy:
        """Convert to the policy used by the planner."""
        return RepairPolicy(
            claims_prefix=self.claims_prefix,
            quarantine_days=self.quarantine_days,
            fallback_keeper=self.fallback_keeper,
            workload_field=self.workload_field,
            workload_service=self.workload_service,
        )
