"""NATS servers of tests: with TLS, users by nkey and their permissions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import nkeys

from tests.parts.certificates import self_signed
from tests.parts.nats import NatsServer

HOST = "localhost"


class Nkey(NamedTuple):
    """User's key pair: the file that holds its seed, and its public part."""

    file: Path
    public: str


def new_nkey(folder: Path, name: str) -> Nkey:
    """Make a user's nkey, its seed in a file of mode 0600."""
    folder.mkdir(parents=True, exist_ok=True)
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    file = folder / f"{name}.nk"
    file.touch(mode=0o600)
    file.write_bytes(seed + b"\n")
    return Nkey(file, nkeys.from_seed(bytearray(seed)).public_key.decode())


class SecureServer(NamedTuple):
    """Server with TLS that lets certain users in."""

    server: NatsServer
    ca_file: Path

    @property
    def url(self) -> str:
        """Its URL, by the name that its certificate has."""
        return f"tls://{HOST}:{self.server.port}"


def secure_server(folder: Path, users: Mapping[str, str] | Sequence[str]) -> SecureServer:
    """Make a server with TLS. users: public nkeys, each with its permissions in the configuration's language."""
    folder.mkdir(parents=True, exist_ok=True)
    cert, key = self_signed(folder, HOST)
    permissions = users if isinstance(users, Mapping) else dict.fromkeys(users, "")
    lines = [
        f'tls {{ cert_file: "{cert}", key_file: "{key}" }}',
        "authorization { users = [",
        *(f"  {{ nkey: {user} {rights} }}" for user, rights in permissions.items()),
        "] }",
    ]
    return SecureServer(NatsServer(folder, name="collect", lines=lines, monitoring=False), cert)
