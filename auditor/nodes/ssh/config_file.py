"""Reader of ssh's own configuration, and of the facts of this machine that it depends on."""

from __future__ import annotations

import array
import fcntl
import getpass
import glob
import os
import socket
import stat
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from auditor.errors import ConfigError
from auditor.nodes.ssh_config import LocalFacts, SshConfig
from auditor.settings.ssh import SshSettings

_LIST_ADDRESSES = 0x8912
"""SIOCGIFCONF, whose answers are `_REQUEST` bytes each."""
_REQUEST = 40
MOST_BYTES = 16 * 1024 * 1024
"""Bytes of one configuration file."""


def read_config(settings: SshSettings) -> SshConfig:
    """Read the configured file and all that it includes; an empty one where there is none. Raises `ConfigError`."""
    file = settings.config_file
    named = "config_file" in settings.model_fields_set
    if file is None or not (named or file.exists()):
        return SshConfig("", b"", lambda _: ())
    if not file.exists():
        raise ConfigError(f"ssh.config_file: no file at {file}")
    if not named:
        _check_owner(file)
    return SshConfig(str(file), _content(file), _included)


def local_facts(seconds: float) -> LocalFacts:
    """Gather the facts of this machine for conditions and tokens. `seconds`: for one command of `Match exec`."""
    return LocalFacts(
        user=getpass.getuser(),
        home=str(Path.home()),
        host=socket.gethostname(),
        uid=os.getuid(),
        environment=dict(os.environ),
        addresses=_addresses,
        run=lambda command: _succeeds(command, seconds),
    )


def user_shell() -> str:
    """Return the shell that ssh gives its commands to."""
    return os.environ.get("SHELL") or "/bin/sh"


def _included(word: str) -> Sequence[tuple[str, bytes]]:
    pattern = Path(word).expanduser()
    if not pattern.is_absolute():
        pattern = Path("~/.ssh").expanduser() / pattern
    # Not `Path.glob`: a pattern may begin at the root.
    files = [Path(name) for name in sorted(glob.glob(str(pattern)))]  # noqa: PTH207
    for file in files:
        _check_owner(file)
    return [(str(file), _content(file)) for file in files]


def _check_owner(file: Path) -> None:
    """Refuse, as ssh does, a file that another user can write: its content is run, and trusted."""
    try:
        found = file.stat()
    except OSError as error:
        raise ConfigError(f"ssh.config_file: cannot read {file}: {error.strerror}") from None
    if found.st_uid not in (0, os.getuid()) or stat.S_IMODE(found.st_mode) & 0o022:
        raise ConfigError(
            f"ssh.config_file: {file} belongs to another user or can be written by others; "
            "ssh does not read it either: chown or chmod it"
        )


def _content(file: Path) -> bytes:
    try:
        if not file.is_file() and not file.is_char_device():
            raise ConfigError(f"ssh.config_file: {file} is not a regular file")
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"ssh.config_file: cannot read {file}: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise ConfigError(f"ssh.config_file: {file} is larger than {MOST_BYTES} bytes")
    return content


def _addresses() -> list[str]:
    """List the addresses of this machine's interfaces, as the kernel tells them."""
    room = array.array("B", bytes(_REQUEST * 1024))
    place, length = room.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        answer = fcntl.ioctl(asked, _LIST_ADDRESSES, struct.pack("iP", length, place))
    used: int = struct.unpack("iP", answer)[0]
    # A name of 16 bytes, then the address as the socket call has it: family and port before it.
    found = [socket.inet_ntoa(room[at + 20 : at + 24].tobytes()) for at in range(0, used, _REQUEST)]
    listed = Path("/proc/net/if_inet6")
    lines = listed.read_text().splitlines() if listed.exists() else []
    return found + [socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[0])) for line in lines]


def _succeeds(command: str, seconds: float) -> bool:
    try:
        done = subprocess.run(
            [user_shell(), "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return done.returncode == 0
