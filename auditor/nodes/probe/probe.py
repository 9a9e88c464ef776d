"""Requests to look at a node, and the parser of its answers: pure functions around `probe.sh`.

An answer is lines between `wgaudit-probe/1 begin` and `wgaudit-probe/1 end`. It counts whole or not at
all: an `error` line, a missing end or one line that `wg` would not print makes it a `ProbeError`.
Everything in it is untrusted.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import operator
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Literal

from auditor.errors import ConfigError, GapReason, InvalidValue, ProbeError
from auditor.nodes.framing import Framing, Request, error_line, first_line, last_line, read_lines, unreadable
from auditor.nodes.probe.side_lines import MANY, SideLines, format_side_lines
from auditor.values.addresses import (
    Prefix,
    PublicKey,
    format_prefix,
    is_mapped,
    packed,
    parse_prefix,
    parse_public_key,
)
from auditor.values.hidden_addresses import ShadowingRoute
from auditor.values.models import Device
from auditor.values.peer_transfers import PeerTransfer
from auditor.values.route_table import RouteTable

VERSION = "wgaudit-probe/1"
FOLLOWING = "wgaudit-probe/2"
"""Version of the request to follow, which older installed probes refuse. What is printed has the form of `VERSION`."""
FRAMING = Framing(VERSION, "the probe")
Mode = Literal["digest", "text", "base"]

MAX_ADDRESSES = 1024
MAX_REGION = 100

REFUSED = "refused: this key may ask for"
"""Beginning of what an installed probe says to a mode that it does not know."""
DONE = "done"
WORDS = ("beat", DONE)
"""Words of a followed node between its answers: that its last one holds, and that it has run as long as it may."""
BEAT = 30.0
"""Seconds after which a followed node speaks though nothing changed."""
LEAST_INTERVAL, MOST_INTERVAL = 1, 300
"""Seconds between two looks of a followed node at its own device."""
TRANSFER_SECONDS = 22
"""Seconds that a node may need more, where it compares what went to its peers and came back."""
INSTALLED_SECONDS = 60
"""Seconds after which an installed probe has ended, with all that it started."""

_INLINE = "exec /bin/sh -s -- "
# Half the bytes, where the node has gzip. The shell skips lines until `go`, a byte at a time, and hands the rest to
# gzip; a damaged text unpacks to functions that nobody calls. No quote, backslash or "!": any login shell passes it on.
_PACKED = (
    "exec /bin/sh -c 'while read -r line; do case $line in go) break; esac; done; eval \"$(gzip -dc)\"' "
)
# A shell that took the place of /bin/sh reads these lines as commands, and none of what comes after them.
_BEFORE_PACKED = ":\n" * 3 + "exit\n" * 3 + "go\n"
_MAIN = "main 5<&0 </dev/null\n"
_MAY_BE_LOST = ":\n" * 3
_ZSH = '[ -z "$ZSH_VERSION" ] || { emulate -R sh; unalias -a; }\n'
_LOST = (
    f"\\n{VERSION} begin\\nerror unreadable a start-up file of the login shell read away what was sent: "
    f"the script began somewhere in its middle\\n{VERSION} end\\n"
)
_TABLE = b"table\n"
_VARYING = b"varying\n"
_REASONS = {
    "sudo": GapReason.SUDO,
    "no-wg": GapReason.NO_WG,
    "no-device": GapReason.NO_DEVICE,
    "unreadable": GapReason.UNREADABLE_OUTPUT,
    "follow": GapReason.CANNOT_FOLLOW,
}

_KEY = rb"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]="
_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
# Host prefixes of IPv4 are checked whole right here; all others are looked at one by one, once each.
_PREFIXES = (
    _OCTET + rb"(?:\." + _OCTET + rb"){3}/[0-9]{1,2}"
    rb"|[0-9a-fA-F]{0,4}:[0-9a-fA-F:]{1,38}(?:\.[0-9.]{5,11})?/[0-9]{1,3}"
)
_TABLE_TEXT = re.compile(rb"(?:" + _KEY + rb"\t(?:" + _PREFIXES + rb"|\(none\))\n)*+")
_PREFIX = re.compile(_PREFIXES)
_OTHER_PREFIX = re.compile(rb"\t([0-9.]+/(?!32\n)[0-9]+|[0-9a-fA-F]*:[0-9a-fA-F:.]*/[0-9]+)\n")
_NONE = re.compile(rb"\t\(none\)\n")
_ENDPOINT = re.compile(
    r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[([0-9a-fA-F:.]{2,45})(?:%[A-Za-z0-9_=+.\-]{1,15})?\]):[0-9]{1,5}"
)
_BASE_WORDS = re.compile(VERSION + r" base( endpoints| met)?(?: [A-Za-z0-9+/]{4})*")
_FOLLOW_WORDS = re.compile(FOLLOWING + r" follow(?: ([1-9][0-9]{0,2}))?( endpoints)?")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """One whole answer of a node. Either `digest` or `table` is there; neither: it cannot digest.

    Where it was asked for its base, `base` and `varying` are there beside the digest.
    """

    device: Device
    digest: str | None = None
    """sha256 of its route table, in hex."""
    table: RouteTable | None = None
    """In canonical spelling, however the node spells its addresses."""
    region: str | None = None
    """Output of the region command; None if it printed nothing or was not asked for."""
    endpoints: Mapping[PublicKey, str] | None = None
    """None: not asked for."""
    handshake_ages: Mapping[PublicKey, int] | None = None
    """Seconds since the last handshake with each of these peers that had one. None: not asked for."""
    spelled: str | None = None
    """sha256 of the table as the node spells it, where that is another one."""
    base: str | None = None
    """sha256 of the table in which the lines of each varying key are the key alone."""
    varying: tuple[tuple[bytes, ...], ...] = ()
    """Prefixes of each varying key that is in the table, in the table's order: canonical, or `(none)` alone."""
    shadows: tuple[ShadowingRoute, ...] | None = None
    """Routes of it that hide mesh addresses. None: it does not tell, or could not read its routes; nor with the
    table itself."""
    routes_unread: str = ""
    """Why it could not read its routes; "" where it could, or was not asked to."""
    routes_hinted: bool = False
    """There are routes that may hide mesh addresses; whether they do was not looked at."""
    transfers: tuple[PeerTransfer, ...] | None = None
    """Traffic with peers whose handshakes come too often. None: not asked for, or not known yet, or not read."""
    transfers_unread: str = ""
    """Why it could not compare the traffic with its peers; "" where it could, or was not asked to."""

    def beside(self, earlier: ProbeAnswer) -> ProbeAnswer:
        """Complete an answer by what an earlier one of the same look told, and this one was not asked for."""
        one = self
        if one.shadows is None and not (one.routes_unread or one.routes_hinted):
            one = replace(
                one,
                shadows=earlier.shadows,
                routes_unread=earlier.routes_unread,
                routes_hinted=earlier.routes_hinted,
            )
        if one.transfers is None and not one.transfers_unread:
            one = replace(one, transfers=earlier.transfers, transfers_unread=earlier.transfers_unread)
        return one


