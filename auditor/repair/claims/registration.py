"""The policy of the allocator, and the registration that it writes for a node."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from auditor.errors import ConfigError, InvalidValue, UsageError
from auditor.fleet.address_plan import AddressPlan
from auditor.registry.interface import Stored
from auditor.registry.records import NO_RULES, ReadingRules, parse_json_record, reading_rules
from auditor.settings.consul import ConsulFields
from auditor.settings.file import Config
from auditor.values.addresses import Prefix, PublicKey, format_prefix, parse_public_key
from auditor.values.models import AuditPolicy, NodeId, Registration
from auditor.values.registration_changes import changed_fields

# What Consul takes as part of a key's name, and what every other tool takes for a host's name.
_NODE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._\-]{0,251}[A-Za-z0-9])?")
_ENDPOINT = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9][A-Za-z0-9.\-]{0,252}):([1-9][0-9]{0,4})")
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9._:\-]{0,252}")


@dataclass(frozen=True, slots=True)
class AllocatorPolicy:
    """Settings of allocation: places in the store, prefixes of addresses, and their quarantine."""

    registry_prefix: str = "wireguard/nodes/"
    claims_prefix: str = "wireguard/claims/"
    fields: ConsulFields = field(default_factory=ConsulFields)
    pools: tuple[Prefix, ...] = (Prefix("10.0.0.0/8"),)
    region_pools: Mapping[str, Prefix] = field(default_factory=dict)
    quarantine_days: int = 30
    timeout: float = 30.0
    """Seconds until a call that the store has not confirmed is given up."""
    name_pattern: str | None = None
    """Regular expression over a node's name that says its region (`regions.name_pattern`)."""
    rules: ReadingRules = NO_RULES
    """Which registrations are retired, and which keys are none."""

    @property
    def address_plan(self) -> AddressPlan:
        """Pools and regions' prefixes, as checks and plan read them too."""
        return AddressPlan(self.pools, self.region_pools)

    @property
    def audit(self) -> AuditPolicy:
        """Policy by which a sweep would judge what is written."""
        return AuditPolicy(pools=self.pools, region_pools=self.region_pools, name_pattern=self.name_pattern)


def allocator_policy(config: Config) -> AllocatorPolicy:
    """Convert settings to the policy of the allocator. Raises `ConfigError` for settings that exclude claims."""
    consul, repair = config.consul, config.repair
    if consul.file is not None:
        raise ConfigError("consul.file is only read; addresses are claimed in a Consul: set consul.url")
    if consul.layout != "kv-json":
        raise ConfigError(f'consul.layout: {consul.layout} is only read; claims need layout = "kv-json"')
    if len(consul.datacenters) > 1 or "*" in consul.datacenters:
        raise ConfigError(
            "consul.datacenters: an address can be claimed in one datacenter's store only; name that one"
        )
    if len(set(consul.fields.model_dump().values())) < len(type(consul.fields).model_fields):
        raise ConfigError("consul.fields: two values have one path, so no registration can be written")
    nodes, claims = consul.prefix, repair.claims_prefix
    if nodes.startswith(claims) or claims.startswith(nodes):
        raise ConfigError(
            f"repair.claims_prefix: {claims} and consul.prefix {nodes} lie in each other; use two"
        )
    return AllocatorPolicy(
        registry_prefix=nodes,
        claims_prefix=claims,
        fields=consul.fields,
        pools=config.mesh.pools,
        region_pools=dict(config.regions.pools),
        quarantine_days=repair.quarantine_days,
        timeout=repair.timeout,
        name_pattern=config.regions.name_pattern or None,
        rules=reading_rules(consul, config.mesh.device),
    )


def claims_datacenter(config: Config) -> str:
    """The datacenter whose store holds the claims; "" is the agent's own."""
    return next(iter(config.consul.datacenters), "")


def check_node(node: str) -> None:
    """Check that a node's name can be the last part of a key everywhere. Raises `UsageError`."""
    if _NODE.fullmatch(node) is None:
        raise UsageError(
            "not a node's name: letters, digits, dot, dash and underscore, 253 at most, "
            "beginning and ending with a letter or digit"
        )


