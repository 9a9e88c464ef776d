"""`wgaudit silence list --format json`: silences with their matchers, `wgaudit.silences/1`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from auditor.reports.json.documents import Document, ForeignText, Part, Timestamp


class SilenceV1(Part):
    """One silence. All kinds of matchers that are not empty must match, and of each kind any."""

    ident: str = Field(description="`wgaudit silence expire` takes it")
    state: Literal["active", "to come", "over"]
    starts_at: Timestamp
    ends_at: Timestamp
    created_by: ForeignText
    comment: ForeignText
    checks: list[str]
    addresses: list[str] = Field(description="canonical prefixes, such as 10.0.0.1/32")
    nodes: list[ForeignText]
    regions: list[ForeignText]


class SilencesV1(Document):
    """The silences that hold now or will; with --all those that are over, too."""

    schema_: Literal["wgaudit.silences/1"] = Field(default="wgaudit.silences/1", alias="schema")
    silences: list[SilenceV1] = Field(description="the next to end first; empty where there is no state yet")
