"""Sessions of PostgreSQL: bounded in time, so that neither a network nor a frozen auditor holds up another."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import Error as Error
from psycopg.errors import _WaitTimeout
from psycopg.types.string import StrDumper

_LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
"""Settings of a session: the last one keeps a frozen process from holding up all others."""


class _ForeignText(StrDumper):
    """Text as PostgreSQL can store it: a NUL and a lone surrogate are none of its characters, and are escaped."""

    def dump(self, obj: str) -> bytes | bytearray | memoryview | None:
        """Encode a text."""
        return super().dump(obj.replace("\0", r"\x00").encode("utf-8", "backslashreplace").decode())


class BoundedConnection(psycopg.Connection[tuple[object, ...]]):
    """Connection whose waits end: a server that is frozen or cut off holds up nobody for longer."""

    within = 10.0
    """Seconds."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for an answer. A connection on which none came in time is closed: nobody knows what becomes of it."""
        try:
            return super().wait(gen, interval, self.within if timeout is None else timeout)
        except _WaitTimeout:
            self.close()
            raise psycopg.OperationalError(f"no answer within {self.within:.3g} s") from None


def connected(url: str, within: float) -> BoundedConnection:
    """Connect to a server. Raises psycopg's errors.

    url: as PostgreSQL's library reads it, with the password. within: seconds for each statement and wait.
    """
    milliseconds = max(round(within * 1000), 1)
    connection = BoundedConnection.connect(
        url,
        connect_timeout=max(round(within), 2),  # whole seconds; the library takes 1 for 2
        tcp_user_timeout=milliseconds,
        application_name="wgaudit",
        autocommit=True,
    )
    connection.within = within
    connection.adapters.register_dumper(str, _ForeignText)
    for setting in _LIMITS:
        connection.execute(f"SET {setting} = {milliseconds:d}".encode())
    connection.autocommit = False
    return connection
