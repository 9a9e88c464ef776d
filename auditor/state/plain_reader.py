"""Plain reader of the state: whole tables by the database's driver alone, for a sweep that tells nobody."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr

from auditor.state.places import WITHIN, StatePlace, driver_url, place_name, postgresql
from auditor.state.refusals import unusable
from auditor.state.schema_age import SchemaAge, schema_age
from auditor.state.sqlite_file import checked, close_file, connected, is_writable
from auditor.values.stored_values import StoredRow, TableReader


class _Driver(Protocol):
    def execute(self, query: str, values: Sequence[object], /) -> Any: ...


class _PlainReader(TableReader):
    def __init__(self, connection: _Driver, name: str, mark: str, errors: type[Exception]) -> None:
        """mark: what stands for a value in a statement. errors: those of the driver."""
        self._connection, self._name, self._mark, self._errors = connection, name, mark, errors

    def rows_of(
        self,
        table: str,
        where: Mapping[str, object] | None = None,
        *,
        order: Sequence[str] = (),
        most: int | None = None,
    ) -> Iterator[StoredRow]:
        # The names are literals of this program; values are bound.
        wanted = where or {}
        fits = [
            f"{name} IS NULL" if value is None else f"{name} = {self._mark}" for name, value in wanted.items()
        ]
        sorted_by = [f"{name[1:]} DESC" if name[0] == "-" else name for name in order]
        statement = f"SELECT * FROM {table}"  # noqa: S608
        statement += f" WHERE {' AND '.join(fits)}" if fits else ""
        statement += f" ORDER BY {', '.join(sorted_by)}" if sorted_by else ""
        statement += f" LIMIT {most:d}" if most is not None else ""
        try:
            found = self._connection.execute(
                statement, [item for item in wanted.values() if item is not None]
            )
            names = [column[0] for column in found.description]
            for row in found:
                yield dict(zip(names, row, strict=True))
        except self._errors as error:
            raise unusable(self._name, error) from None


@contextmanager
def existing_reader(
    place: StatePlace, in_full: Callable[[], AbstractContextManager[TableReader | None]]
) -> Iterator[TableReader | None]:
    """Open the state to read it; None where there is none yet. Creates nothing. Raises `StateError`.

    in_full: opens it as one who writes does; called where an older version wrote it.
    """
    with ExitStack() as stack:
        found = _in_file(place, stack) if isinstance(place, Path) else _on_server(place, stack)
        if isinstance(found, _PlainReader):
            yield found
        elif found is SchemaAge.OLDER:
            stack.close()
            yield stack.enter_context(in_full())
        else:
            yield None


def _in_file(path: Path, stack: ExitStack) -> _PlainReader | SchemaAge:
    try:
        if not path.exists():
            return SchemaAge.NOTHING_YET
        close_file(path)
        connection = stack.enter_context(closing(connected(path, writable=is_writable(path))))
        age = checked(connection, path)
    except (OSError, sqlite3.Error) as error:
        raise unusable(str(path), error) from None
    return _PlainReader(connection, str(path), "?", sqlite3.Error) if age is SchemaAge.NEWEST else age


def _on_server(url: SecretStr, stack: ExitStack) -> _PlainReader | SchemaAge:
    name = place_name(url)
    session = postgresql(name)
    try:
        connection = stack.enter_context(closing(session.connected(driver_url(url), WITHIN)))
        age = schema_age(connection, name)
    except session.Error as error:
        raise unusable(name, error) from None
    return _PlainReader(connection, name, "%s", session.Error) if age is SchemaAge.NEWEST else age
