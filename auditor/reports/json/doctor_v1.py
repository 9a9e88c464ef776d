"""Document `wgaudit.doctor/1`: each part that was tried, what came back, and what was not tried."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from auditor.reports.json.documents import Document, ForeignText, Part
from auditor.values.trials import Trials


class TrialV1(Part):
    """Trial of one part."""

    part: ForeignText
    tried: ForeignText
    got: ForeignText = Field(description="one line for a person")
    outcome: Literal["works", "warns", "fails", "untried"] = Field(
        description="untried: it could not be, because an earlier part does not work"
    )
    advice: ForeignText = Field(description='what to do; "" where there is nothing to do')
    reason: str | None = Field(description="kebab-case reason of a gap, such as connect-refused; null: none")


class TriedNodeV1(Part):
    """Trial of one node by SSH."""

    node: ForeignText = Field(description="with its datacenter")
    region: ForeignText | None = Field(description="null: not known")
    seen: bool
    reason: str | None = Field(description="why it was not seen, kebab-case; null: it was")
    detail: ForeignText
    same_key: bool | None = Field(
        description="whether the device's key is the registered one; null: not seen"
    )


class DoctorV1(Document):
    """What `wgaudit doctor` tried. Fields are added, never renamed or removed."""

    schema_: Literal["wgaudit.doctor/1"] = Field(default="wgaudit.doctor/1", alias="schema")
    works: bool = Field(description="true: everything that was to be tried could be, and works; exit code 0")
    trials: list[TrialV1]
    nodes: list[TriedNodeV1] = Field(description="each node that was tried")
    not_tried: list[ForeignText] = Field(
        description="left out on purpose, each with the command that tries it"
    )


def doctor_document(trials: Trials) -> DoctorV1:
    """Convert the trials to their published form."""
    return DoctorV1(
        works=trials.whole,
        trials=[
            TrialV1(
                part=item.part,
                tried=item.tried,
                got=item.got,
                outcome=item.outcome.value,
                advice=item.advice,
                reason=item.reason.value if item.reason is not None else None,
            )
            for item in trials.trials
        ],
        nodes=[
            TriedNodeV1(
                node=item.node,
                region=item.region or None,
                seen=item.reason is None,
                reason=item.reason.value if item.reason is not None else None,
                detail=item.detail,
                same_key=item.same_key,
            )
            for item in trials.nodes
        ],
        not_tried=list(trials.beyond),
    )
