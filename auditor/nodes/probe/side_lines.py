"""Lines of an answer beside device and table: routes that hide mesh addresses, and peers that do not answer."""

from __future__ import annotations

import re
from collections.abc import Iterable

from auditor.errors import InvalidValue
from auditor.nodes.framing import cleaned
from auditor.values.addresses import parse_prefix, parse_public_key
from auditor.values.hidden_addresses import RouteKind, ShadowingRoute
from auditor.values.peer_transfers import PeerTransfer

MOST_SHADOWS = 16
"""Routes that a node tells at most."""
MOST_HIDDEN = 64
"""Addresses that it names of each."""
MOST_TRANSFERS = 1000
"""Peers that a node tells the traffic of at most."""
MANY = ("shadow", "transfer")
"""Those that may come more than once."""

_DEVICE = re.compile(r"[A-Za-z0-9_.:@?-]{1,15}")
_NUMBER = re.compile(r"[0-9]{1,19}")
_UNREAD = "unread "
_HINTED = "perhaps"


class SideLines:
    """Parser of these lines. Each kind ends with a line of their number, or of why there is none."""

    def __init__(self) -> None:
        self._shadows: list[ShadowingRoute] = []
        self._transfers: list[PeerTransfer] = []
        self._counted: set[str] = set()
        self.routes_unread = ""
        """Why the node could not read its routes."""
        self.routes_hinted = False
        """There are routes that may hide something; it was not asked to look closely."""
        self.transfers_unread = ""
        """Why the node could not compare its peers' traffic."""

    def take(self, word: str, value: str) -> None:
        """Take one line. Raises `InvalidValue`."""
        match word:
            case "shadow":
                self._shadows.append(_shadow(value))
                _at_most(MOST_SHADOWS, self._shadows)
            case "shadows" if value == _HINTED:
                self.routes_hinted = True
            case "shadows" if value.startswith(_UNREAD):
                self.routes_unread = cleaned(value.removeprefix(_UNREAD)) or "no reason was given"
            case "transfers" if value.startswith(_UNREAD):
                self.transfers_unread = cleaned(value.removeprefix(_UNREAD)) or "no reason was given"
            case "transfer":
                self._transfers.append(_transfer(value))
                _at_most(MOST_TRANSFERS, self._transfers)
            case "shadows" | "transfers":
                if _number(value) != len(self._shadows if word == "shadows" else self._transfers):
                    raise InvalidValue("lines are missing")
                self._counted.add(word)
            case _:
                raise InvalidValue("the probe prints no such line")

    @property
    def shadows(self) -> tuple[ShadowingRoute, ...] | None:
        """Routes that hide mesh addresses; None: not told."""
        return tuple(self._shadows) if "shadows" in self._counted else None

    @property
    def transfers(self) -> tuple[PeerTransfer, ...] | None:
        """Traffic with peers whose handshakes come too often; None: not told."""
        return tuple(self._transfers) if "transfers" in self._counted else None


def format_side_lines(
    shadows: Iterable[ShadowingRoute] | None,
    transfers: Iterable[PeerTransfer] | None,
    routes_unread: str = "",
    transfers_unread: str = "",
    *,
    hinted: bool = False,
) -> tuple[list[str], list[str]]:
    """Write the lines as the probe prints them: those on routes, and those on traffic."""
    routes, traffic = [], []
    if routes_unread:
        routes.append(f"shadows {_UNREAD}{routes_unread}")
    elif hinted:
        routes.append(f"shadows {_HINTED}")
    elif shadows is not None:
        routes += [
            " ".join(("shadow", item.kind, item.prefix, item.device or "-", str(item.hidden), *item.sample))
            for item in shadows
        ]
        routes.append(f"shadows {len(routes)}")
    if transfers_unread:
        traffic.append(f"transfers {_UNREAD}{transfers_unread}")
    elif transfers is not None:
        traffic += [
            f"transfer {item.public_key} {item.sent} {item.received} {item.seconds}" for item in transfers
        ]
        traffic.append(f"transfers {len(traffic)}")
    return routes, traffic


def _shadow(value: str) -> ShadowingRoute:
    words = value.split(" ")
    if not 5 <= len(words) <= 4 + MOST_HIDDEN:
        raise InvalidValue(f"not a route, its device, a number and 1 to {MOST_HIDDEN} addresses")
    kind, prefix, device, hidden, *sample = words
    if kind not in list(RouteKind):
        raise InvalidValue("no kind of a route")
    if _DEVICE.fullmatch(device) is None:
        raise InvalidValue("not a device")
    if (number := _number(hidden)) < len(sample):
        raise InvalidValue("more addresses than their number")
    addresses = tuple(map(parse_prefix, sample))
    return ShadowingRoute(
        parse_prefix(prefix), RouteKind(kind), "" if device == "-" else device, number, addresses
    )


def _transfer(value: str) -> PeerTransfer:
    words = value.split(" ")
    if len(words) != 4:
        raise InvalidValue("not a key and three numbers")
    key, *numbers = words
    return PeerTransfer(parse_public_key(key), *map(_number, numbers))


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise InvalidValue("not a number")
    return int(text)


def _at_most(most: int, lines: list[ShadowingRoute] | list[PeerTransfer]) -> None:
    if len(lines) > most:
        raise InvalidValue(f"more than {most}")
