"""What is asked of a node that is to be changed and how its answer is read: pure functions around `repair.sh`.

An answer is lines between `wgaudit-repair/1 begin` and `wgaudit-repair/1 end`. It counts whole or not at
all, and only with a `done` line of the verb that was asked for. Everything in it is untrusted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Final

from auditor.errors import ChangeFailed, GapReason, InvalidValue, ProbeError
from auditor.nodes.change.changes import AddAddress, Change, DeviceState, DropAddress, RewriteFiles, SetPeer
from auditor.nodes.probe.probe import MAX_NOISE, Request, cleaned
from auditor.values.addresses import Prefix, PublicKey, format_prefix, is_host, parse_prefix, parse_public_key

VERSION: Final = "wgaudit-repair/1"
MAX_LINES = 1500

_BEGIN = f"\n{VERSION} begin\n".encode()
_END = f"\n{VERSION} end\n".encode()
# A word that no shell expands, and that `repair.sh` takes for no option.
_DEVICE = re.compile(r"[A-Za-z0-9_=+][A-Za-z0-9_=+.\-]{0,14}")
_PATH = re.compile(r"/[A-Za-z0-9_.,:@%+=/ \-]{1,400}")
_ROUTE = re.compile(r"[A-Za-z0-9_.:/@%+=\- ]{1,200}")
_LENGTH = re.compile(r"[0-9]{1,3}")
_REASONS = {
    "sudo": GapReason.SUDO,
    "no-wg": GapReason.NO_WG,
    "no-device": GapReason.NO_DEVICE,
    "wrong-host": GapReason.WRONG_HOST,
}
_REFUSED = "refused"
_FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and the verb that its answer must be of."""

    verb: str
    request: Request


def look_request(device: str, *, sudo: bool = False) -> Asked:
    """Asks for key and addresses. Raises `ChangeFailed` for a name that cannot be a device's."""
    return _asked("look", device, (), sudo)


def change_request(device: str, key: PublicKey, change: Change, *, sudo: bool = False) -> Asked:
    """Asks for one change on the device that has this key.

    Raises `ChangeFailed` (refused) if a value could not be sent: nothing that is not strictly an address,
    a key or a device's name ever stands in a command line.
    """
    words: tuple[str, ...]
    match change:
        case AddAddress(new, like):
            verb, words = "add", _pair(new, like)
        case DropAddress(old, keep):
            verb, words = "drop", _pair(old, keep)
        case RewriteFiles(old, new):
            verb, words = "rewrite", _pair(old, new)
        case SetPeer(peer, prefixes):
            verb, words = "peer", (_key(peer), *map(_prefix, prefixes))
    return _asked(verb, device, (_key(key), *words), sudo)


def _asked(verb: str, device: str, words: Iterable[str], sudo: bool) -> Asked:
    if _DEVICE.fullmatch(device) is None:
        raise _refusal(f"{cleaned(device)} cannot be a device's name here")
    shell = "exec sudo -n /bin/sh" if sudo else "exec /bin/sh"
    line = " ".join((shell, "-s --", VERSION, verb, device, *words))
    return Asked(verb, Request(line, _script()))


def _pair(first: Prefix, second: Prefix) -> tuple[str, str]:
    """Two different hosts of one family, as bare addresses."""
    for prefix in (first, second):
        if not is_host(Prefix(_prefix(prefix))):
            raise _refusal(f"{prefix} is not one address")
    if (":" in first) != (":" in second):
        raise _refusal(f"{format_prefix(first)} and {format_prefix(second)} are not of one family")
    if first == second:
        raise _refusal(f"{format_prefix(first)} is both the old and the new address")
    return format_prefix(first), format_prefix(second)


def _prefix(prefix: Prefix) -> str:
    try:
        canonical = parse_prefix(prefix)
    except InvalidValue as error:
        raise _refusal(f"{cleaned(prefix)}: {error}") from None
    if canonical != prefix:
        raise _refusal(f"{cleaned(prefix)} is not in canonical form")
    return prefix


def _key(key: PublicKey) -> str:
    try:
        return parse_public_key(key)
    except InvalidValue as error:
        raise _refusal(f"{cleaned(key)}: {error}") from None


def _refusal(detail: str) -> ChangeFailed:
    return ChangeFailed(detail, refused=True)


@lru_cache(maxsize=1)
def _script() -> bytes:
    return resources.files(__package__).joinpath("repair.sh").read_bytes()


# --- reading --------------------------------------------------------------------------------------


