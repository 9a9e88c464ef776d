"""PURE: what one node's route table gives to whom, as an observer of a move."""

from __future__ import annotations

import re
from dataclasses import dataclass

from auditor.errors import GapReason, InvalidValue, ProbeError
from auditor.values.addresses import Prefix, PublicKey, parse_prefix
from auditor.values.models import Observation


@dataclass(frozen=True, slots=True)
class PeerView:
    """Observation of one node, with its route table."""

    observation: Observation
    table: bytes
    """Whole text: see `RouteTable`."""

    def routes(self, prefix: Prefix, key: PublicKey) -> bool:
        """Tell whether exactly this prefix is given to this key, the device's own addresses included."""
        line = f"{key}\t{prefix}\n".encode()
        return self.table.startswith(line) or b"\n" + line in self.table

    def has_peer(self, key: PublicKey) -> bool:
        """Tell whether the key is a peer, or the device's own."""
        line = f"{key}\t".encode()
        return self.table.startswith(line) or b"\n" + line in self.table

    def others_with(self, prefix: Prefix, key: PublicKey) -> tuple[PublicKey, ...]:
        """Keys other than this one that have exactly this prefix."""
        pattern = rb"(?m)^(.+)\t%s$" % re.escape(prefix.encode())
        found = {PublicKey(match.decode("ascii", "replace")) for match in re.findall(pattern, self.table)}
        return tuple(sorted(found - {key}))

    def allowed_ips(self, key: PublicKey) -> tuple[Prefix, ...]:
        """All that is given to this key. Raises `ProbeError`."""
        found = re.findall(rb"(?m)^%s\t(.+)$" % re.escape(key.encode()), self.table)
        try:
            return tuple(parse_prefix(text.decode("ascii")) for text in found if text != b"(none)")
        except (InvalidValue, UnicodeDecodeError):
            raise ProbeError(GapReason.UNREADABLE_OUTPUT, "an allowed-ip that is no prefix") from None
