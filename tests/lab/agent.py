"""A fleet's own agent, on one node: writes its peers' allowed-ips whenever a registration changes.

Like the agents that made the incident, it knows nothing of two peers with one address: whoever was written last
gets it, and keeps it until a registration changes. Run in the node's namespaces as: agent.py URL PREFIX PEERS
"""

# ruff: noqa: T201  (its log is its stderr)

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import urllib.request
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any

WAIT = 30  # seconds that Consul may keep a question for a change
PAUSE = 0.5


def main() -> None:
    """Never returns; ends with its namespace."""
    url, prefix, peers = sys.argv[1:]
    words = Path(peers).read_text().split("\n")
    # The order in which this node was given its peers: it decides who was written last.
    order = [word for before, word in pairwise(words) if before == "peer"]
    written: dict[str, dict[str, Any]] = {}
    index = "0"
    while True:
        try:
            index, registrations = read(url, prefix, index)
        except (OSError, ValueError) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            index = "0"
            time.sleep(PAUSE)
            continue
        if not written:
            registrations = dict(sorted(registrations.items(), key=lambda item: place(order, item[1])))
        for name in written.keys() - registrations.keys():
            del written[name]
        for name, registration in registrations.items():
            if written.get(name) != registration:
                written.pop(name, None)
                written[name] = registration  # at the end: it is written last
        configure(written)


def read(url: str, prefix: str, index: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """Waits until something under the prefix has changed since `index`; registrations by key."""
    question = f"{url}/v1/kv/{prefix}?recurse&index={index}&wait={WAIT}s"
    with urllib.request.urlopen(question, timeout=WAIT * 2) as answer:  # noqa: S310  (the lab's own Consul)
        entries = json.load(answer)
        return answer.headers["X-Consul-Index"], {
            entry["Key"]: json.loads(base64.b64decode(entry["Value"])) for entry in entries
        }


def place(order: list[str], registration: dict[str, Any]) -> int:
    """Where in the node's own order a registration stands."""
    key = registration["public_key"]
    return order.index(key) if key in order else len(order)


def configure(written: dict[str, dict[str, Any]]) -> None:
    """Brings the device to what writing all of them in this order gives, touching only what differs."""
    own = wg("show", "wg0", "public-key").strip()
    table: dict[str, set[str]] = {}
    endpoints: dict[str, str] = {}
    for registration in written.values():
        key, addresses = registration["public_key"], registration["ip"]
        if key == own:
            continue
        prefixes = {
            str(ip_network(each)) for each in ([addresses] if isinstance(addresses, str) else addresses)
        }
        for others in table.values():
            others -= prefixes
        table[key] = prefixes
        endpoints[key] = registration["endpoint"]
    shown = dict(line.split("\t") for line in wg("show", "wg0", "allowed-ips").splitlines())
    for key, prefixes in table.items():
        if key not in shown:
            wg("set", "wg0", "peer", key, "endpoint", endpoints[key], "allowed-ips", ",".join(prefixes))
        elif prefixes != {each for each in shown[key].split() if each != "(none)"}:
            wg("set", "wg0", "peer", key, "allowed-ips", ",".join(prefixes))


def wg(*words: str) -> str:
    """What `wg` prints."""
    return subprocess.run(["wg", *words], stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
