"""Reading of whole tables: all that a plain sweep needs of the state, and so without the library for the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from auditor.errors import StateError

Stored = Mapping[str, Any]
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
    ) -> Iterator[Stored]:
        """Read the rows of a table, one at a time; at most so many. Raises `StateError`.

        where: values that these columns have; None stands for "nothing stored". order: columns, first the one that
        counts most; a `-` before a name: from its greatest value down.
        """
        ...


@contextmanager
def readable() -> Iterator[None]:
    """Turn a record that no version of ours wrote into a `StateError`."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise StateError(f"the history holds a record that cannot be read ({type(error).__name__})") from None
