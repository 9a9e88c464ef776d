"""NATS servers on nodes of a lab: each says its node's name and region to whoever connects over the mesh."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from tests.lab import files
from tests.lab.namespace import network_at
from tests.lab.topology import Topology
from tests.parts.nats import NatsServer


@contextlib.contextmanager
def nats_servers(
    topology: Topology, folder: Path, networks: Mapping[str, Path]
) -> Iterator[dict[str, NatsServer]]:
    """Inside of it they run, by their nodes; each is alone in its cluster. networks: each node's namespace."""
    with contextlib.ExitStack() as stack:
        yield {
            label: stack.enter_context(
                NatsServer(
                    folder / "nats" / label,
                    name=label,
                    cluster=topology.node(label).region,
                    tags=(f"region:{topology.node(label).region}",),
                    address="0.0.0.0",
                    port=files.NATS_PORT,
                    monitoring_port=files.MONITORING_PORT,
                    inside=partial(network_at, networks[label]),
                )
            )
            for label in topology.nats
        }
