"""Mesh addresses and public keys as values, with strict readers for foreign text.

A `Prefix` is canonical text (`10.0.0.1/32`, `fdaa::1/128`), exactly as `wg` prints an allowed-ip, so
that two spellings of one address are one value and a value can be found in a route table as bytes.
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NewType

from auditor.errors import InvalidValue

PublicKey = NewType("PublicKey", str)
"""44 characters of canonical base64 that stand for exactly 32 bytes."""

Prefix = NewType("Prefix", str)
"""Canonical `address/length` text, host bits zero; a host is `/32` or `/128`."""

Network = IPv4Network | IPv6Network

# 32 bytes are 43 base64 characters, of which the last carries 4 bits: its two low bits must be
# zero, or the text is a second spelling of the same key (wg itself refuses it too).
_PUBLIC_KEY = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
_LONGEST_ADDRESS = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128")
_V4_MAPPED = bytes(10) + b"\xff\xff"


def parse_public_key(text: str) -> PublicKey:
    """Read a WireGuard public key. Raises `InvalidValue` with the reason."""
    if _PUBLIC_KEY.fullmatch(text) is None:
        raise InvalidValue(f"not a public key: {_why_not_key(text)}")
    return PublicKey(text)


def _why_not_key(text: str) -> str:
    if len(text) != 44:
        return f"{len(text)} characters where 32 bytes of base64 are 44"
    return "44 characters, but not the canonical base64 of 32 bytes"


def parse_prefix(text: str) -> Prefix:
    """Read `10.0.0.1`, `10.0.0.1/32`, `10.1.0.0/24`, `fdaa::1` … into its one canonical form.

    Refused with a reason (`InvalidValue`): leading zeros, host bits, zones, IPv4-mapped IPv6, lengths
    that do not fit. Never guesses: `10.0.0.1/8` is an error, not `10.0.0.0/8`.
    """
    host = text.removesuffix("/32")
    if "/" in host or ":" in host:
        return _any_prefix(text)
    try:  # a single IPv4 address, as nearly all are: worth a shorter way
        return Prefix(f"{socket.inet_ntoa(socket.inet_pton(socket.AF_INET, host))}/32")
    except (OSError, ValueError):
        return _any_prefix(text)  # it has the words for what is wrong


def _any_prefix(text: str) -> Prefix:
    if len(text) > _LONGEST_ADDRESS:
        raise InvalidValue(f"not an address: {len(text)} characters")
    address, slash, length_text = text.partition("/")
    packed, family = _pack(address)
    bits = len(packed) * 8
    length = bits
    if slash:
        if not length_text.isascii() or not length_text.isdigit() or len(length_text) > 3:
            raise InvalidValue("prefix length is not a number")
        if len(length_text) > 1 and length_text[0] == "0":
            raise InvalidValue("prefix length with a leading zero")
        length = int(length_text)
        if length > bits:
            raise InvalidValue(f"prefix length {length} is longer than {bits} bits")
        if length < bits and int.from_bytes(packed) & ((1 << (bits - length)) - 1):
            raise InvalidValue(f"host bits set beyond /{length}")
    return Prefix(f"{socket.inet_ntop(family, packed)}/{length}")


def _pack(address: str) -> tuple[bytes, int]:
    if "%" in address:
        raise InvalidValue("an address with a zone (%) holds on one machine only")
    if ":" in address:
        try:
            packed = socket.inet_pton(socket.AF_INET6, address)
        except (OSError, ValueError):
            raise InvalidValue("not an IPv6 address") from None
        if packed.startswith(_V4_MAPPED):
            raise InvalidValue("an IPv4-mapped IPv6 address; write the IPv4 address")
        return packed, socket.AF_INET6
    try:
        return socket.inet_pton(socket.AF_INET, address), socket.AF_INET
    except (OSError, ValueError):
        raise InvalidValue(_why_not_v4(address)) from None


def _why_not_v4(address: str) -> str:
    if not address:
        return "empty"
    octets = address.split(".")
    if any(len(octet) > 1 and octet.isdigit() and octet[0] == "0" for octet in octets):
        return "not an IPv4 address: an octet with a leading zero is octal to some programs"
    return "not an IP address"


def is_mapped(text: str) -> bool:
    """Tell whether a text is an IPv4-mapped IPv6 prefix as `wg` prints it: no address that a registration may hold, yet
    a line that a route table may have."""
    address, _, length = text.removeprefix("::ffff:").partition("/")
    if not (length.isascii() and length.isdigit()) or not 96 <= int(length) <= 128:
        return False
    try:
        inner = parse_prefix(f"{address}/{int(length) - 96}")
    except InvalidValue:
        return False
    return f"::ffff:{inner.rpartition('/')[0]}/{length}" == text


def is_host(prefix: Prefix) -> bool:
    """Tell whether the prefix is one single address."""
    return prefix.endswith("/128") if ":" in prefix else prefix.endswith("/32")


def is_default_route(prefix: Prefix) -> bool:
    """Tell whether the prefix is a default route, or one of the halves that a default route is often written as.

    2000::/3 is one too: all of IPv6 that is routed at all.
    """
    return prefix.endswith(("/0", "/1")) or prefix == "2000::/3"


def format_prefix(prefix: Prefix) -> str:
    """Write a prefix for people: a host without its length."""
    return prefix.rpartition("/")[0] if is_host(prefix) else prefix


def packed(prefix: Prefix) -> bytes:
    """Return the address bytes of a prefix: 4 or 16."""
    address = prefix.rpartition("/")[0]
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def prefix_sort_key(prefix: Prefix) -> tuple[int, bytes, int]:
    """Make a sort key: IPv4 before IPv6, then by value, then the wider prefix first."""
    value = packed(prefix)
    return len(value), value, int(prefix.rpartition("/")[2])


def network(prefix: Prefix) -> Network:
    """Convert the prefix to the standard library's network object, for containment."""
    return ip_network(prefix)


def covers(wide: Network, narrow: Network) -> bool:
    """Tell whether the first network holds the whole second one."""
    if isinstance(wide, IPv4Network):
        return isinstance(narrow, IPv4Network) and wide.supernet_of(narrow)
    return isinstance(narrow, IPv6Network) and wide.supernet_of(narrow)
