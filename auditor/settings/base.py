"""Base of all tables of the configuration, and the types of values that several of them share."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, LiteralString, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    Strict,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from auditor.errors import InvalidValue
from auditor.values.addresses import Prefix, parse_prefix


class Contradiction(NamedTuple):
    """Keys of one table that do not go together."""

    location: tuple[int | str, ...]
    """Where, below the table; empty: the table itself."""
    reason: str


class Settings(BaseModel):
    """Base of each table of the configuration: frozen; an unknown key is an error; all faults are told at once."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:  # noqa: ARG003
        """Faults that no key has alone. `table` is as the file has it, with each misspelt key as it is meant."""
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _all_faults(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(value, Mapping):
            return handler(value)
        made: Self | None = None
        faults: list[InitErrorDetails] = []
        meant = {key: nearest_key(str(key), cls) or str(key) for key in value}
        try:
            made = handler(value)
        except ValidationError as error:
            # A misspelt key also leaves the right one missing; the misspelling is what to tell.
            faults += [
                _fault(found["type"], found["loc"], found["msg"])
                for found in error.errors(include_input=False, include_url=False, include_context=False)
                if not (
                    found["type"] == "missing"
                    and found["loc"][0] in meant.values()
                    and len(found["loc"]) == 1
                )
            ]
        table = {meant[key]: entry for key, entry in value.items() if entry is not None}
        faults += [_fault("value_error", *contradiction) for contradiction in cls.contradictions(table)]
        if faults or made is None:
            raise ValidationError.from_exception_data(cls.__name__, faults, hide_input=True)
        return made


def nearest_key(key: str, table: type[BaseModel]) -> str | None:
    """The known key of a table that is most like this one, itself where it is known; None: none is like it."""
    if key in table.model_fields:
        return key
    return next(iter(difflib.get_close_matches(key, list(table.model_fields), n=1)), None)


def one_of(table: Mapping[str, object], *keys: str, required: bool) -> Iterator[Contradiction]:
    """The fault of a table that gives several of these keys, or none where one is required."""
    given = [key for key in table if key in keys]
    if len(given) > 1 or (required and not given):
        names = f"{', '.join(keys[:-1])} and {keys[-1]}"
        yield Contradiction(tuple(given[-1:]), f"give {'exactly' if required else 'at most'} one of {names}")


def _fault(kind: LiteralString, location: tuple[int | str, ...], words: LiteralString) -> InitErrorDetails:
    # As an error of its own, so that pydantic keeps the words; the value stays out.
    custom = PydanticCustomError(kind, words)
    return InitErrorDetails(type=custom, loc=location, input=None)


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
