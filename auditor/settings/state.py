"""Settings of the state database."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import platformdirs
from pydantic import Field, SecretStr, StrictInt

from auditor.errors import ConfigError
from auditor.settings.base import Contradiction, Settings, UserPath, one_of
from auditor.settings.secret import given, places, resolved_secret

_CODED = r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%(?!00)[0-9A-Fa-f]{2})"
_HOST = r"(?:\[[0-9A-Za-z:.%]+\]|[A-Za-z0-9._%-]*)(?::[0-9]*)?"
_POSTGRESQL = re.compile(
    rf"postgresql(?:\+psycopg)?://(?=.)(?:{_CODED}*(?::(?:{_CODED}|:)*)?@)?{_HOST}(?:,{_HOST})*"
    rf"(?:/{_CODED}*)?(?:\?(?:{_CODED}|[/:])*)?"
)
"""URL of which every reader finds the same end of the password: else one would show a piece of it as the host."""


def _default_state_path() -> Path:
    return platformdirs.user_state_path("wgaudit") / "wgaudit.db"


class StateSettings(Settings):
    """Place of the state database, and how long it keeps history."""

    path: UserPath = Field(default_factory=_default_state_path)
    """The state database; on a disk of this machine. Not used where a URL is given."""
    url: SecretStr | None = None
    """PostgreSQL database in the place of the file: postgresql+psycopg://user@host/database."""
    url_file: UserPath | None = None
    """File that holds the URL and nothing else."""
    url_env: str | None = None
    """Environment variable that holds the URL."""
    lease: float = Field(default=15.0, ge=1.0, le=600.0, strict=True)
    """Seconds after which another auditor on the same `url` tells people in the place of one that is not heard of."""
    keep_days: StrictInt = Field(default=90, ge=1, le=3650)
    """Days that sweeps and resolved findings are kept in the history."""

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """The URL in several places."""
        yield from one_of(table, *places("url"), required=False)

    @property
    def on_server(self) -> bool:
        """True: the state is in PostgreSQL, and not in a file."""
        return bool(given(self, "url"))

    def resolved_url(self, environment: Mapping[str, str]) -> SecretStr:
        """The URL, where one is given. Raises `ConfigError` with its place, never with the URL."""
        url = resolved_secret(self, "url", environment, "state")
        if _POSTGRESQL.fullmatch(url.get_secret_value()) is None:
            raise ConfigError(
                "state.url is no postgresql+psycopg://user@host/database; in a password, /, ?, #, @ and % are written "
                "%2F, %3F, %23, %40 and %25, or put it into ~/.pgpass"
            )
        return url
