"""What a machine needs for a lab."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.parts.consul import HOW as CONSUL_HOW
from tests.parts.consul import consul_binary
from tests.parts.nats import HOW as NATS_HOW
from tests.parts.nats import have_nats

WGAUDIT = Path(sys.executable).parent / "wgaudit"


def missing_parts() -> dict[str, str]:
    """What this machine lacks for a lab, and how to get it. Empty: a lab can run here."""
    how = "tests/parts/install as root on Debian"
    lacks: dict[str, str] = {}
    if os.geteuid() != 0:
        lacks["root"] = "run as root: the lab makes network namespaces"
    for program in ("wireguard-go", "wg", "ip", "nsenter", "unshare", "xargs", "nft"):
        if shutil.which(program) is None:
            lacks[program] = how
    if not Path("/usr/sbin/sshd").exists():
        lacks["sshd"] = how
    if not WGAUDIT.exists():
        lacks["wgaudit"] = f"none beside {sys.executable}; `make venv` installs it, then use .venv/bin/python"
    if not Path("/dev/net/tun").exists():
        lacks["/dev/net/tun"] = "load the kernel's tun module; in a container pass the device through"
    if consul_binary() is None:
        lacks["consul"] = CONSUL_HOW
    if not have_nats():
        lacks["nats-server"] = NATS_HOW
    return lacks
