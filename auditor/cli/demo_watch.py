"""`wgaudit demo --watch`: the watch on the embedded fleet, and a duplicate that comes about before its eyes."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import textwrap
import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click

from auditor.checks.idents import Ident
from auditor.cli import screen
from auditor.cli.demo_command import WGAUDIT, demo_environment, first_of
from auditor.demo.late_duplicate import LateDuplicate, set_device, set_peers
from auditor.demo.paged import Message
from auditor.registry.interface import Replace
from auditor.service.parts import build_store
from auditor.settings.file import Config
from auditor.values.text import count, for_shell, for_terminal

EXIT_TOLD = 0
EXIT_NOT_TOLD = 1

LOOPBACK = "127.0.0.1"
FOLLOW_INTERVAL = 1.0
"""Seconds between two looks of a demo's node at its device: a demo is short."""
ROUND_INTERVAL = 5.0
_LONGEST_START = 60.0
_LONGEST_STAGE = 60.0
_STOP = 15.0
_POLL = 0.1
_DEVICES_AFTER = 0.4
"""Share of the time before the write after which devices, and then peers, follow it."""


def free_port() -> int:
    """Find a port of loopback that is free now."""
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        port: int = taken.getsockname()[1]
        return port


def watch_tables(port: int, webhook: str) -> str:
    """Return the tables of a configuration that watch and person on call need."""
    return f"""
[watch]
listen = "{LOOPBACK}:{port}"
follow_interval = {FOLLOW_INTERVAL}
round_interval = {ROUND_INTERVAL}

[[notifiers]]
name = "on-call"
type = "webhook"
url = {json.dumps(webhook)}
"""


@dataclass(frozen=True, slots=True)
class Course:
    """Course of a demo, in seconds."""

    before: float
    """Between the first whole look and the write."""
    seconds: float | None
    """Between the last stage and the end; None: until Ctrl-C."""


