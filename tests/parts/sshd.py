"""A real OpenSSH server on loopback: its own host key, its own authorized keys, run by whoever runs the tests."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType

from tests.parts import SYSTEM_PATH, require
from tests.parts.with_parent import with_parent

_SSHD = shutil.which("sshd", path=SYSTEM_PATH)
_KEYGEN = shutil.which("ssh-keygen", path=SYSTEM_PATH)
_HOW = "tests/parts/install, or the packages openssh-server and openssh-client"


def require_sshd() -> None:
    """Skips, or fails in CI, where OpenSSH's server or key generator is missing."""
    require("sshd", _SSHD is not None, _HOW)
    require("ssh-keygen", _KEYGEN is not None, _HOW)


def make_key(file: Path, *, passphrase: str = "", kind: str = "ed25519") -> Path:
    """A new key pair at `file` and `file.pub`."""
    keygen("-q", "-t", kind, "-N", passphrase, "-C", file.name, "-f", str(file))
    return file


def sign_user_key(authority: Path, key: Path, *, principal: str) -> None:
    """Writes `key-cert.pub`: a user certificate by the authority."""
    keygen("-q", "-s", str(authority), "-I", "test", "-n", principal, f"{key}.pub")


def public(key: Path) -> str:
    """Type and base64 of a key's public half, without its comment."""
    return " ".join(Path(f"{key}.pub").read_text().split()[:2])


def keygen(*arguments: str) -> str:
    """Runs ssh-keygen; gives its output."""
    require_sshd()
    return subprocess.run(
        [str(_KEYGEN), *arguments], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
    ).stdout


class Sshd:
    """A running server, as a context manager.

    `authorized` are lines of authorized_keys (`public(key)`, or with options before it). `environment` is
    set for every command, such as a PATH that finds stubs first. `authority` signs the host's key, and only
    the certificate is offered. `lines` go into sshd_config first, where the first word on a subject wins.
    """

    def __init__(
        self,
        folder: Path,
        authorized: Sequence[str] = (),
        *,
        environment: Mapping[str, str] | None = None,
        authority: Path | None = None,
        lines: Sequence[str] = (),
    ) -> None:
        require_sshd()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.user = getpass.getuser()
        self.host = "127.0.0.1"
        self.port = 0
        self.host_key = make_key(folder / "host_key")
        self.authorized_keys = folder / "authorized_keys"
        self.authorized_keys.write_text("".join(f"{line}\n" for line in authorized))
        self._environment = dict(environment or {})
        self._authority = authority
        self._lines = list(lines)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._log: list[str] = []

    @property
    def known_hosts_line(self) -> str:
        """What a known_hosts file holds for this server."""
        return f"[{self.host}]:{self.port} {public(self.host_key)}\n"

    @property
    def fingerprint(self) -> str:
        """`SHA256:…` of its host key, as ssh-keygen says it."""
        return keygen("-l", "-f", f"{self.host_key}.pub").split()[1]

    def log(self) -> str:
        """What the server has said so far."""
        return "".join(self._log)

    def __enter__(self) -> Sshd:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        if self._authority is not None:
            # The port is not part of a certificate's name.
            keygen(
                "-q", "-s", str(self._authority), "-I", "host", "-h", "-n", self.host, f"{self.host_key}.pub"
            )
        for _ in range(5):
            if self._start():
                return self
        raise RuntimeError(f"sshd does not start: {self.log()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the server and the sessions that it still has."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)
        if self._reader is not None:
            self._reader.join(10)
        if process.stderr is not None:
            process.stderr.close()

    def _start(self) -> bool:
        self.port = _free_port()
        config = self.folder / "sshd_config"
        config.write_text("\n".join(self._config()) + "\n")
        process = subprocess.Popen(
            with_parent([str(_SSHD), "-D", "-e", "-f", str(config)]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        stream = process.stderr
        assert stream is not None
        for line in stream:
            self._log.append(line)
            if "Server listening on" in line:
                self._process = process
                self._reader = threading.Thread(target=self._log.extend, args=(stream,), daemon=True)
                self._reader.start()
                return True
        # Someone took the port in between; another one is tried.
        process.wait(10)
        stream.close()
        return False

    def _config(self) -> list[str]:
        lines = [
            *self._lines,
            f"Port {self.port}",
            f"ListenAddress {self.host}",
            f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.authorized_keys}",
            "PidFile none",
            "UsePAM no",
            "StrictModes no",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PrintMotd no",
            "MaxStartups 1000",
            *unpunished(),
            "LogLevel VERBOSE",
        ]
        if self._authority is not None:
            lines += [
                f"HostCertificate {self.host_key}-cert.pub",
                "HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com",
            ]
        if self._environment:
            lines.append(
                "SetEnv " + " ".join(f'{name}="{value}"' for name, value in self._environment.items())
            )
        return lines


@cache
def unpunished() -> tuple[str, ...]:
    """Lines that keep a server answering, however often a test is refused by it. Older servers do not know them."""
    said = subprocess.run([str(_SSHD), "-V"], capture_output=True, text=True, check=False)
    version = re.search(r"OpenSSH_([0-9]+)\.([0-9]+)", said.stderr + said.stdout)
    punishes = version is not None and (int(version[1]), int(version[2])) >= (9, 8)
    return ("PerSourcePenalties no",) if punishes else ()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