def checked_key(public_key: str) -> PublicKey:
    """The key as a value. Raises `UsageError` without repeating it: it may be the private one."""
    try:
        return parse_public_key(public_key)
    except InvalidValue as error:
        raise UsageError(str(error)) from None


def source_of(policy: AllocatorPolicy, region: str) -> Prefix:
    """The prefix that a region's addresses come from. Raises `UsageError`: never a default."""
    if policy.region_pools:
        planned = policy.region_pools.get(region)
        if planned is None:
            known = ", ".join(sorted(policy.region_pools))
            raise UsageError(f"region {region[:80]!r} is not in [regions.pools]; known: {known}")
        return planned
    if not policy.pools:
        raise UsageError("no pool is configured (mesh.pools)")
    return policy.pools[0]


def new_record(
    policy: AllocatorPolicy,
    node: str,
    public_key: PublicKey,
    region: str,
    values: Mapping[str, str],
) -> Callable[[Prefix], bytes]:
    """Make a node's registration for an address; `values` are its `endpoint` and `ssh_host`.

    Checked with the very reader that everybody else uses. Raises `UsageError`.
    """
    _check_values(values)
    fields = policy.fields

    def record(candidate: Prefix) -> bytes:
        document: dict[str, Any] = {}
        _set(document, fields.public_key, public_key)
        _set(document, fields.address, format_prefix(candidate))
        if region:
            _set(document, fields.region, region)
        for name, path in (("endpoint", fields.endpoint), ("ssh_host", fields.ssh_host)):
            if values.get(name):
                _set(document, path, values[name])
        return json.dumps(document).encode()

    sample = Prefix("192.0.2.1/32")
    read = parse_json_record(NodeId("", node), node, record(sample), fields)
    if read.unreadable is not None:
        raise UsageError(f"{node}: its registration could not be read again: {read.unreadable.reason}")
    return record


def record_again(fields: ConsulFields, registration: Registration) -> str | None:
    """Write a registration as the record that it was read from, without fields that are not read.

    None: read again, it would say something else, as where its key or an address could not be read.
    """
    document: dict[str, Any] = {}
    addresses = [format_prefix(prefix) for prefix in registration.addresses]
    values = (
        (fields.public_key, registration.public_key),
        (fields.address, addresses[0] if len(addresses) == 1 else addresses),
        (fields.region, registration.region),
        (fields.endpoint, registration.endpoint),
        (fields.ssh_host, registration.ssh_host),
        (fields.state, registration.state),
    )
    try:
        for path, value in values:
            if value:
                _set(document, path, value)
    except ConfigError:
        return None  # a registry that is only read may have one value within another
    record = json.dumps(document)
    again = parse_json_record(registration.node, registration.where, record.encode(), fields).whole
    if again is None or registration.public_key != again.public_key or changed_fields(registration, again):
        return None
    return record


def read_registration(policy: AllocatorPolicy, node: str, held: Stored) -> tuple[Registration, PublicKey]:
    """A stored registration as a value, and its key. Raises `InvalidValue` if any of it cannot be read."""
    read = parse_json_record(
        NodeId("", node),
        held.key,
        held.value,
        policy.fields,
        held.create_index,
        held.modify_index,
        policy.rules,
    )
    whole = read.whole
    if whole is None or whole.public_key is None:
        raise InvalidValue(f"{held.key}: the registration cannot be read: {read.reason}")
    return whole, whole.public_key


def _check_values(values: Mapping[str, str]) -> None:
    unknown = sorted(values.keys() - {"endpoint", "ssh_host"})
    if unknown:
        raise UsageError(f"a registration takes endpoint and ssh_host, not {', '.join(unknown)}")
    endpoint, host = values.get("endpoint"), values.get("ssh_host")
    if endpoint:
        match = _ENDPOINT.fullmatch(endpoint)
        if match is None or int(match[1]) > 65535:
            raise UsageError("not an endpoint: write it as HOST:PORT or [IPv6]:PORT")
    if host and _HOST.fullmatch(host) is None:
        raise UsageError("not an SSH host: a host's name or address, without user and port")


def _set(document: dict[str, Any], path: str, value: str | list[str]) -> None:
    *parents, last = path.split(".")
    for part in parents:
        document = document.setdefault(part, {})
        if not isinstance(document, dict):
            raise ConfigError(f"consul.fields: {path} lies within another value's path")
    document[last] = value
