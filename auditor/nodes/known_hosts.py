"""Hashed lines of a known_hosts file, looked up without a parse and a slow hash for each connection.

Debian's ssh hashes every host name that it writes there. Each line has its own salt, so a look-up must
try them all: one C call a line, instead of the objects that the SSH library builds for it.
"""

from __future__ import annotations

import binascii
import hmac
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
    """Takes the hashed lines out of a known_hosts text. Raises `ValueError` naming the line's number."""
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
    """The lines for a host, by its name or its address.

    As ssh does, the names without the port are tried if none has it. `port` None: the default one.
    """
    names = [name.encode() for name in dict.fromkeys((host, address)) if name]
    if port is not None:
        with_port = [b"[%s]:%d" % (name, port) for name in names]
        found = _matching(hashed, with_port)
        if found:
            return found
    return _matching(hashed, names)


def _matching(hashed: Iterable[HashedLine], names: list[bytes]) -> list[HashedLine]:
    digest = hmac.digest
    return [line for line in hashed for name in names if digest(line.salt, name, "sha1") == line.digest]
