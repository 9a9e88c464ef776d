"""Hosts of nodes on the underlay, and a look at the registry alone that lists them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from auditor.errors import ProbeError
from auditor.nodes.underlay import check_host_template, mesh_addresses, target_for
from auditor.reports.node_rows import SshHost
from auditor.service.audit import Audit, judged
from auditor.service.parts import build_registry
from auditor.settings.file import Config
from auditor.settings.ssh import SshSettings
from auditor.values.models import NodeId, Registration, Snapshot


async def audit_registry(config: Config) -> Audit:
    """Read the registry and judge what it says. No node is asked. Raises `ConfigError`."""
    started = datetime.now(UTC)
    reading = await build_registry(config).read()
    snapshot = Snapshot(
        started_at=started,
        finished_at=datetime.now(UTC),
        policy=config.policy(),
        registrations=reading.registrations,
        invalid=reading.invalid,
        gaps=reading.gaps,
        others=reading.others,
    )
    return await judged(snapshot)


def underlay_hosts(registrations: Iterable[Registration], ssh: SshSettings) -> Mapping[NodeId, SshHost]:
    """Find host and port of each node by its registration; a node that none leads to is left out.

    Host names and ports that ssh's own configuration gives are not looked up. Raises `ConfigError`.
    """
    check_host_template(ssh.host)
    listed = tuple(registrations)
    mesh = mesh_addresses(listed)
    hosts: dict[NodeId, SshHost] = {}
    for registration in listed:
        try:
            target = target_for(registration, ssh, mesh)
        except ProbeError:
            continue  # a sweep tells of it as a gap; here it is counted as a node without a host
        hosts[registration.node] = SshHost(target.host, target.port)
    return hosts
