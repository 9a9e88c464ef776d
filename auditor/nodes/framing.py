"""Framing of the answers of scripts on nodes: lines between a begin and an end line, after any other output.

An answer counts whole or not at all. Everything in it is untrusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from auditor.errors import GapReason, InvalidValue, ProbeError
from auditor.values.text import for_detail, masked

MAX_NOISE = 64 * 1024
"""Bytes that a node's start-up files may print before the answer begins."""
MAX_DETAIL = 200
"""Characters of a node's text in the detail of an error."""


@dataclass(frozen=True, slots=True)
class Request:
    """Request for one exec on a node: its command line and its standard input."""

    command: str
    """Plain words: whatever the login shell is, there is nothing in it to expand or quote."""
    stdin: bytes


class Framing:
    """Begin and end line of one script's answers. `script`: its name in errors, such as `the probe`."""

    def __init__(self, version: str, script: str) -> None:
        self.script = script
        self._version = version
        self._begin = f"\n{version} begin\n".encode()
        self._end = f"{version} end\n".encode()

    def begun(self, data: bytes) -> bool:
        """Tell whether the script began to run at all."""
        return _begin_of(b"\n" + data[: MAX_NOISE + len(self._begin)], self._begin) >= 0

    def noise(self, data: bytes) -> bytes:
        """Return the output before the answer's first line: all of it where there is none."""
        begin = _begin_of(b"\n" + data, self._begin)
        return data if begin < 0 else data[: max(begin - 1, 0)]

    def ended(self, data: bytes) -> bool:
        """Tell whether the script came to its end, were it to report an error."""
        return data.endswith(self._end)

    def body(self, data: bytes) -> bytes:
        """Cut the answer out of what an exec printed. Raises `ProbeError` (unreadable-output)."""
        framed = b"\n" + data
        begin = _begin_of(framed, self._begin)
        if begin < 0:
            raise unreadable(f"no answer of {self.script}", cleaned(data) or "nothing was printed")
        body = framed[begin + len(self._begin) :]
        end = len(self._end)
        if not body.endswith(self._end) or (len(body) > end and body[-end - 1 : -end] != b"\n"):
            raise unreadable("the answer is cut short or something follows it", last_line(body))
        return body[:-end]

    def stream(self, words: Iterable[str], limit: int) -> Stream:
        """Build the parser of what goes on: answers, and these words between them. `limit`: bytes of an answer."""
        return Stream(self._version, self.script, words, limit)

    def word(self, word: str) -> bytes:
        """Write a word as the script prints it between two answers."""
        return f"{self._version} {word}\n".encode()

    def wrap(self, body: bytes) -> bytes:
        """Frame an answer as the script prints it."""
        return self._begin + body + self._end


class Stream:
    """Parser of what a script says that goes on speaking: whole answers, and single words between them.

    However the bytes are cut into pieces, they give the same. What it holds is bounded by `limit` bytes an answer.
    """

    def __init__(self, version: str, script: str, words: Iterable[str], limit: int) -> None:
        self._script = script
        self._begin, self._end = f"{version} begin".encode(), f"{version} end".encode()
        self._words = {f"{version} {word}".encode(): word for word in words}
        self._limit = limit
        self._line = bytearray()
        """Beginning of a line whose end has not come."""
        self._body: bytearray | None = None
        """Answer that has begun."""
        self._noise: bytearray | None = bytearray()
        """What was printed before the first answer; None: that has begun."""
        self._blank = False
        self._over = False

    @property
    def begun(self) -> bool:
        """Tell whether the script began to speak."""
        return self._noise is None

    @property
    def said(self) -> bytes:
        """Beginning of what is at hand and has come to no end, for details."""
        return bytes((self._noise or b"") + (self._body or b"") + self._line)[: 4 * MAX_DETAIL]

    def feed(self, data: bytes) -> list[bytes | str | ProbeError]:
        """Take in more bytes. Returns the answers that are whole now, without their frames, and words, in order.

        What can be neither is an error (unreadable-output, output-too-large), the last one of all.
        """
        found: list[bytes | str | ProbeError] = []
        if self._over:
            return found
        *lines, rest = data.split(b"\n")
        try:
            for line in lines:
                whole = bytes(self._line + line) if self._line else line
                self._line.clear()
                self._check(len(whole) + 1, whole)
                said = self._taken(whole)
                if said is not None:
                    found.append(said)
            self._line += rest
            self._check(len(self._line), self._line)
        except ProbeError as error:
            self._over = True
            self._line.clear()
            found.append(error)
        return found

    def _check(self, size: int, line: bytes | bytearray) -> None:
        """Refuse a line that makes it too much, whole or not."""
        if self._body is not None:
            if len(self._body) + size > self._limit:
                raise ProbeError(GapReason.OUTPUT_TOO_LARGE, f"an answer of more than {self._limit} bytes")
        elif self._noise is not None:
            if len(self._noise) + size > MAX_NOISE:
                raise unreadable(
                    f"no answer of {self._script}", first_line(bytes(self._noise + line[:MAX_NOISE]))
                )
        elif size > _LONGEST_WORD:
            raise self._foreign(line)

    def _taken(self, line: bytes) -> bytes | str | None:
        if self._body is not None:
            if line != self._end:
                self._body += line + b"\n"
                return None
            body, self._body = bytes(self._body), None
            return body
        if line == self._begin:
            self._noise, self._body, self._blank = None, bytearray(), False
        elif self._noise is not None:
            self._noise += line + b"\n"
        elif line in self._words:
            self._blank = False
            return self._words[line]
        elif line or self._blank:
            raise self._foreign(line)
        else:
            self._blank = True
        return None

    def _foreign(self, line: bytes | bytearray) -> ProbeError:
        return unreadable(
            f"something else than {self._script} prints there",
            bytes(line[:_LONGEST_WORD]).decode("utf-8", "replace"),
        )


