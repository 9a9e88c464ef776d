"""Traffic of applications on the lab's mesh, and packets of one node that get lost on their way to another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.lab.mesh import Lab

LARGEST_HANDSHAKE = 148 + 8
"""Bytes of a UDP packet, its header included, that handshakes and keepalives do not exceed."""
_SENDING = 'said=$(printf "%400s"); while :; do echo "$said" >"/dev/udp/$1/9"; sleep 0.2; done'
_TAKING = (
    "add table ip taking; add chain ip taking in { type filter hook input priority 0; }; "
    "add rule ip taking in udp dport 9 drop"
)
_LOSING = "add table ip losing; add chain ip losing in { type filter hook input priority 0; }"


@contextlib.contextmanager
def sending(lab: Lab, sender: str, receiver: str) -> Iterator[None]:
    """Inside of it an application on one node sends to another through the mesh, and nothing answers, as with logs."""
    address = lab.topology.node(receiver).address
    lab.on(receiver, "nft", _TAKING)
    process = lab.start_on(sender, "bash", "-c", _SENDING, "bash", address)
    try:
        yield
    finally:
        process.kill()
        process.wait()
        lab.on(receiver, "nft", "delete", "table", "ip", "taking")


@contextlib.contextmanager
def losing(lab: Lab, sender: str, receiver: str) -> Iterator[None]:
    """Inside of it what one node sends to another outside the mesh gets lost, but for handshakes and keepalives."""
    underlay = lab.topology.underlay(lab.topology.node(sender))
    rule = f"add rule ip losing in ip saddr {underlay} udp length > {LARGEST_HANDSHAKE} drop"
    lab.on(receiver, "nft", f"{_LOSING}; {rule}")
    try:
        yield
    finally:
        lab.on(receiver, "nft", "delete", "table", "ip", "losing")


@contextlib.contextmanager
def as_lost(lab: Lab) -> Iterator[tuple[str, ...]]:
    """Inside of it gets lost what the topology says; the options of a sweep that looks for that."""
    if lab.topology.one_way is None:
        yield ()
        return
    with losing(lab, *lab.topology.one_way), sending(lab, *lab.topology.one_way):
        yield ("--transfer",)
