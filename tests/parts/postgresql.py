"""A real PostgreSQL for tests: one server, on a socket file in a temporary folder, with databases for tests."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType

import psycopg
from pydantic import SecretStr

from tests.parts import SYSTEM_PATH, require
from tests.parts.with_parent import with_parent

HOW = "tests/parts/install, or the package postgresql"
# Debian keeps servers of several versions side by side, and none of them on the path.
_FOLDERS = sorted(
    Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True
)

_BINARY = shutil.which("postgres", path=os.pathsep.join([*map(str, _FOLDERS), SYSTEM_PATH]))
_READY = "ready to accept connections"
_ENDS_WITHIN = 10.0
_ROLE = "wgaudit"
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
    "max_connections": "40",
    "autovacuum": "off",
    "lc_messages": "C",
}

_EMPTY = """
    DO $$ DECLARE name text; BEGIN
        SET LOCAL lock_timeout = '5s';
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
            CONTINUE WHEN name IN ('wgaudit_version', 'parts', 'alerts_memory');
            EXECUTE format('DELETE FROM %I', name);
        END LOOP;
        FOR name IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' LOOP
            PERFORM setval(name::regclass, 1, false);
        END LOOP;
        UPDATE alerts_memory SET sweep = 0, blind_sweeps = 0,
            registered = NULL, registered_at = NULL, registered_in = NULL;
    END $$
"""


def require_postgresql() -> None:
    """Skips, or fails in CI, where the server is missing."""
    require("postgres", _BINARY is not None, HOW)


class PostgresqlServer:
    """A running PostgreSQL, as a context manager. Nothing of it is on the network.

    It refuses to run as root: then it runs as `postgres` or `nobody`, who own its folder.
    """

    def __init__(self) -> None:
        require_postgresql()
        # A socket's path may not be long, and its folder must be open to the server's user.
        self.folder = Path(tempfile.mkdtemp(prefix="wgpg-", dir="/tmp"))
        self._user: int | None = None
        if os.geteuid() == 0:
            names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
            self._user = names.get("postgres", names["nobody"])
            os.chown(self.folder, self._user, -1)
        self._numbers = itertools.count()
        self._process: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self._reader: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """The process that it is."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """What the server has said so far."""
        return "".join(self._log)

    def url(self, database: str) -> SecretStr:
        """The URL of a database, as `state.url` has it."""
        return SecretStr(f"postgresql+psycopg://{_ROLE}@/{database}?host={self.folder}")

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Executes a statement, and reads what it yields."""
        with psycopg.connect(
            host=str(self.folder), user=_ROLE, dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def fresh(self, template: str = "template0") -> str:
        """Makes a database, a copy of the template; returns its name."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def empty(self, database: str) -> None:
        """Empties a state's tables, and numbers begin anew: a tenth of the time that another copy takes."""
        self.sql(_EMPTY, database)

    def drop(self, database: str) -> None:
        """Drops a database, whoever uses it."""
        self.sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def __enter__(self) -> PostgresqlServer:
        data = self.folder / "data"
        initdb = Path(str(_BINARY)).resolve().with_name("initdb")
        made = self._run(
            [initdb, "-D", data, "-U", _ROLE, "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        )
        self._log.append(made.communicate()[1])
        self.start()
        return self

    def start(self) -> None:
        """Starts the server, once more after `stop`."""
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        process = self._run([_BINARY, "-D", self.folder / "data", "-k", self.folder, *settings])
        self._process = process
        stream = process.stderr
        assert stream is not None
        for line in stream:
            self._log.append(line)
            if _READY in line:
                self._reader = threading.Thread(target=self._log.extend, args=(stream,), daemon=True)
                self._reader.start()
                return
        self.stop()
        raise RuntimeError(f"PostgreSQL does not start: {self.log()}")

    def _run(self, words: list[object]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            with_parent(list(map(str, words)), by="INT"),  # its fast shutdown
            cwd="/",
            user=self._user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            start_new_session=True,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> None:
        """Ends the server at once, with all its sessions."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(2)  # SIGINT: its fast shutdown
        try:
            process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_ENDS_WITHIN)
        if self._reader is not None:
            self._reader.join(_ENDS_WITHIN)
        if process.stderr is not None:
            process.stderr.close()
