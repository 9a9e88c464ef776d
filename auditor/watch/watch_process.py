"""The watch as a process: its parts, page, log and service manager, and the signals that it takes."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from auditor.errors import ConfigError, StateBusy, UsageError, WatchEnded
from auditor.service import open_files
from auditor.service.alert_parts import build_sender
from auditor.service.service_manager import ServiceManager
from auditor.service.version import VERSION
from auditor.service.watch_telling import WatchAlerts
from auditor.settings.file import Config
from auditor.values.text import count, listed
from auditor.watch.garbage import collect_rarely
from auditor.watch.loop import FleetWatch
from auditor.watch.page_service import PageService
from auditor.watch.watch_log import WatchLog, status_words
from auditor.watch.watch_parts import watch_parts

LOCK_PAUSE = 0.2
"""Seconds between two tries for a lock that a sweep holds."""
STATUS_EACH = 5.0
"""Seconds between two lines of status for the service manager."""
TOLD_EACH = 1.0
"""Seconds for which deliveries are counted before a line says who was told."""
LOOP_ENDS = 0.3
"""Share of `watch.stop_within` that loop and page have for their end; deliveries have what is left of it."""
_SPARE = 0.3  # seconds, for what comes after the last delivery

Reading = tuple[Config, Path | None]
"""Settings, and the file that they were read from."""


class EventLog(Protocol):
    """Log of the watch."""

    def say(self, line: str) -> None:
        """Write what happened."""
        ...

    def complain(self, line: str) -> None:
        """Write what failed and did not end the watch."""
        ...


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Options of a watch beside its configuration."""

    listen: str | None = None
    """Where the page is, in place of `watch.listen`; "": no page."""
    lock_wait: float = 0.0
    """Seconds to wait for a sweep that holds the state."""


