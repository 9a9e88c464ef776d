"""Values in the state: rows of tables and JSON texts, read and written by the types of the values' fields."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from auditor.errors import InvalidValue, StateError
from auditor.values.text import stored_time

Value = TypeVar("Value")
# Of the years 1970 to 2999: near the ends of what a datetime can hold, reckoning with one overflows.
_TIME = re.compile(r"(19[7-9][0-9]|2[0-9]{3})-.*[+-][0-9]{2}:[0-9]{2}")
StoredRow = Mapping[str, Any]
"""One stored row: its values by the names of their columns."""


class TableReader(Protocol):
    """Reader of stored rows: an opened store, or what a plain sweep reads with."""

    def rows_of(
        self,
        table: str,
        where: Mapping[str, object] | None = None,
        *,
        order: Sequence[str] = (),
        most: int | None = None,
    ) -> Iterator[StoredRow]:
        """Read the rows of a table, one at a time; at most so many. Raises `StateError`.

        where: values that these columns have; None stands for "nothing stored". order: columns, first the one that
        counts most; a `-` before a name: from its greatest value down.
        """
        ...


def row_reader(kind: type[Value], *lists: str, **columns: str) -> Callable[[StoredRow], Value]:
    """Return what makes a value of a stored row. It raises `StateError` for a row that no version of ours wrote.

    lists: fields that are stored as JSON. columns: by field, columns that have another name.
    """
    adapter, times = TypeAdapter(kind), _times_of(kind)

    def read(row: StoredRow) -> Value:
        try:
            fields = {**row, **{field: row[column] for field, column in columns.items()}}
            _refuse_no_times(fields, times)
            return adapter.validate_python(fields | {name: json.loads(fields[name]) for name in lists})
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise unreadable(error) from None

    return read


class StoredForm(Generic[Value]):
    """Versioned JSON of one type of value: the same text for the same value.

    It is ASCII, so that any name that Consul or a node came up with can be stored.
    """

    def __init__(self, name: str, kind: type[Value], **parts: StoredForm[Any]) -> None:
        """name: form and version, which stand in the text. parts: fields that have a form of their own."""
        self._name, self._adapter, self._parts, self._times = name, TypeAdapter(kind), parts, _times_of(kind)

    def write(self, value: Value) -> str:
        """Write a value."""
        return json.dumps(self._named(self._adapter.dump_python(value)), default=_plain)

    def read(self, text: str | bytes) -> Value:
        """Read what was written. Raises `StateError`."""
        try:
            return self._adapter.validate_python(self._fields(json.loads(text)), extra="forbid")
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise unreadable(error) from None

    def _named(self, fields: Mapping[str, Any]) -> Mapping[str, object]:
        parts = {name: form._named(fields[name]) for name, form in self._parts.items()}  # noqa: SLF001
        return {"form": self._name, **fields, **parts}

    def _fields(self, found: Mapping[str, Any]) -> Mapping[str, object]:
        parts = {name: form._fields(found[name]) for name, form in self._parts.items()}
        fields = {**found, **parts}
        if fields.pop("form") != self._name:
            raise ValueError("another form")
        _refuse_no_times(fields, self._times)
        return fields


def read_time(text: str) -> datetime:
    """Read a time that `stored_time` wrote. Raises `StateError`."""
    try:
        _refuse_no_times({"": text}, ("",))
        return datetime.fromisoformat(text)
    except (ValueError, TypeError) as error:
        raise unreadable(error) from None


def _times_of(kind: type[Value]) -> Sequence[str]:
    """Name the fields that are times."""
    return [name for name, hint in get_type_hints(kind).items() if datetime in (hint, *get_args(hint))]


def _refuse_no_times(fields: Mapping[str, Any], times: Sequence[str]) -> None:
    """Refuse a time of no zone, which can be compared with none of ours, and one that is centuries away."""
    for name in times:
        text = fields.get(name)
        if text is not None and _TIME.fullmatch(text) is None:
            raise ValueError(f"{name} is no time of ours")


def _plain(value: object) -> object:
    return stored_time(value) if isinstance(value, datetime) else sorted(value)  # type: ignore[call-overload]


def unreadable(error: Exception) -> StateError:
    """Make the error that says that a record is none that a version of ours wrote."""
    match error:
        case ValidationError():
            what: object = error.errors()[0]["loc"]
        case InvalidValue():
            what = error
        case _:
            what = type(error).__name__
    return StateError(f"the state database holds a record that cannot be read ({what})")
