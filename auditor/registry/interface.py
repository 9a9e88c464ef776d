"""The registry as the sweep knows it: something that can be read whole, or says what it could not read."""

from __future__ import annotations

from typing import Protocol

from auditor.models import RegistryReading


class Registry(Protocol):
    """Where registrations come from."""

    async def read(self) -> RegistryReading:
        """Reads every datacenter once. A failed read is a gap in the reading; it never raises for I/O."""
        ...