class WatchedFleet:
    """Runs the watch in a process of its own, writes the duplicate, and tells what came when."""

    def __init__(
        self,
        duplicate: LateDuplicate,
        folder: Path,
        config: tuple[Path, Config],
        port: int,
        interrupt: asyncio.Event,
        course: Course,
    ) -> None:
        """Take the fleet that is up. config: the configuration's file, and what it says. port: the page's."""
        self._duplicate = duplicate
        self._folder = folder
        self._path, self._config = config
        self._port = port
        self._interrupt = interrupt
        self._course = course
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._written: float | None = None
        self._paged = asyncio.Event()

    def receive(self, message: Message) -> None:
        """Take a message of the webhook, inside the loop."""
        self._messages.put_nowait(message)

    async def run(self) -> int:
        """Run the whole course; return the exit code."""
        child = await asyncio.create_subprocess_exec(
            *WGAUDIT,
            "watch",
            "--config",
            str(self._path),
            cwd=self._folder,
            env=demo_environment(os.environ),
            stdin=subprocess.DEVNULL,
            # A Ctrl-C in the terminal reaches the demo, which ends the watch as systemd would.
            start_new_session=True,
        )
        telling = asyncio.create_task(self._tell_messages())
        course = asyncio.create_task(self._go())
        try:
            await first_of(lambda: asyncio.wait({course}), self._interrupt.wait, child.wait)
            if course.done():
                return course.result()
            return EXIT_TOLD if self._paged.is_set() and self._interrupt.is_set() else EXIT_NOT_TOLD
        finally:
            for task in (course, telling):
                task.cancel()
            await asyncio.gather(course, telling, return_exceptions=True)
            await self._end(child)

    async def _end(self, child: asyncio.subprocess.Process) -> None:
        if child.returncode is not None:
            return
        with suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP):
                await child.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    async def _go(self) -> int:
        late, keeper = self._duplicate.late, self._duplicate.keeper
        _paragraph(
            f"{count(len(self._duplicate.fleet.nodes), 'server')} on this machine's loopback, a registry, and "
            "`wgaudit watch` on them, in a process of its own. Its log goes to stderr."
        )
        if not await self._until(self._ready, _LONGEST_START):
            _paragraph("The watch did not get ready; its log says why.")
            return EXIT_NOT_TOLD
        click.secho(f"\nIts page: http://{LOOPBACK}:{self._port}/", bold=True)
        _paragraph(
            f"In {self._course.before:g} s {late.name} ({late.region}) is provisioned anew, with an address that "
            f"{keeper.name} ({keeper.region}) holds: {self._duplicate.address}."
        )
        await asyncio.sleep(self._course.before)
        self._written = time.monotonic()
        await asyncio.to_thread(self._write)
        self._say(f"written to the registry: {late.name} has {self._duplicate.address}", at=self._written)
        try:
            async with asyncio.timeout(_LONGEST_STAGE):
                await self._paged.wait()
        except TimeoutError:
            _paragraph("Nobody was told of it; the watch's log says why.")
            return EXIT_NOT_TOLD
        return await self._stages()

    async def _stages(self) -> int:
        nodes = self._folder / "nodes"
        await asyncio.sleep(self._course.before * _DEVICES_AFTER)
        await asyncio.to_thread(set_device, self._duplicate, nodes)
        self._say(f"{self._duplicate.late.name}'s own device has it now")
        if not await self._until(self._on_device, _LONGEST_STAGE):
            return self._unseen("the device")
        self._say("the watch shows the device")
        await asyncio.sleep(self._course.before * _DEVICES_AFTER)
        for observer in self._duplicate.fleet.nodes:
            await asyncio.to_thread(set_peers, self._duplicate, observer, nodes)
        self._say("every server has set its peers: some send it to the one, some to the other")
        if not await self._until(self._routed, _LONGEST_STAGE):
            return self._unseen("the routes")
        self._say("the watch shows who routes where")
        named = for_shell(str(self._path))
        click.echo()
        _paragraph("The same incident, in the words of the other commands, from another terminal:")
        click.echo(f"  wgaudit explain {self._duplicate.address} --config {named}")
        click.echo(f"  wgaudit timeline --config {named}")
        if self._course.seconds is None:
            click.echo()
            _paragraph("Ctrl-C ends watch and fleet.")
            await self._interrupt.wait()
        else:
            await asyncio.sleep(self._course.seconds)
        return EXIT_TOLD

    def _unseen(self, what: str) -> int:
        _paragraph(f"The watch did not show {what} within {_LONGEST_STAGE:.0f} s; its log says why.")
        return EXIT_NOT_TOLD

    def _write(self) -> None:
        """Write the registration as a provisioning tool does: by the registry's API."""
        store = build_store(self._config, "")
        held = store.read(self._duplicate.key)
        if held is None:
            raise LookupError(self._duplicate.key)
        store.commit([Replace(held.key, self._duplicate.record(held.value), held.modify_index)])

    async def _tell_messages(self) -> None:
        while True:
            message = await self._messages.get()
            for notification in message.notifications[:3]:
                text = for_terminal(f"{notification.get('reason')}: {notification.get('headline')}")
                self._say(f"the person on call is told: {text}", at=message.arrived)
            if self._written is not None:
                self._paged.set()

    def _say(self, text: str, *, at: float | None = None) -> None:
        since = (time.monotonic() if at is None else at) - (self._written or time.monotonic())
        head = f"{since:+8.3f} s  "
        click.echo(
            textwrap.fill(
                text,
                screen.PLAIN_WIDTH,
                initial_indent=head,
                subsequent_indent=" " * len(head),
                break_long_words=False,
                break_on_hyphens=False,
            )
        )

    # What the page shows

    async def _until(self, holds: Any, most: float) -> bool:
        """Ask the page again and again, for so many seconds at most."""
        end = time.monotonic() + most
        while time.monotonic() < end:
            if await asyncio.to_thread(holds):
                return True
            await asyncio.sleep(_POLL)
        return False

    def _ready(self) -> bool:
        return self._asked("/-/ready") is not None

    def _on_device(self) -> bool:
        late = self._duplicate.late.name
        claims = self._evidence().get("claims", ())
        return any(claim["witness"] == "device" and claim["node"] == late for claim in claims)

    def _routed(self) -> bool:
        late = self._duplicate.late.name
        return any(pick["node"] == late and pick["observers"] for pick in self._evidence().get("routing", ()))

    def _evidence(self) -> dict[str, Any]:
        text = self._asked("/api/v1/report")
        for finding in json.loads(text)["findings"] if text else ():
            if finding["check"] == Ident.DUPLICATE_ADDRESS and finding["subject"] == self._duplicate.address:
                found: dict[str, Any] = finding["evidence"]
                return found
        return {}

    def _asked(self, path: str) -> bytes | None:
        """Ask the page; None where it does not answer, or not with 200."""
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            return body if answer.status == HTTPStatus.OK else None
        except (OSError, http.client.HTTPException):
            return (
                None  # it is not there yet, or ends just now: it is asked again, or the watch's end is seen
            )
        finally:
            connection.close()


def _paragraph(text: str) -> None:
    click.echo(textwrap.fill(text, screen.PLAIN_WIDTH, break_long_words=False, break_on_hyphens=False))
