"""JSON Schemas of the documents that programs read, made from the types that write them. Loads pydantic."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


class OpenSchema(GenerateJsonSchema):
    """Generator of a schema that lets unknown fields pass: fields may be added, and old readers must go on."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the model's schema without its ban on unknown fields."""
        made = super().model_schema(schema)
        made.pop("additionalProperties", None)
        return made


def schema_document(
    model: type[BaseModel],
    title: str,
    *,
    generator: type[GenerateJsonSchema] = OpenSchema,
    mode: Literal["serialization", "validation"] = "serialization",
) -> str:
    """Write the JSON Schema of a document.

    Args:
        model: The document's type.
        title: Name and version of the document, such as `wgaudit.report/1`.
        generator: `GenerateJsonSchema` for a document of which we read no field that we do not know.
        mode: `serialization` for what we write, `validation` for what we read.

    Returns:
        The schema as JSON text that ends with a newline.
    """
    schema = model.model_json_schema(by_alias=True, mode=mode, schema_generator=generator)
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}
    return json.dumps(document, indent=2) + "\n"
