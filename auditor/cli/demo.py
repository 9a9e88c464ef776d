"""`wgaudit demo`: a real sweep over SSH of an embedded fleet with the incident in it."""

from __future__ import annotations

import asyncio
import resource
import signal
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from auditor.checks.idents import Ident
from auditor.cli import running, screen
from auditor.cli.progress import watching
from auditor.cli.sweep import FORMATS, renderer
from auditor.demo.demo_fleet import DEFAULT_SEED, FEWEST_NODES, REGIONS, DemoFleet, build_fleet
from auditor.demo.folder import write_configuration
from auditor.demo.planted import Comparison, compare
from auditor.demo.servers import serve
from auditor.errors import UsageError
from auditor.service.audit import Auditor, judged, sweep_options
from auditor.settings.file import load_config
from auditor.state.recording import record as write_snapshot
from auditor.values.addresses import format_prefix
from auditor.values.text import for_shell

EXIT_FOUND = 0
EXIT_NOT_FOUND = 1

MOST_NODES = 1_000
"""Most nodes of a demo: each one's state is a file as long as the fleet, 100 MB of them for a thousand nodes."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_CONCURRENCY = 16
_LIMIT = 50  # findings that the table writes out, as in a sweep
_IDENT_WIDTH = len(Ident.DUPLICATE_ADDRESS)
# A command at work holds both ends of its connection and its three pipes, while it starts twice of these.
_FILES_A_SESSION = 10
_FILES_BESIDE = 64


def _nodes(_context: click.Context, _parameter: click.Parameter, nodes: int) -> int:
    if nodes < FEWEST_NODES:
        raise click.BadParameter(
            f"{nodes} are too few; the incident needs at least {FEWEST_NODES}, three in each of "
            f"{len(REGIONS)} regions"
        )
    if nodes > MOST_NODES:
        raise click.BadParameter(f"{nodes} are too many for one machine; {MOST_NODES} at most")
    return nodes


@click.command("demo")
@click.option("--nodes", default=40, show_default=True, callback=_nodes, help="Servers in the fleet.")
@click.option(
    "--seed", default=DEFAULT_SEED, show_default=True, help="Another number: other servers have the faults."
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="A page for people, or one JSON document.",
)
@click.option(
    "--record", type=click.Path(path_type=Path), help="Keep what was seen in this .json.gz file (0600)."
)
@click.option(
    "--keep", is_flag=True, help="Leave the fleet up until Ctrl-C, to sweep it from another terminal."
)
@click.option("--no-progress", is_flag=True, help="No progress on stderr.")
def command(
    nodes: int, seed: int, format_name: str, record: Path | None, keep: bool, no_progress: bool
) -> int:
    """Run a sweep on an embedded fleet with the incident in it.

    The fleet answers over SSH on this machine's loopback, and the sweep is the real one. It needs no root,
    no network and no configuration. The report goes to stdout; what was planted goes to stderr, beside
    whether the report has it.

    Exit codes: 0 the demo ran and its report has all that was planted, and nothing else; 1 it has not,
    and stderr says what is missing; 2 usage. (A sweep that finds this much exits with 1.)
    """
    _make_room(nodes)
    fleet = build_fleet(nodes, seed)
    with _private_folder() as folder:
        try:
            return asyncio.run(_demo(fleet, folder, format_name, record, keep=keep, progress=not no_progress))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder of mode 0700 that is removed at the end, after a signal too."""
    before = [signal.getsignal(number) for number in _SIGNALS]
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with tempfile.TemporaryDirectory(prefix="wgaudit-demo-") as folder:
            try:
                yield Path(folder)
            finally:
                # A second Ctrl-C must not stop the removal half way.
                for number in _SIGNALS:
                    signal.signal(number, signal.SIG_IGN)
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)


class _Signals:
    """Handler of Ctrl-C and SIGTERM: the first one sets the listener's event; without a listener it ends the demo.

    Nothing is ever raised into the loop: the servers run in it too, and must be closed in good order.
    """

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._listener: asyncio.Event | None = None
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._arrived)

    def _arrived(self) -> None:
        if self._listener is not None and not self._listener.is_set():
            self._listener.set()
        elif self._task is not None and not self._task.cancelling():
            self._task.cancel()

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """Set the event on the first signal while the block runs."""
        self._listener = asyncio.Event()
        try:
            yield self._listener
        finally:
            self._listener = None


async def _demo(
    fleet: DemoFleet, folder: Path, format_name: str, record: Path | None, *, keep: bool, progress: bool
) -> int:
    signals = _Signals()
    async with serve(fleet, folder, sessions=_CONCURRENCY) as served:
        config_path = write_configuration(fleet, served, folder, concurrency=_CONCURRENCY)
        config = load_config(config_path)
        auditor = Auditor(config)
        with watching(enabled=progress) as observer, signals.listening() as interrupt:
            snapshot = await auditor.look(sweep_options(config), observer, interrupt)
        report = (await judged(snapshot)).report
        running.deliver(renderer(format_name)(report, screen.layout(None, "auto", _LIMIT)), None)
        if record is not None:
            write_snapshot(snapshot, record)
        comparison = compare(fleet, report)
        if snapshot.cut_short:
            running.say_lines(
                f"\nThe sweep was cut short ({snapshot.cut_short}): what it did not see is missing."
            )
        _tell(comparison)
        _tell_next(fleet, record)
        if keep and not snapshot.cut_short:
            running.say_lines(
                f"\nThe fleet stays up until Ctrl-C. From another terminal:\n"
                f"  wgaudit sweep --config {for_shell(str(config_path))}"
            )
            with signals.listening() as interrupt:
                await interrupt.wait()
    return EXIT_FOUND if comparison.complete else EXIT_NOT_FOUND


def _tell(comparison: Comparison) -> None:
    """Print on stderr each planted fault, and whether the report has it."""
    running.say_lines("\nPlanted in this fleet, and whether the report has it:")
    for item in comparison.planted:
        _row("MISSING" if item.missing else "found", f"{item.where:<{_IDENT_WIDTH}}", item.what)
        if item.missing:
            _row("", " " * _IDENT_WIDTH, f"the report: {item.missing}")
    for line in comparison.unexpected:
        _row("NOT PLANTED", "", line)


def _row(state: str, ident: str, text: str) -> None:
    head = f"  {state:<8} {ident}  " if ident else f"  {state}  "
    running.say_lines(
        textwrap.fill(text, screen.PLAIN_WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    )


def _tell_next(fleet: DemoFleet, record: Path | None) -> None:
    running.say_lines("\nNext:")
    kept = record or Path("demo.json.gz")
    steps = [] if record else [(f"wgaudit demo --record {kept}", "keep what was seen")]
    if fleet.incident is not None:
        target = format_prefix(fleet.incident.pair.address)
        steps.append(
            (f"wgaudit explain {target} --replay {for_shell(str(kept))}", "the story of one address")
        )
    steps.append(("wgaudit init", "configure your own fleet"))
    width = max(len(step) for step, _ in steps)
    for step, purpose in steps:
        running.say_lines(f"  {step:<{width}}  {purpose}")


def _make_room(nodes: int) -> None:
    """Raise the limit on open files as far as needed. Raises `UsageError` that says which limit is too low."""
    needed = nodes + _CONCURRENCY * _FILES_A_SESSION + _FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UsageError(
            f"{nodes} nodes need {needed} open files, and the limit is {hard}: "
            f"raise it (as root: `ulimit -n {needed}`) or ask for fewer --nodes"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
