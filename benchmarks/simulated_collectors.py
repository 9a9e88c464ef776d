"""Collectors over simulated nodes, a process each: for what an auditor pays, with no SSH beside it.

`python -m benchmarks.simulated_collectors PORT NODES FLEET REGION` serves a region of a NATS server until it is ended.
All between a node's answer and NATS is wgaudit's own.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

from auditor.demo.demo_fleet import DEVICE
from auditor.gather.local import LocalCollector
from auditor.gather.nats.collector_service import CollectorIdentity, CollectorService
from auditor.gather.nats.connection import open_nats
from auditor.gather.nats.job_channel import JobChannel
from auditor.gather.nats.look_job import LookJob
from auditor.gather.nats.mesh_addresses import KnownAddresses
from auditor.gather.nats.messages import COLLECTOR_INBOX, OpenJob
from auditor.gather.nats.nats_login import read_login
from auditor.settings.collectors import CollectorSettings
from benchmarks.simulated import SimulatedFleet, SimulatedNodes

_READY = b"ready\n"


@contextmanager
def simulated_collectors(port: int, nodes: int, kind: str, regions: Sequence[str]) -> Iterator[None]:
    """Serve each of these regions by a process of its own."""
    program = [sys.executable, "-m", "benchmarks.simulated_collectors", str(port), str(nodes), kind]
    folder = Path(__file__).parent.parent
    started = [Popen([*program, region], cwd=folder, stdin=DEVNULL, stdout=PIPE) for region in regions]
    try:
        for one in started:
            if one.stdout is None or one.stdout.readline() != _READY:
                raise RuntimeError("a simulated collector did not start")
        yield
    finally:
        for one in started:
            one.kill()
            one.wait()
            if one.stdout is not None:
                one.stdout.close()


async def serve(port: int, fleet: SimulatedFleet, region: str) -> None:
    """Serve until the process is ended."""
    login = read_login(CollectorSettings(nats=f"nats://127.0.0.1:{port}"), ())
    addresses = KnownAddresses()

    async def look(opened: OpenJob, channel: JobChannel, _: int) -> Callable[[], Awaitable[None]]:
        return LookJob(opened, channel, LocalCollector(SimulatedNodes(fleet)), addresses).run

    identity = CollectorIdentity(region, "simulated", os.getpid(), "0.1.0")
    service = CollectorService(identity, DEVICE, {"look": look}, addresses, lambda _: None, _complain)
    async with open_nats(login, COLLECTOR_INBOX, _complain) as connection, service.serving(connection):
        sys.stdout.buffer.write(_READY)
        sys.stdout.flush()
        await asyncio.Event().wait()


def _complain(line: str) -> None:
    sys.stderr.write(f"  simulated collector: {line}\n")


def main() -> None:
    """Serve one region."""
    port, nodes, kind, region = sys.argv[1:]
    asyncio.run(serve(int(port), SimulatedFleet(int(nodes), kind), region))


if __name__ == "__main__":
    main()
