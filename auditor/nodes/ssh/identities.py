"""Identities to log in with: keys from files, and keys that an agent holds."""

from __future__ import annotations

import asyncio
import copy
import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import asyncssh
from asyncssh.agent import SSHAgentClient, SSHAgentKeyPair

from auditor.errors import ConfigError
from auditor.nodes.framing import cleaned

log = logging.getLogger(__name__)

AGENT_SECONDS = 3.0
"""Seconds for the one question which keys an agent holds."""
_DEFAULT_NAMES = ("id_ed25519_sk", "id_ecdsa_sk", "id_ed448", "id_ed25519", "id_ecdsa", "id_rsa")

Pairs = tuple[asyncssh.SSHKeyPair, ...]


class _AgentKey(NamedTuple):
    algorithm: bytes
    blob: bytes
    comment: bytes


class Agent:
    """Agent of ssh: asked once for the keys that it holds, within a bound, and for signatures of these alone.

    `path`: of its socket. A broken one holds no keys, and `fault` says so.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._asked: asyncio.Future[tuple[_AgentKey, ...]] | None = None
        self.fault = ""

    async def keys(self) -> tuple[_AgentKey, ...]:
        """List the keys that it holds; calls at the same time wait for the same answer."""
        loop = asyncio.get_running_loop()
        if self._asked is None or self._asked.get_loop() is not loop:
            self._asked = loop.create_task(self._ask())
        return await asyncio.shield(self._asked)

    def forget(self) -> None:
        """Ask again the next time: keys come and go between sweeps."""
        if self._asked is not None and self._asked.done():
            self._asked = None

    def open(self) -> SSHAgentClient:
        """Open a connection for one login alone: one that is given up must not disturb another's signature."""
        return SSHAgentClient(self._path)

    async def _ask(self) -> tuple[_AgentKey, ...]:
        client = self.open()
        fault = ""
        try:
            async with asyncio.timeout(AGENT_SECONDS):
                pairs = await client.get_keys()
            self.fault = ""
            return tuple(
                _AgentKey(pair.algorithm, pair.public_data, pair.get_comment_bytes() or b"") for pair in pairs
            )
        except TimeoutError:
            fault = f"did not answer within {AGENT_SECONDS:g} s"
        except (OSError, EOFError, ValueError, asyncssh.Error) as error:
            fault = f"gave no keys ({cleaned(str(error)) or type(error).__name__})"
        finally:
            client.close()
        self.fault = f"the ssh agent at {cleaned(self._path)} (SSH_AUTH_SOCK) {fault}"
        log.warning("%s; only keys from files are used", self.fault)
        return ()


@dataclass(frozen=True)
class Identities:
    """Keys to log in to a host with."""

    pairs: Pairs
    agent: Agent | None
    wanted: frozenset[bytes] | None
    """Public keys for which the agent may be asked; None: all that it holds."""
    certificates: tuple[asyncssh.SSHCertificate, ...] = ()

    async def offered(self, stack: AsyncExitStack) -> list[asyncssh.SSHKeyPair]:
        """List the keys for one connection, those from files first; the library notes in each what that server can do.

        What the agent's keys need to sign is closed with the stack.
        """
        pairs = [copy.copy(pair) for pair in self.pairs]
        held = await self.agent.keys() if self.agent is not None else ()
        files = {data for pair in self.pairs for data in (pair.public_data, pair.key_public_data)}
        useful = [
            key for key in held if key.blob not in files and (self.wanted is None or key.blob in self.wanted)
        ]
        if useful and self.agent is not None:
            client = self.agent.open()
            stack.callback(client.close)
            signing: list[asyncssh.SSHKeyPair] = [SSHAgentKeyPair(client, *key) for key in useful]
            pairs += [*_certified(signing, self.certificates), *signing]
        return pairs

    @property
    def fault(self) -> str:
        """Fault of the agent, for the message of a login that failed; empty: none."""
        return self.agent.fault if self.agent is not None else ""


