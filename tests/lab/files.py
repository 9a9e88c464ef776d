"""What stands in the files of a lab: keys, accounts, peers and configuration, as text by file name. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from tests.lab.topology import (
    LISTEN_PORT,
    NAME_PATTERN,
    PREFIX,
    Node,
    Peer,
    Topology,
    host,
    openssh_private,
    openssh_public,
)

TOKEN_FILE = "token"
DRAINED = "drained.log"
ENVIRONMENT = "node.env"
AUTHORIZED = "authorized_keys"
KEEPALIVE = "keepalive"
WG_QUICK, NETWORKD = "etc-wireguard", "etc-networkd"
NATS_PORT, MONITORING_PORT = 4222, 8222
HOLD, ARMED, REACHED, GO_ON = "hold-wg", "armed", "wg-reached", "wg-go-on"

_HOLD = f"""#!/bin/sh
# `wg`, but the first call after somebody wrote `{ARMED}` says that it was reached and waits to be let go.
if rm {{folder}}/{ARMED} 2>/dev/null; then
    echo reached >{{folder}}/{REACHED}
    read -r _ <{{folder}}/{GO_ON}
fi
exec /run/real-wg "$@"
"""

_SSHD_CONFIG = f"""HostKey {{folder}}/host_key
PidFile {{folder}}/sshd.pid
AuthorizedKeysFile {{folder}}/{AUTHORIZED}
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PrintMotd no
LogLevel VERBOSE
"""

_ACCOUNTS = """root:x:0:0:root:{folder}:/bin/bash
sshd:x:102:65534::/run/sshd:/usr/sbin/nologin
"""

_SHADOW = """root:*:20000:0:99999:7:::
sshd:!:20000::::::
"""

_CONFIGURATION = """# Written by the lab; all addresses lead into its namespaces.
[consul]
url = "{url}"
prefix = "{prefix}"
datacenters = {datacenters}
retired = ["decommissioned"]
{token}
timeout = 5.0

[ssh]
identity_files = ["{folder}/client_key"]
known_hosts = "{folder}/known_hosts"
config_file = "{folder}/ssh_config"
agent = false
connect_timeout = 5.0

[mesh]
pools = {pools}

[regions]
name_pattern = '{name_pattern}'

[sweep]
confirm_after = 0.2

[repair]
fallback_keeper = "nobody"
{drains}
[state]
path = "{state}"
"""

_DRAINS = """drain = ["sh", "-c", "echo drain $0 $1 $2 >>{log}", "{{node}}", "{{region}}", "{{address}}"]
undrain = ["sh", "-c", "echo undrain $0 $1 $2 >>{log}", "{{node}}", "{{region}}", "{{address}}"]
"""

_WITNESS = """
[[witnesses]]
type = "nats"
monitoring_port = {monitoring_port}
share = 0.0  # what is asked is decided by what was found
"""


def client(topology: Topology) -> dict[str, str]:
    """The auditor's side: its key and the host keys that it knows."""
    known = (
        (topology.underlay(node), node.label if node.host_key_known else "a stranger")
        for node in topology.nodes
    )
    return {
        "client_key": openssh_private(topology.host_key("client")).decode(),
        "ssh_config": "# empty on purpose: the user's own does not apply here\n",
        "known_hosts": "".join(
            f"{address} {openssh_public(topology.host_key(holder))}\n" for address, holder in known
        ),
    }


def server(topology: Topology, node: Node, folder: Path, sshd_lines: Sequence[str] = ()) -> dict[str, str]:
    """One node's folder. `peers` and `keepalive` are words for `wg set`, one a line.

    sshd_lines: what this machine's sshd needs beside the lab's own configuration.
    """
    number = topology.nodes.index(node)
    peers = topology.peers(node)
    environment = {
        "cable": f"node{number}",
        "underlay": topology.underlay(node),
        "address": node.address,
        "pools": " ".join(topology.pools),
        "listen_port": str(LISTEN_PORT),
        "device": "yes" if node.device else "no",
        "link": "yes" if node.link else "no",
        "bridge": node.bridge,
        "sshd": "yes" if node.sshd else "no",
        "wg": "hold" if node.holdable else "yes" if node.wg else "no",
    }
    accepted = topology.host_key("client" if node.authorized else "another client")
    return {
        ENVIRONMENT: "".join(f"{name}={shlex.quote(value)}\n" for name, value in environment.items()),
        "private.key": topology.private_key(node) + "\n",
        "peers": "".join(
            f"peer\n{peer.public_key}\nendpoint\n{peer.endpoint}\nallowed-ips\n{','.join(peer.allowed_ips)}\n"
            for peer in peers
        ),
        # Of each two nodes one begins: when both do at once, their handshakes may cross and fail.
        KEEPALIVE: "".join(
            f"peer\n{peer.public_key}\npersistent-keepalive\n25\n"
            for peer in peers
            if topology.nodes.index(topology.node(peer.node)) > number
        ),
        "host_key": openssh_private(topology.host_key(node.label)).decode(),
        AUTHORIZED: openssh_public(accepted) + "\n",
        "sshd_config": _SSHD_CONFIG.format(folder=folder) + "".join(f"{line}\n" for line in sshd_lines),
        "passwd": _ACCOUNTS.format(folder=folder),
        "shadow": _SHADOW,
        HOLD: _HOLD.format(folder=folder),
        **_device_files(topology, node),
    }


def _device_files(topology: Topology, node: Node) -> dict[str, str]:
    """The device's own configuration, by its path in the node's folder: what its next start would read."""
    peers = topology.peers(node)
    if node.file == "wg-quick":
        interface = (
            f"[Interface]\n# {node.name}\nAddress = {host(node.address)}\nListenPort = {LISTEN_PORT}\n"
            f"PrivateKey = {topology.private_key(node)}\nTable = off\n"
        )
        # A double is a peer too: its allowed-ips are the address that this device holds.
        return {f"{WG_QUICK}/wg0.conf": interface + "".join(map(_wg_quick_peer, peers))}
    if node.file == "networkd":
        routes = "".join(f"\n[Route]\nDestination={pool}\n" for pool in topology.pools)
        network = f"[Match]\nName=wg0\n\n[Network]\nAddress={host(node.address)}\n{routes}"
        return {f"{NETWORKD}/50-wg0.network": network}
    return {}


def _wg_quick_peer(peer: Peer) -> str:
    return (
        f"\n[Peer]\n# {peer.node}\nPublicKey = {peer.public_key}\nEndpoint = {peer.endpoint}\n"
        f"AllowedIPs = {', '.join(peer.allowed_ips)}\n"
    )


def configuration(topology: Topology, folder: Path, consul_url: str, state: Path | None = None) -> str:
    """`wgaudit.toml` for this lab. `state`: the state database, if it is not the one in the folder."""
    written = _CONFIGURATION.format(
        url=consul_url,
        prefix=PREFIX,
        datacenters=json.dumps(topology.datacenters),
        token=f'token_file = "{folder}/{TOKEN_FILE}"' if topology.readable else "",
        folder=folder,
        state=state or folder / "wgaudit.db",
        pools=json.dumps(topology.pools),
        name_pattern=NAME_PATTERN,
        drains=_DRAINS.format(log=folder / DRAINED) if topology.drains else "",
    )
    return written + (_WITNESS.format(monitoring_port=MONITORING_PORT) if topology.nats else "")
