"""Protocol of a notifier, and the error of a failed delivery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from alerts.models import Notification


class Notifier(Protocol):
    """One sink. It classifies its own failures and remembers nothing."""

    @property
    def name(self) -> str:
        """Name of the notifier in the configuration."""
        ...

    @property
    def max_per_message(self) -> int:
        """Number of notifications that one call may carry, or tell in full where it sums up."""
        ...

    @property
    def sums_up(self) -> bool:
        """True: a message names and counts what it cannot tell in full, so that a storm is one message for people."""
        ...

    @property
    def pause(self) -> float:
        """Seconds between two calls, which keep the vendor's rate limit."""
        ...

    def payload(self, notifications: Sequence[Notification]) -> bytes:
        """Build the body of one call, within all of the vendor's limits; without secrets, so that it can be previewed.

        Secrets that a vendor wants inside the body (a routing key) are put in on sending.
        """
        ...

    async def send(self, payload: bytes) -> str:
        """Send one payload; return the answer in one line. Raises `DeliveryError`."""
        ...
