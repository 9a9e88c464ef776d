"""Bounds and pauses of a sweep."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Strict

from auditor.settings.base import Seconds, Settings


class SweepSettings(Settings):
    """Bounds and pauses of one sweep."""

    deadline: Seconds | None = None
    """The sweep reports what it has after so many seconds. None: no limit."""
    confirm_after: Annotated[float, Strict(), Field(ge=0, le=3600)] = 3.0
    """Seconds before suspects are looked at once more."""
