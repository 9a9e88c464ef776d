"""Values of nodes that are out of production: by what means they are drained, since when, and by whom."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from auditor.errors import InvalidValue
from auditor.values.text import minute


class DrainMeans(StrEnum):
    """Means by which a node is taken out of production and put back."""

    COMMAND = "command"
    """Commands that run on this machine."""
    CONSUL_MAINTENANCE = "consul-maintenance"
    """Consul's maintenance mode, by the node's own agent."""
    NOMAD_ELIGIBILITY = "nomad-eligibility"
    """Nomad places nothing new on the node."""


@dataclass(frozen=True, slots=True)
class DrainPolicy:
    """Way out of production and back, as the configuration has it."""

    means: DrainMeans
    drain: tuple[str, ...] = ()
    """Words of the command, with placeholders; empty for all other means."""
    undrain: tuple[str, ...] = ()

    def words(self, *, back: bool) -> tuple[str, ...]:
        """Return the words of the command out of production, or back into it."""
        return self.undrain if back else self.drain


@dataclass(frozen=True, slots=True)
class Drained:
    """Taking of a node out of production that was not taken back, as the state remembers it."""

    since: datetime
    """Time in UTC when it was drained."""
    by: str
    """Login name of who ran the command."""
    how: str
    """Means, a word of `DrainMeans`."""
    reason: str = ""
    """Reason that a person gave; "" where nobody gave one."""
    plan: str = ""
    """Ident of the plan that it was drained for; "" where a person drained it alone."""

    @property
    def sentence(self) -> str:
        """Return `since 2026-11-29 03:20 UTC by anna (consul-maintenance): who answers?`; foreign text in it is raw."""
        how = f"{self.how}, plan {self.plan}" if self.plan else self.how
        return f"since {minute(self.since)} by {self.by} ({how}){f': {self.reason}' if self.reason else ''}"


# -- commands

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_NAMES = ("node", "region", "address")
_VALUE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@+-]{0,252}")
"""A value of the registry that is put into a command: no option, no path, and nothing that a shell would read."""
_ADDRESS = re.compile(r"[0-9a-f.:]{2,45}")


def fault_of(words: Sequence[str]) -> str:
    """Return why these words are no command to drain by; "" where they are one."""
    if not words:
        return ""
    if _PLACEHOLDER.search(words[0]):
        return "its first word is the program, and holds no placeholder"
    if "/" in words[0] and not words[0].startswith("/"):
        return "its first word is a program's name or whole path"
    for word in words:
        for found in _PLACEHOLDER.finditer(word):
            if found[1] not in _NAMES:
                return f"{found[0]} is no placeholder; there are {{node}}, {{region}} and {{address}}"
            if word.startswith("-") and "=" not in word[: found.start()]:
                return f"{found[0]} would be read as options; put it behind a =, or into a word of its own"
    return ""


def command_words(words: Sequence[str], *, node: str, region: str, address: str | None) -> tuple[str, ...]:
    """Put a node's values into the words of a command; never does a value become an option or a word of its own.

    address: canonical, without a length; None: it has none. Raises `InvalidValue` where a value that is asked for is
    not known, or is none that is put into a command.
    """
    values = {"node": node, "region": region, "address": address or ""}

    def value(found: re.Match[str]) -> str:
        name = found[1]
        text = values.get(name)
        if text is None:
            return found[0]
        if not text:
            raise InvalidValue(f"its {name} is not known, and the command asks for it")
        if (_ADDRESS if name == "address" else _VALUE).fullmatch(text) is None:
            what = "name" if name == "node" else name
            raise InvalidValue(
                f"its {what} is none that is put into a command (letters, digits and _ . : @ + - alone)"
            )
        return text

    return tuple(_PLACEHOLDER.sub(value, word) for word in words)
