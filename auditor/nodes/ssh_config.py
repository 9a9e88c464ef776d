"""OpenSSH's client configuration, parsed once and resolved for each host as ssh resolves it.

Only directives with a bearing on reaching and trusting a node are read; whatever else a line holds is skipped,
readable or not. What is read and cannot be followed fails for the hosts that it concerns, with its file and line.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Literal

from auditor.errors import UnfollowableLine
from auditor.nodes.patterns import NamePatterns, lowered

MOST_INCLUDES = 16
"""Files within files, as ssh has it."""
_BLANK = " \t\r\n"

Kind = Literal["one", "port", "list", "files", "rest", "family", "flag"]
_SINGLE: dict[str, Kind] = {
    "hostname": "one",
    "port": "port",
    "user": "one",
    "hostkeyalias": "one",
    "addressfamily": "family",
    "bindaddress": "one",
    "bindinterface": "one",
    "identityagent": "one",
    "identitiesonly": "flag",
    "hostkeyalgorithms": "one",
    "kexalgorithms": "one",
    "ciphers": "one",
    "macs": "one",
    "casignaturealgorithms": "one",
    "userknownhostsfile": "files",
    "globalknownhostsfile": "files",
    "revokedhostkeys": "one",
    "knownhostscommand": "rest",
    "canonicalizehostname": "one",
    "canonicaldomains": "files",
    "canonicalizemaxdots": "one",
    "proxyusefdpass": "flag",
    "tag": "one",
}
_MULTIPLE = ("identityfile", "certificatefile")
_WAY = ("proxyjump", "proxycommand")
"""Directives of which the first one counts."""
_READ = frozenset((*_SINGLE, *_MULTIPLE, *_WAY))
_TAKES_ARGUMENT = ("host", "originalhost", "user", "localuser", "localnetwork", "tagged", "exec")
_TAKES_NONE = ("all", "canonical", "final")
_FAMILIES = ("any", "inet", "inet6")
_YES, _NO = ("yes", "true"), ("no", "false")


@dataclass(frozen=True, slots=True)
class Place:
    """One line of one file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file} line {self.line}"


@dataclass(frozen=True, slots=True)
class _Directive:
    place: Place
    keyword: str
    rest: str


@dataclass(frozen=True, slots=True)
class _Condition:
    """A `Host` or `Match` line."""

    place: Place
    names: NamePatterns | None = None
    """Of `Host`."""
    criteria: tuple[tuple[str, bool, str, NamePatterns], ...] = ()
    """Of `Match`: its name, whether it is negated, its argument, and that as patterns."""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _Block:
    condition: _Condition | None
    """None: the lines before the first condition of a file."""
    entries: tuple[_Directive | _Include, ...]


@dataclass(frozen=True, slots=True)
class _Include:
    files: tuple[tuple[_Block, ...], ...]


