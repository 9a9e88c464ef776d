"""`wgaudit history show --format json`: one finding over time with its notifications, `wgaudit.finding-life/1`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field

from auditor.reports.json.documents import Document, ForeignText, Part, Timestamp
from auditor.reports.json.history_v1 import PastFindingV1
from auditor.values.past_sweeps import PastFinding, PastNotice


class NoticeV1(Part):
    """Notification of an incident to one notifier."""

    notifier: ForeignText
    reason: str = Field(description="such as first-notification, claimants-changed, resolved")
    firing: bool = Field(description="false: it says that the incident is over")
    state: str = Field(description="accepted, pending, dead (refused for good), dropped or closed")
    planned_at: Timestamp
    at: Timestamp = Field(description="when it came to its state, or was last tried")
    attempts: int = Field(ge=0, description="calls that were made for it")
    answer: ForeignText = Field(description="last answer of the other side; empty before the first call")

    @classmethod
    def of(cls, notice: PastNotice) -> Self:
        """Make it from a notification of the past."""
        return cls(
            notifier=notice.notifier,
            reason=notice.reason,
            firing=notice.firing,
            state=notice.state,
            planned_at=notice.planned_at,
            at=notice.at,
            attempts=notice.attempts,
            answer=notice.answer,
        )


class FindingLifeV1(Document):
    """One finding over time, and whom it was told to."""

    schema_: Literal["wgaudit.finding-life/1"] = Field(default="wgaudit.finding-life/1", alias="schema")
    finding: PastFindingV1
    notifications: list[NoticeV1] = Field(description="oldest first")


def finding_life_document(finding: PastFinding, notices: Iterable[PastNotice]) -> FindingLifeV1:
    """Make the document of one finding's life."""
    return FindingLifeV1(finding=PastFindingV1.of(finding), notifications=list(map(NoticeV1.of, notices)))
