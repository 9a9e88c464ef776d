"""Document `wgaudit.config/1`: each value of the configuration, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from auditor.reports.json.documents import Document, ForeignText, Part
from auditor.values.setting_origins import MASK, Origin, ShownSetting


class OriginV1(Part):
    """Where a value comes from."""

    kind: Literal["file", "environment", "default"]
    place: ForeignText | None = Field(description="path of the file, or name of the variable; null: default")
    line: int | None = Field(
        description="line of the key in the configuration; null: not written there at a line of its own"
    )


class SettingV1(Part):
    """One value."""

    key: ForeignText = Field(description="dotted; entries of lists are counted from one: notifiers[1].name")
    value: ForeignText | None = Field(
        description="as TOML writes it; null: not set, or a secret, which is never shown"
    )
    secret: bool = Field(description="true: a secret, and it is set")
    origin: OriginV1
    note: ForeignText = Field(description='what else decides it; "" where nothing does')


class ConfigV1(Document):
    """The configuration in force. Fields are added, never renamed or removed."""

    schema_: Literal["wgaudit.config/1"] = Field(default="wgaudit.config/1", alias="schema")
    file: ForeignText | None = Field(description="the file that was read; null: none was found")
    settings: list[SettingV1]


def config_document(file: str | None, settings: Sequence[ShownSetting]) -> ConfigV1:
    """Convert the shown settings to their published form. file: the one that was read."""
    return ConfigV1(
        file=file,
        settings=[
            SettingV1(
                key=item.name,
                value=None if item.value == MASK else item.value,
                secret=item.secret and item.value is not None,
                origin=_origin(item.origin),
                note=item.note,
            )
            for item in settings
        ],
    )


def _origin(origin: Origin) -> OriginV1:
    return OriginV1(kind=origin.kind.value, place=origin.place or None, line=origin.line)
