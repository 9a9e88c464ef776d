"""The ways to ask a whole fleet over SSH that wgaudit is held against, each as the command that one would type."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from benchmarks.figures import CannotRun
from benchmarks.meter import Cost, metered
from benchmarks.sshd import SMALL, Fleet

COMMAND = f"wg show {SMALL} allowed-ips"
"""What the peers run on each node: 1,024 bytes of output, however large the fleet is."""
FORKS = 25
"""Hosts that ansible asks at a time; its default of 5 costs the same CPU and takes five times as long."""


@dataclass(frozen=True, slots=True)
class Client:
    """One way to ask the fleet."""

    name: str
    """`clush`, `ansible -m raw` …"""
    command: Callable[[Fleet], Sequence[str | Path]]
    answered: Callable[[str, str], int]
    """From stdout and stderr: how many hosts gave their whole answer."""
    environment: Callable[[Path], Mapping[str, str]] = field(default=lambda _: {})
    """Of a run whose own new folder this is."""

    def run(self, fleet: Fleet, folder: Path) -> Cost:
        """Asks every node once. Raises `RuntimeError` unless all of them answered."""
        folder.mkdir()
        # A home of its own: nobody's own configuration, keys or open connections play a part.
        plain = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)}
        environment = {**plain, **self.environment(folder)}
        output = folder / "output"
        cost = metered(self.command(fleet), folder=folder, environment=environment, output=output)
        said = output.read_text(encoding="utf-8")
        complaints = (folder / "output.err").read_text(encoding="utf-8")
        answers = self.answered(said, complaints)
        if cost.code != 0 or answers != len(fleet.addresses):
            raise RuntimeError(
                f"{self.name}: exit code {cost.code}, {answers} of {len(fleet.addresses)} nodes answered: "
                f"{(complaints or said)[-800:]}"
            )
        return cost


def _beside(program: str) -> str:
    """The program of this environment."""
    return str(Path(sys.executable).with_name(program))


def _seen(_: str, complaints: str) -> int:
    match = re.search(r"clean: no findings; ([\d,]+) of", complaints)
    return int(match[1].replace(",", "")) if match else 0


def _whole_tables(said: str, _: str) -> int:
    # The last line of the kilobyte is the one that ends in blanks.
    return len(re.findall(r"/32 +$", said, re.MULTILINE))


def _ansible(module: str) -> Callable[[Fleet], Sequence[str | Path]]:
    def command(fleet: Fleet) -> Sequence[str | Path]:
        return [_beside("ansible"), "all", "-i", fleet.hosts, "-f", str(FORKS), "-m", module, "-a", COMMAND,
                "-e", f"ansible_python_interpreter={Path(sys.executable).resolve()}",
                "--ssh-common-args", f"-F {fleet.ssh_config}"]  # fmt: skip

    return command


def _ansible_environment(folder: Path) -> Mapping[str, str]:
    # Everything it keeps is the run's own, its open connections too: it would go on with the last run's.
    return {
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
        "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
    }


WGAUDIT = Client(
    "wgaudit sweep", lambda fleet: [_beside("wgaudit"), "sweep", "--config", fleet.config], _seen
)
CLUSH = Client(
    "clush",
    lambda fleet: [_beside("clush"), "--hostfile", fleet.hosts, "-o", f"-F {fleet.ssh_config}", COMMAND],
    _whole_tables,
)
PARALLEL_SSH = Client(
    "parallel-ssh",
    lambda fleet: [
        sys.executable,
        Path(__file__).with_name("parallel_ssh.py"),
        fleet.hosts,
        fleet.key,
        COMMAND,
    ],
    _whole_tables,
)
ANSIBLE_RAW = Client("ansible -m raw", _ansible("raw"), _whole_tables, _ansible_environment)
ANSIBLE_COMMAND = Client("ansible -m command", _ansible("command"), _whole_tables, _ansible_environment)


def require_peers() -> None:
    """Raises `CannotRun` where they are not installed beside this interpreter."""
    missing = [name for name in ("ClusterShell", "pssh", "ansible") if find_spec(name) is None]
    if missing:
        raise CannotRun(f"needs {', '.join(missing)} in the environment that runs it: make bench")
