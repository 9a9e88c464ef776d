"""Protocol of a service's observer: progress and complaints."""

from __future__ import annotations

from typing import Protocol

from auditor.gather.progress_events import SweepObserver


class ServiceObserver(SweepObserver, Protocol):
    """Receives the progress of a sweep, and complaints."""

    def complain(self, line: str) -> None:
        """Receive one line about something that failed and did not end the work."""
