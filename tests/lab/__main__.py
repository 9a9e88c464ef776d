"""`python -m tests.lab`: brings a case up as a real mesh, sweeps it in this terminal, and takes it down."""

# ruff: noqa: T201  (it talks to a terminal)

from __future__ import annotations

import argparse
import contextlib
import inspect
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.lab.cases import CASES, managed
from tests.lab.mesh import Lab, LabError
from tests.lab.needs import missing_parts
from tests.lab.record import FIXTURES, record
from tests.lab.room import SHELL, shell_room
from tests.lab.topology import Topology


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("case", nargs="?", choices=CASES, help="default: incident")
    parser.add_argument("--list", action="store_true", help="list the cases")
    parser.add_argument("--keep", action="store_true", help="leave it up until Enter or Ctrl-C")
    parser.add_argument(
        "--shell",
        action="store_true",
        help="run the fleet's agents too, and open a shell where wgaudit sees it",
    )
    parser.add_argument("--no-sweep", action="store_true", help="only bring it up")
    parser.add_argument(
        "--record",
        metavar="FOLDER",
        type=Path,
        help=f"record the case (without one: every case) there (the repository: {FIXTURES})",
    )
    return parser.parse_args()


def main() -> int:
    """Returns the exit code: the sweep's own, 2 where no lab can run, 130 after Ctrl-C."""
    arguments = _arguments()
    if arguments.list:
        for name, case in CASES.items():
            print(f"{name:12} {inspect.getdoc(case)}")
        return 0
    lacks = missing_parts()
    if lacks:
        part, how = next(iter(lacks.items()))
        print(f"the lab needs {part}: {how}", file=sys.stderr)
        return 2
    # `kill` and a closed terminal take the lab down in order too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if arguments.record:
            record(arguments.record, [arguments.case] if arguments.case else CASES)
            return 0
        topology = CASES[arguments.case or "incident"]()
        if arguments.shell:
            topology = managed(topology)
        return _show(topology, keep=arguments.keep, shell=arguments.shell, sweep=not arguments.no_sweep)
    except LabError as error:
        print(f"the lab failed: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _show(topology: Topology, *, keep: bool, shell: bool, sweep: bool) -> int:
    started = time.monotonic()
    print(f"bringing up {topology.name}: {len(topology.nodes)} servers …", file=sys.stderr)
    with Lab(topology) as lab:
        print(f"up in {time.monotonic() - started:.1f} s", file=sys.stderr)
        code = 0
        if sweep:
            code = _sweep(lab)
        if shell:
            _shell(lab)
        if keep:
            _keep(lab)
    return code


def _sweep(lab: Lab) -> int:
    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(lab.command("sweep"), env=lab.environment(), cwd=lab.folder, text=True)

    with lab.as_planned(start) as process, process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                # The sweep got it too: it reports what it has seen and ends by itself.
                continue


def _shell(lab: Lab) -> None:
    """A shell of the terminal's own, or what stands on stdin is done; both end with it."""
    room = shell_room(lab)
    contested = " or ".join(contest.address for contest in lab.topology.contests)
    print(
        f"\nThe mesh is up, and this shell is where wgaudit sees it ({lab.config}):\n"
        "  wgaudit sweep                                     what is wrong\n"
        f"  wgaudit ask ADDRESS --all                         {contested or 'any'}, asked over the mesh\n"
        "  wgaudit plan                                      who keeps an address, who moves where\n"
        "  wgaudit plan --format json --output plan.json     the same for apply\n"
        "  wgaudit apply plan.json --dry-run                 what it would do\n"
        "  wgaudit apply plan.json                           do it, one move at a time\n"
        f"A shell on a node: {lab.shell(lab.topology.nodes[0].label)}\n"
        "`exit` takes it all down.",
        file=sys.stderr,
        flush=True,
    )
    lab.answer()
    with subprocess.Popen([*lab.prefix, *SHELL], env=lab.environment() | room, cwd=lab.folder) as process:
        while process.poll() is None:
            # It got the Ctrl-C too, and knows what is to be ended by it.
            with contextlib.suppress(KeyboardInterrupt):
                process.wait()


def _keep(lab: Lab) -> None:
    first = lab.topology.nodes[0].label
    wgaudit = lab.command()[-1]
    print(f"\nThe mesh is up. A shell where wgaudit and Consul are:\n  {' '.join(lab.prefix)} bash")
    print(f"there:\n  {wgaudit} sweep --config {lab.config}")
    print(f"A shell on {first}:\n  {lab.shell(first)}")
    print(f"Configuration: {lab.config}")
    print("Enter or Ctrl-C takes it down.", flush=True)
    with contextlib.suppress(EOFError):
        input()


if __name__ == "__main__":
    sys.exit(main())
