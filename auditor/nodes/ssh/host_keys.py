"""Trusted host keys: known_hosts files, looked up once for each connection.

A host that is known by hashed lines alone has two lookups. The short one waits for the server to show
its key and looks at the lines that hold it. Whatever that does not settle (no such line, a kind of key that
the host is not known by, a line without the port) goes to the whole one: all lines are tried, and the server is
asked once more, for the kinds of key that are known. Only what the whole lookup would trust is trusted by
the short one.

The library gets keys that are decided already, for the names that ssh would look up. What it would ask besides,
the address above all, says nothing: a key that is known for an address is not the name's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import asyncssh
from asyncssh.public_key import decode_ssh_public_key, get_public_key_algs

from auditor.errors import ConfigError, RevocationError
from auditor.nodes.framing import cleaned
from auditor.nodes.known_hosts import KeyText, KnownLines, TrustedKeys

log = logging.getLogger(__name__)

Keys = tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]
"""Trusted host keys, certificate authorities, revoked keys."""

_READABLE = frozenset(get_public_key_algs())


class KnownHosts:
    """Known_hosts files, parsed once; those that are not there hold nothing.

    Raises `ConfigError` if one cannot be read: nothing is trusted unseen, and it may revoke a key.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        read = [(file, _content(file)) for file in dict.fromkeys(files)]
        self.files = tuple(file for file, content in read if content is not None) or tuple(
            f for f, _ in read[:1]
        )
        """Files that exist, for messages; else the first."""
        self.absent = all(content is None for _, content in read)
        try:
            self._lines = KnownLines((str(file), content) for file, content in read if content is not None)
        except RevocationError as error:
            raise ConfigError(f"ssh.known_hosts: {error}; correct it, or remove the line") from None
        for key in self._lines.revoked:
            if _imported(key) is None and (key.kind.encode() in _READABLE or "-cert-" in key.kind):
                raise ConfigError(
                    f"ssh.known_hosts: {self.place}: a line that revokes: not a {cleaned(key.kind)} key; "
                    "correct it, or remove the line"
                )
        self._kinds = _signatures(self._lines.hashed.kinds())
        self._keys: dict[KeyText, asyncssh.SSHKey | None] = {}
        _warn_of(self._lines.unreadable)

    @property
    def place(self) -> str:
        """Files with the keys, for messages."""
        return " and ".join(map(str, self.files))

    def lookups(self, names: Sequence[str]) -> list[Lookup]:
        """List the lookups of a host's keys, each to be tried where the one before it did not settle it."""
        whole = Lookup(self, names)
        if not self._kinds:
            return [whole]
        plain = self._lines.plain(names)
        # A host that has plain lines too is asked for keys of their kinds.
        preferred = "" if plain.keys or plain.authorities else self._kinds
        return [ShownKey(self, names, preferred), whole]

    def all(self, names: Sequence[str]) -> Keys:
        """Find all keys that the files have for a host; tries each hashed line."""
        return self._usable(self._lines.all(names))

    def before_shown(self, names: Sequence[str]) -> Keys:
        """Find the keys that must be known before a host shows its own: not those of hashed lines."""
        return self._usable(self._lines.before_shown(names))

    def holds(self, name: str, key: asyncssh.SSHKey) -> bool:
        """Tell whether a hashed line trusts this key for this name. Revoked keys are for `before_shown` to name."""
        return self._lines.hashed.holds(key.public_data, name)

    def _usable(self, found: TrustedKeys) -> Keys:
        keys, authorities, revoked = ([key for text in texts if (key := self._key(text))] for texts in found)
        return keys, authorities, revoked

    def _key(self, text: KeyText) -> asyncssh.SSHKey | None:
        if text not in self._keys:
            self._keys[text] = _imported(text)
        return self._keys[text]


class Lookup:
    """Lookup of a server's keys for the SSH library; remembers how many there were."""

    whole = True
    """True: a key that this lookup does not find is not known at all."""
    preferred = ""
    """Kinds of host keys to ask for first, in the library's notation. Empty: those of the known keys."""

    def __init__(self, known: KnownHosts, names: Sequence[str]) -> None:
        self._known = known
        self._names = names
        self.found = 0

    @property
    def place(self) -> str:
        """Files that decide, for messages."""
        return self._known.place

    def __call__(self, host: str, address: str, port: int | None) -> Keys:  # noqa: ARG002  (the library's words)
        keys = self._known.all(self._names)
        self.found = len(keys[0]) + len(keys[1])
        return keys

    def trusts(self, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        """Tell whether a key is trusted that the first call did not list."""
        return False


class ShownKey(Lookup):
    """Short lookup: hashed lines are looked at once the key has been shown."""

    whole = False

    def __init__(self, known: KnownHosts, names: Sequence[str], preferred: str) -> None:
        super().__init__(known, names)
        self.preferred = preferred

    def __call__(self, host: str, address: str, port: int | None) -> Keys:  # noqa: ARG002
        return self._known.before_shown(self._names)

    def trusts(self, key: asyncssh.SSHKey) -> bool:
        """Tell whether a hashed line holds this key for this host. Not asked for keys that are revoked."""
        return self._known.holds(self._names[0], key)


def _content(file: Path) -> bytes | None:
    """Read a file. None: it is not there. Raises `ConfigError`."""
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(
            f"ssh.known_hosts: cannot read {file}: {error.strerror}; it may revoke a key, "
            "so nothing is trusted without it"
        ) from None


def _warn_of(unreadable: Sequence[tuple[str, int]]) -> None:
    if not unreadable:
        return
    file, line = unreadable[0]
    more = f" and {len(unreadable) - 1} more like it" if len(unreadable) > 1 else ""
    log.warning("known_hosts: %s, line %d%s cannot be read, and trusts nobody", file, line, more)


def _signatures(kinds: Iterable[KeyText]) -> str:
    """List the algorithms of these kinds, to be put before the library's own order."""
    names = [
        algorithm.decode("ascii")
        for key in map(_imported, kinds)
        # Not enabled by default, so not for hosts that are not known by such a key.
        if key is not None and key.algorithm != b"ssh-dss"
        for algorithm in key.sig_algorithms
    ]
    return f"^{','.join(names)}" if names else ""


def _imported(key: KeyText) -> asyncssh.SSHKey | None:
    try:
        return decode_ssh_public_key(key.blob)
    except asyncssh.KeyImportError:
        # A kind of key that this library does not know cannot be trusted, nor shown by the server.
        return None
