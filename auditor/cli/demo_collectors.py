"""`wgaudit demo --collectors`: sweeps of the embedded fleet through a collector a region, one of which is killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import textwrap
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from auditor.checks.idents import Ident
from auditor.cli import screen
from auditor.cli.demo_command import WGAUDIT, demo_environment, run_command
from auditor.demo.demo_fleet import REGIONS, DemoFleet
from auditor.demo.demo_nats import nats_program, server_configuration
from auditor.demo.folder import write_collector_configuration
from auditor.demo.node_programs import write
from auditor.demo.seen_by_region import seen_by_region, unseen
from auditor.demo.servers import ServedFleet
from auditor.demo.started import Started, started
from auditor.errors import UsageError
from auditor.gather.nats.nats_login import UserKey, new_user_key
from auditor.judge import judge
from auditor.state.recording import replay
from auditor.values.addresses import format_prefix
from auditor.values.models import Snapshot
from auditor.values.report import Verdict
from auditor.values.text import count, listed

EXIT_AS_SAID = 0
EXIT_OTHERWISE = 1

LOCAL = REGIONS[-1]
"""The region without a collector."""
COLLECTED = tuple(sorted(region for region in REGIONS if region != LOCAL))
KILLED = "fra"
_SERVES = re.compile(r"collects for ")
_BEFORE, _AFTER = "before.json.gz", "after.json.gz"


def find_server() -> str:
    """Find nats-server. Raises `UsageError` that says how to get it."""
    program = nats_program(os.environ.get("PATH", ""))
    if program is None:
        raise UsageError(
            "demo: --collectors needs nats-server, 2.9 or newer, and none is in PATH or /usr/sbin; on Debian: "
            "apt install nats-server"
        )
    return program


@dataclass(frozen=True)
class CollectorKeys:
    """Nkeys of the auditor and of each region's collector."""

    auditor: UserKey
    collectors: Mapping[str, UserKey]

    @staticmethod
    def new() -> CollectorKeys:
        """Make them, for this run."""
        return CollectorKeys(new_user_key(), {region: new_user_key() for region in COLLECTED})

    def server_configuration(self) -> str:
        """Return the server's configuration that lets them in."""
        return server_configuration(
            self.auditor.public, {region: key.public for region, key in self.collectors.items()}
        )


def collectors_table(url: str, key: UserKey, folder: Path, name: str, regions: Collection[str] = ()) -> str:
    """Return the table of an auditor's configuration, or of a collector's, which lists no regions."""
    file = write(folder / f"{name}.nk", f"{key.seed.get_secret_value()}\n".encode())
    asked = f'regions = {json.dumps(list(regions))}\nfallback = "local"\n' if regions else ""
    return f"\n[collectors]\nnats = {json.dumps(url)}\nnkey_file = {json.dumps(str(file))}\n{asked}"


def introduce(fleet: DemoFleet) -> None:
    """Say what is there, and who lets in whom."""
    _paragraph(
        f"{count(len(fleet.nodes), 'server')} on this machine's loopback, a registry, a nats-server, and a collector "
        f"for each region but {LOCAL}, a process each. The servers of {listed(COLLECTED)} let in nobody but their own "
        f"region's collector; those of {LOCAL} let in the auditor, which looks at them itself "
        '(collectors.fallback = "local").'
    )


@asynccontextmanager
async def collectors_up(
    served: ServedFleet, folder: Path, url: str, keys: CollectorKeys, *, concurrency: int
) -> AsyncIterator[Mapping[str, Started]]:
    """Run a collector of each region but one while the block runs; they serve. Raises `UsageError`."""
    async with AsyncExitStack() as stack:
        running = {}
        for region, key in keys.collectors.items():
            table = collectors_table(url, key, folder, region)
            path = write_collector_configuration(
                served, folder, region, concurrency=concurrency, collectors=table
            )
            words = (*WGAUDIT, "collector", "--config", str(path), "--region", region)
            running[region] = await stack.enter_async_context(
                started(words, folder, demo_environment(os.environ), name=f"the collector of {region}")
            )
        await asyncio.gather(*(each.ready(_SERVES) for each in running.values()))
        yield running


