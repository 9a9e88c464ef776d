"""Running of services from the command line: event loop, Ctrl-C, complaints, and delivery of a report."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from auditor.cli.complaints import complain, folded
from auditor.errors import ReportError, UsageError
from auditor.gather.progress_events import Unwatched
from auditor.service import threads
from auditor.state.files import write_whole
from auditor.values.findings import Severity
from auditor.values.report import Report
from auditor.values.text import count

EXIT_CLEAN = 0
EXIT_FINDINGS = 1
EXIT_INCONCLUSIVE = 3
EXIT_NOT_HANDED_OVER = 4

T = TypeVar("T")


class StderrObserver(Unwatched):
    """Prints complaints on stderr, and no progress."""

    def complain(self, line: str) -> None:
        """Print one line."""
        complain(line)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, without waiting for calls that block in threads. A cancel is a Ctrl-C."""
    try:
        return threads.run(main)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@contextlib.contextmanager
def interrupted_by_signals(interrupt: asyncio.Event) -> Iterator[None]:
    """Set the event on the first SIGINT, SIGTERM or SIGHUP; the next one cancels, so that all is closed properly."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

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


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP, as on SIGINT, so that all is closed and reported."""

    def interrupted(number: int, frame: object) -> None:  # noqa: ARG001  (the signature of a handler)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupted) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(report: Report, fail_on: Severity) -> int:
    """Choose the exit code: 1 findings at or above `fail_on`, 3 not enough seen, 0 clean."""
    if any(finding.severity.at_least(fail_on) for finding in report.standing):
        return EXIT_FINDINGS
    return EXIT_CLEAN if report.seen_enough else EXIT_INCONCLUSIVE


def deliver(text: str, output: Path | None) -> None:
    """Write a report to stdout, or whole and owner-only to a file. Raises `ReportError`.

    A reader that went away (`| head`) is no error: the verdict goes on to stderr and the exit code.
    """
    if output is None:
        _to_stdout(text)
        return
    try:
        write_whole(output, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise ReportError(f"--output: cannot write {output}: {error.strerror}") from None


def tell(line: str) -> None:
    """Write one line to stdout, folded at the words of a terminal. Raises `ReportError`."""
    if sys.stdout is not None and sys.stdout.isatty():
        line = "\n".join(folded(line, shutil.get_terminal_size().columns))
    deliver(f"{line}\n", None)


def _takes_output() -> bool:
    """Tell whether the command that runs has `--output`."""
    context = click.get_current_context(silent=True)
    return context is not None and any(item.name == "output" for item in context.command.params)


def _to_stdout(text: str) -> None:
    if sys.stdout is None:
        way_out = "; --output FILE writes a file" if _takes_output() else ""
        raise ReportError(f"cannot write the report: stdout is closed{way_out}")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at its end; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ReportError(f"cannot write the report to stdout: {error.strerror}") from None


def check_folders(*, reads: Path | None = None, **files: Path | None) -> None:
    """Refuse to write where there is no folder, one file for two options, and over the recording that is read.

    Raises `UsageError` that names the options.
    """
    taken: dict[Path, str] = {}
    for option, path in files.items():
        if path is None:
            continue
        if not path.parent.is_dir():
            raise UsageError(f"--{option}: there is no folder {path.parent} to write {path.name} into")
        if path.exists() and not path.is_file():
            continue  # /dev/null takes any number
        if reads is not None and path.resolve() == reads.resolve():
            raise UsageError(f"--{option}: {path} is the recording that is read; it would be lost")
        other = taken.setdefault(path.resolve(), option)
        if other != option:
            raise UsageError(
                f"--{other} and --{option} both write {path}; the second would replace the first"
            )


def summary(
    report: Report, code: int, config: Path | None = None, notified: Sequence[str] | None = None
) -> str:
    """Sum a report up in one line, for stderr and a cron mail's subject.

    config: the configuration file, where it is to be named because it was not given on the command line.
    notified: notifiers that took something of this sweep; None where nothing is said of alerts.
    """
    leading = [item for item in report.standing if item.caused_by is None]
    counts = Counter(item.severity for item in leading)
    counted = ", ".join(f"{counts[severity]:,} {severity.value}" for severity in Severity if counts[severity])
    if more := len(report.standing) - len(leading):
        counted += f"; {more:,} more follow from these"
    cut = f" (cut short: {report.cut_short})" if report.cut_short else ""
    coverage = report.coverage
    unreadable = f", {coverage.unreadable:,} unreadable" if coverage.unreadable else ""
    gaps = count(len(report.not_seen), "gap")
    if unheard := len(report.not_heard):
        gaps += f", {count(unheard, 'witness gap')}"
    others = f", {count(report.others.total, 'other key')}" if report.others.total else ""
    duration = (report.finished_at - report.started_at).total_seconds()
    mesh = f" in mesh {report.mesh}" if report.mesh else ""
    by = f"; configured by {config}" if config is not None else ""
    if notified is not None:
        by = f"; told {', '.join(notified)}{by}" if notified else f"; nothing new to send{by}"
    return (
        f"wgaudit: {report.verdict.value}{mesh}{cut}: {counted or 'no findings'}; {coverage.observed:,} of "
        f"{coverage.registered:,} nodes seen{unreadable}, {gaps}{others}, {duration:.1f} s{by}; exit code {code}"
    )


def person() -> str:
    """Name who runs the command: who called sudo, else the login name, else the user's number."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return f"user {os.getuid()}"
