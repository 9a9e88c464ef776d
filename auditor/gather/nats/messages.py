"""Messages between an auditor and the collectors of a region: versioned JSON, each bounded and strict.

A job is one look at nodes, or one following of nodes, by one collector of a region. It goes by three subjects, a
following with messages of its own on the second and the third:

1. `wgaudit.collect.REGION`: a request to whichever collector of the region is free (a queue group of them): `OpenJob`,
   answered by `JobAnswer`. The collector has subscribed to the job's subject before it accepts. One for no nodes asks
   who is there, and opens none.
2. `wgaudit.job.REGION.JOB`, from the auditor to that collector: `Assign` in one or more parts, then `Want` (the text
   of a digest), `Beat` every `BEAT` seconds, and `EndJob`.
3. `wgaudit.seen.REGION.JOB`, from the collector to the auditor: `SeenBatch`, `TextPart`, `Alive` every `ALIVE` seconds,
   and at the end `Last`, or `Failed`. `Last` ends the results; texts are sent for as long as they are asked for. A
   collector is at most `WINDOW` messages ahead of what the auditor has taken.

REGION and JOB are of `REGION_NAME` and `JOB_NAME`: nothing that a registry or a node says stands in a subject.

Each message of the second and third subject has a `number`, from 0 in steps of 1, and `before`: the sha256 over the
sha256 digests of all messages before it on that subject, in order. So whoever reads knows of every message whether it
is missing, doubled or another one (`message_parts.RowReading`), and what a message said counts once the next one
vouches for it. `Last` says the same of the whole.

The auditor's messages of a look name the third subject for a reply, which nobody gives: where one reaches nobody, the
server says so there ("no responders"). Then the row is broken, and the collector lost. One that is only busy is still
subscribed.

A collector speaks only of the nodes that it was assigned. No secret travels, and no command.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from typing import Annotated, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticSerializationError

from auditor.errors import GapReason, InvalidValue, ProbeError
from auditor.gather.collector import gap_of
from auditor.nodes.probe.probe import MAX_ADDRESSES, MAX_REGION
from auditor.nodes.probe.side_lines import MOST_SHADOWS, MOST_TRANSFERS
from auditor.state.recorded_forms import (
    KeyText,
    ObservationForm,
    PrefixText,
    Rows,
)
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.json_bounds import check_json
from auditor.values.models import Gap, NodeId, Registration
from auditor.values.names import DEVICE_NAME, VALUE_NAME
from auditor.values.text import for_detail, for_json, without_login

SCHEMA: Final = "wgaudit.collect/1"
NOTHING = hashlib.sha256().hexdigest()
"""What is before the first message."""
SERVICE = "wgaudit-collector"
"""Name of the service that a collector is, as `$SRV.PING` lists it."""
AUDITOR_INBOX, COLLECTOR_INBOX = "_INBOX_auditor", "_INBOX_collector"
"""Prefixes of the inboxes, so that each side's permissions name its own."""
REGION_NAME = r"[A-Za-z0-9][A-Za-z0-9_\-]{0,31}"
JOB_NAME = r"[0-9a-f]{32}"
BEAT = 2.0
"""Seconds between two messages of the auditor. That a collector was killed is known by the next one."""
UNHEARD = 30.0
"""Seconds without one, after which the collector ends the job."""
ALIVE = 5.0
"""Seconds after which the collector speaks in any case."""
SILENT = 20.0
"""Seconds without a message of the collector, after which it is lost."""
WINDOW, TAKEN_EACH = 64, 16
"""Messages that the collector may be ahead of what the auditor says it has taken; further ones wait. The auditor says
so after each so many messages."""
BATCH, BATCH_SECONDS = 64, 0.05
"""Results of one message, at most, and seconds that the first of them waits for more."""
MOST_BYTES = 512 * 1024
"""Bytes of a message; fewer where the server's `max_payload` is smaller."""
MOST_NODES = 100_000
"""Nodes of one job."""
MOST_PARTS = 4096
"""Parts of one text."""
MOST_WANTED = 64
"""Digests that one message asks for."""
MOST_CHANGED = 20_000
"""Lines in which a table told as a difference may differ from its base."""
LONGEST_PART = 96 * 1024
"""Characters of a text's part."""
LONGEST_DETAIL = 2000