class CollectedFleet:
    """Sweeps the fleet through its collectors, kills one, and sweeps again."""

    def __init__(
        self,
        fleet: DemoFleet,
        folder: Path,
        collectors: Mapping[str, Started],
        interrupt: asyncio.Event,
        *,
        progress: bool,
    ) -> None:
        """Take what is up. interrupt: set by Ctrl-C; ends it after a command."""
        self._fleet = fleet
        self._folder = folder
        self._collectors = collectors
        self._interrupt = interrupt
        self._quiet = () if progress else ("--no-progress",)
        self._alive = set(collectors)

    async def run(self) -> int:
        """Go through all of it; return the exit code."""
        _title("1 of 4  WHO IS THERE")
        if await self._stopped(0, "collectors"):
            return _ended()
        _title("2 of 4  LOOK, THROUGH THEM")
        if await self._stopped(1, "sweep", "--record", _BEFORE, *self._quiet):
            return _ended()
        before = replay(self._folder / _BEFORE)
        self._tell(before)
        _title(f"3 of 4  THE COLLECTOR OF {KILLED.upper()} IS KILLED")
        await self._collectors[KILLED].kill()
        self._alive.discard(KILLED)
        if await self._stopped(1, "collectors"):
            return _ended()
        _title("4 of 4  LOOK AGAIN")
        if await self._stopped(1, "sweep", "--record", _AFTER, *self._quiet):
            return _ended()
        after = replay(self._folder / _AFTER)
        self._tell(after)
        return self._outcome(before, after)

    async def _stopped(self, due: int, *words: str) -> bool:
        """Run one command; tell whether the demo ends there, for it was interrupted or has another exit code."""
        click.secho(f"\n$ wgaudit {' '.join(words)}", bold=True)
        code = await run_command(words, self._folder, self._interrupt, at_terminal=False)
        click.echo(f"(exit code {code})")
        return self._interrupt.is_set() or code != due

    def _tell(self, snapshot: Snapshot) -> None:
        """Print by whom the servers of each region were seen."""
        click.echo("\nWhat came by whom:")
        for row in seen_by_region(self._fleet, snapshot):
            collector = self._collectors.get(row.region)
            if collector is None:
                way = "from here"
            elif row.region in self._alive:
                way = f"its collector, process {collector.pid}"
            else:
                way = "from here, for its collector is gone"
            why = "".join(f", {reason} {number}" for reason, number in sorted(row.reasons.items()))
            click.echo(f"  {row.region:<5} {way:<38}  {row.seen} of {row.registered} seen{why}")

    def _outcome(self, before: Snapshot, after: Snapshot) -> int:
        """Compare both sweeps with what is due."""
        _title("WHAT CAME OF IT")
        refuses = {node.name for node in self._fleet.nodes if not node.reachable}
        region = {node.name for node in self._fleet.nodes if node.registered_region == KILLED}
        contested = {format_prefix(contest.address) for contest in self._fleet.contests}
        found = {item.subject for item in judge(before).standing if item.check is Ident.DUPLICATE_ADDRESS}
        if unseen(before) != refuses or found != contested:
            _paragraph(
                f"Through the collectors, {count(len(unseen(before)), 'server')} were not seen, where "
                f"{len(refuses)} refuse SSH; contested addresses: {listed(sorted(found))}."
            )
            return EXIT_OTHERWISE
        verdict = judge(after).verdict
        if unseen(after) != refuses | region or verdict is Verdict.CLEAN:
            _paragraph(
                f"Without the collector of {KILLED}, other servers were not seen than its {len(region)}: "
                f"{listed(sorted(unseen(after) - refuses))}."
            )
            return EXIT_OTHERWISE
        _paragraph(
            f"Through the collectors all were seen but {listed(sorted(refuses))}, which refuses SSH. Without the "
            f"collector of {KILLED}, its region's {count(len(region), 'server')} are gaps, and no others: the auditor "
            "tried them itself, and they do not let it in. Not seeing is not clean, and a gap resolves nothing."
        )
        _paragraph(
            "The recordings end with this fleet; `wgaudit demo --record night.json.gz` keeps one for the commands "
            'under "next". On your own fleet: docs/collectors.md has the set-up.'
        )
        return EXIT_AS_SAID


def _ended() -> int:
    click.echo("\nEnded before all was shown; fleet, server and collectors are gone with the demo.")
    return EXIT_OTHERWISE


def _title(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _paragraph(text: str) -> None:
    click.echo(textwrap.fill(text, screen.PLAIN_WIDTH, break_long_words=False, break_on_hyphens=False))
