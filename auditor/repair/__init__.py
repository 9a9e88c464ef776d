"""Back to a clean mesh, and never again: a plan, its execution, and an allocator that cannot give an address twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path
    from typing import Any

    from auditor.admission.checked_records import CheckedRecords
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


def check(
    record: Mapping[str, Any] | str | bytes,
    node: str = "",
    *,
    config: Config | Path | str | None = None,
    datacenter: str = "",
    replay: Path | str | None = None,
    live: bool = False,
    claims: bool = True,
    allow: Collection[str] = (),
) -> CheckedRecords:
    """Say whether a registration may be written: `.admitted`, and why not in `.lines`. Writes nothing.

    `record`: the record of `node`, as JSON or as what JSON is made of; without `node`, what `consul kv export` writes.
    `replay`: a recorded sweep; `live`: the watch that runs here is asked; both say what is live. `claims`: False leaves
    the address claims out. `allow`: idents of objections that are warnings here. What could not be read is no yes:
    `.verdict` is `unknown` then. Raises `auditor.errors.WgauditError` where it cannot be judged at all.
    """
    from auditor.service import provisioning

    return provisioning.check(
        record,
        config,
        node=node,
        datacenter=datacenter,
        replay=replay,
        live=live,
        claims=claims,
        allow=allow,
    )