def parse_repair(data: bytes, asked: Asked) -> DeviceState:
    """Reads what an exec printed. Raises `ProbeError`; never gives part of an answer."""
    framed = b"\n" + data
    begin = framed.find(_BEGIN, 0, MAX_NOISE + len(_BEGIN))
    if begin < 0:
        raise _unreadable("no answer of the repair script", _line(data) or "nothing was printed")
    body = framed[begin + len(_BEGIN) - 1 :]  # from the line's end, so that each line has one before it
    if not body.endswith(_END):
        raise _unreadable("the answer is cut short or something follows it", _line(body[-400:]))
    try:
        lines = body[1 : -len(_END) + 1].decode("utf-8").split("\n")[:-1]
    except UnicodeDecodeError:
        raise _unreadable("the answer is not text", "") from None
    for line in lines:
        if line.startswith("error "):
            raise _told(line)
    return _Fields(asked.verb).read(lines)


def answered(data: bytes) -> bool:
    """Whether the script began to run at all."""
    return _BEGIN in b"\n" + data[: MAX_NOISE + len(_BEGIN)]


class _Fields:
    """The lines of an answer, gathered; each may stand there as often as the script prints it."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._key: PublicKey | None = None
        self._done = False
        self._addresses: dict[Prefix, None] = {}
        self._files: dict[str, None] = {}
        self._notes: dict[str, None] = {}

    def read(self, lines: list[str]) -> DeviceState:
        if len(lines) > MAX_LINES:
            raise _unreadable(f"more than {MAX_LINES} lines", "")
        for line in lines:
            word, _, value = line.partition(" ")
            try:
                self._take(word, value)
            except InvalidValue as error:
                raise _unreadable(str(error), line) from None
        if self._key is None or not self._done:
            raise _unreadable(f"the answer has no line {'done' if self._key else 'key'}", "")
        return DeviceState(self._key, tuple(self._addresses), tuple(self._files), tuple(self._notes))

    def _take(self, word: str, value: str) -> None:
        if self._done:
            raise InvalidValue("something follows the line done")
        match word:
            case "key":
                if self._key is not None:
                    raise InvalidValue("a second key")
                self._key = parse_public_key(value)
            case "address":
                self._addresses[_address(value)] = None
            case "file" if self._verb == "rewrite":
                self._files[_path(value)] = None
            case "note":
                self._notes[_note(value)] = None
            case "done":
                if value != self._verb:
                    raise InvalidValue(f"{self._verb} was asked for")
                self._done = True
            case _:
                raise InvalidValue("the script prints no such line")


def _address(value: str) -> Prefix:
    """`10.0.0.1/8`, as `ip` prints it (without a length beside a point-to-point peer), as a host prefix."""
    host, slash, length = value.partition("/")
    prefix = parse_prefix(host)
    if format_prefix(prefix) != host:
        raise InvalidValue("not in canonical form")
    if slash and (_LENGTH.fullmatch(length) is None or int(length) > (128 if ":" in host else 32)):
        raise InvalidValue("not a prefix length")
    return prefix


def _path(value: str) -> str:
    if _PATH.fullmatch(value) is None:
        raise InvalidValue("not a file's absolute name")
    return value


def _note(value: str) -> str:
    code, _, rest = value.partition(" ")
    reader = _NOTES.get(code)
    if reader is None:
        raise InvalidValue("the script prints no such note")
    return reader(rest)


def _saves(rest: str) -> str:
    return (
        f"{_path(rest)} has SaveConfig = true: `wg-quick down` overwrites it with what the device holds then"
    )


def _left(rest: str) -> str:
    number, _, path = rest.partition(" ")
    if re.fullmatch(r"[0-9]{1,9}", number) is None:
        raise InvalidValue("not a line's number")
    return f"{_path(path)} line {number} names the old address too and was left as it is"


def _added_back(rest: str) -> str:
    return f"the kernel took {format_prefix(_address(rest))} along with the old address; it was added again at once"


def _route(rest: str) -> str:
    if _ROUTE.fullmatch(rest) is None:
        raise InvalidValue("not a route")
    return f"a route has the kept address as its source now: {rest.strip()}"


_NOTES: dict[str, Callable[[str], str]] = {
    "save-config": _saves,
    "left": _left,
    "added-back": _added_back,
    "route": _route,
}


def _told(line: str) -> ProbeError:
    _, reason, *rest = line.split(" ", 2)
    detail = cleaned(rest[0] if rest else "") or "no detail was given"
    if reason in (_REFUSED, _FAILED):
        return ChangeFailed(detail, refused=reason == _REFUSED)
    return ProbeError(_REASONS.get(reason, GapReason.UNREADABLE_OUTPUT), detail)


def _unreadable(what: str, said: str) -> ProbeError:
    line = cleaned(said)
    return ProbeError(GapReason.UNREADABLE_OUTPUT, f"{what}: {line}" if line else what)


def _line(data: bytes) -> str:
    return cleaned(data.lstrip().partition(b"\n")[0])
