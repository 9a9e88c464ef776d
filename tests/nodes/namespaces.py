"""A network of a test's own with a real WireGuard device in it, and an /etc where a test may write."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.parts import program_path, require

# Its first process waits for its input to end; the kernel then ends all others, and the namespaces.
_UP = """
set -eu
read -r pid _ </proc/self/stat
mount -t proc proc /proc
mount -t tmpfs -o mode=0755 run /run
mkdir -m 0755 /run/wireguard /run/etc
# /etc becomes a folder of links to itself, but for those that a test may fill.
mount --bind /etc /run/etc
mount -t tmpfs -o mode=0755 etc /etc
ln -s -t /etc /run/etc/*
rm -f /etc/wireguard /etc/systemd /etc/netplan /etc/NetworkManager
mkdir -p /etc/wireguard /etc/systemd/network /etc/netplan /etc/NetworkManager/system-connections
mkdir -p /run/systemd/network /run/NetworkManager/system-connections
umask 077
LOG_LEVEL=error wireguard-go wg0 >/dev/null 2>&1
wg genkey >/run/private
wg set wg0 private-key /run/private
ip link set lo up
ip link set wg0 up
echo "$pid"
exec >/dev/null
cat
"""


def require_network() -> None:
    """Skips, or fails in CI, where no namespace with a WireGuard device can be made."""
    present = os.geteuid() == 0 and Path("/dev/net/tun").exists()
    require("a network of our own", present, "run as root; in a container pass /dev/net/tun through")
    for name in ("unshare", "nsenter", "wireguard-go", "wg", "ip"):
        program_path(name)


class Network:
    """A network with the device wg0, which has a key and no address, and with an /etc of its own. A context manager."""

    def __init__(self) -> None:
        require_network()
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def __enter__(self) -> Network:
        process = subprocess.Popen(
            [
                *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"),
                *("sh", "-c", _UP),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._process = process
        assert process.stdout is not None
        line = process.stdout.readline()
        process.stdout.close()
        assert line, "the network did not come up"
        self._pid = int(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(10)

    @property
    def etc(self) -> Path:
        """Its /etc, as this process reaches it; the folders of files that bring devices up are empty at first."""
        return self.root / "etc"

    @property
    def root(self) -> Path:
        """Its file system, as this process reaches it; /etc and /run are its own."""
        return Path(f"/proc/{self._pid}/root")

    @property
    def prefix(self) -> tuple[str, ...]:
        """Put before a command, it runs there."""
        return ("nsenter", f"--target={self._pid}", "--net", "--mount", "--")

    def run(
        self,
        words: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a command there, to its end."""
        return subprocess.run(
            [*self.prefix, *words],
            input=stdin,
            capture_output=True,
            env=None if environment is None else dict(environment),
            timeout=30,
            check=False,
        )

    def sh(self, script: str) -> str:
        """What a script prints there; it must end well."""
        done = self.run(["sh", "-ec", script])
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def fresh(self, *addresses: str) -> None:
        """The device without peers and routes of its own, and with exactly these addresses, the first one first."""
        added = "".join(
            f"ip addr add {address} dev wg0{' nodad' * (':' in address)}\n" for address in addresses
        )
        self.sh(
            "ip link set wg0 down\nip link set wg0 up\nip addr flush dev wg0 scope global\n"
            "for peer in $(wg show wg0 peers); do wg set wg0 peer $peer remove; done\n"
            f"echo 0 >/proc/sys/net/ipv4/conf/wg0/promote_secondaries\n{added}"
        )

    @property
    def key(self) -> str:
        """The device's public key."""
        return self.sh("wg show wg0 public-key").strip()

    @property
    def addresses(self) -> list[str]:
        """The device's addresses with their lengths, in the kernel's order."""
        lines = self.sh("ip -o addr show dev wg0 scope global").splitlines()
        return [line.split()[3] for line in lines]

    def routes(self, *words: str) -> list[str]:
        """What `ip route show` says, a line each."""
        return [line.strip() for line in self.sh(f"ip route show {' '.join(words)}").splitlines()]
