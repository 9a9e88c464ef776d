"""Messages of a job that follows nodes: versioned JSON, each bounded and strict, on the subjects of any job.

A following lasts for weeks, and messages may get lost on the way, as when a server starts anew. So nothing here stands
on all that came before: a change of the assignment names the generation that it changes, a node's state is whole, and
the collector's messages are numbered from 1, so that the auditor knows of one that is missing, and asks for all states
`Again`.

From the auditor, after `OpenJob` of mode `follow`: `ChangeAssignment`, then `Keep` every `BEAT` seconds and after some
messages, `WantTable`, `Again`, `BeginRound`, `MeetPeers` and `EndFollowing`. From the collector: `States`, `StillSo`
once a second, `Working` every `ALIVE` seconds, `TableText`, `SaidAll`, `MetPeers` and `EndedFollowing`.

What is longer than a message may be comes in `Piece`s.
"""

from __future__ import annotations

import json
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from auditor.errors import InvalidValue
from auditor.gather.nats.messages import (
    BATCH,
    LONGEST_PART,
    MOST_BYTES,
    MOST_NODES,
    Digest,
    Job,
    Line,
    NodeSeen,
    NodeToAsk,
    NodeUnseen,
    ShortText,
    TableDifference,
    WireForm,
)
from auditor.state.recorded_forms import KeyText, Number, PrefixText, Rows
from auditor.values.json_bounds import check_json

FOLLOW_SCHEMA: Final = "wgaudit.follow/1"
MOST_PIECES = 1024
"""Pieces of one message."""
MOST_MET = 100
"""Observers that one question asks whom they meet."""

NodeNumber = Annotated[int, Field(ge=1, lt=2**48)]
"""Number of a node, given by the auditor; never used twice in a job."""
Generation = Annotated[int, Field(ge=0, lt=2**48)]
MessageNumber = Annotated[int, Field(ge=1, lt=2**48)]
QuestionNumber = Annotated[int, Field(ge=1, lt=2**48)]
Seconds = Annotated[float, Field(ge=0, lt=2**40, allow_inf_nan=False)]


class _Following(WireForm):
    schema_: Literal["wgaudit.follow/1"] = Field(
        default=FOLLOW_SCHEMA, validation_alias="schema", serialization_alias="schema"
    )
    job: Job

    model_config = ConfigDict(populate_by_name=True)


class Piece(_Following):
    """Piece of a message that is longer than one may be."""

    kind: Literal["piece"] = "piece"
    of: MessageNumber
    """Number of the message among those in pieces, on this subject."""
    piece: Annotated[int, Field(ge=0, lt=MOST_PIECES)]
    pieces: Annotated[int, Field(ge=2, le=MOST_PIECES)]
    text: Annotated[str, Field(max_length=LONGEST_PART)]


# -- from the auditor


class NumberedNode(WireForm):
    """Node to follow."""

    number: NodeNumber
    node: NodeToAsk


class ChangeAssignment(_Following):
    """Change of the nodes to follow, from one generation of the assignment to the next."""

    kind: Literal["change"] = "change"
    generation: Generation
    base: Generation | None = None
    """Generation that it changes; None: it is the whole."""
    nodes: Rows[NumberedNode] = Field(default=[], max_length=MOST_NODES)
    gone: Rows[NodeNumber] = Field(default=[], max_length=MOST_NODES)
    mesh: Rows[PrefixText] = Field(default=[])
    """Addresses in the mesh, of the whole registry, by which no node is reached."""
    not_mesh: Rows[PrefixText] = Field(default=[])


class Keep(_Following):
    """Sign of life of the auditor, and how far it has read."""

    kind: Literal["keep"] = "keep"
    read: Annotated[int, Field(ge=0, lt=2**48)] = 0
    """Number of the newest message that it has read. So many beyond it may be under way, and no more."""


class WantTable(_Following):
    """Request for the text of a table that a state names."""

    kind: Literal["want"] = "want"
    digest: Digest


class Again(_Following):
    """Request for the states of all nodes, for messages got lost."""

    kind: Literal["again"] = "again"
    question: QuestionNumber


class BeginRound(_Following):
    """Begin of a round: look at once at each node that cannot be followed."""

    kind: Literal["round"] = "round"


class MeetPeers(_Following):
    """Question to followed nodes where they meet their peers."""

    kind: Literal["meet"] = "meet"
    question: QuestionNumber
    observers: Annotated[list[NodeNumber], Field(min_length=1, max_length=MOST_MET)]


class EndFollowing(_Following):
    """End of the job: nothing more is wanted of it."""

    kind: Literal["end"] = "end"


OfAuditor = Annotated[
    Piece | ChangeAssignment | Keep | WantTable | Again | BeginRound | MeetPeers | EndFollowing,
    Field(discriminator="kind"),
]


# -- from the collector


class _Numbered(_Following):
    number: MessageNumber
    at: Seconds
    """Seconds of the collector's steady clock when the first of what it tells was heard."""