_NOT_OF_A_NODE = frozenset(
    {
        *(reason for reason in GapReason if reason.value.startswith(("consul-", "registry-", "collector-"))),
        GapReason.DATACENTER_GONE,
        GapReason.PREFIX_NOT_FOUND,
        GapReason.UNSETTLED,
    }
)
"""Reasons that a collector cannot give for a node: they speak of the registry, of the sweep, or of itself."""


def collect_subject(region: str) -> str:
    """Name the subject on which a region's collectors are asked to take a job."""
    return f"wgaudit.collect.{_checked(REGION_NAME, region)}"


def job_subject(region: str, job: str) -> str:
    """Name the subject on which the auditor speaks to the collector that took the job."""
    return f"wgaudit.job.{_checked(REGION_NAME, region)}.{_checked(JOB_NAME, job)}"


def seen_subject(region: str, job: str) -> str:
    """Name the subject on which that collector speaks to the auditor."""
    return f"wgaudit.seen.{_checked(REGION_NAME, region)}.{_checked(JOB_NAME, job)}"


def _checked(pattern: str, name: str) -> str:
    if re.fullmatch(pattern, name) is None:
        raise InvalidValue("no region's or job's name stands in a subject unless it is plain")
    return name


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a text with a character that cannot be printed")
    return text


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Region = Annotated[str, Field(pattern=rf"^{REGION_NAME}$")]
Job = Annotated[str, Field(pattern=rf"^{JOB_NAME}$")]
Count = Annotated[int, Field(ge=0, le=2**32)]
Line = Annotated[str, Field(max_length=120)]
"""Line of a route table, without its newline."""
LineNumber = Annotated[int, Field(ge=0, lt=2**24)]
"""Place among all lines that the job's messages brought so far, from 0."""
LONGEST_TEXT = 200
_DEVICE, _DIGEST = re.compile(DEVICE_NAME), re.compile(r"[0-9a-f]{64}")
_ENDPOINT = re.compile(r"[0-9a-fA-F.:%\[\]A-Za-z_=+\-]{1,80}:[0-9]{1,5}")
ShortText = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_printable)]
FieldText = Annotated[str, Field(max_length=4096)]
Device = Annotated[str, Field(pattern=rf"^{DEVICE_NAME}$")]


class WireForm(BaseModel):
    """Part of a message."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True, loc_by_alias=False)


class _Versioned(WireForm):
    schema_: Literal["wgaudit.collect/1"] = Field(
        default=SCHEMA, validation_alias="schema", serialization_alias="schema"
    )
    job: Job

    model_config = ConfigDict(populate_by_name=True)


# -- opening a job


class OpenJob(_Versioned):
    """Request to take a job."""

    region: Region
    mode: Literal["look", "follow"] = "look"
    nodes: Count
    """Nodes of the assignment that follows. 0: nothing is asked but who is there."""
    device: Device
    """A collector that looks at another device refuses."""
    pools: Rows[PrefixText] = Field(default=[])
    address_devices: Annotated[list[Device], Field(max_length=16)] = Field(default=[])
    endpoints: bool = False
    handshakes: bool = False
    transfer: bool = False
    interval: Annotated[float, Field(ge=1, le=300, allow_inf_nan=False)] = 5.0
    """Seconds between two looks of a followed node at its own device."""
    seconds: Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)] = 300.0
    """Time for a whole look, after which nobody waits for the rest. A following has none."""
    addresses: Digest | None = None
    """Digest of the registry's mesh addresses (`message_parts.addresses_digest`). A collector that has these from an
    earlier job says so, and they need not come again."""


class JobAnswer(_Versioned):
    """Answer to `OpenJob`."""

    accepted: bool
    refused: Annotated[str, Field(max_length=500)] = ""
    """Why it was not accepted, in one line."""
    collector: Annotated[str, Field(max_length=200)] = ""
    """Which one took it, for people: its host and process."""
    version: Annotated[str, Field(max_length=64)] = ""
    has_addresses: bool = False
    """Whether it has the registry's mesh addresses already."""


