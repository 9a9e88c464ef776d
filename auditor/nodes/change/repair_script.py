"""Requests for changes of a node, and the parser of its answers: pure functions around the scripts of this folder.

An answer is lines between `wgaudit-repair/1 begin` and `wgaudit-repair/1 end`. It counts whole or not at
all, and only with a `done` line of the verb that was asked for. Everything in it is untrusted.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Final

from auditor.errors import ChangeFailed, GapReason, InvalidValue, ProbeError
from auditor.nodes.change.changes import (
    AddAddress,
    Change,
    DeviceState,
    DropAddress,
    LeftFile,
    LeftWhy,
    RewriteFiles,
    SetPeer,
)
from auditor.nodes.change.maintenance import Maintenance
from auditor.nodes.framing import Framing, Request, cleaned, error_line, read_lines, unreadable
from auditor.values.addresses import Prefix, PublicKey, format_prefix, is_host, parse_prefix, parse_public_key
from auditor.values.text import for_detail

VERSION: Final = "wgaudit-repair/1"
FRAMING = Framing(VERSION, "the repair script")
MAX_LINES = 1500

# A word that no shell expands, and that `repair.sh` takes for no option.
_DEVICE = re.compile(r"[A-Za-z0-9_=+][A-Za-z0-9_=+.\-]{0,14}")
_PATH = re.compile(r"/[A-Za-z0-9_.,:@%+=/ \-]{1,400}")
_ROUTE = re.compile(r"[A-Za-z0-9_.:/@%+=\- ]{1,200}")
_LENGTH = re.compile(r"[0-9]{1,3}")
_TOKEN_FILE = re.compile(r"/[A-Za-z0-9_.,:@%+=/-]{1,400}")
MOST_REASON = 300
"""Characters of a maintenance mode's reason."""
_REASONS = {
    "sudo": GapReason.SUDO,
    "no-wg": GapReason.NO_WG,
    "no-device": GapReason.NO_DEVICE,
    "wrong-host": GapReason.WRONG_HOST,
}
_PARTS = ("repair.sh", "boot_files.sh", "maintenance.sh")
_LAST_LINE = b'main "$@" </dev/null\n'
"""A text that is cut short on its way defines functions, and does nothing."""
_WG = ("wg",)
_MAY_BE_LOST = b":\n" * 3  # to a login shell's start-up file that reads a line
_REFUSED = "refused"
_FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """One request, and the verb that its answer must be of."""

    verb: str
    request: Request


def look_request(device: str, *, sudo: bool = False, wg_command: tuple[str, ...] = _WG) -> RepairRequest:
    """Build the request for key and addresses. Raises `ChangeFailed` for a name that cannot be a device's."""
    return _repair_request("look", device, (), sudo, wg_command)


