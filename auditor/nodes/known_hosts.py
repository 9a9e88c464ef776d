"""Hashed lines of a known_hosts file, looked up without trying each of them for each connection.

Debian's ssh hashes every host name that it writes there. Each line has its own salt, so to look up a host
is to try them all. But the key stands in clear: once a server has shown its key, only the lines with that
very key can speak for it.
"""

from __future__ import annotations

import binascii
import hmac
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple


class HashedLine(NamedTuple):
    """One line whose host is hashed."""

    salt: bytes
    digest: bytes
    marker: str
    """`@cert-authority`, `@revoked` or nothing."""
    key: str
    """Key type and base64, as it stands there."""


def split_hashed(text: str) -> tuple[str, tuple[HashedLine, ...]]:
    """Take the hashed lines out of a known_hosts text. Raises `ValueError` naming the line's number."""
    plain, hashed = [], []
    for number, line in enumerate(text.splitlines(), 1):
        marker, words = "", line.split(None, 2)
        if words and words[0].startswith("@"):
            marker, words = words[0], line.split(None, 3)[1:]
        if not words or not words[0].startswith("|"):
            plain.append(line)
            continue
        hashed.append(_parsed(words, marker, number))
    return "\n".join(plain), tuple(hashed)


def _parsed(words: list[str], marker: str, number: int) -> HashedLine:
    parts = words[0].split("|")
    if (
        len(words) < 3
        or len(parts) != 4
        or parts[1] != "1"
        or marker not in ("", "@cert-authority", "@revoked")
    ):
        raise ValueError(f"line {number}: not a hashed host and a key")
    try:
        salt, digest = (binascii.a2b_base64(part) for part in parts[2:])
    except binascii.Error:
        raise ValueError(f"line {number}: host hash is not base64") from None
    return HashedLine(salt, digest, marker, " ".join(words[1:]))


def lines_for(hashed: Iterable[HashedLine], host: str, address: str, port: int | None) -> list[HashedLine]:
    """Find the lines for a host, by its name or its address.

    As ssh does, the names without the port are tried if none has it. `port` None: the default one.
    """
    if port is not None:
        found = _matching(hashed, _names(host, address, port))
        if found:
            return found
    return _matching(hashed, _names(host, address, None))


def _matching(hashed: Iterable[HashedLine], names: list[bytes]) -> list[HashedLine]:
    digest = hmac.digest
    return [line for line in hashed for name in names if digest(line.salt, name, "sha1") == line.digest]


class HashedHosts:
    """The hashed lines of one file, indexed by the keys that they hold."""

    def __init__(self, lines: Iterable[HashedLine]) -> None:
        self.lines = tuple(lines)
        self.marked = tuple(line for line in self.lines if line.marker)
        """Authorities and revoked keys. They count before a key is shown, so they are not indexed."""
        self._by_key: dict[bytes, list[HashedLine]] = {}
        for line in self.lines:
            blob = b"" if line.marker else _blob(line.key)
            if blob:
                self._by_key.setdefault(blob, []).append(line)

    def kinds(self) -> list[HashedLine]:
        """One line of each kind of key that hosts are known by, the most common kind first."""
        kinds = Counter[str]()
        lines: dict[str, HashedLine] = {}
        for found in self._by_key.values():
            kind = found[0].key.partition(" ")[0]
            kinds[kind] += len(found)
            lines.setdefault(kind, found[0])
        return [lines[kind] for kind, _ in kinds.most_common()]

    def with_key(self, blob: bytes, host: str, address: str, port: int | None) -> list[HashedLine]:
        """The lines without a marker that hold this key (as it goes over the wire) and name the host so.

        A line without the port says nothing here about a port of its own: it counts only where no line has
        the port, and that takes a look at all of them (`lines_for`).
        """
        return _matching(self._by_key.get(blob, ()), _names(host, address, port))

    def marked_for(self, marker: str, host: str, address: str, port: int | None) -> list[HashedLine]:
        """The lines with this marker that name the host, with its port where it has one of its own.

        What is revoked is so with the port or without.
        """
        names = _names(host, address, port)
        if marker == "@revoked" and port is not None:
            names += _names(host, address, None)
        return _matching((line for line in self.marked if line.marker == marker), names)


def _blob(key: str) -> bytes:
    """Decode a public key's bytes. Returns none where they cannot be read: no server can show such a key."""
    try:
        return binascii.a2b_base64(key.split()[1])
    except binascii.Error:
        return b""


def _names(host: str, address: str, port: int | None) -> list[bytes]:
    names = [name.encode() for name in dict.fromkeys((host, address)) if name]
    return names if port is None else [b"[%s]:%d" % (name, port) for name in names]