class NodeState(WireForm):
    """State of one node: an observation, or the gap that says why there is none."""

    number: NodeNumber
    seen: NodeSeen | None = None
    unseen: NodeUnseen | None = None
    followed: bool = True
    """False: it cannot be followed, and is looked at once a round."""
    again: bool = False
    """True: it was said before, and is said once more because that was asked for."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.seen is None) == (self.unseen is None):
            raise ValueError("a state is an observation or a gap")
        return self


class States(_Numbered):
    """States of nodes that are new."""

    kind: Literal["states"] = "states"
    states: Rows[NodeState] = Field(max_length=BATCH)
    lines: Rows[Line] = Field(default=[])
    """Lines of route tables in which those of these nodes differ from their bases, numbered within this message."""
    differences: Rows[TableDifference] = Field(default=[], max_length=BATCH)


class StillSo(_Numbered):
    """Beats: these nodes show what they showed."""

    kind: Literal["still"] = "still"
    nodes: Rows[NodeNumber] = Field(default=[], max_length=MOST_NODES)
    unfollowed: Rows[NodeNumber] = Field(default=[], max_length=MOST_NODES)
    """Those that cannot be followed, and showed the same when they were looked at."""


class Working(_Numbered):
    """Sign of life of the collector."""

    kind: Literal["working"] = "working"
    generation: Generation
    """Generation of the assignment that it has; 0: none."""
    lacks: bool = False
    """True: a change came that stands on another generation, and the whole is to be sent."""


class TableText(_Numbered):
    """Text of a table that was asked for."""

    kind: Literal["table"] = "table"
    digest: Digest
    lines: Rows[Line] | None = None
    """None: no node shows it any more, so a newer state of who showed it is on its way."""


class SaidAll(_Numbered):
    """Answer to `Again`: the state of each node was said since."""

    kind: Literal["said-all"] = "said-all"
    question: QuestionNumber


class MetPeer(WireForm):
    """Peer of an observer: where it is, and how long ago its last handshake was."""

    key: KeyText
    endpoint: ShortText | None = None
    age: Number | None = None


class MetPeers(_Numbered):
    """Answer of one observer to `MeetPeers`."""

    kind: Literal["met"] = "met"
    question: QuestionNumber
    observer: NodeNumber
    peers: Rows[MetPeer] | None = None
    """None: it did not tell."""


class EndedFollowing(_Numbered):
    """End of a job that the collector cannot go on with."""

    kind: Literal["ended"] = "ended"
    detail: Annotated[str, Field(max_length=500)]


LONGEST_MESSAGE = 64 * 1024 * 1024
"""Bytes of a message that comes in pieces."""
MOST_UNREAD = 64
"""Messages of the collector that may be under way, but for signs of life."""

OfCollector = Annotated[
    Piece | States | StillSo | Working | TableText | SaidAll | MetPeers | EndedFollowing,
    Field(discriminator="kind"),
]

_FROM_AUDITOR: TypeAdapter[OfAuditor] = TypeAdapter(OfAuditor)
_FROM_COLLECTOR: TypeAdapter[OfCollector] = TypeAdapter(OfCollector)
T = TypeVar("T")


def read_of_auditor(raw: bytes, job: str, most: int = MOST_BYTES) -> OfAuditor:
    """Read a message of a job's auditor. Raises `InvalidValue` that names the fault without repeating it."""
    return _read(_FROM_AUDITOR, raw, job, most)


def read_of_collector(raw: bytes, job: str, most: int = MOST_BYTES) -> OfCollector:
    """Read a message of a job's collector. Raises `InvalidValue`."""
    return _read(_FROM_COLLECTOR, raw, job, most)


def following_schema() -> str:
    """Return the JSON Schema of a following's messages, as docs/ publishes it. Its request is that of any job."""
    made = TypeAdapter(OfAuditor | OfCollector).json_schema()
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": FOLLOW_SCHEMA}
    return json.dumps(document, indent=2) + "\n"


def _read(form: TypeAdapter[T], raw: bytes, job: str, most: int) -> T:
    if len(raw) > most:
        raise InvalidValue(f"{len(raw):,} bytes, more than {most:,}")
    check_json(raw)
    try:
        read = form.validate_json(raw, strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        # A place may hold a name of the sender's; the first part of it is the kind.
        raise InvalidValue(f"message: {first['type'][:100]}") from None
    if not isinstance(read, _Following) or "schema_" not in read.model_fields_set:
        raise InvalidValue("message: no schema")
    if read.job != job:
        raise InvalidValue("message: of another job")
    return read


def written(message: OfAuditor | OfCollector) -> bytes:
    """Write a message as compact JSON; what is as by default is left out.

    Raises `InvalidValue` for text that is no Unicode.
    """
    fields = message.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    said = {"schema": FOLLOW_SCHEMA, "kind": message.kind, **fields}
    try:
        return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise InvalidValue("it holds text that is no Unicode") from None
