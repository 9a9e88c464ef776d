"""Login at the NATS server, from the settings: its address, how TLS is checked, and the user's nkey."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import NamedTuple

import nkeys
from pydantic import SecretStr

from auditor.disk.ownership import other_readers
from auditor.errors import ConfigError
from auditor.settings.collectors import CollectorSettings, NatsAddress
from auditor.settings.secret import secret_in_file
from auditor.values.addresses import Prefix

_SEED = "collectors.nkey_file"


@dataclass(frozen=True, slots=True)
class NatsLogin:
    """Server to log in at, and by what."""

    server: NatsAddress
    tls: ssl.SSLContext | None
    """How the server's certificate is checked; None: it is spoken to in the clear."""
    seed: SecretStr | None
    """Seed of the user's nkey; None: no login."""
    user: str
    """Public part of that key, which the server's configuration names; "" without one."""
    refused: tuple[Prefix, ...]
    """Prefixes of the mesh, by which the server must not be reached."""

    def in_mesh(self, host: str) -> bool:
        """Tell whether the host is written as an address of the mesh. A name is not looked up."""
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in ip_network(prefix) for prefix in self.refused)

    def mesh_words(self, host: str) -> str:
        """Word why the server is not spoken to at this address."""
        return (
            f"collectors.nats: {host} lies in mesh.pools: the mesh that is audited may lead elsewhere; name the server "
            "by its underlay address, or set collectors.over_mesh if that is what you want"
        )


def read_login(settings: CollectorSettings, pools: Iterable[Prefix]) -> NatsLogin:
    """Read the files that the settings name, once. Asks nothing over the network.

    pools: those of the mesh. Raises `ConfigError`, never with a secret.
    """
    server = settings.server
    if server is None:
        raise ConfigError("collectors.nats is missing: the server that collectors are asked through")
    seed = user = None
    if settings.nkey_file is not None:
        seed, user = _read_seed(settings.nkey_file)
    refused = () if settings.over_mesh else tuple(pools)
    login = NatsLogin(server, _tls(settings) if server.tls else None, seed, user or "", refused)
    if login.in_mesh(server.host):
        raise ConfigError(login.mesh_words(server.host))
    return login


def _read_seed(path: Path) -> tuple[SecretStr, str]:
    """Read the seed of a user's nkey, and its public part."""
    seed = secret_in_file(path, _SEED, "the seed of an nkey, SU…,")
    if readers := other_readers(path):
        raise ConfigError(f"{_SEED}: {path}: {readers}; chmod 600 it")
    text = seed.get_secret_value()
    try:
        if not text.startswith("SU"):
            raise ValueError("no user's seed")
        pair = nkeys.from_seed(bytearray(text.encode()))
        user = pair.public_key.decode()
        pair.wipe()
    except (nkeys.NkeysError, ValueError, AssertionError):
        # The library's words may hold what it was given.
        raise ConfigError(f"{_SEED}: {path} holds no seed of a user's nkey, which begins with SU") from None
    return seed, user


def _tls(settings: CollectorSettings) -> ssl.SSLContext:
    place = "collectors.ca_file"
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        place = "collectors.cert_file, collectors.key_file"
        if settings.cert_file is not None and settings.key_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file, password=_no_password)
    except ssl.SSLError as error:
        raise ConfigError(f"{place}: not usable PEM files, or they do not fit: {error.reason}") from None
    except OSError as error:
        raise ConfigError(f"{place}: cannot read: {error.strerror}") from None
    return context


def _no_password() -> str:
    # Without this, OpenSSL would ask the terminal, and a service would hang.
    raise ConfigError(
        "collectors.key_file: is encrypted; give a key without a passphrase, readable by wgaudit alone"
    )


class UserKey(NamedTuple):
    """Key pair of a user of NATS."""

    seed: SecretStr
    public: str
    """Its public part, which the server's configuration names."""


def new_user_key() -> UserKey:
    """Make the nkey of a new user."""
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    pair = nkeys.from_seed(bytearray(seed))
    public = pair.public_key.decode()
    pair.wipe()
    return UserKey(SecretStr(seed.decode()), public)
