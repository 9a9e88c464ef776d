"""A fleet behind one real sshd: each node is an address in 127.0.0.0/8, with stubs in place of `wg` and `ip`."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from auditor.registry.file import export_text
from benchmarks.figures import CannotRun
from benchmarks.isolation import isolated
from tests.parts.sshd import unpunished

_SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"])
_HOW = "tests/parts/install, or the packages openssh-server and openssh-client"
_START = 10.0
"""Seconds that sshd gets to start listening."""

KEX = "curve25519-sha256"
"""The one key exchange that the server offers: OpenSSH's own default since 9.0 costs ten times as much."""
SMALL = "small"
"""A device that every node has beside wg0: its `allowed-ips` are 1,024 bytes, whatever the size of the fleet."""

# Which node it is stands in the address that was connected to: the third word of SSH_CONNECTION.
_STUB = """#!/bin/sh
set -- $SSH_CONNECTION "$@"
{log}exec cat "{nodes}/$3/{answer}"
"""


class SshdFleet:
    """`count` healthy nodes that can be reached over SSH, as a context manager; needs an isolated network.

    `counting` logs each connection and each call of `wg`, which costs the nodes a little.
    """

    def __init__(self, folder: Path, count: int, *, counting: bool = False) -> None:
        """Prepare the fleet. Raises `CannotRun` without OpenSSH or an isolated network."""
        if not isolated():
            raise CannotRun("needs a network of its own: run it as root on Linux, with iproute2")
        self._sshd = _program("sshd")
        self.folder = folder
        self.addresses = [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(count)]
        self._counting = counting
        self._process: subprocess.Popen[bytes] | None = None
        self.key = self._make_key("id")
        self._host_key = self._make_key("host_key")
        self._write_nodes()
        self._write_clients()

    def __enter__(self) -> SshdFleet:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text("\n".join(self._sshd_config()) + "\n", encoding="utf-8")
        log = self.folder / "sshd.log"
        self._process = subprocess.Popen(
            [self._sshd, "-D", "-E", log, "-f", config],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        give_up = time.monotonic() + _START
        while not _listens(self.addresses[0]):
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"sshd does not start: {log.read_text(encoding='utf-8')}")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(10)

    @property
    def hosts(self) -> Path:
        """Return a file with one address per line."""
        return self.folder / "hosts"

    @property
    def config(self) -> Path:
        """Return wgaudit's configuration."""
        return self.folder / "wgaudit.toml"

    @property
    def ssh_config(self) -> Path:
        """Return the same for OpenSSH's client: this key, these host keys, this key exchange."""
        return self.folder / "ssh_config"

    @property
    def logins(self) -> int:
        """Count the connections authenticated so far; only with `counting`."""
        return (self.folder / "sshd.log").read_text(encoding="utf-8").count("Accepted publickey")

    def calls(self, field: str) -> int:
        """Count the runs of `wg show … FIELD` on all nodes together; only with `counting`."""
        return (self.folder / "calls").read_text(encoding="utf-8").split().count(field)

    def _make_key(self, name: str) -> Path:
        file = self.folder / name
        subprocess.run(
            [_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file],
            check=True,
            stdin=subprocess.DEVNULL,
        )
        return file

    def _write_nodes(self) -> None:
        nodes, stubs = self.folder / "nodes", self.folder / "stubs"
        stubs.mkdir(parents=True)
        mesh = [f"10.16.{number // 250}.{number % 250 + 1}" for number in range(len(self.addresses))]
        keys = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in mesh]
        lines = [f"{key}\t{address}/32\n" for key, address in zip(keys, mesh, strict=True)]
        records = {}
        for number, address in enumerate(self.addresses):
            node = nodes / address
            (node / "wg0").mkdir(parents=True)
            (node / SMALL).mkdir()
            (node / "wg0" / "public-key").write_text(f"{keys[number]}\n", encoding="ascii")
            (node / "wg0" / "allowed-ips").write_text(
                "".join(lines[:number] + lines[number + 1 :]), encoding="ascii"
            )
            (node / SMALL / "allowed-ips").write_text(_kilobyte(lines), encoding="ascii")
            (node / "listing").write_text(
                f"5: wg0    inet {mesh[number]}/32 scope global wg0\\       valid_lft forever\n",
                encoding="ascii",
            )
            value = {"public_key": keys[number], "ip": mesh[number], "ssh_host": address}
            records[f"wireguard/nodes/node-{number:05d}"] = json.dumps(value).encode()
        log = f'echo "$7" >>"{self.folder}/calls"\n' if self._counting else ""
        # After SSH_CONNECTION's four words: show DEVICE FIELD.
        _write_script(stubs / "wg", _STUB.format(nodes=nodes, answer="$6/$7", log=log))
        _write_script(stubs / "ip", _STUB.format(nodes=nodes, answer="listing", log=""))
        (self.folder / "registry.json").write_text(export_text(records), encoding="utf-8")

    def _write_clients(self) -> None:
        key_type, key = self._host_key.with_suffix(".pub").read_text(encoding="ascii").split()[:2]
        known_hosts = self.folder / "known_hosts"
        known_hosts.write_text(
            "".join(f"{one} {key_type} {key}\n" for one in self.addresses), encoding="ascii"
        )
        shutil.copy(self.key.with_suffix(".pub"), self.folder / "authorized_keys")
        self.hosts.write_text("".join(f"{one}\n" for one in self.addresses), encoding="ascii")
        self.config.write_text(
            f'[consul]\nfile = "{self.folder}/registry.json"\n'
            f'[ssh]\nidentity_files = ["{self.key}"]\nagent = false\nknown_hosts = "{known_hosts}"\n'
            # SshdFleet and client share this machine: a login may have to wait for the others' turn.
            "connect_timeout = 120.0\ncommand_timeout = 120.0\n"
            f'[state]\npath = "{self.folder}/state.db"\n',
            encoding="utf-8",
        )
        self.ssh_config.write_text(
            f"Host *\n    User root\n    IdentityFile {self.key}\n    IdentitiesOnly yes\n    BatchMode yes\n"
            f"    StrictHostKeyChecking yes\n    UserKnownHostsFile {known_hosts}\n"
            f"    GlobalKnownHostsFile /dev/null\n    KexAlgorithms {KEX}\n",
            encoding="utf-8",
        )

    def _sshd_config(self) -> list[str]:
        return [
            "ListenAddress 0.0.0.0",
            "Port 22",
            f"HostKey {self._host_key}",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            f"KexAlgorithms {KEX}",
            # SHLVL: bash believes that it is not the first shell and leaves this machine's .bashrc alone.
            f'SetEnv PATH="{self.folder}/stubs:{os.environ["PATH"]}" SHLVL=1',
            "MaxStartups 1000:100:1000",
            "UsePAM no",
            "UseDNS no",
            "StrictModes no",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PrintMotd no",
            "PrintLastLog no",
            "PidFile none",
            "Subsystem sftp internal-sftp",
            *unpunished(),
            f"LogLevel {'INFO' if self._counting else 'ERROR'}",
        ]


def _program(name: str) -> str:
    found = shutil.which(name, path=_SEARCH)
    if found is None:
        raise CannotRun(f"needs {name}: {_HOW}")
    return found


def _listens(address: str) -> bool:
    with socket.socket() as client:
        return client.connect_ex((address, 22)) == 0


def _kilobyte(lines: list[str]) -> str:
    """Return the first lines, padded with blanks to exactly 1,024 bytes."""
    text = ""
    for line in lines:
        if len(text) + len(line) > 1024:
            break
        text += line
    return text[:-1] + " " * (1024 - len(text)) + "\n"


def _write_script(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    file.chmod(0o755)