# --- asking ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProbePlaces:
    """Places that the probe uses on a node: `wg` itself, and further devices with mesh addresses."""

    wg_command: tuple[str, ...] = ("wg",)
    """Words, never a shell's line. All but the last also stand before `ip`: a namespace, a container."""
    address_devices: tuple[str, ...] = ()
    pools: tuple[Prefix, ...] = ()
    """Addresses of `address_devices`, and routes that hide mesh addresses, count inside these alone. Empty: no
    routes are asked for."""

    def variables(self) -> dict[str, str]:
        """Write the script's variables for places other than the usual ones."""
        variables = {}
        if self.address_devices or self.pools:
            variables["address_devices"] = " ".join(self.address_devices)
            variables["pools"] = " ".join(map(_bits, self.pools))
        if self.wg_command != ("wg",):
            variables["wg_command"] = " ".join(self.wg_command)
        return variables

    def parts(self, *, closely: bool) -> frozenset[str]:
        """Name the script's parts that places other than the usual ones need. `closely`: to look at routes closely."""
        routes = ["routes", "shadows" if closely else "hints"] * bool(self.pools)
        return frozenset(["address_devices"] * bool(self.address_devices) + routes)

    def hints(self) -> str:
        """Write what routes inside the pools begin with, or some more: see `hints` in the script."""
        return " ".join(map(_beginning, self.pools))

    def functions(self, *, sudo: bool) -> str:
        """Write the functions that run `wg` and `ip`."""
        wg = _words(self.wg_command)
        before = _words(self.wg_command[:-1])
        ip = f"{'$as_root ' * sudo}{before} ip" if before else "ip"
        return f'run_wg() {{ exec $as_root {wg} "$@"; }}\nrun_ip() {{ exec {ip} "$@"; }}\n'


