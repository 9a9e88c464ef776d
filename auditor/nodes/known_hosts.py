"""Lines of known_hosts files, and their keys for a name, read and looked up as by OpenSSH.

A file is bytes, and a line ends at `\\n` alone: other programs, and Python's `splitlines`, end it at a form feed
too, and what a server said of itself in a comment would then stand on a line of its own. A line that ssh cannot read
trusts nobody. Keys stay bytes here; nothing else reads the text again.

Debian's ssh hashes every host name that it writes there. Each line has its own salt, so to look up a host
is to try them all. But the key stands in clear: once a server has shown its key, only the lines with that
very key can speak for it.
"""

from __future__ import annotations

import binascii
import hmac
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from auditor.errors import RevocationError, UnreadableLine
from auditor.nodes.patterns import lowered, matches_list

PORT = 22
"""Port that known_hosts does not name."""

Marker = Literal["", "@cert-authority", "@revoked"]
_MARKERS: dict[bytes, Marker] = {b"@cert-authority": "@cert-authority", b"@revoked": "@revoked"}


class KeyText(NamedTuple):
    """A public key as it goes over the wire, and the name of its kind."""

    kind: str
    blob: bytes


class HashedLine(NamedTuple):
    """One line whose host is hashed."""

    salt: bytes
    digest: bytes
    marker: Marker
    key: KeyText


class _PlainLine(NamedTuple):
    patterns: str
    marker: Marker
    key: KeyText


class TrustedKeys(NamedTuple):
    """Keys that lines hold for one host: its own, authorities, and revoked ones."""

    keys: list[KeyText]
    authorities: list[KeyText]
    revoked: list[KeyText]


def lookup_names(host: str, port: int) -> tuple[str, ...]:
    """List the names that ssh looks up for a host, the next one where the one before it has no key.

    Where `HostKeyAlias` is set it is the only name, and nothing is asked here.
    """
    host = lowered(host)
    return (host,) if port == PORT else (f"[{host}]:{port}", host)


class KnownLines:
    """Index of the lines of known_hosts files, by name and, where that is hashed, by key.

    `files`: name and content of each. Raises `RevocationError`: a line that revokes a key and cannot be read.
    """

    def __init__(self, files: Iterable[tuple[str, bytes]]) -> None:
        self.unreadable: list[tuple[str, int]] = []
        """File and number of each line that ssh skips too."""
        self.revoked: list[KeyText] = []
        """Every key that is revoked for somebody."""
        self._exact: dict[str, list[_PlainLine]] = {}
        self._patterns: list[_PlainLine] = []
        hashed: list[HashedLine] = []
        for name, content in files:
            for number, line in enumerate(content.split(b"\n"), 1):
                try:
                    self._take(line, hashed)
                except UnreadableLine as error:
                    if _revokes(line):
                        raise RevocationError(
                            f"{name}: line {number}: a line that revokes: {error}"
                        ) from None
                    self.unreadable.append((name, number))
        self.hashed = HashedLines(hashed)

    def _take(self, line: bytes, hashed: list[HashedLine]) -> None:
        read = _parsed(line)
        if read is None:
            return
        marker, hosts, key = read
        if marker == "@revoked":
            self.revoked.append(key)
        if hosts.startswith(b"|"):
            hashed.append(HashedLine(*_salt_and_digest(hosts), marker, key))
            return
        # Each sequence of bytes has a text of its own, so nothing is guessed and nothing fails.
        patterns = lowered(hosts.decode("utf-8", "surrogateescape"))
        entry = _PlainLine(patterns, marker, key)
        if any(character in patterns for character in "*?!"):
            self._patterns.append(entry)
        else:
            for name in dict.fromkeys(patterns.split(",")):
                self._exact.setdefault(name, []).append(entry)

    def plain(self, names: Sequence[str]) -> TrustedKeys:
        """Find the keys that lines in clear hold for a host, and all that are revoked for it."""
        return self._found(names, hashed=False)

    def all(self, names: Sequence[str]) -> TrustedKeys:
        """Find the keys that all lines hold for a host; tries each hashed one."""
        return self._found(names, hashed=True)

    def before_shown(self, names: Sequence[str]) -> TrustedKeys:
        """Find the keys to know before a host shows its own: all but those of hashed lines."""
        found = self.plain(names)
        return found._replace(
            authorities=found.authorities
            + [line.key for line in self.hashed.marked("@cert-authority", names)]
        )

    def _found(self, names: Sequence[str], *, hashed: bool) -> TrustedKeys:
        found = TrustedKeys([], [], [line.key for line in self.hashed.marked("@revoked", names)])
        for name in names:
            here: list[KeyText] = []
            lines: list[_PlainLine | HashedLine] = [*self._exact.get(name, ())]
            lines += [line for line in self._patterns if matches_list(name, line.patterns)]
            if hashed:
                lines += [line for line in self.hashed.named([name]) if line.marker != "@revoked"]
            for line in lines:
                {"": here, "@cert-authority": found.authorities, "@revoked": found.revoked}[
                    line.marker
                ].append(line.key)
            # Any key under the name with the port, even of another kind: the name without it says nothing more.
            if not found.keys:
                found.keys.extend(here)
        return found


