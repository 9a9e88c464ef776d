"""What a notifier is, and the one way in which a delivery fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from alerts.models import Notification


class Notifier(Protocol):
    """One sink. It classifies its own failures and remembers nothing."""

    @property
    def name(self) -> str:
        """As the configuration names it."""
        ...

    @property
    def max_per_message(self) -> int:
        """How many notifications one call may carry."""
        ...

    @property
    def pause(self) -> float:
        """Seconds between two calls that keep the vendor's rate limit."""
        ...

    def payload(self, notifications: Sequence[Notification]) -> bytes:
        """The body of one call, within all of the vendor's limits; holds no secret, so it can be previewed.

        Secrets that a vendor wants inside the body (a routing key) are put in on sending.
        """
        ...

    async def send(self, payload: bytes) -> str:
        """Delivers one payload; what the other side said, in one line. Raises `DeliveryError`."""
        ...
