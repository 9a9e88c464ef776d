"""Document `wgaudit.collectors/1`: the collectors that are there, and the regions that they answer for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from auditor.reports.json.documents import Document, ForeignText, Part, Timestamp
from auditor.values.collector_roll import CollectorRoll


class CollectorV1(Part):
    """Collector, as it describes itself."""

    id: ForeignText = Field(description="its identity on NATS, new at each of its connections")
    region: ForeignText
    host: ForeignText
    pid: ForeignText
    version: ForeignText
    since: Timestamp = Field(description="when it began to serve, by its own clock")
    jobs: int | None = Field(description="jobs under way; null: it did not say")
    nodes: int | None = Field(description="nodes that they are about; null: it did not say")
    most_jobs: int | None = Field(description="jobs that it takes at once; null: it did not say")


class RegionV1(Part):
    """Configured region."""

    region: str
    served: bool = Field(description="whether a collector with the region's key answered for it")
    collector: ForeignText | None = Field(description="host and process of the one that answered; null: none")
    version: ForeignText | None
    detail: ForeignText = Field(description='why none answered; "" where one did')


class CollectorsV1(Document):
    """Collectors of a configuration. Fields are added, never renamed or removed."""

    schema_: Literal["wgaudit.collectors/1"] = Field(default="wgaudit.collectors/1", alias="schema")
    server: str
    regions: list[RegionV1] = Field(description="those of collectors.regions, in that order")
    collectors: list[CollectorV1] = Field(description="by region, host and process")
    unreadable: int = Field(ge=0, description="answers that could not be read")
    version: str = Field(description="of wgaudit that asked")


def collectors_document(roll: CollectorRoll, version: str) -> CollectorsV1:
    """Convert the roll to its published form."""
    return CollectorsV1(
        server=roll.server,
        regions=[
            RegionV1(
                region=item.region,
                served=item.served,
                collector=item.collector or None,
                version=item.version or None,
                detail=item.detail,
            )
            for item in roll.regions
        ],
        collectors=[
            CollectorV1(
                id=item.identity,
                region=item.region,
                host=item.host,
                pid=item.pid,
                version=item.version,
                since=item.since,
                jobs=item.jobs,
                nodes=item.nodes,
                most_jobs=item.most_jobs,
            )
            for item in roll.collectors
        ],
        unreadable=roll.left_out,
        version=version,
    )
