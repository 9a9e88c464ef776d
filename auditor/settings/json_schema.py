"""JSON Schema of the configuration file, from the settings' types, for editors that complete and check TOML."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from auditor.settings.file import Config
from auditor.values.schema import schema_document

TITLE = "wgaudit.toml"


class _SettingsSchema(GenerateJsonSchema):
    """Generator that describes each key by the docstring beneath it, as the settings' files have it."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  (pydantic's signature)
        """Leave out titles: they would repeat the keys."""
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the table's schema, each key with its description."""
        made = super().model_schema(schema)
        made.pop("title", None)
        for key, words in _descriptions(schema["cls"]).items():
            if key in made.get("properties", {}):
                made["properties"][key].setdefault("description", words)
        return made

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return a key's schema with its default, but for a table, whose keys have theirs, and for "not set"."""
        made = super().default_schema(schema)
        if made.get("default") is None or isinstance(schema.get("default"), BaseModel):
            made.pop("default", None)
        return made

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Return the schema of the value: TOML has no null, a key that is not set is left out."""
        inner: CoreSchema = schema["schema"]
        return self.generate_inner(inner)


def config_schema() -> str:
    """Return the JSON Schema (draft 2020-12) of the configuration, as docs/config.schema.json holds it."""
    return schema_document(Config, TITLE, generator=_SettingsSchema, mode="validation")


def _descriptions(table: type[BaseModel]) -> Mapping[str, str]:
    """Read the docstring beneath each key of a table, its own classes' keys first."""
    found: dict[str, str] = {}
    for each in table.__mro__:
        if issubclass(each, BaseModel) and each is not BaseModel:
            for key, words in _of_class(each).items():
                found.setdefault(key, words)
    return found


def _of_class(table: type[BaseModel]) -> Mapping[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(table))).body
    if not isinstance(definition, ast.ClassDef):
        raise TypeError(f"{table.__name__} is not written as a class")
    found: dict[str, str] = {}
    for statement, beneath in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(beneath, ast.Expr)
            and isinstance(beneath.value, ast.Constant)
            and isinstance(beneath.value.value, str)
        ):
            found[statement.target.id] = " ".join(beneath.value.value.split())
    return found