class RunningWatch:
    """One watch, from its start to its end; its configuration may change meanwhile."""

    def __init__(
        self,
        read: Callable[[], Reading],
        options: WatchOptions,
        event_log: EventLog,
        environment: Mapping[str, str],
    ) -> None:
        """read: reads the configuration, at the start and for each SIGHUP; raises `ConfigError`."""
        self._read = read
        self._options = options
        self._log = event_log
        self._manager = ServiceManager(environment, event_log.complain)
        self._stop, self._again = asyncio.Event(), asyncio.Event()
        self._watch_log = WatchLog()
        self._accepted: Counter[str] = Counter()
        self._taken = asyncio.Event()
        self._status = "reads the registry"

    async def run(self) -> None:
        """Run until a signal ends it.

        Raises `ConfigError` before anything is followed, and `StateBusy` where another process holds the state.
        """
        config, path = self._read()
        self._watch_log.guide = build_sender(config, path).guide
        page = PageService(config, path, self._options.listen)
        alerts = WatchAlerts(
            config,
            self._log.complain,
            config_file=path,
            accepted=self._was_told,
            took_over=lambda: fleet.tell_anew(),
            led_by=lambda leader: fleet.led_by(leader),
        )
        fleet = FleetWatch(
            watch_parts(config, self._log.complain),
            alerts,
            self._log.complain,
            stop_within=config.watch.stop_within * LOOP_ENDS,
            journal=alerts.take_down,
        )
        open_files.raise_to_most()
        with self._signals():
            if not await self._open(alerts):
                return
            try:
                await page.open(fleet, alerts.past)
                self._greet(config, path, page)
                await self._watch(config, fleet, alerts, page)
            except BaseException:
                await page.close()
                await alerts.close(0.0)
                raise
        self._log.say("ended")

    async def _open(self, alerts: WatchAlerts) -> bool:
        """Open the state, after a sweep that holds it, if that ends in time; False: a signal came first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._options.lock_wait
        waited = False
        while not self._stop.is_set():
            try:
                await alerts.open()
            except StateBusy as busy:
                if busy.by_watch or loop.time() >= deadline:
                    raise
                if not waited:
                    self._log.say(f"waits: {busy}")
                    waited = True
                await _until(self._stop, LOCK_PAUSE)
            else:
                return True
        return False

    def _greet(self, config: Config, path: Path | None, page: PageService) -> None:
        self._log.say(f"watch {VERSION}, configured by {path or 'nothing: the defaults apply'}")
        self._log.say(f"page: {page.url or 'none'}")
        if config.notifiers:
            self._log.say(f"tells: {listed((item.name for item in config.notifiers), most=10)}")

    async def _watch(self, config: Config, fleet: FleetWatch, alerts: WatchAlerts, page: PageService) -> None:
        """Watch until a signal, and end in time."""
        beside = [
            asyncio.create_task(work, name=f"watch: {name}")
            for name, work in (
                ("service manager", self._manager.feed(fleet.pulse)),
                ("log", self._follow(fleet)),
                ("deliveries", self._say_who_was_told()),
                ("garbage", collect_rarely(fleet)),
            )
        ]
        running = asyncio.create_task(fleet.run(), name="watch")
        loop = asyncio.get_running_loop()
        try:
            while not self._stop.is_set():
                self._again.clear()
                await _first(running, self._stop.wait(), self._again.wait())
                if running.done():
                    break
                if self._again.is_set() and not self._stop.is_set():
                    config = await self._read_anew(config, fleet, alerts, page)
        finally:
            deadline = loop.time() + config.watch.stop_within - _SPARE
            self._manager.stopping()
            fleet.stop()
            await asyncio.gather(running, page.close(), return_exceptions=True)
            await alerts.close(max(0.0, deadline - loop.time()))
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            self._say_told()
        running.result()

    async def _read_anew(
        self, config: Config, fleet: FleetWatch, alerts: WatchAlerts, page: PageService
    ) -> Config:
        """Read the configuration anew, and go on by it; by the one at hand where it cannot be used. Returns which."""
        self._manager.reloading()
        try:
            new, path = self._read()
            parts = watch_parts(new, self._log.complain)
            await page.reload(new, path)
            try:
                await alerts.reconfigure(new)
            except ConfigError:
                await page.reload(config, path)
                raise
        except UsageError as error:
            for line in error.lines:
                self._log.complain(f"configuration not taken over: {line}")
            self._log.complain("the watch goes on as it was; correct it, and send SIGHUP again")
            new = config
        else:
            fleet.reload(parts)
            self._watch_log.guide = build_sender(new, path).guide
            self._log.say("configuration read anew")
            self._greet(new, path, page)
        self._manager.ready(self._status)
        return new

    async def _follow(self, fleet: FleetWatch) -> None:
        """Write what each view brings, and tell the service manager how the watch fares."""
        number, ready, told_at = 0, False, float("-inf")
        clock = asyncio.get_running_loop().time
        while True:
            try:
                view = await fleet.after(number)
            except WatchEnded:
                return
            number = view.number
            for line in self._watch_log.of(view):
                self._log.say(line)
            self._status = status_words(view)
            if view.ready and not ready:
                ready = True
                self._manager.ready(self._status)
            elif clock() - told_at >= STATUS_EACH:
                told_at = clock()
                self._manager.status(self._status)

    # -- who was told

    def _was_told(self, notifier: str) -> None:
        self._accepted[notifier] += 1
        self._taken.set()

    async def _say_who_was_told(self) -> None:
        """Say who was told, of many notifications in one line."""
        while True:
            await self._taken.wait()
            await asyncio.sleep(TOLD_EACH)
            self._say_told()

    def _say_told(self) -> None:
        accepted, self._accepted = self._accepted, Counter()
        self._taken.clear()
        for notifier, number in sorted(accepted.items()):
            self._log.say(f"told: {notifier}, {count(number, 'message')}")

    # -- signals

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """End on SIGTERM and SIGINT, at once on a second one; read the configuration anew on SIGHUP."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def end() -> None:
            if self._stop.is_set() and task is not None:
                task.cancel()
            self._stop.set()

        handlers = {signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: self._again.set}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)


async def _first(*awaited: asyncio.Task[None] | Coroutine[object, object, bool]) -> None:
    """Wait until one of these is over; waits are given up, a task goes on."""
    tasks = [one if isinstance(one, asyncio.Task) else asyncio.ensure_future(one) for one in awaited]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one, task in zip(awaited, tasks, strict=True):
            if one is not task:
                task.cancel()


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, for so many seconds at most."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
