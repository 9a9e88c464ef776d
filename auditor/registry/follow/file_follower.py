"""Registry in a file, followed: it is looked at each second, and read where it is another."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from auditor.registry.follow.contents import Contents
from auditor.registry.interface import RegistryNews

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping
    from pathlib import Path

    from auditor.registry.file import FileRegistry
    from auditor.values.models import RegistryReading

LOOK_AFTER = 1.0
"""Seconds between two looks."""
READ_AFTER = 30.0
"""Seconds after which it is read although it seems the same: a clock may be coarse, or put back."""


class FileFollower:
    """Registry in a file, read and followed; see `interface.FollowedRegistry`."""

    def __init__(self, path: Path, registry: FileRegistry) -> None:
        """path: the file that the registry reads."""
        self._path, self._registry = path, registry
        self._answers: dict[str, datetime] = {}

    @property
    def answers(self) -> Mapping[str, datetime]:
        """Time at which the file was last looked at; see `interface.FollowedRegistry`."""
        return self._answers

    def expecting(self, datacenters: Collection[str]) -> FileFollower:
        """Expect datacenters; see `interface.Registry`."""
        return FileFollower(self._path, self._registry.expecting(datacenters))

    async def read(self) -> RegistryReading:
        """Read the file once; see `interface.Registry`."""
        return await self._registry.read()

    async def confirm(self, datacenter: str) -> RegistryNews:  # noqa: ARG002  (the file holds one alone)
        """Read the file once more; see `interface.FollowedRegistry`."""
        reading = await self._registry.read()
        return RegistryNews(self._registry.datacenter, reading, datetime.now(UTC), confirmed=True)

    async def follow(self) -> AsyncGenerator[RegistryNews, None]:
        """Follow the file; see `interface.FollowedRegistry`."""
        last: Contents | None = None
        mark, read_at, before_at = None, -READ_AFTER, None
        while True:
            self._answers[self._registry.datacenter] = datetime.now(UTC)
            if (seen := self._mark()) == mark and time.monotonic() - read_at < READ_AFTER:
                await asyncio.sleep(LOOK_AFTER)
                continue
            mark, read_at = seen, time.monotonic()
            reading = await self._registry.read()
            if last is not None and reading.gaps and not last.same_as(Contents(reading)):
                await asyncio.sleep(LOOK_AFTER)  # perhaps it is just being written
                reading = await self._registry.read()
            contents, now = Contents(reading), datetime.now(UTC)
            if last is None or not last.same_as(contents):
                last = contents
                yield RegistryNews(
                    self._registry.datacenter, reading, now, confirmed=True, before_at=before_at
                )
            before_at = now

    def _mark(self) -> tuple[int, int, int] | None:
        """Make a mark that changes with the file; None: it is not there."""
        try:
            found = self._path.stat()
        except OSError:
            return None  # reading it says why
        return found.st_mtime_ns, found.st_size, found.st_ino