def change_request(
    device: str, key: PublicKey, change: Change, *, sudo: bool = False, wg_command: tuple[str, ...] = _WG
) -> RepairRequest:
    """Build the request for one change on the device that has this key.

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
    return _repair_request(verb, device, (_key(key), *words), sudo, wg_command)


def maintenance_request(
    device: str, key: PublicKey, asked: Maintenance, *, sudo: bool = False, wg_command: tuple[str, ...] = _WG
) -> RepairRequest:
    """Build the request for the maintenance mode of the node whose device has this key.

    Raises `ChangeFailed` (refused) for a token's file that cannot be named in a command line. The reason is cut, and
    without control characters.
    """
    verb = "ask" if asked.on is None else "on" if asked.on else "off"
    if asked.token_file and _TOKEN_FILE.fullmatch(asked.token_file) is None:
        raise _refusal(f"{cleaned(asked.token_file)} cannot be a file's name here")
    reason = for_detail(asked.reason)[:MOST_REASON]
    values = f"reason={shlex.quote(reason)}\ntoken_file={shlex.quote(asked.token_file)}\n".encode()
    return _repair_request("maintenance", device, (_key(key), verb), sudo, wg_command, values)


def _repair_request(
    verb: str,
    device: str,
    words: Iterable[str],
    sudo: bool,
    wg_command: tuple[str, ...],
    values: bytes = b"",
) -> RepairRequest:
    if _DEVICE.fullmatch(device) is None:
        raise _refusal(f"{cleaned(device)} cannot be a device's name here")
    shell = "exec sudo -n /bin/sh" if sudo else "exec /bin/sh"
    line = " ".join((shell, "-s --", VERSION, verb, device, *words))
    return RepairRequest(verb, Request(line, _MAY_BE_LOST + _places(wg_command) + values + _script()))


def _places(wg_command: tuple[str, ...]) -> bytes:
    """Write functions that run `wg` and `ip` where they are, if that is not where they nearly always are."""
    if wg_command == _WG:
        return b""
    *before, _ = words = [shlex.quote(word) for word in wg_command]
    ip = " ".join([*before, "ip"])
    return f'wg() {{ command {" ".join(words)} "$@"; }}\nip() {{ command {ip} "$@"; }}\n'.encode()


def _pair(first: Prefix, second: Prefix) -> tuple[str, str]:
    """Check two different hosts of one family. Returns them as bare addresses."""
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
    parts = (resources.files(__package__).joinpath(name).read_bytes() for name in _PARTS)
    return b"\n".join((*parts, _LAST_LINE))


# --- reading --------------------------------------------------------------------------------------


def parse_repair(data: bytes, asked: RepairRequest) -> DeviceState:
    """Read what an exec printed. Raises `ProbeError`; never gives part of an answer."""
    body = FRAMING.body(data)
    if (failed := error_line(body)) is not None:
        raise _failure(*failed)
    if body.count(b"\n") > MAX_LINES:
        raise unreadable(f"more than {MAX_LINES} lines")
    answer = _RepairAnswer(asked.verb)
    read_lines(body, answer.take)
    return answer.state()


class _RepairAnswer:
    """Parser of an answer's lines; each kind may occur as often as the script prints it."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._key: PublicKey | None = None
        self._done = False
        self._maintenance: bool | None = None
        self._addresses: dict[Prefix, None] = {}
        self._files: dict[str, None] = {}
        self._by_hand: dict[LeftFile, None] = {}
        self._notes: dict[str, None] = {}

    def state(self) -> DeviceState:
        """Build the state that the lines describe. Raises `ProbeError` if one is missing."""
        if self._key is None or not self._done:
            raise unreadable(f"the answer has no line {'done' if self._key else 'key'}")
        if self._verb == "maintenance" and self._maintenance is None:
            raise unreadable("the answer has no line maintenance")
        return DeviceState(
            self._key,
            tuple(self._addresses),
            tuple(self._files),
            tuple(self._notes),
            tuple(self._by_hand),
            self._maintenance,
        )

    def take(self, word: str, value: str) -> None:
        """Take one line. Raises `InvalidValue`."""
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
            case "byhand" if self._verb == "rewrite":
                self._by_hand[_left_file(value)] = None
            case "maintenance" if self._verb == "maintenance" and value in ("on", "off"):
                self._maintenance = value == "on"
            case "note":
                self._notes[_note(value)] = None
            case "done":
                self._end(value)
            case _:
                raise InvalidValue("the script prints no such line")

    def _end(self, verb: str) -> None:
        if verb != self._verb:
            raise InvalidValue(f"{self._verb} was asked for")
        self._done = True


def _address(value: str) -> Prefix:
    """Read `10.0.0.1/8`, as `ip` prints it (without a length beside a point-to-point peer), as a host prefix."""
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


def _reload(rest: str) -> str:
    return f"NetworkManager has the old content of {_path(rest)} in memory until `nmcli connection reload`"


def _left_file(value: str) -> LeftFile:
    why, _, rest = value.partition(" ")
    number, _, path = rest.partition(" ")
    if re.fullmatch(r"[0-9]{1,9}", number) is None:
        raise InvalidValue("not a line's number")
    try:
        reason = LeftWhy(why)
    except ValueError:
        raise InvalidValue("the script knows no such reason") from None
    return LeftFile(_path(path), reason, int(number) or None)


def _added_back(rest: str) -> str:
    return f"the kernel took {format_prefix(_address(rest))} along with the old address; it was added again at once"


def _route(rest: str) -> str:
    if _ROUTE.fullmatch(rest) is None:
        raise InvalidValue("not a route")
    return f"a route has the kept address as its source now: {rest.strip()}"


_NOTES: dict[str, Callable[[str], str]] = {
    "save-config": _saves,
    "reload": _reload,
    "added-back": _added_back,
    "route": _route,
}


def _failure(reason: str, detail: str) -> ProbeError:
    if reason in (_REFUSED, _FAILED):
        return ChangeFailed(detail, refused=reason == _REFUSED)
    return ProbeError(_REASONS.get(reason, GapReason.UNREADABLE_OUTPUT), detail)
