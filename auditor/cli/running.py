"""Running a sweep from the command line: progress, Ctrl-C, and what becomes of the snapshot and the report."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from auditor.errors import ReportError, UsageError
from auditor.files import write_whole
from auditor.judge import seen_enough
from auditor.models import AuditPolicy, Report, Severity, Snapshot
from auditor.nodes.interface import NodeSource
from auditor.registry.interface import Registry
from auditor.sweep import SweepObserver, SweepOptions, sweep

EXIT_CLEAN = 0
EXIT_FINDINGS = 1
EXIT_INCONCLUSIVE = 3


def run_sweep(
    registry: Registry,
    nodes: NodeSource,
    policy: AuditPolicy,
    options: SweepOptions,
    observer: SweepObserver | None,
) -> Snapshot:
    """Runs one sweep to its end, its deadline, or the first Ctrl-C. A second Ctrl-C ends the program."""

    async def whole() -> Snapshot:
        interrupt = asyncio.Event()
        with _interrupted_by_signals(interrupt):
            return await sweep(registry, nodes, policy, options, observer, interrupt)

    try:
        return asyncio.run(whole())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@contextlib.contextmanager
def _interrupted_by_signals(interrupt: asyncio.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks for an early report; the second cancels, so that all is closed properly."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    signals = (signal.SIGINT, signal.SIGTERM)

    def interrupted() -> None:
        if interrupt.is_set() and task is not None:
            task.cancel()
        interrupt.set()

    for number in signals:
        loop.add_signal_handler(number, interrupted)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def exit_code(report: Report, fail_on: Severity, minimum_coverage: float) -> int:
    """The contract's exit code: 1 findings at or above `fail_on`, 3 not enough seen, 0 clean."""
    if any(finding.severity.at_least(fail_on) for finding in report.standing):
        return EXIT_FINDINGS
    return EXIT_CLEAN if seen_enough(report.gaps, report.coverage, minimum_coverage) else EXIT_INCONCLUSIVE


def deliver(text: str, output: Path | None) -> None:
    """Writes a report to stdout, or whole and owner-only to a file. Raises `ReportError`."""
    if output is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        write_whole(output, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise ReportError(f"--output: cannot write {output}: {error.strerror}") from None


def check_folders(**files: Path | None) -> None:
    """Refuses files whose folder is not there. Raises `UsageError` that names the option."""
    for option, path in files.items():
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"--{option}: there is no folder {path.parent} to write {path.name} into")


def summary(report: Report, code: int) -> str:
    """One line for stderr and for a cron mail's subject."""
    worst: dict[str, int] = {}
    for finding in report.standing:
        worst[finding.severity.value] = worst.get(finding.severity.value, 0) + 1
    counted = ", ".join(
        f"{worst[severity.value]:,} {severity.value}" for severity in Severity if severity.value in worst
    )
    cut = f" (cut short: {report.cut_short})" if report.cut_short else ""
    gaps = "1 gap" if len(report.gaps) == 1 else f"{len(report.gaps):,} gaps"
    duration = (report.finished_at - report.started_at).total_seconds()
    return (
        f"wgaudit: {report.verdict.value}{cut}: {counted or 'no findings'}; {report.coverage.observed:,} of "
        f"{report.coverage.registered:,} nodes seen, {gaps}, {duration:.1f} s; exit code {code}"
    )


def say(text: str) -> None:
    """One line on stderr."""
    click.echo(text, err=True)
