"""Base of all tables of the configuration, and the types of values that several of them share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from auditor.errors import InvalidValue
from auditor.values.addresses import Prefix, parse_prefix


class Settings(BaseModel):
    """Base of each table of the configuration: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


def _prefix(value: object) -> Prefix:
    """A prefix in the configuration. Raises `ValueError` with the reason."""
    if not isinstance(value, str):
        raise ValueError("must be an address prefix in quotes")
    try:
        return parse_prefix(value)
    except InvalidValue as error:
        raise ValueError(str(error)) from None


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("begins with ~ and a user whose home folder is not known") from None


WrittenPrefix = Annotated[Prefix, BeforeValidator(_prefix)]
UserPath = Annotated[Path, AfterValidator(_expanded)]
Seconds = Annotated[float, Strict(), Field(gt=0, le=86_400)]
