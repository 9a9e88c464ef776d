"""Cost of the size of known_hosts: a file of 5,000 lines against one of 100, plain and hashed."""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path

from auditor.nodes.ssh import SshAccess, SshNodes
from auditor.nodes.table_store import TableStore
from auditor.settings.ssh import SshSettings
from auditor.values.addresses import Prefix, parse_public_key
from auditor.values.models import NodeId, Registration
from benchmarks.figures import Figure, Results, ratios
from benchmarks.sshd import SshdFleet

HOSTS = 100
"""Hosts: as many as the small file has lines; each is asked several times."""
CONNECTIONS = 500
LINES = 5000
RUNS = 5
AT_ONCE = 20
TARGET = 1.1


def measure(quick: bool) -> Results:
    """Measure reading the file and asking every node over real connections. Nothing if `quick`: only times."""
    if quick:
        return Results(())
    with tempfile.TemporaryDirectory(prefix="wgaudit-bench-") as name:
        folder = Path(name)
        with SshdFleet(folder, HOSTS) as fleet:
            return _measured(fleet, folder)


def _measured(fleet: SshdFleet, folder: Path) -> Results:
    lines = (fleet.folder / "known_hosts").read_text(encoding="ascii").splitlines()
    many = lines + [_unasked_host(number) for number in range(LINES - len(lines))]
    files = {
        "plain": (_written(folder / "known-few", lines), _written(folder / "known-many", many)),
        "hashed": (
            _written(folder / "known-few-hashed", [_hashed(line) for line in lines]),
            _written(folder / "known-many-hashed", [_hashed(line) for line in many]),
        ),
    }
    cpu: dict[Path, list[float]] = {file: [] for pair in files.values() for file in pair}
    for number in range(RUNS):
        # Each run begins with another file: what comes first pays for a machine that has just woken up.
        order = list(cpu)[number % len(cpu) :] + list(cpu)[: number % len(cpu)]
        for file in order:
            cpu[file].append(_cost(fleet, file))
    figures = []
    for form, (few, large) in files.items():
        milliseconds = [sorted(cpu[file])[RUNS // 2] / CONNECTIONS * 1000 for file in (few, large)]
        figures.append(
            Figure(
                f"CPU a host with a known_hosts of 5,000 lines against one of 100, {form}",
                "×",
                ratios(cpu[large], cpu[few]),
                target=TARGET,
                note=f"{CONNECTIONS} real connections and reading the file; medians {milliseconds[1]:.2f} ms "
                f"against {milliseconds[0]:.2f} ms a host",
            )
        )
    return Results(tuple(figures))


def _cost(fleet: SshdFleet, known_hosts: Path) -> float:
    """Return this process's CPU seconds for reading known_hosts and asking every node."""
    settings = SshSettings(
        identity_files=(fleet.key,),
        agent=False,
        known_hosts=known_hosts,
        config_file=None,
        connect_timeout=120.0,
        command_timeout=120.0,
    )
    key = parse_public_key(base64.b64encode(bytes(32)).decode())
    mesh = (Prefix("10.0.0.1/32"),)
    asked = [
        Registration(NodeId("", f"node-{number}"), key, mesh, ssh_host=fleet.addresses[number % HOSTS])
        for number in range(CONNECTIONS)
    ]
    before = _cpu()
    asyncio.run(_all_seen(SshNodes(SshAccess(settings), "wg0"), asked))
    return _cpu() - before


async def _all_seen(nodes: SshNodes, asked: Sequence[Registration]) -> None:
    left, tables = iter(asked), TableStore()

    async def worker() -> None:
        for registration in left:
            await nodes.observe(registration, tables)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _unasked_host(number: int) -> str:
    """Return a line for a host that is not asked, with its own key."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + os.urandom(32)
    return f"127.2.{number // 250}.{number % 250 + 1} ssh-ed25519 {base64.b64encode(blob).decode()}"


def _hashed(line: str) -> str:
    """Return a line as `ssh-keygen -H` writes it."""
    host, key = line.split(" ", 1)
    salt = os.urandom(20)
    parts = (salt, hmac.digest(salt, host.encode(), "sha1"))
    return f"|1|{'|'.join(base64.b64encode(part).decode() for part in parts)} {key}"


def _written(file: Path, lines: Sequence[str]) -> Path:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    return file
