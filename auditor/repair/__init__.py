"""Back to a clean mesh, and never again: a plan, its execution, and an allocator that cannot give an address twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.repair.claims.allocator import Allocation, Release
    from auditor.settings.file import Config


def allocate(
    node: str,
    public_key: str,
    region: str,
    *,
    config: Config | Path | str | None = None,
    endpoint: str = "",
    ssh_host: str = "",
) -> Allocation:
    """The node's mesh address: the one that it has, else a new one, confirmed by Consul. `str()` of it is bare.

    `config`: a configuration or its file; None: found as the command line finds it. `endpoint` and `ssh_host`
    are for a new registration. Raises `auditor.errors.WgauditError`: then there is no address, and calling
    again with the same node and key is safe.
    """
    from auditor.service import provisioning

    values = {"endpoint": endpoint, "ssh_host": ssh_host}
    return provisioning.allocate(node, public_key, region, config, values)


def release(node: str, *, config: Config | Path | str | None = None) -> Release:
    """Free the node's addresses, into quarantine. Repeating it is no error.

    Raises `auditor.errors.WgauditError`: then it is not known to be free, and calling again is safe.
    """
    from auditor.service import provisioning

    return provisioning.release(node, config)
