"""Host and port of a node on the underlay: from its registration and the `[ssh]` settings.

Registrations are untrusted: what comes out is a host name or an address and nothing that a resolver, a
shell or a log could take for something else, and never a mesh address unless the template asks for one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from string import Formatter

from auditor.errors import ConfigError, GapReason, ProbeError
from auditor.nodes.framing import cleaned
from auditor.settings.ssh import SshSettings
from auditor.values.addresses import format_prefix, is_host
from auditor.values.models import Registration

KNOWN_NAMES = ("node", "ssh_host", "endpoint_host", "region", "address", "datacenter")
"""Names that a `[ssh] host` template may hold, beside any other field of the registration."""

_HOST_KEY = "ssh.host"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
# `127.1`, `0x7f.1` and `2130706433` are addresses to a resolver, in a spelling that no check would know.
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Target:
    """Host and port to connect to."""

    host: str
    """A host name, or an address without brackets and zone."""
    port: int | None
    """None: neither registration nor settings say it; ssh's own configuration may, else it is 22."""


def check_host_template(template: str) -> None:
    """Check `[ssh] host` when the configuration is read. Raises `ConfigError` listing the names that it may hold."""
    check_template(template, _HOST_KEY)


def check_template(template: str, key: str) -> None:
    """Check a template over the registration, which stands at this key. Raises `ConfigError` as above."""
    _template_names(template, key)


def uses_mesh_address(template: str) -> bool:
    """Tell whether the operator asked for mesh addresses to be connected to."""
    return "address" in _template_names(template, _HOST_KEY)


def further_values(template: str) -> tuple[str, ...]:
    """List the values of a registration that `[ssh] host` names, beside those that every registration may have."""
    return tuple(sorted({*_template_names(template, _HOST_KEY)}.difference(KNOWN_NAMES)))


def target_for(registration: Registration, settings: SshSettings, mesh_addresses: Collection[str]) -> Target:
    """Find host and port of one node.

    `mesh_addresses` are those of the whole registry, as text without a length (`10.0.0.1`, `fdaa::1`);
    the registration's own count always. Raises `ProbeError`: no-host, mesh-host, resolve (not a host name).
    """
    text = filled(settings.host, registration, "[ssh] host") if settings.host else _default(registration)
    host, port = _split(text)
    _check_host(host)
    if not uses_mesh_address(settings.host):
        check_not_mesh(host, registration, mesh_addresses)
    if port is None and "port" in settings.model_fields_set:
        port = settings.port
    return Target(host, port)


def mesh_addresses(registrations: Iterable[Registration]) -> frozenset[str]:
    """Gather the mesh addresses of registrations as text without a length (`10.0.0.1`, `fdaa::1`)."""
    return frozenset(
        format_prefix(prefix)
        for registration in registrations
        for prefix in registration.addresses
        if is_host(prefix)
    )


def check_not_mesh(host: str, registration: Registration, mesh_addresses: Collection[str]) -> None:
    """Raise `ProbeError` (mesh-host) if the host is an address of the mesh that is being audited."""
    try:
        address = ip_address(host)
    except ValueError:
        return
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    text = str(address)
    if text in mesh_addresses or text in {format_prefix(prefix) for prefix in registration.addresses}:
        raise ProbeError(
            GapReason.MESH_HOST,
            f"{text} is a mesh address, and the mesh may lead to the wrong server; register the underlay "
            "address as ssh_host, or write {address} into [ssh] host if that is what you want",
        )


def _template_names(template: str, key: str) -> list[str]:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"{key}: {error}; {_hint()}") from None
    names = []
    for _, name, specification, conversion in parts:
        if name is None:
            continue
        # Plain names alone: "{node.__class__}" or "{node[0]}" would reach into the program.
        if _NAME.fullmatch(name) is None or specification or conversion:
            raise ConfigError(f"{key}: {{{name}}} is not a plain name in braces; {_hint()}")
        names.append(name)
    return names


def _hint() -> str:
    return f"known names: {', '.join(KNOWN_NAMES)}, and any other field of the registration"


def filled(template: str, registration: Registration, place: str) -> str:
    """Fill in a template that was checked. Raises `ProbeError` (no-host) where the registration lacks a value.

    place: the template's place in the configuration, for the message.
    """
    text = ""
    for literal, name, _, _ in Formatter().parse(template):
        text += literal
        if name is not None:
            value = _value(name, registration)
            if not value:
                raise ProbeError(
                    GapReason.NO_HOST, f"{place} needs {{{name}}}, and the registration has no {name}"
                )
            text += value
    return text


def _value(name: str, registration: Registration) -> str | None:
    match name:
        case "node":
            return registration.node.name
        case "datacenter":
            return registration.node.datacenter
        case "ssh_host":
            return registration.ssh_host
        case "region":
            return registration.region
        case "address":
            return _bracketed(format_prefix(registration.addresses[0])) if registration.addresses else None
        case "endpoint_host":
            host = _split(registration.endpoint)[0] if registration.endpoint else None
            return _bracketed(host) if host else None
    return registration.values.get(name)


def _bracketed(host: str) -> str:
    # A port may follow in the template, as in "{address}:2222".
    return f"[{host}]" if ":" in host else host


def _default(registration: Registration) -> str:
    if registration.ssh_host:
        return registration.ssh_host
    if registration.endpoint:
        # The endpoint's port is WireGuard's, not ssh's.
        return _bracketed(_split(registration.endpoint)[0])
    raise ProbeError(
        GapReason.NO_HOST, "the registration has neither ssh_host nor endpoint; add one, or set [ssh] host"
    )


def _split(text: str) -> tuple[str, int | None]:
    """Split `host`, `host:port`, `[v6]:port`, `[v6]` or a bare v6 address."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            _refuse(text)
        return host, _port(rest[1:], text) if rest else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, _port(port, text)
    return text, None


def _port(digits: str, text: str) -> int:
    if _PORT.fullmatch(digits) is None or not 1 <= int(digits) <= 65_535:
        _refuse(text)
    return int(digits)


def _check_host(host: str) -> None:
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        if "%" in host:
            _refuse(host)
        return
    if len(host) > 253 or _HOST_NAME.fullmatch(host) is None or _NUMERIC_END.fullmatch(host) is not None:
        _refuse(host)


def _refuse(host: str) -> None:
    raise ProbeError(GapReason.RESOLVE, f"not a host name or address: {cleaned(host) or '(empty)'}")
