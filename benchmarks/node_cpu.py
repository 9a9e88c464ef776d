"""Cost of one look on the node itself: CPU against a plain reading of the device, and bytes.

The device is a real wireguard-go device with 5,000 peers, in network, mount and process namespaces of its own. All of
its keys are random.
"""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from auditor.nodes.probe.probe import (
    ProbeAnswer,
    canonical_table,
    format_answer,
    inline_request,
    packed_request,
)
from auditor.values.addresses import Prefix, PublicKey, parse_public_key
from auditor.values.models import Device
from benchmarks.figures import CannotRun, Figure, Results, ratios
from benchmarks.run import REPOSITORY
from tests.nodes.stubs import StubNode

PEERS = 5_000
RUNS = 15
TARGET_RATIO = 3.0
TARGET_BYTES = 3_000
"""A hundredth of the table's text."""

_NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
_START = 10.0
"""Seconds that wireguard-go gets to create its device."""

# What the probe is held against prints private keys. The program never runs it, on no node: it runs here
# alone, on a device whose keys were thrown like dice a moment ago, and its output goes to /dev/null.
_PLAIN = "wg show wg0 dump"
_READINGS = ("wg show wg0 public-key", "wg show wg0 allowed-ips")


def measure(quick: bool) -> Results:
    """Measure the bytes of one look and, unless `quick`, its CPU. Raises `CannotRun`."""
    if quick:
        return Results((_bytes(),))
    return Results((_bytes(), *_costs(_measured_apart())))


# --- bytes ----------------------------------------------------------------------------------------


def _bytes() -> Figure:
    device, allowed_ips = _fleet()
    table = canonical_table(device, allowed_ips)
    request = packed_request(inline_request("digest", device=device.name))
    answer = format_answer(ProbeAnswer(device, digest=table.digest))
    there, back = len(request.command) + len(request.stdin), len(answer)
    return Figure(
        "bytes asked of and answered by a healthy node, at 5,000 peers",
        "bytes",
        (there + back,),
        target=TARGET_BYTES,
        exact=True,
        note=f"command and script {there:,}, answer {back:,}; its table is {len(table.text):,}",
    )


def _fleet() -> tuple[Device, str]:
    """Return the device's fleet, and what `wg show wg0 allowed-ips` prints on it."""
    dice = random.Random(PEERS)  # noqa: S311  (no secrets: only numbers that look like keys)
    own, *peers = [_key(dice) for _ in range(PEERS + 1)]
    lines = [f"{key}\t{_address(number)}/32\n" for number, key in enumerate(peers, start=1)]
    return Device("wg0", own, (Prefix(f"{_address(0)}/32"),)), "".join(lines)


def _key(dice: random.Random) -> PublicKey:
    return parse_public_key(base64.b64encode(dice.randbytes(32)).decode("ascii"))


def _address(number: int) -> str:
    return f"10.16.{number >> 8}.{number & 255}"


# --- CPU ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Command:
    line: str
    stdin: bytes = b""


def _costs(measured: Mapping[str, Sequence[Sequence[float]]]) -> tuple[Figure, ...]:
    own = {name: [run[0] for run in runs] for name, runs in measured.items()}
    whole = {name: [sum(run) for run in runs] for name, runs in measured.items()}
    readings = [a + b for a, b in zip(own["public-key"], own["allowed-ips"], strict=True)]
    with_what = f"{Path('/bin/sh').resolve().name} and {Path(shutil.which('awk') or 'awk').resolve().name}"
    name = "node's own CPU for the probe"
    against = f"{name}, against plain wg show wg0 dump, at 5,000 peers"
    return (
        Figure(
            against,
            "×",
            ratios(own["probe"], own["plain"]),
            target=TARGET_RATIO,
            note=f"each run by `sh -c`, as sshd does; {with_what}; wireguard-go",
        ),
        Figure(
            f"{against}, with the CPU of wireguard-go itself", "×", ratios(whole["probe"], whole["plain"])
        ),
        Figure(f"{name}, against one call of wg that costs nothing", "×", ratios(own["stub"], own["cat"])),
        Figure(name, "ms", tuple(own["probe"])),
        Figure(f"{name}: of it, the two readings of the device", "ms", tuple(readings)),
        Figure("node's own CPU for plain wg show wg0 dump", "ms", tuple(own["plain"])),
    )


