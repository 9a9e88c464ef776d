"""Values of the configuration as they may be shown, each with its origin; a secret is never among them."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

MASK = "(secret)"
"""Stands for every secret, whatever its length."""


class OriginKind(StrEnum):
    """Kind of a value's origin."""

    FILE = "file"
    ENVIRONMENT = "environment"
    DEFAULT = "default"


class Origin(NamedTuple):
    """Origin of one value."""

    kind: OriginKind
    place: str = ""
    """Path of a file, or name of a variable; empty for a default."""
    line: int | None = None
    """Line of the key in the configuration; None: the whole file holds the value, or no file does."""


class ShownSetting(NamedTuple):
    """One value of the configuration, as it may be shown."""

    table: str
    """Dotted table that the key stands in; "" for the top."""
    key: str
    """Name of the key within the table."""
    value: str | None
    """As TOML writes it, `MASK` for a secret; None: not set."""
    secret: bool
    origin: Origin
    note: str = ""
    """What else decides it."""

    @property
    def name(self) -> str:
        """Dotted key, entries of lists counted from one."""
        return f"{self.table}.{self.key}" if self.table else self.key
