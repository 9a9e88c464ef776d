"""Settings of the state database."""

from __future__ import annotations

from pathlib import Path

import platformdirs
from pydantic import Field, StrictInt

from auditor.settings.base import Settings, UserPath


def _default_state_path() -> Path:
    return platformdirs.user_state_path("wgaudit") / "wgaudit.db"


class StateSettings(Settings):
    """Place of the state database, and how long it keeps history."""

    path: UserPath = Field(default_factory=_default_state_path)
    """The state database; on a disk of this machine. With `url`, only the lock is beside it."""
    url: SecretStr | None = None
    """PostgreSQL database in the place of the file: `postgresql+psycopg://user@host/database`."""
    keep_days: StrictInt = Field(default=90, ge=1, le=3650)
    """Days that sweeps and resolved findings are kept in the history."""
