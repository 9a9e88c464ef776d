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

    def wrap(self, body: bytes) -> bytes:
        """Frame an answer as the script prints it."""
        return self._begin + body + self._end


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
