"""Trust of a TLS call: authorities and client certificates from files.

A file that is not there, or that holds something else, is named and tried again: it is no answer of anybody.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import httpx

from auditor.errors import DeliveryError
from auditor.values.text import one_line

_SHOWN = 120
"""Characters of a path in a message."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one notifier. Without `ca`, the system's authorities and certifi's are trusted."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


NO_FILES = TlsFiles()


def tls_context(files: TlsFiles, environment: Mapping[str, str]) -> ssl.SSLContext:
    """Make the TLS context from these files and the environment's `SSL_CERT_FILE` and `SSL_CERT_DIR`.

    Raises `DeliveryError`, to be tried again, that names the file and where its name comes from.
    """
    authorities: list[tuple[str, Path]] = []
    if files.ca is not None:
        authorities.append(("ca_file", files.ca))
    else:
        named = [(variable, environment.get(variable, "")) for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR")]
        authorities += [(variable, Path(value)) for variable, value in named if value]
    wanted = [
        *authorities,
        *([("cert_file", files.cert)] if files.cert is not None else []),
        *([("key_file", files.key)] if files.key is not None else []),
    ]
    marks = tuple(_mark(name, path) for name, path in wanted)
    return _loaded(tuple(authorities), files, marks)


def _mark(name: str, path: Path) -> tuple[int, int]:
    """Make a mark that changes with the file: certificates are renewed while a daemon runs."""
    try:
        found = path.stat()
    except OSError as error:
        raise _unusable(name, path, error.strerror or "it cannot be read") from None
    return found.st_mtime_ns, found.st_ino


@lru_cache(maxsize=16)
def _loaded(
    authorities: tuple[tuple[str, Path], ...],
    files: TlsFiles,
    marks: tuple[tuple[int, int], ...],  # noqa: ARG001  (part of the cache's key)
) -> ssl.SSLContext:
    """Load authorities and certificates once for each set of files: a few hundred take longer than a call."""
    if authorities:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # As strict as Python's own context, whoever names the authority: from 3.13 on X.509 is read by the letter.
        context.verify_flags |= ssl.create_default_context().verify_flags
        for name, path in authorities:
            _load(name, path, partial(_trust, context, path))
    else:
        context = httpx.create_ssl_context(trust_env=False)
    if files.ca is None:
        context.load_default_certs()  # the system's, among them a company's own
    if files.cert is not None:
        # Without a password of ours OpenSSL would ask for one on the terminal.
        cert, key = files.cert, files.key
        _load("cert_file", cert, lambda: context.load_cert_chain(cert, key, password=""))
    return context


def _trust(context: ssl.SSLContext, path: Path) -> None:
    if path.is_dir():
        next(path.iterdir(), None)  # OpenSSL passes over a folder that it may not read
        context.load_verify_locations(capath=path)
    else:
        context.load_verify_locations(cafile=path)


def _load(name: str, path: Path, load: Callable[[], object]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        what = (
            "no certificate in PEM form" if name != "cert_file" else "no certificate with its key in PEM form"
        )
        raise _unusable(name, path, f"{what} ({error.reason or 'unreadable'})") from None
    except OSError as error:
        raise _unusable(name, path, error.strerror or "it cannot be read") from None


def _unusable(name: str, path: Path, why: str) -> DeliveryError:
    shown = one_line(str(path), most=_SHOWN)
    return DeliveryError(f"nothing was sent: {name} names {shown}: {why}", permanent=False, local=True)
