"""Choice of a call's proxy, as curl and Go read the environment; a variable that cannot be used is named.

`http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in small letters or capitals. Small ones win, and one that is
set and empty means: no proxy. An entry of `no_proxy` is `*`, a host's name (its subdomains are meant too, with or
without a dot in front), an address or an address block; names and addresses may have a port behind them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from auditor.errors import DeliveryError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_BETWEEN = re.compile(r"[,\s]+")

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class ChosenProxy:
    """Proxy that the environment sets for one URL."""

    variable: str
    """Name of the variable that sets it."""
    url: SecretStr
    """With scheme and without user and password."""
    auth: tuple[str, SecretStr] | None
    unread: int
    """Entries of `no_proxy` that say nothing which could be understood; they match no host."""

    def __str__(self) -> str:
        """Describe the proxy in a few words, without its password."""
        ignored = f"; entries of NO_PROXY that cannot be read: {self.unread}" if self.unread else ""
        return f"the proxy of {self.variable}{ignored}"


def chosen_proxy(url: str, environment: Mapping[str, str]) -> ChosenProxy | None:
    """Choose the proxy for an http or https URL; None: it is called directly.

    Raises `DeliveryError`, to be tried again, that names the variable and never its value.
    """
    split = urlsplit(url)
    found = _first(environment, f"{split.scheme}_proxy", "all_proxy")
    if found is None:
        return None
    variable, value = found
    bypass = _first(environment, "no_proxy")
    entries = [entry for entry in _BETWEEN.split(bypass[1] if bypass else "") if entry]
    port = split.port or _DEFAULT_PORTS[split.scheme]
    host = (split.hostname or "").rstrip(".")
    if any(_matches(entry, host, port) for entry in entries):
        return None
    return _proxy(variable, value, sum(not _readable(entry) for entry in entries))


def _first(environment: Mapping[str, str], *names: str) -> tuple[str, str] | None:
    """Find name and value of the first variable that is set; None where none is, or the first is empty."""
    for name in (spelling for each in names for spelling in (each, each.upper())):
        if name in environment:
            value = environment[name].strip()
            return (name, value) if value else None
    return None


def _proxy(variable: str, value: str, unread: int) -> ChosenProxy:
    def unusable(why: str) -> DeliveryError:
        return DeliveryError(
            f"nothing was sent: {variable} of the environment cannot be used: {why}",
            permanent=False,
            local=True,
        )

    written = value if "://" in value else f"http://{value}"
    try:
        split = urlsplit(written)
        host, port = split.hostname, split.port
    except ValueError:
        raise unusable("it is no URL of a proxy, such as http://proxy.example.net:3128") from None
    if split.scheme not in ("http", "https"):
        raise unusable("only http:// and https:// proxies are supported")
    if not host or not re.fullmatch(r"[\w.:%-]+", host, re.ASCII):
        raise unusable("it names no host; it looks like http://proxy.example.net:3128")
    shown = f"[{host}]" if ":" in host else host
    auth = None
    if split.username is not None:
        auth = unquote(split.username), SecretStr(unquote(split.password or ""))
    place = f"{split.scheme}://{shown}:{port or _DEFAULT_PORTS[split.scheme]}"
    return ChosenProxy(variable, SecretStr(place), auth, unread)


# -- the entries of no_proxy


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        block = _block(entry)
        return block is not None and address is not None and address in block
    for name, wanted in _name_and_port(entry):
        if wanted not in (None, port):
            continue
        listed = _address(name)
        if listed is not None or address is not None:
            if listed == address:
                return True
            continue
        suffix = name.removeprefix("*").strip(".").lower()
        if suffix and (host.lower() == suffix or host.lower().endswith(f".{suffix}")):
            return True
    return False


def _readable(entry: str) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return _block(entry) is not None
    named = [name for name, _ in _name_and_port(entry)]
    return any(
        _address(name) is not None or re.fullmatch(r"[*.]{0,2}[\w-][\w.-]*", name) is not None
        for name in named
    )


def _name_and_port(entry: str) -> Iterator[tuple[str, int | None]]:
    """Read an entry in each possible way: whole, and with a port. An IPv6 address is whole with all its colons."""
    yield entry, None
    name, colon, port = entry.rpartition(":")
    if colon and port.isascii() and port.isdigit() and len(port) <= 5 and (":" not in name or "]" in name):
        yield name, int(port)


def _address(text: str) -> IpAddress | None:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _block(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    address, _, length = text.partition("/")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        return ipaddress.ip_network(f"{bare}/{length}", strict=False)
    except ValueError:
        return None
