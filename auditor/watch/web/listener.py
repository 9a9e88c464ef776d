"""Listener of the page: sockets, certificate and password, as `watch` in the configuration says."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pydantic import SecretStr

from auditor.disk.ownership import others_hand, shared_folder
from auditor.errors import ConfigError
from auditor.settings.secret import secret_in_file
from auditor.settings.watch import PageAddress, WatchSettings

_BACKLOG = 128
_LONGEST_PATH = 100  # bytes; the kernel takes 107


@dataclass(frozen=True, slots=True)
class PageListener:
    """Open sockets of the page, as a context manager that closes them."""

    sockets: tuple[socket.socket, ...]
    url: str
    """Where a person finds the page."""
    hosts: frozenset[str] | None
    """Names and addresses by which it may be asked for, besides loopback's; None: any."""
    password: SecretStr | None = None
    tls: ssl.SSLContext | None = None
    path: Path | None = None
    """Socket file, which goes with the listener."""

    def __enter__(self) -> PageListener:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the sockets, and remove the socket file."""
        for each in self.sockets:
            each.close()
        if self.path is not None:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()


def open_listener(settings: WatchSettings) -> PageListener | None:
    """Open the sockets of `watch.listen`; None where it is empty. Raises `ConfigError` with one clear line."""
    address = settings.address
    if address is None:
        return None
    password = _password(settings.password_file) if settings.password_file is not None else None
    if address.path is not None:
        return PageListener(
            (_unix_socket(address.path),), f"unix://{address.path}", None, password, path=address.path
        )
    tls = None
    if settings.cert_file is not None and settings.key_file is not None:
        tls = _tls(settings.cert_file, settings.key_file)
    sockets = _tcp_sockets(address)
    port = sockets[0].getsockname()[1]
    host = f"[{address.host}]" if ":" in address.host else address.host
    return PageListener(
        sockets,
        f"{'https' if tls is not None else 'http'}://{host}:{port}/",
        None if address.everywhere else frozenset({address.host.lower()}),
        password,
        tls,
    )


def _tcp_sockets(address: PageAddress) -> tuple[socket.socket, ...]:
    where = f"watch.listen: {address}"
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigError(f"{where}: no such host here: {error.strerror or error}") from None
    opened: list[socket.socket] = []
    try:
        for family, kind, protocol, _, place in dict.fromkeys(found):
            made = socket.socket(family, kind, protocol)
            opened.append(made)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setblocking(False)
            made.bind(place)
            made.listen(_BACKLOG)
    except OSError as error:
        for made in opened:
            made.close()
        raise ConfigError(f"{where}: {_bind_words(error)}") from None
    return tuple(opened)


def _bind_words(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there; end it, or give another port (`ss -ltnp` says who it is)"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    if error.errno == errno.EACCES:
        return "may not listen there: ports below 1024 are root's; give another port"
    return f"cannot listen there: {error.strerror}"


# -- a socket file


def _unix_socket(path: Path) -> socket.socket:
    where = f"watch.listen: unix://{path}"
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise ConfigError(f"{where}: longer than {_LONGEST_PATH} bytes; sockets have no longer names")
        if not path.parent.is_dir():
            raise ConfigError(
                f"{where}: there is no folder {path.parent}; make it, for the watch's user alone"
            )
        if shared_folder(path.parent):
            raise ConfigError(
                f"{where}: others can write its folder; take one that the watch's user alone can write"
            )
        _remove_stale(path, where)
        made.setblocking(False)
        made.bind(str(path))
        path.chmod(0o600)  # nobody can connect before it listens
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise ConfigError(f"{where}: cannot listen there: {error.strerror}") from None
    except ConfigError:
        made.close()
        raise
    return made


def _remove_stale(path: Path, where: str) -> None:
    """Remove the socket that an ended watch left there. Raises `ConfigError` where it is anything else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigError(f"{where}: a file is there that is no socket; remove it, or give another name")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.settimeout(1)
        try:
            trial.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ConfigError(f"{where}: another program listens there; end it, or give another name")


# -- what guards it elsewhere than on loopback


def _password(path: Path) -> SecretStr:
    place = "watch.password_file"
    try:
        reason = others_hand(path)
    except OSError as error:
        raise ConfigError(f"{place}: cannot look whose {path} is: {error.strerror}") from None
    if reason:
        raise ConfigError(f"{place}: {path} is not used: {reason}; let its owner alone write it")
    return secret_in_file(path, place, "the page's password")


def _tls(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for key, path in (("cert_file", cert_file), ("key_file", key_file)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise ConfigError(f"watch.{key}: cannot read {path}: {error.strerror}") from None
    try:
        # A passphrase is not asked for: nobody sits at a daemon.
        context.load_cert_chain(cert_file, key_file, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or "not PEM"
        words = (
            "they do not belong together"
            if reason == "KEY_VALUES_MISMATCH"
            else str(reason).lower().replace("_", " ")
        )
        raise ConfigError(f"watch.cert_file, watch.key_file: {cert_file} and {key_file}: {words}") from None
    return context
