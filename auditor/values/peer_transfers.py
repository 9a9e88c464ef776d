"""What went to a peer and came back in some seconds: a value that a node's probe tells."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.values.addresses import PublicKey

HANDSHAKE = 148 + 92
"""Bytes of a handshake, there and back."""
KEEPALIVE = 32
HEARD_NOTHING = 15
"""Seconds without a word, after which WireGuard renews the handshake with a peer that it sent something to."""
ANSWERED_WITHIN = 10
"""Seconds after which WireGuard answers what it received with a keepalive, where nothing else is to be sent."""


@dataclass(frozen=True, slots=True)
class PeerTransfer:
    """Traffic with a peer whose handshakes succeed, and come again long before they are due.

    WireGuard renews a handshake early where it sent something and heard nothing at all for 15 seconds: a peer that
    receives would at least have said so with a keepalive, were there nothing to answer.
    """

    public_key: PublicKey
    sent: int
    """Bytes that went out to the peer, handshakes and keepalives included."""
    received: int
    """Bytes that came in from it."""
    seconds: int
    """Time in which they did."""

    @property
    def explained(self) -> int:
        """Bytes that handshakes and keepalives of that time explain, in one direction."""
        handshakes = (HANDSHAKE + KEEPALIVE) * (self.seconds // HEARD_NOTHING + 1)
        return handshakes + KEEPALIVE * (self.seconds // ANSWERED_WITHIN + 1)

    @property
    def unanswered(self) -> bool:
        """Tell whether data went out, and none came in."""
        return self.sent > self.explained >= self.received
