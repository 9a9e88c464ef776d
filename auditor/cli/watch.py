"""`wgaudit watch`: follow registry and nodes, tell of what is new at once, and show it on a page."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click

from auditor.cli import running, settings
from auditor.cli.stderr_log import StderrLog


@click.command("watch")
@settings.config_option
@click.option(
    "--listen",
    metavar="HOST:PORT|unix:///PATH",
    help="Where the page is, in place of watch.listen.",
)
@click.option("--no-page", is_flag=True, help="No page, and none of the packages that it needs.")
@click.option(
    "--lock-wait",
    type=settings.Seconds(min=0),
    default=0.0,
    show_default=True,
    help="Seconds to wait for a sweep that holds the state.",
)
@click.option("-q", "--quiet", is_flag=True, help="Write only complaints to stderr.")
def command(
    config_path: Path | None, listen: str | None, no_page: bool, lock_wait: float, quiet: bool
) -> int:
    """Follow registry and nodes, tell of what is new at once, and show it on a page.

    It runs until SIGTERM or Ctrl-C, holds the state's lock, and takes the place of a timer with `sweep --alert`. Its
    log goes to stderr. SIGHUP reads the configuration anew. docs/watch.md has the rest.

    Exit codes: 0 it was told to end, and did; 2 usage or configuration, another wgaudit holds the state, or the page
    cannot be served; 3 an internal error.
    """
    if no_page and listen is not None:
        raise click.UsageError("--no-page and --listen exclude each other")
    log = StderrLog(quiet=quiet)
    # What follows takes as long to load as a sweep: `--help` does without it.
    from auditor.watch.watch_process import RunningWatch, WatchOptions

    options = WatchOptions(listen="" if no_page else listen, lock_wait=lock_wait)

    async def watch() -> None:
        await RunningWatch(partial(settings.read_config, config_path), options, log, os.environ).run()

    running.run(watch())
    return running.EXIT_CLEAN
