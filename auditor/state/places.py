"""Places of a state: the file of SQLite, or the URL of a PostgreSQL, whose password no message shows."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from auditor.errors import StateError

StatePlace = Path | SecretStr
"""File of a SQLite database, or URL of a PostgreSQL one: `postgresql+psycopg://user@host/database`."""

WITHIN = 10.0
"""Seconds that a PostgreSQL has for each answer."""


def place_name(place: StatePlace) -> str:
    """Name a place for messages: a URL without its password and without its query, but for the socket's folder."""
    if isinstance(place, Path):
        return str(place)
    url = urlsplit(place.get_secret_value())
    login, at, host = url.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    sockets = parse_qs(url.query).get("host", [])
    return f"postgresql://{user}{colon and ':***'}{at}{host or ','.join(sockets)}{url.path}"


def driver_url(place: SecretStr) -> str:
    """Return the URL as PostgreSQL's own library reads it. It holds the password."""
    return "postgresql:" + place.get_secret_value().partition(":")[2]


def postgresql(name: str) -> ModuleType:
    """Load what speaks to PostgreSQL. name: the place, for messages. Raises `StateError` where it is not installed."""
    try:
        from auditor.state import postgresql_session
    except ModuleNotFoundError:
        raise StateError(f"{name}: PostgreSQL needs psycopg: install wgaudit[postgres]") from None
    return postgresql_session