# -- the auditor's messages of a job


class JobMessage(_Versioned):
    """Message of a job, one of a row."""

    number: Count = 0
    before: Digest = NOTHING
    """Both are set when it is written: see `message_parts.RowWriting`."""


class NodeToAsk(WireForm):
    """What a collector needs of a registration to reach its node."""

    name: FieldText
    datacenter: FieldText = ""
    public_key: KeyText | None = None
    addresses: Rows[PrefixText] = Field(default=[], max_length=1024)
    region: FieldText | None = None
    endpoint: FieldText | None = None
    ssh_host: FieldText | None = None
    values: dict[Annotated[str, Field(pattern=f"^{VALUE_NAME}$")], FieldText] = Field(
        default={}, max_length=64
    )
    """Those that the auditor's `ssh.host` names, and no others."""


class Assign(JobMessage):
    """Part of the assignment."""

    kind: Literal["assign"] = "assign"
    nodes: Rows[NodeToAsk] = Field(default=[])
    addresses: Rows[PrefixText] = Field(default=[])
    """Mesh addresses of the whole registry, by which no node is reached. Not where the collector has them."""
    whole: bool = False
    """True: this is its last part."""
    count: Count = 0
    """Nodes of the whole assignment, said in its last part."""


class Want(JobMessage):
    """Request for the texts of these digests, each of which the collector has named."""

    kind: Literal["want"] = "want"
    digests: Annotated[list[Digest], Field(min_length=1, max_length=MOST_WANTED)]


class Beat(JobMessage):
    """Sign of life of the auditor, and how far it is: sent each `BEAT` seconds, and each `TAKEN_EACH` messages."""

    kind: Literal["beat"] = "beat"
    taken: Count = 0
    """Messages of the collector that were taken so far."""


class EndJob(JobMessage):
    """End of the job: nothing more is wanted of it."""

    kind: Literal["end"] = "end"


AuditorMessage = Annotated[Assign | Want | Beat | EndJob, Field(discriminator="kind")]


def node_to_ask(registration: Registration, names: Collection[str]) -> NodeToAsk:
    """Write what a collector needs of a registration. Raises `InvalidValue`.

    names: of the further values that travel.
    """
    values = {name: value for name in names if (value := registration.values.get(name)) is not None}
    try:
        return NodeToAsk(
            name=registration.node.name,
            datacenter=registration.node.datacenter,
            public_key=registration.public_key,
            addresses=list(registration.addresses),
            region=registration.region,
            endpoint=registration.endpoint,
            ssh_host=registration.ssh_host,
            values=values,
        )
    except ValidationError as error:
        raise InvalidValue(f"its registration cannot be sent to a collector: {_fault(error)}") from None


def registration_to_ask(form: NodeToAsk) -> Registration:
    """Read it on the collector's side."""
    return Registration(
        NodeId(form.datacenter, form.name),
        None if form.public_key is None else PublicKey(form.public_key),
        tuple(map(Prefix, form.addresses)),
        form.region,
        form.endpoint,
        form.ssh_host,
        form.values,
    )


# -- the collector's messages


