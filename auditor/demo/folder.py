"""Writer of the registry and the configuration that let a sweep find the demo's fleet."""

from __future__ import annotations

import json
from pathlib import Path

from auditor.demo.demo_fleet import DEVICE, NAME_PATTERN, REGISTRY_PREFIX, DemoFleet
from auditor.demo.servers import ServedFleet
from auditor.registry.file import export_text

CONFIG_NAME = "wgaudit.toml"
_CONFIRM_AFTER = 0.2  # seconds; nothing changes in this fleet, so there is nothing to wait for


def write_configuration(fleet: DemoFleet, served: ServedFleet, folder: Path, *, concurrency: int) -> Path:
    """Write `registry.json` (as `consul kv export` does) and a configuration into `folder`, mode 0600.

    Returns the configuration's path: `wgaudit sweep --config` takes it while the fleet is served.
    """
    registry = _write(folder / "registry.json", export_text(fleet.records(served.ssh_hosts)))
    # Empty, in place of the user's own: a `Host *` in there must not lead the demo elsewhere.
    ssh_config = _write(folder / "ssh_config", "")
    # A JSON string is a TOML string too.
    text = f"""\
# The demo's fleet; it answers only while the demo runs.
[consul]
file = {json.dumps(str(registry))}
prefix = {json.dumps(REGISTRY_PREFIX)}

[ssh]
user = "root"
identity_files = [{json.dumps(str(served.client_key))}]
agent = false
known_hosts = {json.dumps(str(served.known_hosts))}
config_file = {json.dumps(str(ssh_config))}
concurrency = {concurrency}

[mesh]
device = {json.dumps(DEVICE)}
pools = ["10.0.0.0/8"]

[regions]
name_pattern = {json.dumps(NAME_PATTERN)}
command = "cat region"

[sweep]
confirm_after = {_CONFIRM_AFTER}

[state]
path = {json.dumps(str(folder / "wgaudit.db"))}
"""
    return _write(folder / CONFIG_NAME, text)


def _write(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path
