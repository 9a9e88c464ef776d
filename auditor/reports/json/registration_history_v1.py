"""`wgaudit history node --format json`: changes of registrations, `wgaudit.registration-history/1`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from auditor.reports.json.documents import Document, ForeignText, Part, Timestamp
from auditor.values.models import Registration
from auditor.values.registration_changes import KnownRegistration, RegistrationChange, RegistrationHistory


class PastRegistrationV1(Part):
    """Registration as the registry had it."""

    node: ForeignText
    datacenter: ForeignText
    public_key: str | None = Field(description="null: it could not be read")
    addresses: list[str] = Field(description="canonical prefixes")
    region: ForeignText | None
    endpoint: ForeignText | None
    ssh_host: ForeignText | None
    state: ForeignText | None
    where: ForeignText = Field(description="KV key or catalog entry")
    create_index: int | None
    modify_index: int | None

    @classmethod
    def of(cls, item: Registration) -> Self:
        """Make it from a registration."""
        return cls(
            node=item.node.name,
            datacenter=item.node.datacenter,
            public_key=item.public_key,
            addresses=list(item.addresses),
            region=item.region,
            endpoint=item.endpoint,
            ssh_host=item.ssh_host,
            state=item.state,
            where=item.where,
            create_index=item.create_index,
            modify_index=item.modify_index,
        )


class PastRegistrationChangeV1(Part):
    """Change of one node's registration, at some time between two readings."""

    node: ForeignText
    datacenter: ForeignText
    kind: str = Field(description="added, changed or removed")
    fields: list[str] = Field(description="which changed; empty where it was added or removed")
    not_before: Timestamp = Field(description="last reading that still showed it as before")
    not_after: Timestamp = Field(description="reading that showed it changed")
    seen_by: str = Field(
        description="sweep: at some time between the two; watch: at not_after, to the moment"
    )
    index: int | None = Field(description="Consul's index of the write; null: not known")
    sweep: int | None = Field(
        description="number of the sweep that noticed it; null: a watch did, between two"
    )
    before: PastRegistrationV1 | None = Field(description="null: it was added")
    after: PastRegistrationV1 | None = Field(description="null: it was removed, and `before` is what is lost")

    @classmethod
    def of(cls, change: RegistrationChange) -> Self:
        """Make it from a change."""
        return cls(
            node=change.node.name,
            datacenter=change.node.datacenter,
            kind=change.kind.value,
            fields=list(change.fields),
            not_before=change.not_before,
            not_after=change.not_after,
            seen_by=change.seen_by.value,
            index=change.index,
            sweep=change.sweep,
            before=PastRegistrationV1.of(change.before) if change.before is not None else None,
            after=PastRegistrationV1.of(change.after) if change.after is not None else None,
        )


class KnownRegistrationV1(Part):
    """Newest form of a registration that is remembered."""

    registration: PastRegistrationV1
    registered: bool = Field(description="false: it is gone, and this is what is lost")

    @classmethod
    def of(cls, known: KnownRegistration) -> Self:
        """Make it from a remembered registration."""
        return cls(registration=PastRegistrationV1.of(known.registration), registered=known.gone is None)


class RegistrationHistoryV1(Document):
    """Changes of registrations of a node, an address or a key, as `sweep --alert` noticed them."""

    schema_: Literal["wgaudit.registration-history/1"] = Field(
        default="wgaudit.registration-history/1", alias="schema"
    )
    target: ForeignText = Field(description="node, address or key that was asked for")
    state: bool = Field(description="false: there is no state database yet, so nothing is known")
    began_at: Timestamp | None = Field(description="what was registered then was registered before")
    registrations: list[KnownRegistrationV1] = Field(description="newest form of each, by node")
    changes: list[PastRegistrationChangeV1] = Field(description="oldest first")


def registration_history_document(target: str, past: RegistrationHistory | None) -> RegistrationHistoryV1:
    """Make the document. past: None where there is no state database."""
    return RegistrationHistoryV1(
        target=target,
        state=past is not None,
        began_at=past.began_at if past is not None else None,
        registrations=list(map(KnownRegistrationV1.of, past.known if past is not None else ())),
        changes=list(map(PastRegistrationChangeV1.of, past.changes if past is not None else ())),
    )
