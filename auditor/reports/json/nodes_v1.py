"""`wgaudit nodes --format json`: a row for each server, `wgaudit.nodes/1`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from auditor.reports.json.documents import Document, ForeignText, Part, Timestamp
from auditor.reports.node_rows import NodeList, NodeRow
from auditor.reports.selection import Selection
from auditor.values.report import Report


class LiveV1(Part):
    """What the node's own device showed."""

    addresses: list[str] = Field(description="canonical prefixes")
    public_key: str
    host_key: str | None = Field(description="SHA256:… of the SSH host key that it proved to hold")
    table: int = Field(ge=1, description="number of its route table in this document; 1: most nodes share it")
    table_digest: str = Field(description="sha256 of its route table")


class UnseenV1(Part):
    """Why the node's device was not seen."""

    source: str
    reason: str = Field(description="kebab-case, such as connect-refused; more may be added")
    detail: ForeignText


class SshHostV1(Part):
    """Where the node is reached on the underlay, by its registration."""

    host: ForeignText
    port: int | None = Field(description="null: ssh's own choice, 22")


class NamedInV1(Part):
    """Finding that names the node."""

    check: str
    severity: str = Field(description="critical, error, warning or info")
    fingerprint: str


class ServerV1(Part):
    """One server."""

    node: ForeignText
    datacenter: ForeignText | None = Field(description="null where none is known")
    region: ForeignText | None = Field(description="null where no witness knows it")
    listing: str = Field(
        description="registered, unreadable (some of it), moving or retired; more may be added"
    )
    addresses: list[str] = Field(description="registered ones, as canonical prefixes")
    public_key: str | None = Field(description="registered one; null where it cannot be read")
    live: LiveV1 | None = Field(description="null: its device was not seen")
    differs: bool = Field(
        description="a check says that its live addresses or key are not the registered ones"
    )
    unseen: UnseenV1 | None = Field(description="null: it was seen, or nobody asked it")
    ssh: SshHostV1 | None = Field(description="null: its registration leads to no host")
    findings: list[NamedInV1] = Field(description="standing findings that name it, worst first")

    @classmethod
    def of(cls, row: NodeRow) -> Self:
        """Make it from a row."""
        return cls(
            node=row.node.name,
            datacenter=row.node.datacenter or None,
            region=row.region or None,
            listing=row.listing.value,
            addresses=list(row.registered_addresses),
            public_key=row.registered_key,
            live=_live(row),
            differs=row.differs,
            unseen=UnseenV1(source=row.gap.source, reason=row.gap.reason.value, detail=row.gap.detail)
            if row.gap is not None
            else None,
            ssh=SshHostV1(host=row.ssh.host, port=row.ssh.port) if row.ssh is not None else None,
            findings=[
                NamedInV1(check=item.check, severity=item.severity.value, fingerprint=item.fingerprint)
                for item in row.findings
            ],
        )


class TableV1(Part):
    """Distinct route table."""

    number: int = Field(ge=1)
    nodes: int = Field(ge=1, description="how many nodes have it, those not shown included")


class NodesV1(Document):
    """Every server that the registry lists, registered and live."""

    schema_: Literal["wgaudit.nodes/1"] = Field(default="wgaudit.nodes/1", alias="schema")
    finished_at: Timestamp
    selection: list[ForeignText] = Field(description="options that chose what is shown; empty: all is shown")
    total: int = Field(ge=0, description="how many servers there are, those not shown included")
    tables: list[TableV1]
    nodes: list[ServerV1] = Field(description="by region and name")
    mesh: ForeignText | None = Field(description="name of the mesh (alerts.mesh); null: it has none")
    version: ForeignText | None = Field(
        description="version of wgaudit that made it; null where nobody said it"
    )


def nodes_document(listed: NodeList, report: Report, selection: Selection) -> NodesV1:
    """Make the document."""
    return NodesV1(
        finished_at=report.finished_at,
        selection=list(selection.options),
        total=len(listed.nodes),
        tables=[TableV1(number=number, nodes=nodes) for number, nodes in listed.holders.items()],
        nodes=list(map(ServerV1.of, listed.rows)),
        mesh=report.mesh or None,
        version=report.version or None,
    )


def _live(row: NodeRow) -> LiveV1 | None:
    if row.live_key is None or row.table is None or row.table_digest is None:
        return None
    return LiveV1(
        addresses=list(row.live_addresses),
        public_key=row.live_key,
        host_key=row.host_key,
        table=row.table,
        table_digest=row.table_digest,
    )
