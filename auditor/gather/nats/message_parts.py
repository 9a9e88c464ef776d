"""PURE: rows of messages in order, and what is too long for one message: lists in batches, texts in parts, tables as
numbered lines.

Both sides use these: what one writes, the other reads.
"""

from __future__ import annotations

import hashlib
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from auditor.errors import InvalidValue, StreamBroken
from auditor.gather.nats.messages import (
    LONGEST_PART,
    MOST_BYTES,
    MOST_CHANGED,
    MOST_PARTS,
    JobMessage,
    TableDifference,
    TextPart,
    written,
)
from auditor.values.addresses import Prefix, is_host
from auditor.values.models import Registration
from auditor.values.route_table import RouteTable, check_lines

MOST_LEFT_OUT = 1000
"""Messages of a job that may be left out before it is given up: each costs time."""
MOST_KINDS = 16
"""Kinds of what is left out that are counted apart."""
MOST_LINES = 1_000_000
"""Lines of route tables that a job's messages may bring."""
MOST_NAMED = 4_000_000
"""Numbers of lines in all differences of a job."""
MOST_BASES_A_JOB = 64
ENVELOPE = 1024
"""Bytes that a message has beside its lists."""
LEAST_BYTES = 16 * 1024
"""Bytes that a message may have, at least: no server takes fewer."""

Message = TypeVar("Message", bound=JobMessage)
Form = TypeVar("Form", bound=BaseModel)
Line = TypeVar("Line", bound=str)


# -- rows


class RowWriting:
    """Writer of a row of messages: numbers each, and vouches for those before it.

    most_bytes: of a message; a longer one is `InvalidValue`.
    """

    def __init__(self, job: str, most_bytes: int = MOST_BYTES) -> None:
        self.job = job
        self.number = 0
        """Messages that were written so far."""
        self.most_bytes = most_bytes
        self._before = hashlib.sha256()

    @property
    def before(self) -> str:
        """Digest over the digests of all messages so far."""
        return self._before.hexdigest()

    def write(self, message: JobMessage) -> bytes:
        """Write the next message. Raises `InvalidValue` where it is too long or holds what is no Unicode; then it is as
        if it had not been asked for."""
        raw = written(message.model_copy(update={"number": self.number, "before": self.before}))
        if len(raw) > self.most_bytes:
            raise InvalidValue(f"{len(raw):,} bytes, more than {self.most_bytes:,}")
        self.number += 1
        self._before.update(hashlib.sha256(raw).digest())
        return raw


class RowReading(Generic[Message]):
    """Reader of a row of messages. What is foreign, unreadable or doubled is left out and counted.

    read: reads one message; raises `InvalidValue`.
    """

    def __init__(self, job: str, read: Callable[[bytes], Message]) -> None:
        self._job = job
        self._read = read
        self._before = hashlib.sha256()
        self.number = 0
        """Messages that came in their turn so far."""
        self.left_out: Counter[str] = Counter()
        """What was left out, in words, and how many times."""

    @property
    def before(self) -> str:
        """Digest over the digests of all messages so far."""
        return self._before.hexdigest()

    def take(self, raw: bytes) -> Message | None:
        """Read the next message; None: it is left out.

        A message that is returned vouches for all that were returned before. Raises `StreamBroken` where one is
        missing, or not the one that was written, or too many had to be left out.
        """
        try:
            message = self._read(raw)
        except InvalidValue as error:
            self.leave_out(f"unreadable ({error})")
            return None
        if message.job != self._job or message.number < self.number:
            self.leave_out("doubled" if message.job == self._job else "of another job")
            return None
        if message.number > self.number:
            raise StreamBroken(f"message {self.number:,} of the row is missing{self.words()}")
        if message.before != self.before:
            raise StreamBroken(f"what came before message {self.number:,} is not what was sent{self.words()}")
        self.number += 1
        self._before.update(hashlib.sha256(raw).digest())
        return message

    def words(self) -> str:
        """Word what was left out, for the detail of a gap; "" where nothing was."""
        if not self.left_out:
            return ""
        most = self.left_out.most_common(3)
        return f" ({', '.join(f'{times:,} {what}' for what, times in most)}: left out)"

    def leave_out(self, what: str) -> None:
        """Count something that is left out, in words. Raises `StreamBroken` where that is too much."""
        if what not in self.left_out and len(self.left_out) >= MOST_KINDS:
            what = "other things"
        self.left_out[what] += 1
        if self.left_out.total() > MOST_LEFT_OUT:
            raise StreamBroken(f"too much that is not of the job{self.words()}")