@dataclass(frozen=True)
class LocalFacts:
    """Facts of this machine for conditions and tokens."""

    user: str
    home: str
    host: str
    uid: int
    environment: dict[str, str] = field(default_factory=dict)
    addresses: Callable[[], Sequence[str]] = tuple
    """Lists the addresses of its interfaces."""
    run: Callable[[str], bool] = lambda _: False
    """Runs a command of `Match exec` as ssh does. Raises `OSError` or `TimeoutError`."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings of ssh for one host. Texts are expanded; absent ones are empty, and `none` stays `none` in lists."""

    host: str
    """Host to connect to, lowered."""
    port: int | None
    user: str
    values: dict[str, tuple[tuple[str, ...], Place]]
    """Arguments of each other directive by its lowered name, and its place."""

    def text(self, keyword: str) -> str:
        """Return the one argument of a directive; empty: not set, or `none`."""
        found = self.values.get(keyword)
        return "" if found is None or lowered(found[0][0]) == "none" else found[0][0]

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return the arguments of a directive; none: not set."""
        found = self.values.get(keyword)
        return () if found is None else found[0]

    def place(self, keyword: str) -> Place:
        """Return the place of a directive that is set."""
        return self.values[keyword][1]


Include = Callable[[str], Sequence[tuple[str, bytes]]]
"""Finds the files of one word of an `Include` line. Raises `ConfigError`."""


class SshConfig:
    """One file and all that it includes. `has_exec`: resolving a host may run commands, and take time."""

    def __init__(self, name: str, content: bytes, include: Include) -> None:
        self.has_exec = False
        self._has_final = False
        self._read: set[str] = set()
        self._blocks = self._parsed(name, content, include, 0)

    def mentions(self, keyword: str) -> bool:
        """Tell whether any line has this directive."""
        return keyword in self._read

    def resolve(self, host: str, local: LocalFacts, *, user: str = "", port: int | None = None) -> Resolved:
        """Resolve the settings for a host as it is named. `user` and `port` come before the file's.

        Raises `UnfollowableLine`.
        """
        return _Resolution(host, local, user, port).run(self._blocks, final=self._has_final)

    def _parsed(self, name: str, content: bytes, include: Include, depth: int) -> tuple[_Block, ...]:
        blocks: list[_Block] = []
        condition: _Condition | None = None
        entries: list[_Directive | _Include] = []
        for number, raw in enumerate(content.split(b"\n"), 1):
            line = raw.partition(b"\0")[0].decode("utf-8", "surrogateescape").rstrip(_BLANK + "\f")
            keyword, rest = _keyword(line)
            place = Place(name, number)
            if keyword in ("host", "match"):
                blocks.append(_Block(condition, tuple(entries)))
                condition, entries = (_host if keyword == "host" else self._match)(place, rest), []
            elif keyword == "include":
                entries.append(self._included(place, rest, include, depth))
            elif keyword in _READ:
                self._read.add(keyword)
                entries.append(_Directive(place, keyword, rest))
        blocks.append(_Block(condition, tuple(entries)))
        return tuple(block for block in blocks if block.entries)

    def _included(self, place: Place, rest: str, include: Include, depth: int) -> _Directive | _Include:
        words = _words(rest)
        if words is None or not words:
            return _Directive(place, "include", "no files, or a quote that does not end")
        if depth >= MOST_INCLUDES:
            return _Directive(place, "include", "files include each other, or too deep")
        files = [found for word in words for found in include(word)]
        return _Include(tuple(self._parsed(name, content, include, depth + 1) for name, content in files))

    def _match(self, place: Place, rest: str) -> _Condition:
        criteria: list[tuple[str, bool, str, NamePatterns]] = []
        while rest and not rest.startswith("#"):
            name, rest = _delimited(rest)
            negated, name = name.startswith("!"), lowered(name.removeprefix("!"))
            argument = ""
            if name in _TAKES_ARGUMENT:
                argument, rest = _delimited(rest)
                if not argument or argument.startswith("#"):
                    return _Condition(place, fault=f"Match {name} without a pattern")
            elif name not in _TAKES_NONE:
                return _Condition(place, fault=f"Match {name[:40]} is not known here")
            self._has_final |= name == "final"
            self.has_exec |= name == "exec"
            spelled = lowered(argument) if name in ("host", "originalhost") else argument
            criteria.append((name, negated, argument, NamePatterns(spelled.split(","))))
        if not criteria:
            return _Condition(place, fault="Match without a criterion")
        return _Condition(place, criteria=tuple(criteria))


class _Resolution:
    """One host on its way through the blocks."""

    def __init__(self, host: str, local: LocalFacts, user: str, port: int | None) -> None:
        self._original = self._named = host
        self._local = local
        self._values: dict[str, tuple[tuple[str, ...], Place]] = {}
        self._given_user, self._given_port = user, port
        self._final = False
        self._host_now: str | None = None
        self._ran: dict[str, bool] = {}

    def run(self, blocks: tuple[_Block, ...], *, final: bool) -> Resolved:
        self._walk(blocks)
        host = self._host()
        canonical = lowered(self._text("canonicalizehostname")) in ("yes", "always", "true")
        if canonical:
            self._check_canonical(host)
        if final or canonical:
            self._final = True
            # The second time, blocks are for the host that was found the first time.
            self._named = host
            place = self._values["hostname"][1] if "hostname" in self._values else Place("", 0)
            self._host_now = host
            self._values["hostname"] = ((host.replace("%", "%%"),), place)
            self._walk(blocks)
            host = self._host()
        user = self._given_user or self._text("user")
        port = self._port()
        tokens = self._tokens(host, port, user or self._local.user)
        values = {}
        for keyword, (words, place) in self._values.items():
            values[keyword] = (tuple(self._expanded(word, keyword, tokens, place) for word in words), place)
        return Resolved(host, port, user, values)

    # --- matching blocks ---

    def _walk(self, blocks: Sequence[_Block]) -> None:
        for block in blocks:
            if block.condition is None or self._holds(block.condition):
                for entry in block.entries:
                    self._enter(entry, block.condition)

    def _enter(self, entry: _Directive | _Include, condition: _Condition | None) -> None:
        if isinstance(entry, _Directive) and not self._counts(entry):
            return
        if condition is not None and condition.fault:
            raise UnfollowableLine(f"{condition.place}: {condition.fault}")
        if isinstance(entry, _Directive):
            self._take(entry)
            return
        for file in entry.files:
            self._walk(file)

    def _holds(self, condition: _Condition) -> bool:
        if condition.names is not None:
            return condition.names.match(self._named)
        if condition.fault:
            # Perhaps. Whatever the block would change is not known.
            return True
        # One after the other: ssh runs no command for what does not count anyway.
        return all(
            self._meets(name, argument, patterns, condition.place) is not negated
            for name, negated, argument, patterns in condition.criteria
        )

    def _meets(self, name: str, argument: str, patterns: NamePatterns, place: Place) -> bool:
        match name:
            case "all":
                return True
            case "final" | "canonical":
                return self._final
            case "host":
                return patterns.match(self._host())
            case "originalhost":
                return patterns.match(lowered(self._original))
            case "user":
                return patterns.match(self._given_user or self._text("user") or self._local.user)
            case "localuser":
                return patterns.match(self._local.user)
            case "tagged":
                return patterns.match(self._text("tag"))
            case "localnetwork":
                return self._in_network(argument, place)
        tokens = self._tokens(
            self._host(), self._port(), self._given_user or self._text("user") or self._local.user
        )
        return self._succeeds(self._expanded(argument, "exec", tokens, place), place)

    def _in_network(self, argument: str, place: Place) -> bool:
        found = False
        try:
            own = [ip_address(address.partition("%")[0]) for address in self._local.addresses()]
            for text in argument.split(","):
                negated = text.startswith("!")
                network = ip_network(text[negated:])
                if any(address in network for address in own):
                    if negated:
                        return False
                    found = True
        except (OSError, ValueError) as error:
            raise UnfollowableLine(f"{place}: Match localnetwork: {str(error)[:200]}") from None
        return found

    def _succeeds(self, command: str, place: Place) -> bool:
        if command not in self._ran:
            try:
                self._ran[command] = self._local.run(command)
            except TimeoutError:
                raise UnfollowableLine(f"{place}: the command of Match exec did not end in time") from None
            except OSError as error:
                raise UnfollowableLine(f"{place}: Match exec: {error.strerror}") from None
        return self._ran[command]

    # --- directives ---

    def _counts(self, entry: _Directive) -> bool:
        """Tell whether a directive still changes anything: the first one of a kind does."""
        keyword = entry.keyword
        if keyword in _MULTIPLE or keyword == "include":
            return True
        if keyword == "proxycommand":
            # `ProxyJump none` leaves room for a command; not the other way about.
            return keyword not in self._values and lowered(self._text("proxyjump") or "none") == "none"
        if keyword == "proxyjump":
            return not any(way in self._values for way in _WAY)
        if (keyword == "user" and self._given_user) or (keyword == "port" and self._given_port is not None):
            return False
        return keyword not in self._values

    def _take(self, entry: _Directive) -> None:
        place, keyword = entry.place, entry.keyword
        if keyword == "include":
            raise UnfollowableLine(f"{place}: Include: {entry.rest}")
        if not entry.rest:
            raise UnfollowableLine(f"{place}: {keyword} without a value")
        if keyword in ("proxycommand", "knownhostscommand"):
            rest = entry.rest.removeprefix("=").strip(_BLANK)
            self._values[keyword] = ((rest,), place)
            return
        words = _words(entry.rest)
        if words is None:
            raise UnfollowableLine(f"{place}: a quote that does not end")
        fault = _fault(_SINGLE.get(keyword, "one"), words) if keyword != "proxyjump" else ""
        if not words or not words[0]:
            fault = "no value"
        if fault:
            raise UnfollowableLine(f"{place}: {keyword}: {fault}")
        if keyword in _MULTIPLE:
            before = self._values[keyword][0] if keyword in self._values else ()
            if words[0] not in before:
                self._values[keyword] = ((*before, words[0]), place)
        else:
            self._values[keyword] = (tuple(words), place)
            self._host_now = None

    def _text(self, keyword: str) -> str:
        return self._values[keyword][0][0] if keyword in self._values else ""

    def _host(self) -> str:
        if self._host_now is None:
            self._host_now = self._found_host()
        return self._host_now

    def _found_host(self) -> str:
        text, place = self._text("hostname"), self._values.get("hostname", ((), Place("", 0)))[1]
        host = _percent(text, {"h": self._original}, place) if text else self._original
        return canonical_host(host)

    def _port(self) -> int | None:
        text = self._text("port")
        return self._given_port if self._given_port is not None or not text else int(text)

    def _check_canonical(self, host: str) -> None:
        """Refuse a name that ssh would complete: it is looked up, and known, under another one."""
        domains = self._values.get("canonicaldomains", ((), Place("", 0)))[0]
        dots = self._text("canonicalizemaxdots")
        most = int(dots) if dots.isascii() and dots.isdigit() else 1
        if domains and not _is_address(host) and not host.endswith(".") and host.count(".") <= most:
            raise UnfollowableLine(
                f"{self._values['canonicalizehostname'][1]}: CanonicalizeHostname is not followed; "
                "register the whole name"
            )

    def _tokens(self, host: str, port: int | None, user: str) -> dict[str, str]:
        local = self._local
        return {
            "h": host,
            "n": self._original,
            "p": str(port or 22),
            "r": user,
            "d": local.home,
            "u": local.user,
            "i": str(local.uid),
            "l": local.host,
            "L": local.host.partition(".")[0],
            "k": self._text("hostkeyalias") or self._original,
        }

    def _expanded(self, word: str, keyword: str, tokens: dict[str, str], place: Place) -> str:
        if keyword in ("proxyjump", "proxycommand", "exec"):
            for name in "hnr" if keyword != "exec" else "hnru":
                # They go through a shell, and come from the registry.
                if f"%{name}" in word and not _SAFE.fullmatch(tokens[name]):
                    raise UnfollowableLine(f"{place}: %{name} holds what a shell would read")
            return _percent(word, tokens, place)
        if keyword in (
            "identityfile",
            "certificatefile",
            "userknownhostsfile",
            "identityagent",
            "revokedhostkeys",
        ):
            text = _percent(word, tokens, place)
            text = _ENVIRONMENT.sub(lambda found: self._environment(found[1], place), text)
            return _home(text, self._local.home)
        return word

    def _environment(self, name: str, place: Place) -> str:
        value = self._local.environment.get(name)
        if value is None:
            raise UnfollowableLine(f"{place}: ${{{name[:40]}}} is not set")
        return value


_ENVIRONMENT = re.compile(r"\$\{([^}]*)\}")
_SAFE = re.compile(r"[A-Za-z0-9_.:%@\[\]][-A-Za-z0-9_.:%@\[\]+]*", re.ASCII)
_TOKEN = re.compile(r"%(.?)", re.DOTALL)


def _home(text: str, home: str) -> str:
    return home + text[1:] if text == "~" or text.startswith("~/") else text


def _percent(text: str, tokens: dict[str, str], place: Place) -> str:
    def replaced(found: re.Match[str]) -> str:
        if found[1] == "%":
            return "%"
        if found[1] not in tokens:
            raise UnfollowableLine(f"{place}: %{found[1]} is not followed here")
        return tokens[found[1]]

    return _TOKEN.sub(replaced, text)


def canonical_host(host: str) -> str:
    """Spell a host as ssh looks it up: names lowered, addresses as the C library writes them."""
    try:
        return (
            socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))
            if ":" in host
            else lowered(host)
        )
    except (OSError, ValueError):  # the latter for what is no text at all
        return lowered(host)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _fault(kind: Kind, words: Sequence[str]) -> str:
    if kind != "files" and len(words) > 1:
        return "more than one value"
    value = lowered(words[0]) if words else ""
    match kind:
        case "port" if not (value.isascii() and value.isdigit() and 1 <= int(value[:6]) <= 65_535):
            return "not a port number"
        case "family" if value not in _FAMILIES:
            return "not any, inet or inet6"
        case "flag" if value not in (*_YES, *_NO):
            return "not yes or no"
        case "files" if len(words) > 1 and "none" in map(lowered, words):
            return "none beside other values"
    return ""


def _host(place: Place, rest: str) -> _Condition:
    words = _words(rest)
    if not words or not all(words):
        return _Condition(place, fault="Host without a pattern, or a quote that does not end")
    return _Condition(place, NamePatterns(words))


def _keyword(line: str) -> tuple[str, str]:
    """Split off the keyword, lowered, as ssh does: one `=` may stand between it and its value."""
    word, rest = _delimited(line, equals=True)
    if not word and rest:
        word, rest = _delimited(rest, equals=True)
    return ("", "") if word.startswith("#") else (lowered(word), rest.lstrip(_BLANK))


def _delimited(text: str, *, equals: bool = False) -> tuple[str, str]:
    """Split off one word at blanks, a quoted one whole, and at `=`; returns it and what follows."""
    text = text.lstrip(_BLANK) if not equals else text
    if text.startswith('"'):
        word, _, rest = text[1:].partition('"')
        return word, rest.lstrip(_BLANK)
    for at, character in enumerate(text):
        if character in _BLANK or (equals and character == "="):
            rest = text[at:].lstrip(_BLANK)
            if equals and rest.startswith("="):
                rest = rest[1:].lstrip(_BLANK)
            return text[:at], rest
        if character == '"':
            return text[:at], text[at:]
    return text, ""


def _words(text: str) -> list[str] | None:
    """Split a value into words: quotes, escapes, and a comment behind. None: a quote does not end."""
    return list(words) if None not in (words := list(_argv(text))) else None  # type: ignore[arg-type]


def _argv(text: str) -> Iterator[str | None]:
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        if text[at] == "#":
            return
        word: list[str] = []
        quote = ""
        while at < len(text):
            character, following = text[at], text[at + 1 : at + 2]
            if character == "\\" and following and (following in "'\"\\" or (not quote and following == " ")):
                word.append(following)
                at += 1
            elif not quote and character in " \t":
                break
            elif not quote and character in "'\"":
                quote = character
            elif quote and character == quote:
                quote = ""
            else:
                word.append(character)
            at += 1
        yield None if quote else "".join(word)
