"""Document `wgaudit.story/1`: the stories of the targets of one call, and sections of the documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from auditor.documents.sections import DocumentSection
from auditor.explain.story import Routing, Story
from auditor.reports.json.affected_v1 import LossV1, RegionalNodeV1, loss_part
from auditor.reports.json.documents import Document, ForeignText, Part
from auditor.reports.json.evidence_v1 import ClaimV1, PickV1, ReachedV1, claim_part, pick_part, reached_part
from auditor.reports.json.registration_history_v1 import PastRegistrationChangeV1
from auditor.reports.json_v1 import GapV1, gap_part
from auditor.values.guide import Guide
from auditor.values.models import InvalidRegistration, Observation, Registration
from auditor.values.report import Report


class RegisteredV1(Part):
    """What the registry says of a node."""

    node: ForeignText
    datacenter: ForeignText | None
    where: ForeignText
    public_key: str | None = Field(description="null: none that can be read")
    addresses: list[str]
    region: ForeignText | None
    endpoint: ForeignText | None
    ssh_host: ForeignText | None
    state: ForeignText | None
    retired: bool
    create_index: int | None
    modify_index: int | None


class UnreadableV1(Part):
    """Part of a registration that cannot be read."""

    node: ForeignText
    where: ForeignText
    reason: ForeignText


class ObservationV1(Part):
    """What the node's own device shows."""

    node: ForeignText
    device: ForeignText
    public_key: str
    addresses: list[str]
    link_up: bool | None = Field(description="null: not reported")
    region: ForeignText | None = Field(description="what the node says itself; null: it was not asked")
    host_key: ForeignText | None


class RoutingV1(Part):
    """Where observers send one prefix."""

    prefix: str
    picks: list[PickV1] = Field(
        description="everyone in them is there with --all, and where observers are few"
    )
    notes: list[ForeignText]
    answers: list[ReachedV1] = Field(
        default=[], description="who answered there, asked over the mesh; empty where nobody was asked"
    )
    disagreement: ForeignText | None = Field(
        default=None, description="answers that the picks do not explain, in words; null: there are none"
    )


class StoryFindingV1(Part):
    """Finding that touches the target; the report has its evidence."""

    fingerprint: str
    check: str
    severity: Literal["critical", "error", "warning", "info"]
    subject: ForeignText
    summary: ForeignText
    confirmed: bool | None
    caused_by: str | None
    agreed: ForeignText | None
    silenced: ForeignText | None
    docs: ForeignText = Field(description="where it is explained")


class TargetStoryV1(Part):
    """All that was seen of one target."""

    target: ForeignText = Field(description="the target in full")
    kind: str = Field(description="address, node or key; more may be added")
    fingerprint: str | None = Field(description="of the finding that was asked for; null: none was")
    headline: ForeignText
    registered: list[RegisteredV1]
    unreadable: list[UnreadableV1]
    devices: list[ObservationV1]
    claims: list[ClaimV1]
    routing: list[RoutingV1]
    losses: list[LossV1] = Field(description="what the node loses as an observer")
    findings: list[StoryFindingV1]
    gaps: list[GapV1] = Field(description="gaps that might have changed the story")
    notes: list[ForeignText]
    next: list[ForeignText] = Field(description="what to do, in words")
    registration_changes: list[PastRegistrationChangeV1] = Field(
        description="what alerted sweeps noticed of registrations that had it, oldest first; of a recording, none"
    )
    contested: list[str] = Field(
        description="of its addresses, those that several nodes claim without being meant to"
    )
    nodes: list[RegionalNodeV1] = Field(description="nodes named here whose regions are known")


class DocumentationV1(Part):
    """Section of the documents that travel with the program."""

    ident: str
    place: str = Field(description="path within the project, such as docs/findings.md#duplicate-address")
    markdown: str


class StoryV1(Document):
    """Stories, and sections of the documents. Fields are added, never renamed or removed."""

    schema_: Literal["wgaudit.story/1"] = Field(default="wgaudit.story/1", alias="schema")
    stories: list[TargetStoryV1]
    documents: list[DocumentationV1]
    mesh: ForeignText | None = Field(
        description="name of the mesh (alerts.mesh); null: it has none, or no story was asked for"
    )
    version: ForeignText | None = Field(
        description="version of wgaudit that made it; null where nobody said it"
    )


def story_document(
    stories: Sequence[Story], sections: Sequence[DocumentSection], guide: Guide, report: Report | None
) -> StoryV1:
    """Convert stories, and sections of the documents, to their published form.

    report: the one that the stories are told from; None: there are none.
    """
    return StoryV1(
        mesh=report.mesh or None if report is not None else None,
        version=report.version or None if report is not None else None,
        stories=[_story(story, guide) for story in stories],
        documents=[
            DocumentationV1(ident=each.ident, place=each.place, markdown=each.text) for each in sections
        ],
    )


def _story(story: Story, guide: Guide) -> TargetStoryV1:
    return TargetStoryV1(
        target=story.target,
        kind=story.kind,
        fingerprint=story.asked.fingerprint if story.asked is not None else None,
        headline=story.headline,
        registered=[_registration(story, item) for item in story.registrations],
        unreadable=[_unreadable(story, item) for item in story.invalid],
        devices=[_observation(story, item) for item in story.observations],
        claims=[claim_part(story, claim) for claim in story.claims],
        routing=[_routing(story, routing) for routing in story.routing],
        losses=[loss_part(story, loss) for loss in story.losses],
        findings=[
            StoryFindingV1(
                fingerprint=item.fingerprint,
                check=item.check,
                severity=item.severity.value,
                subject=item.subject,
                summary=item.summary,
                confirmed=item.confirmed,
                caused_by=item.caused_by,
                agreed=item.agreed,
                silenced=item.silenced,
                docs=guide.documentation(item.check),
            )
            for item in story.findings
        ],
        gaps=[gap_part(gap) for gap in story.gaps],
        notes=list(story.notes),
        next=list(story.next_steps),
        registration_changes=list(map(PastRegistrationChangeV1.of, story.changes)),
        contested=list(story.contested),
        nodes=[
            RegionalNodeV1(node=story.name(node), region=region)
            for node, region in sorted(story.regions.items())
        ],
    )


def _registration(story: Story, item: Registration) -> RegisteredV1:
    return RegisteredV1(
        node=story.name(item.node),
        datacenter=item.node.datacenter or None,
        where=item.where,
        public_key=item.public_key,
        addresses=list(item.addresses),
        region=item.region,
        endpoint=item.endpoint,
        ssh_host=item.ssh_host,
        state=item.state,
        retired=item.retired,
        create_index=item.create_index,
        modify_index=item.modify_index,
    )


def _unreadable(story: Story, item: InvalidRegistration) -> UnreadableV1:
    return UnreadableV1(node=story.name(item.node), where=item.where, reason=item.reason)


def _observation(story: Story, item: Observation) -> ObservationV1:
    return ObservationV1(
        node=story.name(item.node),
        device=item.device.name,
        public_key=item.device.public_key,
        addresses=list(item.device.addresses),
        link_up=item.device.link_up,
        region=item.region,
        host_key=item.host_key,
    )


def _routing(story: Story, routing: Routing) -> RoutingV1:
    return RoutingV1(
        prefix=routing.prefix,
        # The builder has named all of them where they are few, or where everyone was asked for.
        picks=[pick_part(story, pick, full=len(pick.sample) == pick.observers) for pick in routing.picks],
        notes=list(routing.notes),
        answers=[reached_part(story, item, full=story.everyone) for item in routing.answers],
        disagreement=routing.disagreement or None,
    )
