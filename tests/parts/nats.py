"""A real nats-server for tests: one process with the name, cluster, tags and monitoring port that the test gives it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from tests.parts import SYSTEM_PATH, require
from tests.parts.with_parent import with_parent

HOW = "tests/parts/install, or the package nats-server"
_BINARY = shutil.which("nats-server", path=SYSTEM_PATH)
_ENDS_WITHIN = 10.0
_READY = "Server is ready"
# It says where it listens, and where it says INFO: with a port of -1 nobody else knows.
_LISTENS = re.compile(r"Listening for client connections on \S+:([0-9]+)$")
_MONITORS = re.compile(r"Starting http monitor on \S+:([0-9]+)$")


def have_nats() -> bool:
    """Whether this machine has a nats-server."""
    return _BINARY is not None


def require_nats() -> None:
    """Skips, or fails in CI, where nats-server is missing."""
    require("nats-server", have_nats(), HOW)


def version() -> tuple[int, ...]:
    """Its version, for what only newer ones can: `handshake_first` of TLS came with 2.10.4."""
    require_nats()
    said = subprocess.run([str(_BINARY), "--version"], check=True, capture_output=True, text=True).stdout
    return tuple(map(int, re.findall(r"[0-9]+", said)[:3]))


class NatsServer:
    """A running nats-server, as a context manager.

    name: what it calls itself. cluster: the name of its cluster, of which it is the only server. tags: as `region:sin`.
    address, port: where it listens for clients, port 0: a free one. monitoring: whether it has a monitoring port, on
    loopback; monitoring_port: which, 0: a free one. inside: entered while it is started, as for a namespace of the
    network. lines: further ones of its configuration, such as a block `tls { … }`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        cluster: str = "",
        tags: Sequence[str] = (),
        address: str = "127.0.0.1",
        port: int = 0,
        monitoring: bool = True,
        monitoring_port: int = 0,
        inside: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        lines: Sequence[str] = (),
    ) -> None:
        require_nats()
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.address = address
        self.port = port
        self.monitoring_port = monitoring_port
        self._inside = inside
        self._file = folder / "nats.conf"
        self._settings: dict[str, object] = {"server_name": name, "host": address, "server_tags": list(tags)}
        self._monitoring = monitoring
        if cluster:
            self._settings["cluster"] = {"name": cluster, "host": "127.0.0.1", "port": -1}
        self._lines = tuple(lines)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._log: list[str] = []

    @property
    def pid(self) -> int:
        """The process that it is."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """What the server has said so far."""
        return "".join(self._log)

    def __enter__(self) -> NatsServer:
        """Start it; once more at the ports that it had, after a `stop`."""
        settings = {**self._settings, "port": self.port or -1}
        if self._monitoring:
            settings["http"] = f"127.0.0.1:{self.monitoring_port or -1}"
        # Its configuration's language takes JSON values.
        written = [f"{key}: {json.dumps(value)}" for key, value in settings.items()]
        self._file.write_text("\n".join([*written, *self._lines]) + "\n")
        with self._inside():
            process = subprocess.Popen(
                with_parent([str(_BINARY), "-c", str(self._file)]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env={"PATH": os.defpath},
                start_new_session=True,
            )
        self._process = process
        stream = process.stderr
        assert stream is not None
        for line in stream:
            self._log.append(line)
            if found := _LISTENS.search(line):
                self.port = int(found[1])
            if found := _MONITORS.search(line):
                self.monitoring_port = int(found[1])
            if _READY in line:
                self._reader = threading.Thread(target=self._log.extend, args=(stream,), daemon=True)
                self._reader.start()
                return self
        self.stop()
        raise RuntimeError(f"nats-server {self.name} does not start: {self.log()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the server."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_ENDS_WITHIN)
        if self._reader is not None:
            self._reader.join(_ENDS_WITHIN)
        if process.stderr is not None:
            process.stderr.close()
