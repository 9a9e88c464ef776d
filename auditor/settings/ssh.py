"""Settings of SSH to nodes: user, trusted keys, bounds on connections, timeouts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StringConstraints

from auditor.settings.base import Seconds, Settings, UserPath


def _word(word: str) -> str:
    if not word.isprintable():
        raise ValueError("a control character cannot be part of a word")
    return word


Word = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=400), AfterValidator(_word)]
"""A word of a command on a node. It is never read by a shell."""


class SshSettings(Settings):
    """Settings of SSH to nodes."""

    host: str = ""
    """Template over the registration (`{node}`, `{ssh_host}`, `{region}` …). Empty: ssh_host, else the
    endpoint's host."""
    user: str = "root"
    """Login on the nodes. Not set: what config_file says, else root."""
    port: StrictInt = Field(default=22, ge=1, le=65_535)
    """Port of sshd. Not set: what config_file says, else 22."""
    identity_files: tuple[UserPath, ...] = ()
    """Empty: the agent's keys and ssh's default identities. A `-cert.pub` beside one is used with it."""
    agent: StrictBool = True
    """Whether to use the SSH agent."""
    known_hosts: UserPath = Field(default=Path("~/.ssh/known_hosts"), validate_default=True)
    """Host keys and host CAs that are trusted; a host that is not in it is a gap."""
    config_file: UserPath | None = Field(default=Path("~/.ssh/config"), validate_default=True)
    """OpenSSH client configuration to follow."""
    proxy_jump: str = ""
    """`[user@]host[:port]`, comma-separated, as ssh's ProxyJump. Empty: what config_file says."""
    concurrency: StrictInt = Field(default=100, ge=1, le=10_000)
    """The most nodes asked at one time; the sweep finds out how many it takes."""
    logins_per_host: StrictInt = Field(default=8, ge=1, le=1000)
    """Logins under way at one time to one host. sshd's MaxStartups begins to refuse some at ten."""
    per_jump: StrictInt = Field(default=64, ge=1, le=10_000)
    """Nodes asked at one time through one jump host, over its one connection."""
    connect_timeout: Seconds = 10.0
    """Seconds until a connection stands and the login is done."""
    command_timeout: Seconds = 20.0
    """Seconds for what runs on a node."""
    sudo: StrictBool = False
    """Whether wg is run by `sudo -n`."""
    wg_command: tuple[Word, ...] = Field(default=("wg",), min_length=1, max_length=32)
    """Words that run `wg` on a node; all but the last also stand before `ip`: a namespace, a container."""
    probe: Literal["inline", "installed"] = "inline"
    """inline: the script travels along. installed: authorized_keys forces it (`wgaudit probe-script`)."""
    endpoints: StrictBool = False
    """Also ask each node for its peers' endpoints: N×N lines, but it shows where a ghost lives."""
    max_output: StrictInt = Field(default=64 * 1024 * 1024, ge=4096, le=1024 * 1024 * 1024)
    """Bytes that one node may answer with."""
