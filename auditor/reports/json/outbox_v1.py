"""`wgaudit alerts list --format json`: what waits and what was refused for good, `wgaudit.outbox/1`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from auditor.reports.json.documents import Document, ForeignText, Part, Timestamp


class UndeliveredV1(Part):
    """One notification that was not accepted."""

    id: int = Field(description="its number; `wgaudit alerts retry` takes that of a dead letter")
    notifier: str
    reason: str = Field(description="why it was planned, such as first-notification; more may be added")
    status: Literal["firing", "resolved"]
    fingerprint: str
    check: str
    severity: Literal["critical", "error", "warning", "info"]
    subject: ForeignText
    created_at: Timestamp
    tried_at: Timestamp = Field(description="when it was last tried, or came to wait")
    attempts: int = Field(ge=0)
    detail: ForeignText = Field(description='last answer of the other side; "" before the first attempt')


class OutboxV1(Document):
    """Notifications that have not been accepted."""

    schema_: Literal["wgaudit.outbox/1"] = Field(default="wgaudit.outbox/1", alias="schema")
    waiting: list[UndeliveredV1] = Field(description="they go with the next `wgaudit sweep --alert`")
    dead: list[UndeliveredV1] = Field(description="refused for good, oldest first")
