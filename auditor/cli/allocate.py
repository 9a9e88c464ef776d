"""`wgaudit allocate`: an address for a new node, confirmed by Consul, or none."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from auditor.cli import settings
from auditor.errors import AllocationError
from auditor.repair.claims.registration import checked_key
from auditor.service.provisioning import build_allocator

EXIT_NO_ADDRESS = 1


@click.command("allocate")
@click.option("--node", required=True, help="The node's name: the last part of its key in Consul.")
@click.option("--public-key", required=True, help="The public key of its WireGuard device.")
@click.option("--region", required=True, help="Region of [regions.pools] that the address is to come from.")
@click.option("--endpoint", default="", help="Outer HOST:PORT, for the registration.")
@click.option("--ssh-host", default="", help="Name or address for SSH, for the registration.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="The address alone, or one JSON document.",
)
@settings.config_option
def command(
    node: str,
    public_key: str,
    region: str,
    endpoint: str,
    ssh_host: str,
    format_name: str,
    config_path: Path | None,
) -> int:
    """Give a node its mesh address, and register it, in one transaction.

    Prints the address and nothing else. The same node and key get the same address again. Exit code: 0 the
    store holds the address for the node; 1 no address, stderr says why, and calling again is safe;
    2 usage or configuration.
    """
    key = checked_key(public_key)
    config, _ = settings.read_config(config_path)
    try:
        allocation = build_allocator(config).allocate(
            node, key, region, values={"endpoint": endpoint, "ssh_host": ssh_host}
        )
    except AllocationError as error:
        return settings.refuse(error, EXIT_NO_ADDRESS)
    document = {
        "node": node,
        "public_key": key,
        "address": str(allocation),
        "created": allocation.created,
    }
    text = json.dumps(document) if format_name == "json" else str(allocation)
    problem = _print(text)
    if problem is not None:
        # It is the node's, but the caller does not know which: no success.
        return settings.refuse(
            f"allocate {node}: the address is registered, but could not be printed: {problem}; call again",
            EXIT_NO_ADDRESS,
        )
    return 0


def _print(text: str) -> str | None:
    """Write the line to stdout; return the reason where that failed, else None."""
    if sys.stdout is None:
        return "stdout is closed"
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        # Python flushes once more at its end; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error.strerror or "it failed"
    return None
