"""Preparation of logins, read from disk once: identities, agent, known hosts, ssh's own configuration."""

from __future__ import annotations

import asyncio
import fnmatch
import os
import socket
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import asyncssh
from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from auditor.errors import ConfigError, GapReason, ProbeError, UnfollowableLine
from auditor.nodes.framing import cleaned
from auditor.nodes.known_hosts import lookup_names
from auditor.nodes.patterns import lowered
from auditor.nodes.ssh.config_file import local_facts, read_config
from auditor.nodes.ssh.host_keys import KnownHosts, Lookup
from auditor.nodes.ssh.identities import (
    Agent,
    Identities,
    default_identities,
    found_identities,
    named_identities,
)
from auditor.nodes.ssh.jump import Hop, jump_chain
from auditor.nodes.ssh_config import Resolved
from auditor.settings.ssh import SshSettings

_FIRST_CIPHER = "^aes128-gcm@openssh.com"
"""Costs the client a sixth less than the library's first choice, where both sides have it."""
_GLOBAL_KNOWN_HOSTS = (Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2"))
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
_REFUSED = ("knownhostscommand", "revokedhostkeys", "bindinterface", "proxyusefdpass")
"""Directives that are not followed. Each decides trust or the way, so a host that sets one is refused."""
_ALGORITHMS: dict[str, tuple[str, Callable[[], list[bytes]]]] = {
    "kexalgorithms": ("kex_algs", get_kex_algs),
    "ciphers": ("encryption_algs", get_encryption_algs),
    "macs": ("mac_algs", get_mac_algs),
    "casignaturealgorithms": ("signature_algs", get_public_key_algs),
    "hostkeyalgorithms": ("server_host_key_algs", lambda: get_public_key_algs() + get_certificate_algs()),
}


@dataclass(frozen=True, slots=True)
class Destination:
    """Host to log in to, completed by ssh's own configuration."""

    options: asyncssh.SSHClientConnectionOptions
    named: str
    """Host as it was asked for; ssh's configuration may put another one in its place."""
    host: str
    port: int
    user: str
    names: tuple[str, ...]
    """To look up in known_hosts, as ssh does."""
    known_hosts: KnownHosts
    identities: Identities
    jump: str = ""
    """`[user@]host[:port],…`; empty: none."""
    proxy_command: str = ""
    algorithms: str = ""
    """Kinds of host keys that the configuration asks for; empty: its own choice."""
    family: int = socket.AF_UNSPEC
    bind: str = ""
    alias: str = ""

    def __str__(self) -> str:
        place = f"{self.host}:{self.port}"
        return place if lowered(self.named) == self.host else f"{self.named} ({place})"


class Login:
    """Identities, known hosts and options for all logins, built once. Raises `ConfigError` with one clear line."""

    def __init__(self, settings: SshSettings) -> None:
        self._settings = settings
        self._marks = {file: _mark(file) for file in _read_at_first(settings)}
        """By file that was read: its mark before."""
        self._config = read_config(settings)
        self._local = local_facts(settings.connect_timeout)
        self._agents: dict[str, Agent] = {}
        self._known: dict[tuple[Path, ...], KnownHosts] = {}
        self._found: dict[tuple[object, ...], Identities] = {}
        self._resolved: dict[tuple[str, int | None, str | None, bool], Destination] = {}
        known = self._known_hosts((settings.known_hosts, *_GLOBAL_KNOWN_HOSTS))
        self._check_known_hosts(known)
        self._identities = self._named_identities()
        self._base = asyncssh.SSHClientConnectionOptions(
            config=None,
            known_hosts=Lookup(known, ()),
            client_keys=None,
            agent_path=None,
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
        self._options = lru_cache(maxsize=64)(self._built)

    async def destination(
        self, host: str, port: int | None, *, user: str | None = None, jumped: bool = False
    ) -> Destination:
        """Resolve how to reach a host. `jumped`: it is itself a jump host, and what leads to it is known.

        Raises `ProbeError`: ssh's configuration has a line for it that cannot be followed.
        """
        key = (host, port, user, jumped)
        found = self._resolved.get(key)
        if found is not None:
            return found
        try:
            if self._config.has_exec:
                return await asyncio.to_thread(self._destination, *key)
            found = self._resolved[key] = self._destination(*key)
        except UnfollowableLine as error:
            raise ProbeError(
                GapReason.SSH_PROTOCOL, f"{host}: ssh.config_file: {cleaned(str(error))}"
            ) from None
        except ConfigError as error:
            raise ProbeError(GapReason.SSH_PROTOCOL, f"{host}: {cleaned(str(error))}") from None
        return found

    def begin(self) -> None:
        """Begin a new sweep: an agent is asked again which keys it holds."""
        for agent in self._agents.values():
            agent.forget()

    def is_outdated(self) -> bool:
        """Tell whether a file that it was built of has changed since: a host was added, a certificate renewed."""
        return any(_mark(file) != mark for file, mark in self._marks.items())

    def stay(self) -> None:
        """Go on with what was read, until a file changes once more."""
        self._marks = {file: _mark(file) for file in self._marks}

    async def keys(self, destination: Destination, stack: AsyncExitStack) -> list[asyncssh.SSHKeyPair]:
        """List the identities for one connection; the agent's connection is closed with the stack."""
        return await destination.identities.offered(stack)

    # --- one host ---

    def _destination(self, host: str, port: int | None, user: str | None, jumped: bool) -> Destination:
        settings = self._settings
        if user is None and not jumped and "user" in settings.model_fields_set:
            user = settings.user
        found = self._config.resolve(host, self._local, user=user or "", port=port)
        for keyword in _REFUSED:
            if found.text(keyword) and lowered(found.text(keyword)) not in ("no", "false"):
                raise UnfollowableLine(f"{found.place(keyword)}: {keyword} is not followed here")
        port = found.port or 22
        jump, command = self._way(found, jumped=jumped)
        algorithms = tuple((keyword, found.text(keyword)) for keyword in _ALGORITHMS if found.text(keyword))
        chosen = {keyword: _usable(keyword, text, f"{found.place(keyword)}") for keyword, text in algorithms}
        kinds = chosen.pop("hostkeyalgorithms", "")
        alias = lowered(found.text("hostkeyalias"))
        return Destination(
            options=self._options(tuple((keyword, text) for keyword, text in chosen.items() if text)),
            named=host,
            host=found.host,
            port=port,
            user=found.user or (self._local.user if jumped else settings.user),
            names=(alias,) if alias else lookup_names(found.host, port),
            known_hosts=self._known_for(found),
            identities=self._identities_for(found),
            jump=jump,
            proxy_command=command,
            algorithms=kinds,
            family=_FAMILIES.get(lowered(found.text("addressfamily")), socket.AF_UNSPEC),
            bind=found.text("bindaddress"),
            alias=alias,
        )

    def _way(self, found: Resolved, *, jumped: bool) -> tuple[str, str]:
        """Find the hops that lead to a host, or the command that does."""
        if not jumped and self._settings.proxy_jump:
            return jump_chain(self._settings.proxy_jump, self._hops_before), ""
        if not jumped and found.text("proxyjump"):
            return jump_chain(found.text("proxyjump"), self._hops_before, str(found.place("proxyjump"))), ""
        return "", found.text("proxycommand")

    def _hops_before(self, hop: Hop) -> tuple[str, str]:
        """Find the hops that ssh's configuration puts before a jump host, and their place in it."""
        found = self._config.resolve(hop.host, self._local, user=hop.user or "", port=hop.port)
        text = found.text("proxyjump")
        return text, str(found.place("proxyjump")) if text else ""

    def _known_for(self, found: Resolved) -> KnownHosts:
        settings = self._settings
        user: tuple[Path, ...] = (settings.known_hosts,)
        if "known_hosts" not in settings.model_fields_set and found.texts("userknownhostsfile"):
            user = _files(found.texts("userknownhostsfile"))
        everywhere: tuple[Path, ...] = _GLOBAL_KNOWN_HOSTS
        if found.texts("globalknownhostsfile"):
            everywhere = _files(found.texts("globalknownhostsfile"))
        return self._known_hosts((*user, *everywhere))

    def _known_hosts(self, files: tuple[Path, ...]) -> KnownHosts:
        if files not in self._known:
            self._marks |= {file: _mark(file) for file in files}
            self._known[files] = KnownHosts(files)
        return self._known[files]

    def _check_known_hosts(self, known: KnownHosts) -> None:
        settings = self._settings
        named = "known_hosts" in settings.model_fields_set
        if named:
            missing = not settings.known_hosts.exists()
        else:
            elsewhere = ("userknownhostsfile", "globalknownhostsfile")
            missing = known.absent and not any(map(self._config.mentions, elsewhere))
        if missing:
            raise ConfigError(
                f"ssh.known_hosts: cannot read {settings.known_hosts}: No such file or directory; "
                "gather the nodes' host keys with ssh-keyscan, verify them, and name the file there"
            )

    def _named_identities(self) -> Identities | None:
        if not self._settings.identity_files:
            return None
        return named_identities(self._settings.identity_files, self._agent(""))

    def _identities_for(self, found: Resolved) -> Identities:
        if self._identities is not None:
            return self._identities
        files, certificates = found.texts("identityfile"), found.texts("certificatefile")
        only = lowered(found.text("identitiesonly")) in ("yes", "true")
        agent = found.text("identityagent") if found.texts("identityagent") != ("none",) else "none"
        key = (files, certificates, only, agent)
        if key not in self._found:
            spoken = self._agent(agent)
            self._found[key] = (
                found_identities(_files(files), _files(certificates), spoken, only=only)
                if files
                else default_identities(spoken, only=only)
            )
        return self._found[key]

    def _agent(self, named: str) -> Agent | None:
        """Find the agent that is named: a path, a variable's name, `none`; empty: SSH_AUTH_SOCK's."""
        if not self._settings.agent or named == "none":
            return None
        path = named
        if named in ("", "SSH_AUTH_SOCK"):
            path = os.environ.get("SSH_AUTH_SOCK", "")
        elif named.startswith("$"):
            path = os.environ.get(named[1:].strip("{}"), "")
        if not path:
            return None
        return self._agents.setdefault(path, Agent(path))

    def _built(self, algorithms: tuple[tuple[str, str], ...]) -> asyncssh.SSHClientConnectionOptions:
        if not algorithms:
            return self._base
        named = {_ALGORITHMS[keyword][0]: text for keyword, text in algorithms}
        return asyncssh.SSHClientConnectionOptions(self._base, **named)


def _read_at_first(settings: SshSettings) -> Iterable[Path]:
    """List the files that every login is built of, and those that may be put beside them."""
    for file in settings.identity_files:
        yield file
        yield file.with_name(f"{file.name}-cert.pub")
    if settings.config_file is not None:
        yield settings.config_file


def _mark(file: Path) -> tuple[int, int, int] | None:
    """Make a value that changes with a file's content; None: it is not there, or cannot be looked at."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _files(texts: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(Path(text) for text in texts if lowered(text) != "none")


def _usable(keyword: str, text: str, place: str) -> str:
    """Leave out the algorithms that this program does not have, as ssh does for those that it has not."""
    known = [name.decode("ascii") for name in _ALGORITHMS[keyword][1]()]
    mark = text[0] if text[:1] in tuple("+-^") else ""
    names = [name for name in text[len(mark) :].split(",") if fnmatch.filter(known, name)]
    if not names and mark:
        return ""
    if not names:
        raise UnfollowableLine(f"{place}: {keyword}: none of these is known here")
    return mark + ",".join(names)
