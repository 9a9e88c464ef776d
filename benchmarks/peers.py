"""Other tools that run a command on a whole fleet over SSH, each as the command that one would type."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from benchmarks.figures import CannotRun
from benchmarks.meter import CommandCost, metered
from benchmarks.sshd import SMALL, SshdFleet

COMMAND = f"wg show {SMALL} allowed-ips"
"""The command the tools run on each node: 1,024 bytes of output, whatever the size of the fleet."""
FORKS = 25
"""Hosts that ansible asks at a time; its default of 5 needs the same CPU and five times as long."""


@dataclass(frozen=True, slots=True)
class FleetTool:
    """One tool that asks the fleet."""

    name: str
    """`clush`, `ansible -m raw` …"""
    command: Callable[[SshdFleet], Sequence[str | Path]]
    answered: Callable[[str, str], int]
    """Counts, from stdout and stderr, the hosts that gave their complete answer."""
    environment: Callable[[Path], Mapping[str, str]] = field(default=lambda _: {})
    """Returns the command of a run, given the run's own new folder."""

    def run(self, fleet: SshdFleet, folder: Path) -> CommandCost:
        """Ask every node once. Raises `RuntimeError` unless all of them answered."""
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
    """Return the path of a program in this environment."""
    return str(Path(sys.executable).with_name(program))


def _seen(_: str, complaints: str) -> int:
    match = re.search(r"clean: no findings; ([\d,]+) of", complaints)
    return int(match[1].replace(",", "")) if match else 0


def _whole_tables(said: str, _: str) -> int:
    # The last line of the kilobyte is the one that ends in blanks.
    return len(re.findall(r"/32 +$", said, re.MULTILINE))


def _ansible(module: str) -> Callable[[SshdFleet], Sequence[str | Path]]:
    def command(fleet: SshdFleet) -> Sequence[str | Path]:
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


WGAUDIT = FleetTool(
    "wgaudit sweep", lambda fleet: [_beside("wgaudit"), "sweep", "--config", fleet.config], _seen
)
CLUSH = FleetTool(
    "clush",
    lambda fleet: [_beside("clush"), "--hostfile", fleet.hosts, "-o", f"-F {fleet.ssh_config}", COMMAND],
    _whole_tables,
)
PARALLEL_SSH = FleetTool(
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
ANSIBLE_RAW = FleetTool("ansible -m raw", _ansible("raw"), _whole_tables, _ansible_environment)
ANSIBLE_COMMAND = FleetTool("ansible -m command", _ansible("command"), _whole_tables, _ansible_environment)


def require_peers() -> None:
    """Raise `CannotRun` if the tools are not installed beside this interpreter."""
    missing = [name for name in ("ClusterShell", "pssh", "ansible") if find_spec(name) is None]
    if missing:
        raise CannotRun(f"needs {', '.join(missing)} in the environment that runs it: make bench")