def _certified(
    pairs: Sequence[asyncssh.SSHKeyPair], certificates: Iterable[asyncssh.SSHCertificate]
) -> list[asyncssh.SSHKeyPair]:
    found = []
    for certificate in certificates:
        for pair in pairs:
            if pair.key_public_data == certificate.key.public_data and not pair.has_cert:
                one = copy.copy(pair)
                one.set_certificate(certificate)
                found.append(one)
    return found


def named_identities(files: Sequence[Path], agent: Agent | None) -> Identities:
    """Load the identities of the settings, each of which must be usable. Raises `ConfigError`."""
    pairs: list[asyncssh.SSHKeyPair] = []
    public: set[bytes] = set()
    for file in files:
        try:
            loaded = asyncssh.load_keypairs(str(file))
        except OSError as error:
            raise ConfigError(
                f"ssh.identity_files: cannot read {error.filename or file}: {error.strerror}"
            ) from None
        except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError, ValueError) as error:
            public.add(_held_by_agent(file, agent, error))
        else:
            pairs.extend(loaded)
            public.update(data for pair in loaded for data in (pair.public_data, pair.key_public_data))
    return Identities(tuple(pairs), agent, frozenset(public), _beside(files))


def found_identities(
    files: Sequence[Path], certificates: Sequence[Path], agent: Agent | None, *, only: bool
) -> Identities:
    """Load the identities that ssh's configuration names; what is not there or not readable is skipped as ssh does.

    `only`: of the agent's keys, those of these files alone.
    """
    pairs: list[asyncssh.SSHKeyPair] = []
    public: set[bytes] = set()
    for file in files:
        try:
            loaded = asyncssh.load_keypairs(str(file))
        except (OSError, asyncssh.KeyEncryptionError, asyncssh.KeyImportError, ValueError) as error:
            log.debug("identity %s is not used from its file: %s", file, error)
            half = _public_half(file)
            if half is not None:
                public.add(half)
        else:
            pairs.extend(loaded)
            public.update(data for pair in loaded for data in (pair.public_data, pair.key_public_data))
    extra = _certificates(certificates)
    return Identities(
        (*_certified(pairs, extra), *pairs),
        agent,
        frozenset(public) if only else None,
        (*extra, *_beside(files)),
    )


def default_identities(agent: Agent | None, *, only: bool = False) -> Identities:
    """Load ssh's default identities."""
    folder = Path("~/.ssh").expanduser()
    return found_identities([folder / name for name in _DEFAULT_NAMES], (), agent, only=only)


def _beside(files: Sequence[Path]) -> tuple[asyncssh.SSHCertificate, ...]:
    return _certificates([file.with_name(f"{file.name.removesuffix('.pub')}-cert.pub") for file in files])


def _certificates(files: Sequence[Path]) -> tuple[asyncssh.SSHCertificate, ...]:
    found: list[asyncssh.SSHCertificate] = []
    for file in files:
        try:
            found.extend(asyncssh.load_certificates(str(file)))
        except (OSError, asyncssh.KeyImportError, ValueError) as error:
            log.debug("certificate %s is not used: %s", file, error)
    return tuple(found)


def _public_half(file: Path) -> bytes | None:
    """Read the public key of an identity whose private half an agent may hold: from the file, or the one beside it."""
    for half in (file, file.with_name(f"{file.name}.pub")):
        try:
            return asyncssh.read_public_key(str(half)).public_data
        except (OSError, asyncssh.KeyImportError, ValueError):
            continue
    return None


def _held_by_agent(file: Path, agent: Agent | None, error: Exception) -> bytes:
    """Read the public half of an identity that cannot be opened here, if an agent may hold the private one."""
    protected = isinstance(error, asyncssh.KeyEncryptionError) or "assphrase" in str(error)
    half = _public_half(file)
    if half is None and not protected:
        raise ConfigError(f"ssh.identity_files: {file}: {cleaned(str(error))}") from None
    if half is not None and agent is not None:
        return half
    why = "is protected by a passphrase" if protected else "holds the public half alone"
    raise ConfigError(
        f"ssh.identity_files: {file} {why}; add it to an ssh-agent "
        f"(SSH_AUTH_SOCK {'names none' if not os.environ.get('SSH_AUTH_SOCK') else 'is not used'}"
        f"; with {file.name.removesuffix('.pub')}.pub beside it), or name a key without one"
    ) from None
