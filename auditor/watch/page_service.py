"""The watch's page in its life: opened by the settings, opened anew when they change, closed."""

from __future__ import annotations

import importlib
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.errors import ConfigError, UsageError
from auditor.service.alert_parts import build_sender
from auditor.settings.file import Config, parse_config
from auditor.settings.watch import WatchSettings
from auditor.values.text import listed

if TYPE_CHECKING:
    from auditor.watch.loop import FleetWatch
    from auditor.watch.view import WatchRecord
    from auditor.watch.web.page_keeper import PageSources

PACKAGES = ("starlette", "uvicorn")
"""What the page needs beside wgaudit's own packages."""


def page_settings(config: Config, listen: str | None) -> WatchSettings:
    """Take the settings of the page. listen: in place of `watch.listen`. Raises `ConfigError`."""
    if listen is None:
        return config.watch
    table = config.watch.model_dump(mode="json", exclude_none=True) | {"listen": listen}
    return parse_config({"watch": table}, "--listen").watch


def missing_packages() -> tuple[str, ...]:
    """Name the packages that the page needs, and that are not installed."""

    def there(name: str) -> bool:
        try:
            importlib.import_module(name)
        except ImportError:
            return False
        return True

    return tuple(name for name in PACKAGES if not there(name))


class PageService:
    """Page of one watch."""

    def __init__(self, config: Config, path: Path | None, listen: str | None) -> None:
        """Take settings; nothing is opened yet. listen: in place of `watch.listen`, whatever the configuration says.

        Raises `ConfigError`, and `UsageError` where packages are missing.
        """
        self._listen = listen
        self._config, self._path = config, path
        self._settings = self._checked(config)
        self._stack = AsyncExitStack()
        self._fleet: FleetWatch | None = None
        self._record: WatchRecord | None = None
        self.url = ""
        """Where a person finds it; "": there is no page."""

    async def open(self, fleet: FleetWatch, record: WatchRecord) -> None:
        """Listen and serve. Raises `ConfigError`, where the address cannot be listened on for one."""
        self._fleet, self._record = fleet, record
        await self._serve(self._settings)

    async def reload(self, config: Config, path: Path | None) -> None:
        """Serve it by other settings. Raises `ConfigError`; then it is served as before, if that can be done."""
        settings = self._checked(config)
        before = self._settings, self._config, self._path
        if settings == self._settings and not _reads_files(settings):
            self._config, self._path = config, path
            return
        await self.close()
        self._settings, self._config, self._path = settings, config, path
        try:
            await self._serve(settings)
        except ConfigError:
            self._settings, self._config, self._path = before
            await self._serve(self._settings)
            raise

    async def close(self) -> None:
        """End it, with the open event streams."""
        self.url = ""
        await self._stack.aclose()

    def _checked(self, config: Config) -> WatchSettings:
        settings = page_settings(config, self._listen)
        if settings.address is not None and (missing := missing_packages()):
            raise UsageError(
                f"watch: its page needs {listed(missing)}: pip install 'wgaudit[watch]', or go without a page: "
                '--no-page, or watch.listen = ""'
            )
        return settings

    async def _serve(self, settings: WatchSettings) -> None:
        if settings.address is None or self._fleet is None:
            return
        # Only a watch with a page loads a web server.
        from auditor.watch.web.server import served_page

        listener = await self._stack.enter_async_context(served_page(settings, self._sources(self._fleet)))
        self.url = listener.url if listener is not None else ""

    def _sources(self, fleet: FleetWatch) -> PageSources:
        from auditor.watch.web.page_keeper import PageSources

        def sick() -> str:
            pulse = fleet.pulse
            return "" if pulse.healthy else f"the watch's loop has not turned for {pulse.age:.0f} s"

        guide = build_sender(self._config, self._path).guide
        return PageSources(fleet, self._record, guide, sick, lambda: fleet.answers)


def _reads_files(settings: WatchSettings) -> bool:
    """Tell whether it is made of files that may hold something else by now."""
    return any((settings.password_file, settings.cert_file, settings.key_file))
