"""Forms that recordings and collectors' messages share: how a registration, an observation and a gap are JSON.

A form is a type of its own, apart from the models, so that either can change without the other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationInfo,
    model_serializer,
)

from auditor.errors import GapReason
from auditor.values.addresses import parse_prefix, parse_public_key
from auditor.values.hidden_addresses import RouteKind
from auditor.values.models import NodeId, Observation
from auditor.values.text import without_login


def _prefix(text: str, info: ValidationInfo) -> str:
    return parse_prefix(text) if info.mode == "json" else text  # a value was read when it was made


def _key(text: str, info: ValidationInfo) -> str:
    return parse_public_key(text) if info.mode == "json" else text


def _in_years(moment: datetime) -> datetime:
    # At the ends of the calendar a time has no other zone.
    if not 1970 <= moment.year < 9999:
        raise ValueError("a time that no sweep and no agreement has")
    return moment


PrefixText = Annotated[str, AfterValidator(_prefix)]
KeyText = Annotated[str, AfterValidator(_key)]
MaskedText = Annotated[str, AfterValidator(without_login)]
"""Text that, in recordings made before passwords were masked where they are read, may hold one."""
Entry = TypeVar("Entry")
Rows = Annotated[list[Entry], Field(fail_fast=True)]
"""A list that is refused at its first fault: there may be millions."""
Number = Annotated[int, Field(ge=0, lt=2**64)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Moment = Annotated[AwareDatetime, AfterValidator(_in_years)]
Time = Annotated[Moment, PlainSerializer(datetime.isoformat, return_type=str, when_used="json")]


class RecordedForm(BaseModel):
    """Part of a document, made from a value by its attributes or from the document by its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True, loc_by_alias=False)


def within(part: str, name: str, field: str, **more: Any) -> Any:
    """Return a field that is inside a part of the value, `part.name`, and directly in the document, as `field`."""
    return Field(validation_alias=AliasChoices(AliasPath(part, name), field), **more)


def unless(nothing: object) -> Any:
    """Return a field that is left out where it says this, so that versions from before it can read the document."""
    return Field(default=nothing, exclude_if=lambda value: bool(value == nothing))


class ShapedForm(RecordedForm):
    """Part of a document that has another shape than its value."""

    def parts(self) -> dict[str, object]:
        """Return the fields of the value that are not those of the form."""
        raise NotImplementedError

    @model_serializer(mode="wrap")
    def _fields(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        # A document is written as JSON; a value is made of what is dumped as Python's, and passes over other fields.
        fields: dict[str, Any] = handler(self)
        return fields if info.mode == "json" else fields | self.parts()


class NodeForm(RecordedForm):
    """Name of a node."""

    name: str
    datacenter: str = ""


class OfNodeForm(ShapedForm):
    """Part of a document about one node, with name and datacenter beside the other fields."""

    name: str = within("node", "name", "name")
    datacenter: str = within("node", "datacenter", "datacenter", default="")

    def parts(self) -> dict[str, object]:
        """See `ShapedForm`."""
        return {"node": node_id(self)}


class RegistrationForm(OfNodeForm):
    """Registration."""

    public_key: KeyText | None = None
    addresses: Rows[PrefixText]
    region: str | None = None
    endpoint: MaskedText | None = None
    ssh_host: MaskedText | None = None
    values: dict[str, str] = Field({}, exclude=True)
    """They fed the ssh host template, which a replay does not need, and may hold anything that the registry's owners
    put there, secrets included: neither written nor read."""
    where: str = ""
    create_index: Number | None = None
    modify_index: Number | None = None
    state: str | None = unless(None)
    """Not in recordings made before states were read; so with the next two."""
    retired: bool = unless(False)
    all_addresses_read: bool = unless(True)


class ShadowForm(RecordedForm):
    """Route of a node that hides mesh addresses."""

    prefix: PrefixText
    kind: RouteKind
    device: str
    hidden: Number
    sample: Rows[PrefixText]


class TransferForm(RecordedForm):
    """Traffic with a peer."""

    public_key: KeyText
    sent: Number
    received: Number
    seconds: Number


class ObservationForm(OfNodeForm):
    """Live state of one node."""

    device: str = within("device", "name", "device")
    public_key: KeyText = within("device", "public_key", "public_key")
    addresses: Rows[PrefixText] = within("device", "addresses", "addresses")
    link_up: bool | None = within("device", "link_up", "link_up", default=None)
    table: str
    region: str | None = None
    host_key: str | None = None
    endpoints: dict[KeyText, str] | None = None
    handshake_ages: dict[KeyText, Number] | None = unless(None)
    """Not in recordings made before they were asked for."""
    digested: bool = True
    shadows: Rows[ShadowForm] | None = unless(None)
    """Not in recordings of nodes that did not tell; so with the next one."""
    one_way: Rows[TransferForm] | None = unless(None)
    routes_unread: str = unless("")
    transfers_unread: str = unless("")

    def parts(self) -> dict[str, object]:
        """See `ShapedForm`."""
        names = ("public_key", "addresses", "link_up")
        device = {"name": self.device, **{name: getattr(self, name) for name in names}}
        return {**super().parts(), "device": device}


class GapForm(RecordedForm):
    """Gap."""

    source: Literal["consul", "file", "ssh", "witness", "sweep"]
    reason: GapReason
    detail: MaskedText
    node: str | None = None
    datacenter: str | None = None


_OBSERVATION = TypeAdapter(Observation)


def node_id(form: NodeForm | OfNodeForm) -> NodeId:
    """Name the node that a form is of."""
    return NodeId(form.datacenter, form.name)


def read_observation(form: ObservationForm) -> Observation:
    """Convert the form to its value. Raises `ValidationError`."""
    return _OBSERVATION.validate_python(form.model_dump())
