"""Everything that logging in needs, read from disk once: identities, agent, known hosts, ssh's own configuration."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from auditor.errors import ConfigError
from auditor.nodes.framing import cleaned
from auditor.nodes.known_hosts import lookup_names
from auditor.nodes.patterns import lowered
from auditor.nodes.ssh.host_keys import KnownHosts, Lookup
from auditor.settings.ssh import SshSettings

_FIRST_CIPHER = "^aes128-gcm@openssh.com"
"""Costs the client a sixth less than the library's first choice, where both sides have it."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One host to log in to, as ssh's own configuration completes it."""

    options: asyncssh.SSHClientConnectionOptions
    host: str
    """As named; ssh's configuration may put another host in its place."""
    port: int
    user: str
    jump: str
    """`[user@]host[:port],…`; empty: none."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names to look up in known_hosts, as ssh does."""
        if self.options.host_key_alias:
            return (lowered(self.options.host_key_alias),)
        return lookup_names(self.options.host or self.host, self.port)

    def __str__(self) -> str:
        place = f"{self.options.host or self.host}:{self.port}"
        return place if self.options.host in ("", self.host) else f"{self.host} ({place})"


class Login:
    """Identities, known hosts and options for all logins, built once. Raises `ConfigError` with one clear line."""

    def __init__(self, settings: SshSettings) -> None:
        self._settings = settings
        self.known_hosts = _known_hosts(settings)
        self._config = _config_file(settings)
        self._keys, agent_keys = _identities(settings)
        self._base = asyncssh.SSHClientConnectionOptions(
            config=None,
            known_hosts=Lookup(self.known_hosts, ()),
            client_keys=list(self._keys) or (),
            agent_path=() if settings.agent else None,
            agent_identities=agent_keys or (),
            preferred_auth=["publickey"],
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_auth=False,
            gss_kex=False,
            gss_host=None,
            x509_trusted_certs=None,
            x509_trusted_cert_paths=[],
            agent_forwarding=False,
            x11_forwarding=False,
            request_pty=False,
            env=None,
            send_env=None,
            command=None,
            encoding=None,
            compression_algs=["none"],
            canonicalize_hostname=False,
            encryption_algs=_FIRST_CIPHER,
            connect_timeout=None,
            login_timeout=0,
            keepalive_interval=0,
        )
        if self._config is None and not self._keys:
            # The default identities, too, are read once and not for each node.
            self._keys = tuple(self._base.client_keys or ())
        self._check_config()

    async def destination(
        self, host: str, port: int | None, *, user: str | None = None, jumped: bool = False
    ) -> Destination:
        """Resolve how to reach a host. `jumped`: it is itself a jump host, so no further one is looked for."""
        settings = self._settings
        if user is None and not jumped and "user" in settings.model_fields_set:
            user = settings.user
        jump = "" if jumped else settings.proxy_jump
        if self._config is None:
            return Destination(self._base, host, port or 22, user or self._default_user(jumped), jump)
        options = await asyncssh.SSHClientConnectionOptions.construct(
            self._base,
            config=[str(self._config)],
            host=host,
            port=port or (),
            username=user or (),
            encryption_algs=(),
        )
        user = user or _text(options.config.get("User")) or self._default_user(jumped)
        if not jump and not jumped:
            jump = _text(options.tunnel)
        return Destination(options, host, options.port, user, jump)

    def _default_user(self, jumped: bool) -> str:
        return self._base.username if jumped else self._settings.user

    def keys(self) -> list[asyncssh.SSHKeyPair]:
        """Copy the identities for one connection: the library notes in each what that server can do.

        None: those of the options.
        """
        return [copy.copy(key) for key in self._keys]

    def _check_config(self) -> None:
        """Find faults that hold for every host; the library reads only blocks that match."""
        if self._config is None:
            return
        try:
            asyncssh.SSHClientConnectionOptions(self._base, config=[str(self._config)], host="node.invalid")
        except OSError as error:
            raise ConfigError(f"ssh.config_file: cannot read {self._config}: {error.strerror}") from None
        except (ValueError, asyncssh.Error, asyncssh.KeyImportError) as error:
            raise ConfigError(f"ssh.config_file: {cleaned(str(error))}") from None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


_GLOBAL_KNOWN_HOSTS = (Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2"))


def _known_hosts(settings: SshSettings) -> KnownHosts:
    known = KnownHosts((settings.known_hosts, *_GLOBAL_KNOWN_HOSTS))
    named = "known_hosts" in settings.model_fields_set and not settings.known_hosts.exists()
    if named or known.absent:
        raise ConfigError(
            f"ssh.known_hosts: cannot read {settings.known_hosts}: No such file or directory; "
            "gather the nodes' host keys with ssh-keyscan, verify them, and name the file there"
        )
    return known


def _config_file(settings: SshSettings) -> Path | None:
    file = settings.config_file
    if file is None:
        return None
    if not file.is_file():
        if "config_file" in settings.model_fields_set:
            raise ConfigError(f"ssh.config_file: no file at {file}")
        return None
    return file


def _identities(settings: SshSettings) -> tuple[tuple[asyncssh.SSHKeyPair, ...], list[bytes]]:
    """Load the key pairs of the named files, and the public keys for which the agent may be asked."""
    pairs: list[asyncssh.SSHKeyPair] = []
    public: list[bytes] = []
    for file in settings.identity_files:
        try:
            loaded = asyncssh.load_keypairs(str(file))
        except OSError as error:
            raise ConfigError(
                f"ssh.identity_files: cannot read {error.filename or file}: {error.strerror}"
            ) from None
        except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError, ValueError) as error:
            public.append(_held_by_agent(file, settings, error))
        else:
            pairs.extend(loaded)
            public.extend(pair.public_data for pair in loaded)
    return tuple(pairs), public


def _held_by_agent(file: Path, settings: SshSettings, error: Exception) -> bytes:
    """Read the public half of an identity that cannot be opened here, if an agent may hold the private one."""
    if "assphrase" not in str(error) and not isinstance(error, asyncssh.KeyEncryptionError):
        raise ConfigError(f"ssh.identity_files: {file}: {cleaned(str(error))}") from None
    half = file.with_name(f"{file.name}.pub")
    if settings.agent and os.environ.get("SSH_AUTH_SOCK"):
        try:
            return asyncssh.read_public_key(str(half)).public_data
        except (OSError, asyncssh.KeyImportError):
            pass
    raise ConfigError(
        f"ssh.identity_files: {file} is protected by a passphrase; add it to an ssh-agent (with {half.name} "
        "beside it), or name a key without one"
    ) from None
