"""Write the JSON Schemas of docs/: of every document of auditor/reports/json/, the configuration and the messages of
collectors: part of `make docs`."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from auditor.gather.nats.follow_messages import following_schema
from auditor.gather.nats.messages import messages_schema
from auditor.reports import json
from auditor.reports.json.documents import Document
from auditor.settings.json_schema import config_schema

DOCS = Path(__file__).parent.parent / "docs"
CONFIG_SCHEMA = DOCS / "config.schema.json"
MESSAGES_SCHEMA = DOCS / "collect.schema.json"
FOLLOWING_SCHEMA = DOCS / "follow.schema.json"


def documents() -> list[type[Document]]:
    """List every document, by name."""
    found = []
    for module in pkgutil.iter_modules(json.__path__, f"{json.__name__}."):
        known = vars(importlib.import_module(module.name)).values()
        found += [
            each
            for each in known
            if isinstance(each, type) and issubclass(each, Document) and each.__module__ == module.name
        ]
    return sorted((each for each in found if each is not Document), key=lambda each: each.schema_name())


def schema_file(document: type[Document]) -> Path:
    """Name the file that holds the document's schema."""
    name, version = document.schema_name().removeprefix("wgaudit.").split("/")
    return DOCS / f"{name}-v{version}.schema.json"


def write_schemas() -> None:
    """Write all of them."""
    for document in documents():
        schema_file(document).write_text(document.schema_text(), encoding="utf-8")
    CONFIG_SCHEMA.write_text(config_schema(), encoding="utf-8")
    MESSAGES_SCHEMA.write_text(messages_schema(), encoding="utf-8")
    FOLLOWING_SCHEMA.write_text(following_schema(), encoding="utf-8")