def room_of(max_payload: int) -> int:
    """Return the bytes that a message may have on a server with this `max_payload`."""
    return max(LEAST_BYTES, min(MOST_BYTES, max_payload - ENVELOPE))


# -- lists


def batches(items: Iterable[Form], most_bytes: int, most_items: int | None = None) -> Iterator[list[Form]]:
    """Divide forms into lists, each of which fits into a message of so many bytes. Raises `InvalidValue` for one form
    that fits into none, or holds what is no Unicode."""
    room = most_bytes - ENVELOPE
    batch: list[Form] = []
    left = room
    for item in items:
        size = len(written(item)) + 1
        if size > room:
            raise InvalidValue(f"{size:,} bytes, more than {room:,}")
        if batch and (size > left or len(batch) == most_items):
            yield batch
            batch, left = [], room
        batch.append(item)
        left -= size
    if batch:
        yield batch


def fits_alone(form: BaseModel, most_bytes: int) -> bool:
    """Tell whether a form fits into a message. Raises `InvalidValue` where it cannot be written."""
    return len(written(form)) + 1 <= most_bytes - ENVELOPE


def mesh_addresses_of(registered: Iterable[Registration]) -> list[Prefix]:
    """List the mesh addresses of a whole registry, sorted, each once: by none of them a node is reached."""
    return sorted({prefix for item in registered for prefix in item.addresses if is_host(prefix)})


def addresses_digest(addresses: Iterable[Prefix]) -> str:
    """Hash the mesh addresses of a registry."""
    return hashlib.sha256("\n".join(addresses).encode()).hexdigest()


# -- texts


