"""Base of the JSON documents of commands: frozen types, whose schemas `make docs` writes to docs/."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

from auditor.values.schema import schema_document
from auditor.values.text import for_json, timestamp

Timestamp = Annotated[
    AwareDatetime,
    PlainSerializer(timestamp, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": r"Z$"}, mode="serialization"),
]
"""Time in UTC, written as the report writes it."""

ForeignText = Annotated[str, BeforeValidator(for_json)]
"""Text that a node, Consul or a person wrote: what no JSON text may hold is escaped."""


class Part(BaseModel):
    """Part of a document. Fields are added in later versions, never renamed."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Document(Part):
    """Document of one command, in a file `NAME_v1.py` of this room.

    A subclass begins with the field that names it:
    `schema_: Literal["wgaudit.nodes/1"] = Field(default="wgaudit.nodes/1", alias="schema")`.
    """

    @classmethod
    def schema_name(cls) -> str:
        """Return name and version of the document, such as `wgaudit.nodes/1`."""
        return str(cls.model_fields["schema_"].default)

    @classmethod
    def schema_text(cls) -> str:
        """Return the document's JSON Schema, as it stands in docs/."""
        return schema_document(cls, cls.schema_name())

    def text(self) -> str:
        """Render the document; it ends in a newline."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"