class NodeSeen(ObservationForm):
    """Observation of an assigned node, bounded as a node's answer is. Its table is named by its digest."""

    @model_validator(mode="after")
    def _bounded(self) -> NodeSeen:
        if not _DEVICE.fullmatch(self.device) or not _DIGEST.fullmatch(self.table):
            raise ValueError("no device's name, or no digest of a table")
        if len(self.addresses) > MAX_ADDRESSES or len(self.region or "") > MAX_REGION:
            raise ValueError("more than a node tells")
        if len(self.shadows or ()) > MOST_SHADOWS or len(self.one_way or ()) > MOST_TRANSFERS:
            raise ValueError("more routes or transfers than a node tells")
        texts = [self.region, self.host_key, self.routes_unread, self.transfers_unread]
        texts += [shadow.device for shadow in self.shadows or ()]
        if any(len(text) > LONGEST_TEXT or not text.isprintable() for text in texts if text):
            raise ValueError("a text that no node tells")
        if not all(map(_ENDPOINT.fullmatch, (self.endpoints or {}).values())):
            raise ValueError("an endpoint that is not ip:port")
        return self


def _of_a_node(reason: GapReason) -> GapReason:
    if reason in _NOT_OF_A_NODE:
        raise ValueError("a reason that is not a node's")
    return reason


class NodeUnseen(WireForm):
    """Gap of an assigned node."""

    name: FieldText
    datacenter: FieldText = ""
    reason: Annotated[GapReason, AfterValidator(_of_a_node)]
    detail: Annotated[str, Field(max_length=LONGEST_DETAIL)]


def node_unseen(gap: Gap) -> NodeUnseen:
    """Write a gap of a node."""
    return NodeUnseen(
        name=gap.node or "",
        datacenter=gap.datacenter or "",
        reason=gap.reason,
        detail=for_json(gap.detail)[:LONGEST_DETAIL],
    )


def gap_of_node(form: NodeUnseen) -> Gap:
    """Read it on the auditor's side."""
    return gap_of(
        NodeId(form.datacenter, form.name), ProbeError(form.reason, without_login(for_detail(form.detail)))
    )


class TableDifference(WireForm):
    """Table told as a difference, once, before the first observation that names it."""

    digest: Digest
    base: Digest
    """Digest of a table's text, which is asked for as any other."""
    without: Rows[LineNumber] = Field(max_length=MOST_CHANGED)
    """Lines of the base that the table has not, sorted as lines."""
    plus: Rows[LineNumber] = Field(max_length=MOST_CHANGED)
    """Lines that the base has not, sorted as lines."""


class SeenBatch(JobMessage):
    """Results of nodes as they come, one of each node."""

    kind: Literal["seen"] = "seen"
    lines: Rows[Line] = Field(default=[])
    """Further lines of route tables, numbered after those of earlier messages."""
    differences: Rows[TableDifference] = Field(default=[])
    observations: Rows[NodeSeen] = Field(default=[], max_length=BATCH)
    long: Annotated[list[Digest], Field(max_length=BATCH)] = Field(default=[])
    """Observations too long for a message: digests of the JSON of a `NodeSeen` each, whose text came before."""
    gaps: Rows[NodeUnseen] = Field(default=[], max_length=BATCH)


class TextPart(JobMessage):
    """Part of a text that was asked for by its digest, or that a `SeenBatch` will name as long."""

    kind: Literal["text"] = "text"
    digest: Digest
    part: Annotated[int, Field(ge=0, lt=MOST_PARTS)]
    """From 0, in order. Parts of two texts do not mix."""
    parts: Annotated[int, Field(ge=1, le=MOST_PARTS)]
    text: Annotated[str, Field(max_length=LONGEST_PART)]


class Alive(JobMessage):
    """Sign of life of the collector."""

    kind: Literal["alive"] = "alive"
    done: Count = 0
    """Nodes of a look with a result so far."""


class Failed(JobMessage):
    """End of a job that the collector cannot go on with."""

    kind: Literal["failed"] = "failed"
    detail: Annotated[str, Field(max_length=LONGEST_DETAIL)]


class Last(JobMessage):
    """End of a look's results: each node has one. Texts are still sent where they are asked for, until `EndJob`."""

    kind: Literal["last"] = "last"
    count: Count
    """Messages before this one."""
    sha256: Digest
    """As `before`."""


CollectorMessage = Annotated[SeenBatch | TextPart | Alive | Failed | Last, Field(discriminator="kind")]