def text_parts(job: str, text: bytes, most_bytes: int) -> Iterator[TextPart]:
    """Divide an UTF-8 text into the parts of its digest, each of which fits into a message. Raises `InvalidValue`."""
    digest = hashlib.sha256(text).hexdigest()
    # JSON writes a tab, a newline and a quotation mark as two characters, and other characters have up to four bytes.
    # What it writes as six is not in our texts.
    size = min(LONGEST_PART, (most_bytes - ENVELOPE) // 4)
    decoded = text.decode()
    pieces = [decoded[place : place + size] for place in range(0, len(decoded), size)] or [""]
    if len(pieces) > MOST_PARTS:
        raise InvalidValue(f"a text of {len(text):,} bytes")
    for number, piece in enumerate(pieces):
        yield TextPart(job=job, digest=digest, part=number, parts=len(pieces), text=piece)


class WholeText(NamedTuple):
    """Text that came whole, and the digest that it was sent under."""

    digest: str
    text: bytes

    @property
    def fits(self) -> bool:
        """Tell whether the text has the digest."""
        return hashlib.sha256(self.text).hexdigest() == self.digest


class ReadingTexts:
    """Reader of texts in parts, one text at a time. most_bytes: of one text."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self._of: tuple[str, int] | None = None

    def take(self, part: TextPart) -> WholeText | None:
        """Take the next part. Returns the text, once it is whole. Raises `StreamBroken` where a part is not the next
        one of its text, or the text too long."""
        of = part.digest, part.parts
        if part.part != len(self._parts) or part.part >= part.parts or (self._of or of) != of:
            raise StreamBroken(f"part {part.part} of a text came out of its turn")
        piece = part.text.encode()
        self._size += len(piece)
        if self._size > self._most:
            raise StreamBroken(f"a text of more than {self._most:,} bytes")
        self._parts.append(piece)
        self._of = of
        if len(self._parts) < part.parts:
            return None
        text = b"".join(self._parts)
        self._parts, self._size, self._of = [], 0, None
        return WholeText(part.digest, text)


def read_table(text: bytes) -> RouteTable:
    """Read the text of a route table. Raises `InvalidValue` for lines that no node sends, or that are not sorted."""
    check_lines([text])
    lines = text.splitlines()
    if not _ascending(lines):
        raise InvalidValue("a route table is not sorted, or has a line twice")
    return RouteTable(text)


# -- differences


class WritingLines:
    """Writer of differences: gives each line of a job's route tables a number, when it is first used."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._new: list[str] = []
        self._named = 0

    def difference(self, digest: str, base: str, table: RouteTable) -> TableDifference | None:
        """Write a table as its difference from its base, whose digest is given. None: it is not worth it, and the table
        is to be asked for whole."""
        changed = len(table.without) + len(table.plus)
        if (
            changed > MOST_CHANGED
            or len(self._numbers) + changed > MOST_LINES
            or self._named + changed > MOST_NAMED
        ):
            return None
        self._named += changed
        return TableDifference(
            digest=digest,
            base=base,
            without=[self._number(line) for line in table.without],
            plus=[self._number(line) for line in table.plus],
        )

    def new(self) -> list[str]:
        """Return the lines that got a number since the last call. They are sent before the differences."""
        new, self._new = self._new, []
        return new

    def _number(self, line: bytes) -> int:
        number = self._numbers.get(line)
        if number is None:
            number = self._numbers[line] = len(self._numbers)
            self._new.append(line.decode("ascii"))
        return number


def line_batches(lines: Iterable[Line], most_bytes: int) -> Iterator[list[Line]]:
    """Divide lines of route tables, or prefixes, into lists, each of which fits into a message."""
    room = most_bytes - ENVELOPE
    batch: list[Line] = []
    left = room
    for line in lines:
        size = len(line) + 4  # quotation marks, a comma, and the tab is two characters
        if size > left:
            yield batch
            batch, left = [], room
        batch.append(line)
        left -= size
    if batch:
        yield batch


class ReadingLines:
    """Reader of numbered lines, and of the differences that name them."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._bases: dict[str, frozenset[bytes]] = {}
        self._named = 0

    def count(self, differences: Iterable[TableDifference]) -> None:
        """Count the lines that further differences name. Raises `StreamBroken` where they are too many."""
        self._named += sum(len(item.without) + len(item.plus) for item in differences)
        if self._named > MOST_NAMED:
            raise StreamBroken(f"differences of route tables that name more than {MOST_NAMED:,} lines")

    def take(self, lines: list[str]) -> None:
        """Take further lines. Raises `StreamBroken` for one that no node sends."""
        if not lines:
            return
        if len(self._lines) + len(lines) > MOST_LINES:
            raise StreamBroken(f"more than {MOST_LINES:,} lines of route tables")
        raw = [line.encode("utf-8", "replace") for line in lines]
        try:
            if any(b"\n" in line for line in raw):
                raise InvalidValue("a line of a route table with a line end in it")
            check_lines([b"".join(line + b"\n" for line in raw)])
        except InvalidValue as error:
            raise StreamBroken(str(error)) from None
        self._lines += raw

    def table(self, difference: TableDifference, base: RouteTable) -> RouteTable:
        """Make the table of a difference, from its base. Raises `StreamBroken` where it does not fit the base.

        Its digest is what the collector says: hashing the text would cost as much as if it had come.
        """
        known = self._bases.get(difference.base)
        if known is None:
            if len(self._bases) == MOST_BASES_A_JOB:
                raise StreamBroken(f"more than {MOST_BASES_A_JOB} bases of route tables")
            known = self._bases[difference.base] = frozenset(base.lines())
        try:
            without = tuple(map(self._lines.__getitem__, difference.without))
            plus = tuple(map(self._lines.__getitem__, difference.plus))
        except IndexError:
            raise StreamBroken("a route table's difference names a line that did not come") from None
        if not (_ascending(without) and _ascending(plus)):
            raise StreamBroken("a route table's difference is not sorted, or has a line twice")
        if not known.issuperset(without) or not known.isdisjoint(plus):
            raise StreamBroken("a route table's difference does not fit the table that it is of")
        return _changed(base, without, plus)


def _ascending(lines: Iterable[bytes]) -> bool:
    return all(map(operator.lt, kept := tuple(lines), kept[1:]))


def _changed(base: RouteTable, without: tuple[bytes, ...], plus: tuple[bytes, ...]) -> RouteTable:
    """Change a table by lines that it has and lines that it has not; it may be held as a difference itself."""
    if not base.without and not base.plus:
        return RouteTable(base.base, without, plus)
    left_out, added = set(base.without), set(base.plus)
    for line in without:
        if line in added:
            added.remove(line)
        else:
            left_out.add(line)
    for line in plus:
        if line in left_out:
            left_out.remove(line)
        else:
            added.add(line)
    return RouteTable(base.base, tuple(sorted(left_out)), tuple(sorted(added)))
