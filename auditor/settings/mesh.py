"""The audited mesh: device, pools, regions, required coverage, agreed shared addresses, agreed roaming."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    Strict,
    StrictBool,
    ValidationInfo,
    field_validator,
)

from auditor.errors import InvalidValue
from auditor.settings.base import Settings, WrittenPrefix
from auditor.values.addresses import Prefix, is_host
from auditor.values.models import Roaming, SharedAddress
from auditor.values.names import DEVICE_NAME
from auditor.values.region_pattern import RegionPattern


def _regular_expression(pattern: str) -> str:
    try:
        if pattern:
            RegionPattern(pattern)
    except InvalidValue as error:
        raise ValueError(str(error)) from None
    return pattern


def _moment(value: object) -> datetime:
    # A date alone means the whole day in UTC: from that day on it is a finding again.
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if not isinstance(moment, datetime):
        raise ValueError("must be a date, such as 2027-06-30")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


class MeshSettings(Settings):
    """The audited mesh."""

    device: str = Field(default="wg0", pattern=f"^{DEVICE_NAME}$")
    """The WireGuard device on each node."""
    pools: tuple[WrittenPrefix, ...] = (Prefix("10.0.0.0/8"),)
    """The prefixes that mesh addresses come from."""
    topology: Literal["full", "partial"] = "full"
    """partial: a registered peer that is not there is no finding."""
    address_devices: tuple[Annotated[str, Field(pattern=f"^{DEVICE_NAME}$")], ...] = Field(
        default=(), max_length=16
    )
    """Further devices whose addresses inside `pools` are the node's own, such as lo."""
    transfer: StrictBool = False
    """Also compare what goes to peers with what comes back: 4 seconds a node of a sweep, 20 where there may be one."""


class RegionSettings(Settings):
    """Sources of a node's region beside its registration."""

    name_pattern: Annotated[str, AfterValidator(_regular_expression)] = ""
    """Regular expression over the node's name with a group named region."""
    command: str = ""
    """Run on each node by sh; prints its region."""
    pools: dict[str, WrittenPrefix] = Field(default_factory=dict)
    """The address plan: region = prefix."""


class CoverageSettings(Settings):
    """Coverage that a clean sweep needs."""

    minimum: Annotated[float, Strict()] = Field(default=1.0, ge=0.0, le=1.0)
    """Share of registered nodes that must be seen before a sweep may say clean."""


class SharedSettings(Settings):
    """An agreed shared address or prefix: its nodes, the reason, and when the agreement ends."""

    address: WrittenPrefix
    """Mesh address or prefix that is shared."""
    nodes: tuple[str, ...]
    """Names of the nodes that may hold it."""
    reason: str = Field(min_length=1, max_length=500)
    """Why it is shared; reports show it."""
    until: Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=date | datetime)]
    """From then on it is a finding again."""

    @field_validator("nodes")
    @classmethod
    def _several(cls, nodes: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        # A network may be agreed on for one node: that it has it, although addresses in it are others'.
        address = info.data.get("address")
        fewest = 1 if address is not None and not is_host(address) else 2
        if len(set(nodes)) < fewest:
            raise ValueError("must name at least two different nodes" if fewest > 1 else "must name a node")
        return nodes

    def policy(self) -> SharedAddress:
        """Convert to the agreement used by the judge."""
        return SharedAddress(self.address, frozenset(self.nodes), self.reason, self.until)


class RoamingSettings(Settings):
    """Nodes that are agreed to be met at several outer hosts at once: which, where, the reason, and until when."""

    nodes: tuple[str, ...] = Field(min_length=1)
    """Names of the nodes."""
    hosts: tuple[WrittenPrefix, ...] = Field(default=(), max_length=100)
    """Outer addresses or networks at which they may be met beside the registered ones. Empty: at any."""
    reason: str = Field(min_length=1, max_length=500)
    """Why; reports show it."""
    until: Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=date | datetime)]
    """From then on it is a finding again."""

    def policy(self) -> Roaming:
        """Convert to the agreement used by the judge."""
        return Roaming(frozenset(self.nodes), self.hosts, self.reason, self.until)