def _measured_apart() -> Mapping[str, Sequence[Sequence[float]]]:
    """Return, by command and run, the CPU of its processes and of the daemon, in ms."""
    if os.geteuid() != 0:
        raise CannotRun("needs root, to make a device in namespaces of its own")
    for program in ("wg", "wireguard-go", "ip", "unshare"):
        if shutil.which(program) is None:
            raise CannotRun(
                f"needs {program}: the packages wireguard-tools, wireguard-go, iproute2, util-linux"
            )
    with tempfile.TemporaryDirectory(prefix="wgaudit-bench-") as folder:
        told = Path(folder, "measured.json")
        command = [*_NAMESPACES, sys.executable, "-m", "benchmarks.node_cpu", folder, str(told)]
        subprocess.run(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, check=True)
        measured: dict[str, list[list[float]]] = json.loads(told.read_text(encoding="utf-8"))
        return measured


def _inside(folder: Path, told: Path) -> None:
    """Run inside the namespaces. Everything it started ends with it."""
    device, allowed_ips = _fleet()
    request = packed_request(inline_request("digest", device=device.name))
    probe = _Command(request.command, request.stdin)
    stub = StubNode(folder / "stub", addresses=device.addresses)
    stub.answer("allowed-ips", allowed_ips)
    stubs = {"PATH": stub.path}
    real = {"PATH": os.environ["PATH"]}
    daemon = _start_device(folder, allowed_ips)
    runs: dict[str, list[tuple[float, float]]] = {}
    for _ in range(RUNS):
        for name, command, environment in (
            ("plain", _Command(_PLAIN), real),
            ("probe", probe, real),
            ("public-key", _Command(_READINGS[0]), real),
            ("allowed-ips", _Command(_READINGS[1]), real),
            ("cat", _Command(_READINGS[1]), stubs),
            ("stub", probe, stubs),
        ):
            runs.setdefault(name, []).append(_run(command, environment, daemon))
    told.write_text(json.dumps(runs), encoding="utf-8")


def _start_device(folder: Path, allowed_ips: str) -> int:
    """Create wg0 with these peers; return the daemon's process id."""
    sockets = Path("/run/wireguard")
    sockets.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", sockets], check=True)
    with (folder / "wireguard.log").open("wb") as log:
        daemon = subprocess.Popen(
            ["wireguard-go", "--foreground", "wg0"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    give_up = time.monotonic() + _START
    while not (sockets / "wg0.sock").exists():
        if daemon.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError(f"no device: {(folder / 'wireguard.log').read_text(encoding='utf-8')}")
        time.sleep(0.05)
    config = folder / "wg0.conf"
    own = base64.b64encode(os.urandom(32)).decode("ascii")
    lines = [f"[Interface]\nPrivateKey = {own}\n"]
    for number, line in enumerate(allowed_ips.splitlines()):
        key, _, prefix = line.partition("\t")
        endpoint = f"198.18.{number >> 8}.{number & 255}:51820"
        lines.append(f"[Peer]\nPublicKey = {key}\nAllowedIPs = {prefix}\nEndpoint = {endpoint}\n")
    config.touch(0o600)
    config.write_text("".join(lines), encoding="ascii")
    for command in (
        ["wg", "setconf", "wg0", str(config)],
        ["ip", "addr", "add", f"{_address(0)}/32", "dev", "wg0"],
    ):
        subprocess.run(command, check=True)
    return daemon.pid


def _run(command: _Command, environment: Mapping[str, str], daemon: int) -> tuple[float, float]:
    """Run the command once, as sshd does; return its CPU, children included, and the daemon's, in ms."""
    script, feed = os.pipe()
    os.write(feed, command.stdin)  # far smaller than a pipe
    os.close(feed)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    before = _daemon_time(daemon)
    process = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", command.line],
        environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, script, 0), (os.POSIX_SPAWN_DUP2, nowhere, 1)],
    )
    _, status, used = os.wait4(process, 0)
    after = _daemon_time(daemon)
    os.close(script)
    os.close(nowhere)
    if status != 0:
        raise RuntimeError(f"{command.line}: {os.waitstatus_to_exitcode(status)}")
    return 1000 * (used.ru_utime + used.ru_stime), after - before


def _daemon_time(process: int) -> float:
    """Return the CPU that its threads have used, in ms. The usual counters move in steps of 10 ms."""
    threads = Path(f"/proc/{process}/task").iterdir()
    return sum(int((one / "schedstat").read_text(encoding="ascii").split()[0]) for one in threads) / 1e6


if __name__ == "__main__":
    _inside(Path(sys.argv[1]), Path(sys.argv[2]))
