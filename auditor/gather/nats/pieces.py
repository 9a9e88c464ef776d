"""PURE: messages of a following that are longer than one may be, in pieces."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.errors import InvalidValue
from auditor.gather.nats.follow_messages import LONGEST_MESSAGE, MOST_PIECES, Piece, written
from auditor.gather.nats.messages import LONGEST_PART

ENVELOPE = 512
"""Bytes that a piece has beside its text."""


class Cutting:
    """Cutter of the messages of one side of a job."""

    def __init__(self, job: str, most_bytes: int) -> None:
        """most_bytes: of what is sent at once."""
        self._job = job
        self._most = most_bytes
        self._cut = 0

    def cut(self, raw: bytes) -> Iterator[bytes]:
        """Cut a message into what is sent of it, in order. Raises `InvalidValue` where it is too long."""
        if len(raw) <= self._most:
            yield raw
            return
        self._cut += 1
        text = raw.decode()
        # Inside another one, each quotation mark of a message takes two bytes, and a character up to four.
        size = min(LONGEST_PART, (self._most - ENVELOPE) // 4)
        pieces = [text[place : place + size] for place in range(0, len(text), size)]
        if len(pieces) > MOST_PIECES or len(raw) > LONGEST_MESSAGE:
            raise InvalidValue(f"a message of {len(raw):,} bytes")
        for number, piece in enumerate(pieces):
            yield written(Piece(job=self._job, of=self._cut, piece=number, pieces=len(pieces), text=piece))


class Joining:
    """Joiner of pieces, one message at a time. Where a piece is missing, the message never comes."""

    def __init__(self) -> None:
        self._of: tuple[int, int] = (0, 0)
        self._texts: list[str] = []
        self._size = 0

    def take(self, piece: Piece) -> bytes | None:
        """Take the next piece. Returns the message once it is whole. Raises `InvalidValue` where it is too long."""
        if piece.piece == 0:
            self._of, self._texts, self._size = (piece.of, piece.pieces), [], 0
        elif (piece.of, piece.pieces) != self._of or piece.piece != len(self._texts):
            return None
        self._texts.append(piece.text)
        self._size += len(piece.text)
        if self._size > LONGEST_MESSAGE:
            self._of, self._texts = (0, 0), []
            raise InvalidValue(f"a message of more than {LONGEST_MESSAGE:,} characters")
        if len(self._texts) < piece.pieces:
            return None
        whole, self._of, self._texts = "".join(self._texts), (0, 0), []
        return whole.encode("utf-8", "replace")
