"""Trusted host keys: one known_hosts file, looked up once for each connection.

A host that is known by hashed lines alone has two lookups. The short one waits for the server to show
its key and looks at the lines that hold it. Whatever that does not settle (no such line, a kind of key that
the host is not known by, a line without the port) goes to the whole one: all lines are tried, and the server is
asked once more, for the kinds of key that are known. Only what the whole lookup would trust is trusted by
the short one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import asyncssh

from auditor.errors import ConfigError
from auditor.nodes.framing import cleaned
from auditor.nodes.known_hosts import HashedHosts, HashedLine, lines_for, split_hashed

Keys = tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]
"""Trusted host keys, certificate authorities, revoked keys."""

_PORT = 22


class KnownHosts:
    """One known_hosts file, parsed once. Raises `ConfigError` if it cannot be read: nothing is trusted unseen."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            plain, hashed = split_hashed(file.read_text(encoding="utf-8"))
            self._plain = asyncssh.import_known_hosts(plain)
        except OSError as error:
            raise ConfigError(
                f"ssh.known_hosts: cannot read {file}: {error.strerror}; "
                "gather the nodes' host keys with ssh-keyscan, verify them, and name the file there"
            ) from None
        except (ValueError, asyncssh.KeyImportError) as error:
            raise ConfigError(f"ssh.known_hosts: {file}: {cleaned(str(error))}") from None
        self._hashed = HashedHosts(hashed)
        self._revokes = "@revoked" in plain
        self._kinds = _signatures(self._hashed.kinds())

    def lookups(self, host: str, port: int) -> list[Lookup]:
        """List the lookups of a host's keys, each to be tried where the one before it did not settle it."""
        whole = Lookup(self)
        if not self._kinds:
            return [whole]
        keys, authorities, _ = self._plain.match(host, "", _own(port))[:3]
        # A host that has plain lines too is asked for keys of their kinds.
        preferred = "" if keys or authorities else self._kinds
        return [ShownKey(self, preferred), whole]

    def keys_for(self, host: str, address: str, port: int | None) -> Keys:
        """Find all keys that the file has for a host; tries each hashed line."""
        keys, authorities, revoked = self._named(host, address, port)
        for line in lines_for(self._hashed.lines, host, address, port):
            if line.marker != "@revoked":
                (authorities if line.marker else keys).extend(_imported([line]))
        return keys, authorities, revoked

    def keys_before(self, host: str, address: str, port: int | None) -> Keys:
        """Find the keys that must be known before a host shows its own: not those of hashed lines."""
        keys, authorities, revoked = self._named(host, address, port)
        authorities += _imported(self._hashed.marked_for("@cert-authority", host, address, port))
        return keys, authorities, revoked

    def has(self, host: str, address: str, port: int | None, key: asyncssh.SSHKey) -> bool:
        """Whether a hashed line trusts this key for this host. Revoked keys are for `keys_before` to name."""
        return key in _imported(self._hashed.with_key(key.public_data, host, address, port))

    def _named(self, host: str, address: str, port: int | None) -> Keys:
        """Find the keys of plain lines, and all that are revoked."""
        keys, authorities, revoked = (list(found) for found in self._plain.match(host, address, port)[:3])
        revoked += _imported(self._hashed.marked_for("@revoked", host, address, port))
        if self._revokes and port is not None:
            # Revoked with the port or without, it is revoked; the library looks at one of the two.
            revoked += self._plain.match(host, address, None)[2]
            for name in filter(None, (host, address)):
                revoked += self._plain.match(f"[{name}]:{port}", "", None)[2]
        return keys, authorities, revoked


class Lookup:
    """Gives the SSH library the keys of a server; remembers how many there were."""

    whole = True
    """Whether what it does not know is not known."""
    preferred = ""
    """Kinds of host keys to ask for first, in the library's notation. Empty: those of the known keys."""

    def __init__(self, known: KnownHosts) -> None:
        self._known = known
        self.found = 0

    def __call__(self, host: str, address: str, port: int | None) -> Keys:
        keys = self._known.keys_for(host, address, port)
        self.found = len(keys[0]) + len(keys[1])
        return keys

    def trusts(self, host: str, address: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        """Whether a key is trusted that is not among those that the call gave."""
        return False


class ShownKey(Lookup):
    """The short lookup: hashed lines are looked at once the key has been shown."""

    whole = False

    def __init__(self, known: KnownHosts, preferred: str) -> None:
        super().__init__(known)
        self.preferred = preferred

    def __call__(self, host: str, address: str, port: int | None) -> Keys:
        return self._known.keys_before(host, address, port)

    def trusts(self, host: str, address: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Whether a hashed line holds this key for this host. Not asked for keys that are revoked."""
        return self._known.has(host, address, _own(port), key)


def _own(port: int) -> int | None:
    """Convert ssh's own port, which known_hosts does not name, to None."""
    return None if port == _PORT else port


def _signatures(kinds: Iterable[HashedLine]) -> str:
    """List the algorithms of these kinds, to be put before the library's own order."""
    names = [
        algorithm.decode("ascii")
        for key in _imported(kinds)
        # Not enabled by default, so not for hosts that are not known by such a key.
        if key.algorithm != b"ssh-dss"
        for algorithm in key.sig_algorithms
    ]
    return f"^{','.join(names)}" if names else ""


def _imported(lines: Iterable[HashedLine]) -> list[asyncssh.SSHKey]:
    keys = []
    for line in lines:
        try:
            keys.append(asyncssh.import_public_key(line.key))
        except asyncssh.KeyImportError:
            # A kind of key that this library does not know cannot be trusted, nor shown by the server.
            continue
    return keys
