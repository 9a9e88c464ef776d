"""A typical program with parallel-ssh: one command on all hosts of a file, its output line by line."""

from __future__ import annotations

import sys
from pathlib import Path

from pssh.clients import ParallelSSHClient


def main(hosts: str, key: str, command: str) -> None:
    """Run the command on every host. `hosts` is a file with one address per line, `key` one with a private key."""
    client = ParallelSSHClient(
        Path(hosts).read_text(encoding="utf-8").split(),
        user="root",
        pkey=key,
        allow_agent=False,
        identity_auth=False,  # this key, no guessing
    )
    for answer in client.run_command(command):
        for line in answer.stdout:
            sys.stdout.write(f"{answer.host}: {line}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
