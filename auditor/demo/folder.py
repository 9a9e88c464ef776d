"""Writer of the configuration that lets wgaudit find the demo's fleet, and the keys of its registry."""

from __future__ import annotations

import json
from pathlib import Path

from auditor.demo.demo_consul import Item
from auditor.demo.demo_fleet import DEVICE, NAME_PATTERN, REGISTRY_PREFIX, DemoFleet
from auditor.demo.servers import ServedFleet

CONFIG_NAME = "wgaudit.toml"
_CONFIRM_AFTER = 0.2  # seconds; nothing changes in this fleet, so there is nothing to wait for

_OBSERVERS = 20  # of each region: all that a fleet of the usual size has, so that each run says the same
_ANSWER_WITHIN = 1.0  # seconds; all of it is on this machine
_WITNESS = f"""
[[witnesses]]
type = "nats"
observers = {_OBSERVERS}
share = 0.0
timeout = {_ANSWER_WITHIN}
"""


def registry_items(fleet: DemoFleet, served: ServedFleet) -> list[Item]:
    """Return the keys of the fleet's registry, with their indexes."""
    return [
        Item(f"{REGISTRY_PREFIX}{node.name}", value, fleet.create_index(node), fleet.create_index(node))
        for node, value in zip(fleet.nodes, fleet.records(served.ssh_hosts).values(), strict=True)
    ]


def write_configuration(
    served: ServedFleet,
    folder: Path,
    *,
    url: str,
    token: str,
    concurrency: int,
    more: str = "",
    asks: bool = True,
) -> Path:
    """Write a configuration into `folder`, mode 0600; `url` and `token` are the registry's. more: further tables.

    asks: whether its sweeps ask who answers, by logins of their own.

    Returns the configuration's path: `wgaudit sweep --config` takes it while the fleet is served.
    """
    # A JSON string is a TOML string too.
    text = f"""\
# The demo's fleet; it answers only while the demo runs.
[consul]
url = {json.dumps(url)}
token = {json.dumps(token)}
prefix = {json.dumps(REGISTRY_PREFIX)}

{_looking(served, folder, served.client_key, concurrency)}
[sweep]
confirm_after = {_CONFIRM_AFTER}

[state]
path = {json.dumps(str(folder / "wgaudit.db"))}
{_WITNESS if asks else ""}{more}"""
    return _write(folder / CONFIG_NAME, text)


def write_collector_configuration(
    served: ServedFleet, folder: Path, region: str, *, concurrency: int, collectors: str
) -> Path:
    """Write the configuration of a region's collector into `folder`, mode 0600; return its path.

    collectors: its table of that name.
    """
    text = f"""\
# The collector of {region}, of the demo: it alone has the key to its nodes.
{_looking(served, folder, served.region_keys[region], concurrency)}
{collectors}"""
    return _write(folder / f"collector-{region}.toml", text)


def _looking(served: ServedFleet, folder: Path, key: Path, concurrency: int) -> str:
    """Return the tables that say how nodes are looked at."""
    # Empty, in place of the user's own: a `Host *` in there must not lead the demo elsewhere.
    ssh_config = _write(folder / "ssh_config", "")
    return f"""\
[ssh]
user = "root"
identity_files = [{json.dumps(str(key))}]
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
"""


def _write(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path
