"""A process that has imported all that commands import, and forks a `wgaudit` for each run: the start is paid once.

A run is a process of its own with its own folder, environment and files, and ends as Python ends. As a script it is
the process that forks; it imports nothing of tests, as the installed command does not.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import random
import runpy
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

_LONGEST_REQUEST = 1 << 16
_RUN_WITHIN = 120.0  # seconds
DIES_AT = "WGAUDIT_TEST_DIES_AT"
"""The environment's name for the effect at which a run is to die as by SIGKILL; 0: it lives."""
EFFECTS_TOLD_TO = "WGAUDIT_TEST_EFFECTS_TOLD_TO"
"""The file into which such a run, if it lives, writes how many effects it had."""
_EFFECTS = (
    {"execute", "executemany", "executescript", "commit", "rollback"}
    | {"connect", "send", "sendall", "sendmsg", "recv", "recv_into"}
    | {"write", "fsync", "flock", "close", "replace", "rename", "unlink"}
)
"""What a run does to the world outside, by the names of Python's built-in functions."""
_INWARD = (str, io.StringIO, io.BytesIO, types.GeneratorType)
"""Whose methods of these names nobody outside can see."""
_NETWORK = 0x40000000  # CLONE_NEWNET of <sched.h>
_LONGEST_NUMBER = 32  # bytes
_FILES = 4  # stdin, stdout, stderr, and where the end is told


class Starter:
    """The process that forks, as its client sees it; one for each process that runs tests, until that ends."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                # Without -P, files beside this one could be imported as if they were the library's.
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # not a terminal, which Python would write to line by line
                start_new_session=True,
            )
        atexit.register(self.close)

    def run(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        files: Sequence[IO[str] | IO[bytes]],
        *,
        network: str = "",
        first: Sequence[str] = (),
        within: float = _RUN_WITHIN,
    ) -> int:
        """Runs `wgaudit` with these words on stdin, stdout and stderr; its exit code, negative for a signal.

        network: the file of the network namespace that it runs in. first: a file with a function `begin`, called in
        the run with the further words before all else. within: seconds after which it hangs.
        """
        pid, ended = self.begin(words, folder, environment, files, network=network, first=first)
        with ended:
            ended.settimeout(within)
            try:
                return int(ended.recv(_LONGEST_NUMBER))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"wgaudit {' '.join(words)}: not over in {within:g} s") from None

    def begin(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        files: Sequence[IO[str] | IO[bytes] | int],
        *,
        network: str = "",
        first: Sequence[str] = (),
    ) -> tuple[int, socket.socket]:
        """The same, and does not wait: its process ID, and the socket that will tell its exit code."""
        request = json.dumps([list(words), str(folder), dict(environment), network, list(first)]).encode()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                numbers = [file if isinstance(file, int) else file.fileno() for file in files]
                socket.send_fds(self._ours, [request], [*numbers, theirs.fileno()])
            ours.settimeout(_RUN_WITHIN)
            return int(ours.recv(_LONGEST_NUMBER)), ours
        except BaseException:
            ours.close()
            raise

    def close(self) -> None:
        """Ends it: it reads the end of its requests."""
        self._ours.close()
        self._process.wait()


class Run:
    """A `wgaudit` that runs, forked by the starter; it is used as a `subprocess.Popen` whose output goes to pipes."""

    def __init__(self, words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.returncode: int | None = None
        (output, theirs), (errors, theirs_too) = os.pipe(), os.pipe()
        self.stdout: IO[str] = os.fdopen(output)
        self.stderr: IO[str] = os.fdopen(errors)
        with (
            Path(os.devnull).open() as nothing,
            os.fdopen(theirs, "w") as out,
            os.fdopen(theirs_too, "w") as err,
        ):
            self.pid, self._ended = starter().begin(words, folder, environment, (nothing, out, err))

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        self.stderr.close()
        self.wait()

    def wait(self, timeout: float | None = None) -> int:
        """Waits until it has ended; its exit code, negative for a signal."""
        if self.returncode is None:
            self._ended.settimeout(timeout)
            try:
                self.returncode = int(self._ended.recv(_LONGEST_NUMBER))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("wgaudit", timeout or 0.0) from None
            self._ended.close()
        return self.returncode

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it by SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits until it has ended; what it said on stdout and stderr."""
        with ThreadPoolExecutor(2) as readers, self.stdout, self.stderr:
            said = [readers.submit(stream.read) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()  # else its readers would never end
                raise
            output, errors = (one.result() for one in said)
        return output, errors


@functools.cache
def starter() -> Starter:
    """The one of this process."""
    plain = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL")}
    return Starter({**plain, "PYTHONWARNINGS": "error"})


def _serve(requests: socket.socket) -> list[str] | None:
    """Forks for each request. Returns the words of a run in the process that is to run them, and None at the end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who waits for a run is nobody's business here
    while True:
        request, passed, _, _ = socket.recv_fds(requests, _LONGEST_REQUEST, _FILES)
        if not request:
            return None
        if os.fork():
            for number in passed:
                os.close(number)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        *files, told = passed
        pid = os.fork()
        if not pid:
            requests.close()
            os.close(told)
            return _become(request, files)
        with contextlib.suppress(BrokenPipeError):  # nobody waits any more
            os.write(told, b"%d" % pid)
            _, status = os.waitpid(pid, 0)
            os.write(told, b"%d" % os.waitstatus_to_exitcode(status))
        os._exit(0)


def _become(request: bytes, files: Sequence[int]) -> list[str]:
    """Takes the run's folder, environment, files and network; returns its words."""
    words, folder, environment, network, first = json.loads(request)
    if network:
        _enter(network)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    random.seed()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    for stream in (sys.stdout, sys.stderr):
        # As where Python starts at a terminal.
        stream.reconfigure(line_buffering=stream.isatty() or stream is sys.stderr)
    if first:
        runpy.run_path(first[0])["begin"](*first[1:])
    found: list[str] = words
    return found


def _enter(network: str) -> None:
    """Goes into a network namespace: this process has one thread. `os.setns` came with Python 3.12."""
    descriptor = os.open(network, os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _NETWORK):
        raise OSError(ctypes.get_errno(), f"setns: {network}")
    os.close(descriptor)


def _die_at(moment: int, told_to: Path) -> None:
    """Kills this process at its `moment`-th effect: before it or after it, as both are counted."""
    count = 0

    def watch(_frame: object, event: str, what: object) -> None:
        nonlocal count
        if (
            event in ("c_call", "c_return")
            and getattr(what, "__name__", "") in _EFFECTS
            and not isinstance(getattr(what, "__self__", None), _INWARD)
        ):
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    atexit.register(lambda: told_to.write_text(str(count)))
    threading.setprofile(watch)
    sys.setprofile(watch)


if __name__ == "__main__":
    for package in ("auditor", "alerts"):
        for found_ in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(found_.name)
    # What is imported stays: else each run would look through it for garbage, page by page of its own.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as requests_:
        run = _serve(requests_)
    if run is not None:
        sys.argv = [str(Path(sys.executable).with_name("wgaudit")), *run]
        if DIES_AT in os.environ:
            _die_at(int(os.environ.pop(DIES_AT)), Path(os.environ.pop(EFFECTS_TOLD_TO)))
        importlib.import_module("auditor.cli.main").run()
