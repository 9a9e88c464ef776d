"""Stand-ins for a node's `wg`, `ip` and `sudo`: small scripts in a folder that a test puts first on the PATH."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from auditor.values.addresses import Prefix, PublicKey, parse_public_key
from auditor.values.models import Device

_WG = """#!/bin/sh
echo "wg $*" >>"{folder}/calls"
case $1:$3 in
show:public-key | show:allowed-ips | show:endpoints | show:latest-handshakes | show:transfer) exec cat "{folder}/$3" ;;
esac
echo "the stub knows no: wg $*" >&2
exit 9
"""


def key(number: int) -> PublicKey:
    """A public key that a person can tell from others."""
    return parse_public_key(f"{number:06d}".rjust(42, "K") + "A=")


class StubNode:
    """A node without WireGuard: what its `wg` and `ip` print is in files that a test can change."""

    def __init__(
        self,
        folder: Path,
        *,
        own: int = 1,
        addresses: Sequence[str] = ("10.0.0.1/32",),
        peers: Sequence[tuple[int, str]] = ((2, "10.0.0.2/32"), (3, "10.0.0.3/32")),
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.key = key(own)
        self.addresses = list(addresses)
        self.script("wg", _WG.format(folder=folder))
        self.answer("public-key", f"{self.key}\n")
        self.peers(peers)
        self.answer("endpoints", "".join(f"{key(number)}\t198.18.0.{number}:51820\n" for number, _ in peers))
        self.answer("latest-handshakes", "".join(f"{key(number)}\t0\n" for number, _ in peers))
        self.answer("transfer", "".join(f"{key(number)}\t0\t0\n" for number, _ in peers))
        self.listing(LINK + "".join(_ip_lines(address) for address in addresses))

    @property
    def device(self) -> Device:
        """The device that a reading of this node must give."""
        return Device("wg0", self.key, tuple(Prefix(address) for address in self.addresses), link_up=True)

    @property
    def allowed_ips(self) -> str:
        """What its `wg show wg0 allowed-ips` prints."""
        return (self.folder / "allowed-ips").read_text()

    @property
    def path(self) -> str:
        """A PATH that finds the stubs first."""
        return f"{self.folder}:{os.environ['PATH']}"

    @property
    def calls(self) -> list[str]:
        """The command lines that were run here, in order."""
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def peers(self, peers: Sequence[tuple[int, str]]) -> None:
        """Sets the peers: key number and the text that stands for its allowed-ips."""
        self.answer("allowed-ips", "".join(f"{key(number)}\t{prefixes}\n" for number, prefixes in peers))

    def answer(self, field: str, text: str) -> None:
        """Sets what `wg show wg0 FIELD` prints."""
        (self.folder / field).write_text(text)

    def listing(self, text: str) -> None:
        """Sets what `ip addr show dev wg0` prints."""
        (self.folder / "listing").write_text(text)
        self.script(
            "ip",
            f'#!/bin/sh\necho "ip $*" >>"{self.folder}/calls"\n'
            # With -o, one line for each address.
            "[ \"$1\" != -o ] || exec sed '/: <\\|^    link\\|^       valid/d; s/^    inet/5: wg0&/' "
            f"{self.folder}/listing\n"
            f'exec cat "{self.folder}/listing"\n',
        )

    def script(self, name: str, text: str) -> Path:
        """Puts any other program in place."""
        file = self.folder / name
        file.write_text(text)
        file.chmod(0o755)
        return file


LINK = (
    "5: wg0: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420 qdisc noqueue state UNKNOWN group default qlen 1000\n"
    "    link/none \n"
)
"""The lines of a link that is up, before those of its addresses."""


def _ip_lines(address: str) -> str:
    family = "inet6" if ":" in address else "inet"
    return f"    {family} {address} scope global wg0\n       valid_lft forever preferred_lft forever\n"
