"""`wgaudit demo`: a real sweep over SSH of an embedded fleet with the incident in it, and its repair."""

from __future__ import annotations

import asyncio
import resource
import secrets
import signal
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import click

from auditor.checks.idents import Ident
from auditor.cli import complaints, running, screen, settings
from auditor.cli.progress import watching
from auditor.cli.sweep import FORMATS, renderer
from auditor.demo.demo_consul import serve_registry
from auditor.demo.demo_fleet import DEFAULT_SEED, FEWEST_NODES, REGIONS, DemoFleet, build_fleet
from auditor.demo.folder import registry_items, write_configuration
from auditor.demo.planted import Comparison, compare
from auditor.demo.servers import serve
from auditor.errors import UsageError
from auditor.service.audit import Auditor, judged, sweep_options
from auditor.settings.file import load_config
from auditor.state.recording import record as write_snapshot
from auditor.values.addresses import format_prefix
from auditor.values.guide import Guide
from auditor.values.text import for_shell

EXIT_FOUND = 0
EXIT_NOT_FOUND = 1

MOST_NODES = 1_000
"""Most nodes of a demo: each one's state is a file as long as the fleet, 100 MB of them for a thousand nodes."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
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
    help="Form of the report, as `wgaudit sweep` has it.",
)
@click.option(
    "--record", type=click.Path(path_type=Path), help="Keep what was seen in this .json.gz file (0600)."
)
@click.option(
    "--keep", is_flag=True, help="Leave the fleet up until Ctrl-C, to sweep it from another terminal."
)
@click.option(
    "--repair",
    is_flag=True,
    help="Go the whole circle on the fleet: sweep, plan, apply, sweep. Asks before each step at a terminal.",
)
@click.option("--yes", is_flag=True, help="With --repair: ask nothing.")
@click.option(
    "--watch",
    is_flag=True,
    help="Run the watch on a healthy fleet, with its page, and let a duplicate come about meanwhile.",
)
@click.option(
    "--collectors",
    is_flag=True,
    help="Sweep it through a collector a region, and again when one is killed. Needs nats-server.",
)
@click.option(
    "--after",
    type=settings.Seconds(min=0, max=3600),
    default=10.0,
    show_default=True,
    help="With --watch: seconds before the duplicate is written.",
)
@click.option(
    "--seconds",
    type=settings.Seconds(min=0),
    help="With --watch: end by itself, so many seconds after all was seen. Default: at Ctrl-C.",
)
@click.option("--no-progress", is_flag=True, help="No progress on stderr.")
def command(
    nodes: int,
    seed: int,
    format_name: str,
    record: Path | None,
    keep: bool,
    repair: bool,
    yes: bool,
    watch: bool,
    collectors: bool,
    after: float,
    seconds: float | None,
    no_progress: bool,
) -> int:
    """Run a sweep on an embedded fleet with the incident in it, through collectors too, repair it, or watch it happen.

    The fleet answers over SSH on this machine's loopback, and the sweep is the real one. It needs no root,
    no network and no configuration. The report goes to stdout; what was planted goes to stderr, beside
    whether the report has it.

    With --repair it runs `wgaudit sweep`, `plan`, `apply` and `sweep` again on that fleet, and tells what each one
    does. Without a terminal, or with --yes, it asks nothing. docs/architecture.md says what is simulated.

    Exit codes: 0 the demo ran and its report has all that was planted, and nothing else; 1 it has not,
    and stderr says what is missing; 2 usage. (A sweep that finds this much exits with 1.) With --repair: 0 no address
    is contested any more; 1 one is, or the demo was ended before. With --watch: 0 somebody was told; 1 nobody was.
    With --collectors: 0 what was seen, and what was not, is what was due; 1 it is not; 2 also: there is no nats-server.
    """
    if yes and not repair:
        raise UsageError("demo: --yes goes with --repair")
    if repair and (format_name != "table" or record is not None or keep):
        raise UsageError("demo: --repair runs commands of its own; leave --format, --record and --keep away")
    if watch and (repair or format_name != "table" or record is not None or keep):
        raise UsageError(
            "demo: --watch has a page and a log; leave --repair, --format, --record and --keep away"
        )
    if seconds is not None and not watch:
        raise UsageError("demo: --seconds goes with --watch")
    if collectors and (watch or repair or format_name != "table" or record is not None or keep):
        raise UsageError(
            "demo: --collectors runs commands of its own; leave --watch, --repair, --format, --record and --keep away"
        )
    _make_room(nodes, nodes if watch else _CONCURRENCY)
    fleet = build_fleet(nodes, seed, incident=not watch)
    with _private_folder() as folder:
        try:
            if watch:
                return asyncio.run(_watch(fleet, folder, before=after, seconds=seconds))
            if collectors:
                return asyncio.run(_collect(fleet, folder, progress=not no_progress))
            if repair:
                return asyncio.run(_repair(fleet, folder, yes=yes, progress=not no_progress))
            return asyncio.run(_demo(fleet, folder, format_name, record, keep=keep, progress=not no_progress))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder of mode 0700 that is removed at the end, after a signal too."""
    before = [signal.getsignal(number) for number in _SIGNALS]
    try:
        for number in _SIGNALS:  # a terminal that was closed leaves no folder behind either
            signal.signal(number, signal.default_int_handler)
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
    """Handler of SIGINT, SIGTERM, SIGHUP: the first one sets the listener's event; without a listener it ends the demo.

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


@asynccontextmanager
async def _fleet_up(
    fleet: DemoFleet, folder: Path, *, sessions: int = _CONCURRENCY, more: str = ""
) -> AsyncIterator[Path]:
    """Serve the fleet and its registry; yield the configuration that leads to them.

    sessions: commands that may run at a time, over all nodes. more: further tables of the configuration.
    """
    token = secrets.token_hex(16)
    async with serve(fleet, folder, sessions=sessions) as served:
        with serve_registry(registry_items(fleet, served), token) as url:
            yield write_configuration(
                served, folder, url=url, token=token, concurrency=_CONCURRENCY, more=more
            )


async def _watch(fleet: DemoFleet, folder: Path, *, before: float, seconds: float | None) -> int:
    from auditor.cli.demo_watch import Course, WatchedFleet, free_port, watch_tables
    from auditor.demo.late_duplicate import late_duplicate
    from auditor.demo.paged import Message, serve_person_on_call

    signals = _Signals()
    loop = asyncio.get_running_loop()
    watched: list[WatchedFleet] = []

    def receive(message: Message) -> None:
        loop.call_soon_threadsafe(watched[0].receive, message)

    port = free_port()
    with serve_person_on_call(receive) as webhook:
        # A followed node has one command running all the time, and may be asked by another one.
        sessions, more = len(fleet.nodes) + _CONCURRENCY, watch_tables(port, webhook)
        async with _fleet_up(fleet, folder, sessions=sessions, more=more) as path:
            with signals.listening() as interrupt:
                config = path, load_config(path)
                watched.append(
                    WatchedFleet(
                        late_duplicate(fleet), folder, config, port, interrupt, Course(before, seconds)
                    )
                )
                return await watched[0].run()


async def _repair(fleet: DemoFleet, folder: Path, *, yes: bool, progress: bool) -> int:
    from auditor.cli.demo_repair import Circle

    signals = _Signals()
    asking = not yes and sys.stdin is not None and sys.stdin.isatty()
    async with _fleet_up(fleet, folder):
        with signals.listening() as interrupt:
            return await Circle(fleet, folder, interrupt, asking=asking, progress=progress).run()


async def _collect(fleet: DemoFleet, folder: Path, *, progress: bool) -> int:
    from auditor.service.collectors_there import check_packages

    check_packages()
    from auditor.cli import demo_collectors as through
    from auditor.demo.demo_nats import serve_nats

    program = through.find_server()
    signals = _Signals()
    through.introduce(fleet)
    keys = through.CollectorKeys.new()
    async with (
        serve_nats(program, folder, keys.server_configuration()) as url,
        serve(fleet, folder, sessions=_CONCURRENCY, closed=through.COLLECTED) as served,
    ):
        token = secrets.token_hex(16)
        with serve_registry(registry_items(fleet, served), token) as registry:
            write_configuration(
                served,
                folder,
                url=registry,
                token=token,
                concurrency=_CONCURRENCY,
                # Who answers is asked from here, and nearly no server lets the auditor in.
                asks=False,
                more=through.collectors_table(url, keys.auditor, folder, "auditor", through.COLLECTED),
            )
            async with through.collectors_up(served, folder, url, keys, concurrency=_CONCURRENCY) as running:
                with signals.listening() as interrupt:
                    return await through.CollectedFleet(
                        fleet, folder, running, interrupt, progress=progress
                    ).run()


async def _demo(
    fleet: DemoFleet, folder: Path, format_name: str, record: Path | None, *, keep: bool, progress: bool
) -> int:
    signals = _Signals()
    async with _fleet_up(fleet, folder) as config_path:
        config = load_config(config_path)
        auditor = Auditor(config)
        with watching(enabled=progress) as observer, signals.listening() as interrupt:
            snapshot = await auditor.look(sweep_options(config), observer, interrupt)
        report = (await judged(snapshot)).report
        layout = screen.layout(None, "auto", _LIMIT, guide=Guide(recording=str(_kept(record))))
        running.deliver(renderer(format_name)(report, layout), None)
        if record is not None:
            write_snapshot(snapshot, record)
        comparison = compare(fleet, report)
        if snapshot.cut_short:
            complaints.say_lines(
                f"\nThe sweep was cut short ({snapshot.cut_short}): what it did not see is missing."
            )
        _tell(comparison)
        _tell_next(fleet, record)
        if keep and not snapshot.cut_short:
            complaints.say_lines(
                f"\nThe fleet stays up until Ctrl-C. From another terminal:\n"
                f"  wgaudit sweep --config {for_shell(str(config_path))}\n"
                f"  wgaudit ask {_contested(fleet)} --all --config {for_shell(str(config_path))}"
            )
            with signals.listening() as interrupt:
                await interrupt.wait()
    return EXIT_FOUND if comparison.complete else EXIT_NOT_FOUND


def _tell(comparison: Comparison) -> None:
    """Print on stderr each planted fault, and whether the report has it."""
    complaints.say_lines("\nPlanted in this fleet, and whether the report has it:")
    for item in comparison.planted:
        _row("MISSING" if item.missing else "found", f"{item.where:<{_IDENT_WIDTH}}", item.what)
        if item.missing:
            _row("", " " * _IDENT_WIDTH, f"the report: {item.missing}")
    for line in comparison.unexpected:
        _row("NOT PLANTED", "", line)


def _row(state: str, ident: str, text: str) -> None:
    head = f"  {state:<8} {ident}  " if ident else f"  {state}  "
    complaints.say_lines(
        textwrap.fill(text, screen.PLAIN_WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    )


def _tell_next(fleet: DemoFleet, record: Path | None) -> None:
    complaints.say_lines("\nNext:")
    kept = _kept(record)
    steps = [] if record else [(f"wgaudit demo --record {kept}", "keep what was seen")]
    if fleet.incident is not None:
        target = _contested(fleet)
        steps.append(
            (f"wgaudit explain {target} --replay {for_shell(str(kept))}", "the story of one address")
        )
        steps.append((f"wgaudit plan --replay {for_shell(str(kept))}", "who keeps, who moves"))
    steps.append(("wgaudit init", "configure your own fleet"))
    steps.append(("wgaudit demo --repair", "the second half: repair it"))
    width = max(len(step) for step, _ in steps)
    for step, purpose in steps:
        complaints.say_lines(f"  {step:<{width}}  {purpose}")


def _contested(fleet: DemoFleet) -> str:
    return format_prefix(fleet.contests[0].address)


def _kept(record: Path | None) -> Path:
    """Name the recording in commands: the fleet is gone when they are run."""
    return record or Path("demo.json.gz")


def _make_room(nodes: int, commands: int) -> None:
    """Raise the limit on open files as far as so many commands at a time need.

    Raises `UsageError` that says which limit is too low.
    """
    needed = nodes + commands * _FILES_A_SESSION + _FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UsageError(
            f"{nodes} nodes need {needed} open files, and the limit is {hard}: "
            f"raise it (as root: `ulimit -n {needed}`) or ask for fewer --nodes"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