class HashedLines:
    """Lines whose host is hashed, indexed by the keys that they hold."""

    def __init__(self, lines: Iterable[HashedLine]) -> None:
        self._lines = tuple(lines)
        self._marked = tuple(line for line in self._lines if line.marker)
        self._by_key: dict[bytes, list[HashedLine]] = {}
        for line in self._lines:
            if not line.marker:
                self._by_key.setdefault(line.key.blob, []).append(line)

    def kinds(self) -> list[KeyText]:
        """List one key of each kind that hosts are known by, the most common kind first."""
        kinds = Counter[str]()
        keys: dict[str, KeyText] = {}
        for found in self._by_key.values():
            key = found[0].key
            kinds[key.kind] += len(found)
            keys.setdefault(key.kind, key)
        return [keys[kind] for kind, _ in kinds.most_common()]

    def holds(self, blob: bytes, name: str) -> bool:
        """Tell whether a line without a marker holds this key for this very name."""
        return bool(_matching(self._by_key.get(blob, ()), [name]))

    def named(self, names: Sequence[str]) -> list[HashedLine]:
        """Find the lines for any of these names; tries each of them."""
        return _matching(self._lines, names)

    def marked(self, marker: Marker, names: Sequence[str]) -> list[HashedLine]:
        """Find the lines with this marker for any of these names."""
        return _matching((line for line in self._marked if line.marker == marker), names)


def _matching(lines: Iterable[HashedLine], names: Sequence[str]) -> list[HashedLine]:
    digest = hmac.digest
    encoded = [name.encode("utf-8", "surrogateescape") for name in names]
    return [line for line in lines if any(digest(line.salt, name, "sha1") == line.digest for name in encoded)]


def _parsed(line: bytes) -> tuple[Marker, bytes, KeyText] | None:
    """Read one line as ssh does. None: blank or a comment. Raises `UnreadableLine`."""
    line = line.partition(b"\0")[0].removesuffix(b"\r").strip(b" \t")
    if not line or line.startswith(b"#"):
        return None
    marker: Marker = ""
    first, rest = _word(line)
    if first.startswith(b"@"):
        found = _MARKERS.get(first)
        if found is None:
            raise UnreadableLine("not a marker that ssh knows")
        marker = found
        first, rest = _word(rest)
    kind, rest = _word(rest)
    text, _ = _word(rest)
    if not first or not kind or kind.startswith(b"#") or first.startswith(b"@"):
        raise UnreadableLine("no host and key")
    return marker, first, _key(kind, text)


def _word(text: bytes) -> tuple[bytes, bytes]:
    """Split off the first word; only blanks and tabs end one."""
    end = min((at for at in (text.find(b" "), text.find(b"\t")) if at >= 0), default=len(text))
    return text[:end], text[end:].lstrip(b" \t")


def _key(kind: bytes, text: bytes) -> KeyText:
    try:
        blob = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise UnreadableLine("the key is not base64") from None
    if len(text) % 4:
        raise UnreadableLine("the key is not base64")
    # The kind stands in the key again, with its length before it.
    if not kind or blob[: 4 + len(kind)] != len(kind).to_bytes(4) + kind or len(blob) <= 4 + len(kind):
        raise UnreadableLine("the key is not of the kind that stands before it")
    return KeyText(kind.decode("latin-1"), blob)


def _salt_and_digest(hosts: bytes) -> tuple[bytes, bytes]:
    parts = hosts.split(b"|")
    if len(parts) != 4 or parts[1] != b"1":
        raise UnreadableLine("not a hashed host")
    try:
        salt, digest = (binascii.a2b_base64(part, strict_mode=True) for part in parts[2:])
    except binascii.Error:
        raise UnreadableLine("the host's hash is not base64") from None
    if len(salt) != 20 or len(digest) != 20:
        raise UnreadableLine("the host's hash has another length")
    return salt, digest


def _revokes(line: bytes) -> bool:
    """Tell whether a line that cannot be read was meant to revoke a key, however it is spelled."""
    return line.lstrip(b" \t\r").lower().startswith(b"@revoke")