_LONGEST_WORD = 1000
"""Bytes of a line between two answers: the longest word is far shorter."""


def _begin_of(framed: bytes, begin: bytes) -> int:
    return framed.find(begin, 0, MAX_NOISE + len(begin))


def error_line(body: bytes) -> tuple[str, str] | None:
    """Read the first line `error REASON DETAIL` of a body. Returns reason and cleaned detail, None without one."""
    start = 0 if body.startswith(b"error ") else body.find(b"\nerror ") + 1
    if not body.startswith(b"error ", start):
        return None
    _, reason, *detail = body[start:].partition(b"\n")[0].split(b" ", 2)
    said = cleaned(detail[0] if detail else b"") or "no detail was given"
    return reason[:20].decode("ascii", "replace"), said


def read_lines(body: bytes, take: Callable[[str, str], None]) -> None:
    """Hand each line to `take` as its first word and the rest. Raises `ProbeError` where that raises `InvalidValue`."""
    for line in text_lines(body):
        word, _, value = line.partition(" ")
        try:
            take(word, value)
        except InvalidValue as error:
            raise unreadable(f"{cleaned(word)}: {error}", line) from None


def text_lines(body: bytes) -> list[str]:
    """Split a body into lines. Raises `ProbeError` if it is not UTF-8."""
    try:
        return body.decode("utf-8").split("\n")[:-1]
    except UnicodeDecodeError:
        raise unreadable("the answer is not text") from None


def cleaned(text: bytes | str) -> str:
    """Make one line of a node's text fit for a detail: bounded, without control characters or keys."""
    if isinstance(text, bytes):
        text = text[: 4 * MAX_DETAIL].decode("utf-8", "replace")
    # A wrapper in wg's place may print anything. The node has cut the text too, perhaps through a key.
    return for_detail(masked(text[: 4 * MAX_DETAIL], cut=len(text) >= MAX_DETAIL)[:MAX_DETAIL])


def first_line(data: bytes) -> str:
    """Return the first line that is not empty, cleaned."""
    return cleaned(data.lstrip().partition(b"\n")[0])


def last_line(data: bytes) -> str:
    """Return the last line that is not empty, cleaned."""
    return cleaned(data[-4 * MAX_DETAIL :].rstrip().rpartition(b"\n")[2])


def first_telling_line(lines: Iterable[bytes]) -> str:
    """Return the first line of a standard error that is not sudo's remark on the name service, cleaned."""
    telling = (line for line in lines if line.strip() and not line.startswith(_UNABLE_TO_RESOLVE))
    return cleaned(next(telling, b""))


_UNABLE_TO_RESOLVE = b"sudo: unable to resolve host "


def unreadable(what: str, said: str = "") -> ProbeError:
    """Build the error for an answer that cannot be read. `said`: the node's text, to be cleaned."""
    line = cleaned(said)
    return ProbeError(GapReason.UNREADABLE_OUTPUT, f"{what}: {line}" if line else what)