_OPEN, _ANSWER = TypeAdapter(OpenJob), TypeAdapter(JobAnswer)
_FROM_AUDITOR: TypeAdapter[AuditorMessage] = TypeAdapter(AuditorMessage)
_FROM_COLLECTOR: TypeAdapter[CollectorMessage] = TypeAdapter(CollectorMessage)
_NODE_SEEN = TypeAdapter(NodeSeen)
_ALWAYS = {"kind", "job", "number", "before"}
_SAID = {False: ("schema_",), True: ("schema_", "number", "before")}
"""What a message says, although it has a default for who writes it; of a row: True."""
_FIELDS = frozenset(
    name
    for form in (OpenJob, JobAnswer, Assign, NodeToAsk, SeenBatch, NodeSeen, NodeUnseen, TextPart, Last)
    for name in (*form.model_fields, "schema")
)
T = TypeVar("T")


def read_open(raw: bytes) -> OpenJob:
    """Read a request for a job. Raises `InvalidValue` that names the fault without repeating it."""
    return read_form(_OPEN, raw)


def read_answer(raw: bytes) -> JobAnswer:
    """Read a collector's answer to it. Raises `InvalidValue`."""
    return read_form(_ANSWER, raw)


def read_from_auditor(raw: bytes) -> AuditorMessage:
    """Read a message of the auditor. Raises `InvalidValue`."""
    return read_form(_FROM_AUDITOR, raw)


def read_from_collector(raw: bytes) -> CollectorMessage:
    """Read a message of a collector. Raises `InvalidValue`."""
    return read_form(_FROM_COLLECTOR, raw)


def read_long(raw: bytes, most: int) -> NodeSeen:
    """Read an observation that was too long for a message. Raises `InvalidValue`.

    most: bytes that it may have.
    """
    return read_form(_NODE_SEEN, raw, most)


def messages_schema() -> str:
    """Return the JSON Schema of a look's messages, requests and answers included, as docs/ publishes it."""
    made = TypeAdapter(OpenJob | JobAnswer | AuditorMessage | CollectorMessage).json_schema()
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": SCHEMA}
    return json.dumps(document, indent=2) + "\n"


def written(message: BaseModel) -> bytes:
    """Write a message, or a part of one, as compact JSON; what is as by default is left out.

    Raises `InvalidValue` for text that is no Unicode.
    """
    always = _ALWAYS & type(message).model_fields.keys()
    try:
        fields = message.model_dump_json(by_alias=True, exclude_defaults=True, exclude=always).encode()
    except (PydanticSerializationError, UnicodeEncodeError):
        raise InvalidValue("it holds text that is no Unicode") from None
    if not isinstance(message, _Versioned):
        return fields
    # These are said whatever their defaults are: a reader goes by them.
    said = {"schema": SCHEMA, **message.model_dump(mode="json", include=always)}
    begun = json.dumps(said, separators=(",", ":")).encode()
    return begun if fields == b"{}" else begun[:-1] + b"," + fields[1:]


def read_form(form: TypeAdapter[T], raw: bytes, most: int = MOST_BYTES) -> T:
    """Read a form of this size at most, strictly. Raises `InvalidValue` that names the fault without repeating it."""
    if len(raw) > most:
        raise InvalidValue(f"{len(raw):,} bytes, more than {most:,}")
    check_json(raw)
    try:
        read = form.validate_json(raw, strict=True)
    except ValidationError as error:
        raise InvalidValue(_fault(error)) from None
    if isinstance(read, _Versioned) and not read.model_fields_set.issuperset(
        _SAID[isinstance(read, JobMessage)]
    ):
        raise InvalidValue("message: no schema, number or digest of what came before")
    return read


def _fault(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    # A place may hold a name of the sender's: of such, none is repeated.
    place = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or part in _FIELDS)
    return f"{place or 'message'}: {first['msg'].removeprefix('Value error, ')[:200]}"