DEFAULT_PLACES = ProbePlaces()


def _words(words: Iterable[str]) -> str:
    return " ".join(map(shlex.quote, words))


def _beginning(prefix: Prefix) -> str:
    value, length = packed(prefix), int(prefix.rpartition("/")[2])
    first = int.from_bytes(value[:2])
    if len(value) == 4:
        return f"{first}-{first | 0xFFFF >> min(length, 16)}"
    return f"{first:x}:" if length >= 16 else f"{first:04x}"[: length // 4]


def _bits(prefix: Prefix) -> str:
    """Write a prefix as its family, 4 or 6, and the bits that it fixes."""
    value = packed(prefix)
    bits = f"{int.from_bytes(value):0{len(value) * 8}b}"
    return f"{6 if ':' in prefix else 4}{bits[: int(prefix.rpartition('/')[2])]}"


def inline_request(
    mode: Mode,
    *,
    device: str,
    seconds: float = 20.0,
    sudo: bool = False,
    endpoints: bool = False,
    handshakes: bool = False,
    transfer: bool = False,
    closely: bool = True,
    region_command: str = "",
    places: ProbePlaces = DEFAULT_PLACES,
    varying: Iterable[str] = (),
) -> Request:
    """Build a request that brings the probe along, over standard input: never in a process list, never quoted twice.

    Only the parts that are asked for travel. The command's last words are for `read_request` and for people.
    `seconds`: the time after which nothing of the probe is left on the node. `varying`: of mode `base`, the ends of
    keys (see `varying.py`); they are words of the command. `handshakes`: with the endpoints, how long ago each peer's
    last handshake was. `transfer`: of mode `digest`, the peers that are sent to in vain, which takes up to
    `TRANSFER_SECONDS` more. `closely`: what routes hide; else only whether there are some that may.
    """
    met = "met" if endpoints and handshakes else "yes" * endpoints
    wanted = {"sudo": "yes" * sudo, "endpoints": met, "transfer": "yes" * transfer}
    wanted |= {"region_command": region_command}
    wanted = {name: value for name, value in wanted.items() if value}
    parts = frozenset({mode, *wanted}) | places.parts(closely=closely)
    parts |= {"met"} if met == "met" else set()
    if places.pools and not closely:
        wanted["hints"] = places.hints()
    script = _head(device=device, mode=mode, seconds=str(math.ceil(seconds)), **wanted, **places.variables())
    script += places.functions(sudo=sudo) + _sent(parts)
    words = installed_request(
        mode, endpoints=endpoints, handshakes=handshakes, transfer=transfer, varying=varying
    ).command
    return Request(_INLINE + words, _whole(script).encode())


def follow_request(
    *,
    device: str,
    interval: float,
    beat: float = BEAT,
    seconds: float = 20.0,
    sudo: bool = False,
    endpoints: bool = False,
    region_command: str = "",
    places: ProbePlaces = DEFAULT_PLACES,
) -> Request:
    """Build a request to go on looking, over standard input, which must stay open: the probe ends when it is closed.

    `interval`: seconds between two looks, `beat`: seconds after which it speaks in any case; both count in whole ones.
    `seconds`: the time that each call under sudo may take.
    """
    wanted = {"sudo": "yes" * sudo, "endpoints": "yes" * endpoints, "region_command": region_command}
    wanted = {name: value for name, value in wanted.items() if value}
    parts = frozenset({"follow", "digest", "transfer", *wanted}) | places.parts(closely=True)
    times = {"seconds": str(math.ceil(seconds)), "beat": str(math.ceil(beat))}
    head = _head(device=device, mode="follow", interval=str(_whole_seconds(interval)), **times, **wanted)
    script = head + _head(**places.variables()) + places.functions(sudo=sudo) + _sent(parts)
    words = installed_follow_request(interval, endpoints=endpoints).command
    return Request(_INLINE + words, _whole(script).encode())


def installed_follow_request(interval: float, *, endpoints: bool = False) -> Request:
    """Build a request to go on looking to a probe that is installed on the node. Standard input must stay open."""
    words = (FOLLOWING, "follow", str(_whole_seconds(interval)), *(["endpoints"] if endpoints else ()))
    return Request(" ".join(words), b"")


def _whole_seconds(interval: float) -> int:
    return max(LEAST_INTERVAL, min(int(interval), MOST_INTERVAL))


def packed_request(request: Request) -> Request:
    """Pack an inline request into half its bytes, for nodes with gzip. Others print nothing at all."""
    words = request.command.removeprefix(_INLINE)
    script = gzip.compress(request.stdin.removeprefix(_MAY_BE_LOST.encode()), compresslevel=9, mtime=0)
    return Request(_PACKED + words, _BEFORE_PACKED.encode() + script)


def installed_request(
    mode: Mode,
    *,
    endpoints: bool = False,
    handshakes: bool = False,
    transfer: bool = False,
    varying: Iterable[str] = (),
) -> Request:
    """Build a request to a probe that is installed on the node: the mode, and in mode `base` the ends of keys."""
    met = ("met" if handshakes else "endpoints",) if endpoints else ()
    return Request(" ".join((VERSION, mode, *met, *["transfer"] * transfer, *varying)), b"")


def probe_script(device: str, sudo: bool, region_command: str, places: ProbePlaces = DEFAULT_PLACES) -> str:
    """Write the file to install on a node, for `command="…",restrict` in authorized_keys.

    Device, sudo, region command and places are fixed in it; who connects can choose the mode and its keys.
    """
    head = _head(
        installed="yes",
        device=device,
        seconds=str(INSTALLED_SECONDS),
        beat=f"{BEAT:.0f}",
        sudo="yes" * sudo,
        region_command=region_command,
        **{"address_devices": "", "pools": "", **places.variables()},
    )
    return f"#!/bin/sh\n{head}{places.functions(sudo=sudo)}{_body()}"


def read_request(command: str) -> tuple[Mode, bool]:
    """Read mode and whether endpoints are wanted from a `Request.command`. Raises `ValueError`.

    For servers that answer without a shell, such as the demo's.
    """
    words = command.removeprefix(_INLINE).removeprefix(_PACKED)
    for mode in ("digest", "text"):
        for endpoints, handshakes in ((False, False), (True, False), (True, True)):
            if words == installed_request(mode, endpoints=endpoints, handshakes=handshakes).command:
                return mode, endpoints
    match = _BASE_WORDS.fullmatch(words)
    if match is not None:
        return "base", match[1] is not None
    raise ValueError("not a request of the probe")


def read_follow_request(command: str) -> tuple[int, bool] | None:
    """Read interval in seconds, and whether endpoints are wanted, from the command of a request to follow.

    None: it is another request.
    """
    match = _FOLLOW_WORDS.fullmatch(command.removeprefix(_INLINE))
    if match is None:
        return None
    return int(match[1] or 5), match[2] is not None


def _whole(script: str) -> str:
    """Guard a script, so that one which lost its beginning on the way does nothing.

    A login shell's start-up files may read from what was sent. The first lines may be lost; what comes after them
    names itself, and the last line runs nothing unless it was all there. A shell that took the place of /bin/sh
    reads the same text; zsh, which reads it otherwise, is set to do the same.
    """
    body, main, rest = script.rpartition(_MAIN)
    if rest or not main:
        raise AssertionError("the script's last line runs it")
    mark = hashlib.sha256(script.encode()).hexdigest()[:16]
    return (
        f"{_MAY_BE_LOST}whole={mark}\n{_ZSH}{body}"
        f"[ \"$whole\" = {mark} ] || {{ printf '{_LOST}'; exit 1; }}\n{_MAIN}"
    )


def _head(**variables: str) -> str:
    lines = []
    for name, value in variables.items():
        if "\0" in value:
            raise ConfigError(f"{name}: a NUL character cannot be part of a command")
        lines.append(f"{name}={shlex.quote(value)}\n")
    return "".join(lines)


@lru_cache(maxsize=16)
def _sent(parts: frozenset[str]) -> str:
    """Shorten `probe.sh` for its travel: whole lines are left out, the others only lose their indentation.

    Left out are comments, empty lines, and from `# only NAME:` to `# end NAME` each part not in `parts`.
    """
    lines, left_out = [], ""
    for line in map(str.lstrip, _body().splitlines()):
        if left_out:
            left_out = "" if line == f"# end {left_out}" else left_out
        elif line.startswith("# only "):
            name = line.removeprefix("# only ").removesuffix(":")
            left_out = "" if name in parts else name
        elif line and not line.startswith("#"):
            lines.append(f"{line}\n")
    return "".join(lines)


@lru_cache(maxsize=1)
def _body() -> str:
    return resources.files(__package__).joinpath("probe.sh").read_text(encoding="utf-8")


# --- the canonical table --------------------------------------------------------------------------


def canonical_table(device: Device, allowed_ips: str) -> RouteTable:
    """Make the route table as the probe makes it, from the output of `wg show DEVICE allowed-ips`.

    Raises `ProbeError` (unreadable-output) for a line that `wg` would not print.
    """
    lines = _own_lines(device)
    for line in allowed_ips.splitlines():
        key, tab, prefixes = line.partition("\t")
        if not tab or not prefixes.strip():
            raise unreadable("a line of allowed-ips without key or prefix", line)
        lines |= {
            f"{key}\t{prefix}" for prefix in ([prefixes] if prefixes == "(none)" else prefixes.split(" "))
        }
    text = b"".join(sorted(line.encode() + b"\n" for line in lines))
    return _checked_table(text, device)


def _own_lines(device: Device) -> set[str]:
    return {f"{device.public_key}\t{address}" for address in device.addresses} or {
        f"{device.public_key}\t(none)"
    }


# --- reading --------------------------------------------------------------------------------------


def parse_answer(data: bytes, device_name: str) -> ProbeAnswer:
    """Read what an exec printed. Raises `ProbeError` with the reason; never gives part of an answer."""
    return parse_body(FRAMING.body(data), device_name)


def parse_followed(body: bytes, device_name: str) -> ProbeAnswer:
    """Read one answer of a followed node, without its frame. Raises `ProbeError`, with `cannot-follow` where it ends.

    What it says of itself is its digest: a node that has none cannot be followed.
    """
    try:
        answer = parse_body(body, device_name)
    except ProbeError as error:
        if error.detail.startswith(REFUSED):
            raise ProbeError(
                GapReason.CANNOT_FOLLOW, f"an older probe is installed there: {error.detail}"
            ) from None
        raise
    if answer.digest is None:
        raise ProbeError(GapReason.CANNOT_FOLLOW, "it cannot tell the digest of its table")
    return answer


def parse_body(body: bytes, device_name: str) -> ProbeAnswer:
    """Read an answer without its frame. Raises `ProbeError` with the reason; never gives part of an answer."""
    # The frame comes first: an error line that was cut short is no reason, only a sign.
    if (failed := error_line(body)) is not None:
        reason, detail = failed
        raise ProbeError(_REASONS.get(reason, GapReason.UNREADABLE_OUTPUT), detail)
    head, table_mark, text = _split(body, _TABLE)
    head, varying_mark, varying_text = (head, False, b"") if table_mark else _split(head, _VARYING)
    answer = _AnswerHead(device_name)
    read_lines(head, answer.take)
    if (answer.digest is not None or answer.undigested) == table_mark:
        raise unreadable("the answer has neither digest nor table, or both", last_line(head))
    if (answer.base is not None) != varying_mark or (varying_mark and answer.digest is None):
        raise unreadable("the answer has a base without its digests or its varying prefixes", last_line(head))
    device = answer.device()
    varying = tuple(map(_prefixes, varying_text.splitlines()))
    table = _checked_table(text, device) if table_mark else None
    spelled = hashlib.sha256(text).hexdigest() if table is not None and table.text != text else None
    return ProbeAnswer(
        device=device,
        digest=answer.digest,
        table=table,
        region=answer.region,
        endpoints=answer.endpoints(),
        handshake_ages=answer.handshake_ages(),
        spelled=spelled,
        base=answer.base,
        varying=varying,
        shadows=answer.side.shadows,
        routes_unread=answer.side.routes_unread,
        routes_hinted=answer.side.routes_hinted,
        transfers_unread=answer.side.transfers_unread,
        transfers=answer.side.transfers,
    )


def format_answer(answer: ProbeAnswer) -> bytes:
    """Write an answer as a node prints it: the inverse of `parse_answer`, for servers that answer without a shell."""
    lines = [f"key {answer.device.public_key}"]
    if answer.device.link_up is not None:
        lines.append(f"link {'up' if answer.device.link_up else 'down'}")
    lines += [f"address {format_prefix(address)}" for address in answer.device.addresses]
    if answer.region is not None:
        lines.append(f"region {answer.region}")
    if answer.endpoints is not None:
        ages = answer.handshake_ages
        lines += [
            f"endpoint {key} {endpoint}" + ("" if ages is None else f" {ages.get(key, '-')}")
            for key, endpoint in answer.endpoints.items()
        ]
        lines.append(f"endpoints {len(answer.endpoints)}")
    routes, traffic = format_side_lines(
        answer.shadows,
        answer.transfers,
        answer.routes_unread,
        answer.transfers_unread,
        hinted=answer.routes_hinted,
    )
    lines += traffic + routes
    lines.append(f"digest {answer.digest or 'none'}" if answer.table is None else "table")
    text = answer.table.text if answer.table is not None else b""
    if answer.base is not None:
        lines += [f"base {answer.base}", "varying"]
        text = b"".join(b" ".join(map(_shortened, prefixes)) + b"\n" for prefixes in answer.varying)
    return FRAMING.wrap("".join(f"{line}\n" for line in lines).encode() + text)


class _AnswerHead:
    """Parser of the lines before the table; each kind may occur as often as the probe prints it."""

    def __init__(self, device_name: str) -> None:
        self._name = device_name
        self._key: PublicKey | None = None
        self._addresses: dict[Prefix, None] = {}
        self._endpoints: dict[PublicKey, str] = {}
        self._endpoint_count: int | None = None
        self._ages: dict[PublicKey, int] = {}
        self._aged = 0
        self._link_up: bool | None = None
        self._seen: set[str] = set()
        self.digest: str | None = None
        self.undigested = False
        self.base: str | None = None
        self.region: str | None = None
        self.side = SideLines()

    def take(self, word: str, value: str) -> None:
        """Take one line. Raises `InvalidValue`."""
        if word not in ("address", "endpoint", *MANY):
            if word in self._seen:
                raise InvalidValue("a second such line")
            self._seen.add(word)
        self._read(word, value)

    def _read(self, word: str, value: str) -> None:
        match word:
            case "key":
                self._key = parse_public_key(value)
            case "link":
                self._link(value)
            case "address":
                self._address(value)
            case "region":
                self._region(value)
            case "endpoint":
                self._endpoint(value)
            case "endpoints":
                if not (value.isascii() and value.isdigit() and len(value) <= 9):
                    raise InvalidValue("not a number")
                self._endpoint_count = int(value)
            case "digest" | "base":
                self._digest(word, value)
            case _:
                self.side.take(word, value)

    def _link(self, value: str) -> None:
        if value not in ("up", "down"):
            raise InvalidValue("neither up nor down")
        self._link_up = value == "up"

    def _region(self, value: str) -> None:
        if len(value) > MAX_REGION or not value.isprintable():
            raise InvalidValue(f"not one line of at most {MAX_REGION} printable characters")
        self.region = value.strip() or None

    def _digest(self, word: str, value: str) -> None:
        if word == "digest" and value == "none":
            self.undigested = True
            return
        if _DIGEST.fullmatch(value) is None:
            raise InvalidValue("not 64 hex digits")
        if word == "digest":
            self.digest = value
        else:
            self.base = value

    def _endpoint(self, value: str) -> None:
        key, _, endpoint = value.partition(" ")
        endpoint, aged, age = endpoint.partition(" ")
        match = _ENDPOINT.fullmatch(endpoint)
        if match is None:
            raise InvalidValue("not ip:port")
        if (address := match[1]) is not None:
            endpoint = endpoint.replace(address, _canonical_v6(address), 1)
        self._endpoints[peer := parse_public_key(key)] = endpoint
        if not aged:
            return
        self._aged += 1
        if age != "-":
            if not (age.isascii() and age.isdigit() and len(age) <= 10):
                raise InvalidValue("neither seconds nor -")
            self._ages[peer] = int(age)

    def _address(self, value: str) -> None:
        if "/" in value:
            raise InvalidValue("an own address has no length")
        prefix = parse_prefix(value)
        if ":" not in value and format_prefix(prefix) != value:
            raise InvalidValue("not in canonical form")
        self._addresses[prefix] = None
        if len(self._addresses) > MAX_ADDRESSES:
            raise InvalidValue(f"more than {MAX_ADDRESSES}")

    def device(self) -> Device:
        if self._key is None:
            raise unreadable("the answer has no line key")
        return Device(self._name, self._key, tuple(self._addresses), link_up=self._link_up)

    def endpoints(self) -> Mapping[PublicKey, str] | None:
        if self._endpoint_count is None and not self._endpoints:
            return None
        if self._endpoint_count != len(self._endpoints):
            raise unreadable("endpoints are missing", f"{len(self._endpoints)} of {self._endpoint_count}")
        return self._endpoints

    def handshake_ages(self) -> Mapping[PublicKey, int] | None:
        if not self._aged:
            return None
        if self._aged != len(self._endpoints):
            raise unreadable("handshakes are missing", f"{self._aged} of {len(self._endpoints)}")
        return self._ages


def _split(body: bytes, mark: bytes) -> tuple[bytes, bool, bytes]:
    """Split off what comes after the line of a mark."""
    if body.startswith(mark):
        return b"", True, body[len(mark) :]
    head, found, text = body.partition(b"\n" + mark)
    return (head + b"\n", True, text) if found else (body, False, b"")


def _shortened(prefix: bytes) -> bytes:
    """Write a varying key's prefix as the probe does."""
    return b"-" if prefix == b"(none)" else prefix.removesuffix(b"/32") if b":" not in prefix else prefix


@lru_cache(maxsize=100_000)
def _prefixes(line: bytes) -> tuple[bytes, ...]:
    """Read the prefixes of one varying key. A fleet's tables have few such lines, so each is looked at once."""
    if line == b"-":
        return (b"(none)",)
    # An IPv4 address stands for the prefix of itself alone.
    words = [word if b"/" in word or b":" in word else word + b"/32" for word in line.split(b" ")]
    for word in words:
        if _PREFIX.fullmatch(word) is None:
            raise unreadable(
                "a varying key with a prefix that wg would not print", line.decode("ascii", "replace")
            )
    found = {word if word.endswith(b"/32") else _canonical_prefix(word) for word in words}
    if len(found) != len(words):
        raise unreadable("a varying key with a prefix twice", line.decode("ascii", "replace"))
    return tuple(sorted(found))


def _checked_table(text: bytes, device: Device) -> RouteTable:
    match = _TABLE_TEXT.match(text)
    if match is None or match.end() != len(text):
        rest = text[match.end() :] if match else text
        raise unreadable("a line of the table that wg would not print", first_line(rest))
    lines = text.splitlines()
    if not all(map(operator.lt, lines, lines[1:])):
        raise unreadable("the table is not sorted, or has a line twice")
    respelled = {
        prefix: canonical
        for prefix in set(_OTHER_PREFIX.findall(text))
        if (canonical := _canonical_prefix(prefix)) != prefix
    }
    if respelled:
        text = _respelled(lines, respelled)
    for none in _NONE.finditer(text):  # it sorts before any prefix
        if text.startswith(text[none.start() - 44 : none.start() + 1], none.end()):
            raise unreadable("the table has a key with both (none) and a prefix")
    own = sorted(f"{line}\n".encode() for line in _own_lines(device))
    if text.count(f"{device.public_key}\t".encode()) != len(own) or b"".join(own) not in text:
        raise unreadable("the table's own lines are not the device's addresses")
    return RouteTable(text)


def _respelled(lines: Iterable[bytes], canonical: Mapping[bytes, bytes]) -> bytes:
    """Spell a table's prefixes canonically. The lines come into the order of that spelling."""
    split = (line.partition(b"\t") for line in lines)
    return b"".join(sorted({b"%b\t%b\n" % (key, canonical.get(prefix, prefix)) for key, _, prefix in split}))


@lru_cache(maxsize=100_000)
def _canonical_prefix(prefix: bytes) -> bytes:
    """Check a prefix, and spell it as `wg` does with glibc; others write IPv6 otherwise.

    Fleets share prefixes, so each is looked at once.
    """
    text = prefix.decode("ascii")
    try:
        canonical: str = parse_prefix(text)
    except InvalidValue as error:
        # Not an address that a registration may hold, yet wg takes and prints it like any other.
        if text.lower().startswith("::ffff:") and is_mapped(text.lower()):
            return text.lower().encode("ascii")
        raise unreadable(f"the table has a bad prefix: {error}", text) from None
    if ":" not in text and canonical != text:
        raise unreadable("the table has a prefix that is not in canonical form", text)
    return canonical.encode("ascii")


def _canonical_v6(address: str) -> str:
    if is_mapped(f"{address.lower()}/128"):
        return address.lower()
    return format_prefix(parse_prefix(address))
