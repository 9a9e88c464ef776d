"""Fixtures of the tests that speak SSH."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.nodes.bench import Bench
from tests.parts.sshd import Sshd


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have one, with keys in it."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, stack)


@pytest.fixture
def ssh() -> Callable[[Bench, Sshd, str, Path], bool]:
    """OpenSSH's own client, beside which ours is held: whether it gets in, with the same identity and known hosts."""

    def connects(bench: Bench, server: Sshd, host: str, config: Path) -> bool:
        words = ["-F", str(config), "-i", str(bench.identity), "-p", str(server.port), "-l", server.user]
        for option in (
            "BatchMode=yes",
            "ConnectTimeout=10",
            f"UserKnownHostsFile={bench.known_hosts}",
            "GlobalKnownHostsFile=none",
            "KexAlgorithms=curve25519-sha256",
        ):
            words += ["-o", option]
        done = subprocess.run(["ssh", *words, host, "true"], capture_output=True, check=False, text=True)
        return done.returncode == 0

    return connects


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """An ssh-agent of the test's own; called with a key, it takes it in."""
    socket_file = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket_file)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket_file))

    def add(file: Path) -> None:
        environment = {
            "SSH_AUTH_SOCK": str(socket_file),
            "PATH": os.environ["PATH"],
            "SSH_ASKPASS": "/bin/echo",
            "SSH_ASKPASS_REQUIRE": "force",
        }
        subprocess.run(["ssh-add", "-q", str(file)], check=True, env=environment, stdin=subprocess.DEVNULL)

    yield add
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    process.stdout.close()
