"""Settings of repair and of the allocator."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StrictInt, WithJsonSchema, field_validator

from auditor.settings.base import Contradiction, Seconds, Settings
from auditor.settings.ssh import Word
from auditor.values.address_claims import RepairPolicy
from auditor.values.drains import DrainMeans, DrainPolicy, fault_of
from auditor.values.names import VALUE_NAME

_BUILT_IN = tuple(means.value for means in DrainMeans if means is not DrainMeans.COMMAND)
_MOST_WORDS = 64


def _as_words(value: object) -> object:
    """Take the name of a built-in means for a list of one word."""
    if isinstance(value, str):
        if value not in _BUILT_IN:
            raise ValueError(f"must be a list of words in [ ], or one of {', '.join(_BUILT_IN)}")
        return [value]
    return value


_WORDS_SCHEMA = {
    "anyOf": [
        {"enum": list(_BUILT_IN)},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": _MOST_WORDS},
    ]
}
DrainWords = Annotated[
    tuple[Word, ...],
    Field(max_length=_MOST_WORDS),
    BeforeValidator(_as_words),
    WithJsonSchema(_WORDS_SCHEMA),
]
"""Words of a command, or the name of a built-in means as the only one."""


class RepairSettings(Settings):
    """Settings of plan, apply, allocate and release."""

    claims_prefix: str = "wireguard/claims/"
    """Consul keys `<claims_prefix><address>`: one an address, so that nobody can hold it twice."""
    quarantine_days: StrictInt = Field(default=30, ge=0, le=3650)
    """Days in which a released address is given to nobody."""
    fallback_keeper: Literal["oldest", "nobody"] = "oldest"
    """The keeper of an address that came from the allocator's fallback."""
    workload_field: str = Field(default="", pattern=f"^({VALUE_NAME})?$")
    """Value of a registration that says that the node carries workload. Empty: not used."""
    workload_service: str = Field(default="", max_length=128)
    """Consul service whose nodes carry workload. Empty: not used."""
    timeout: Seconds = 30.0
    """Seconds until an allocation that Consul has not confirmed is given up."""
    wait: Seconds = 300.0
    """Seconds that apply waits until observers route a new address."""
    sample: StrictInt = Field(default=20, ge=1, le=10_000)
    """Observers that are asked whether they route a new address to its node."""
    drain: DrainWords = ()
    """Command that takes a node out of production before it is moved, or a built-in means. Empty: none is."""
    undrain: DrainWords = ()
    """Command that puts it back once it was verified; not with a built-in means."""
    drain_timeout: Seconds = 60.0
    """Seconds that one such command may take."""
    drain_environment: tuple[str, ...] = ()
    """Variables that it gets beside PATH, HOME, USER, LOGNAME and LANG."""
    maintenance_token_file: str = ""
    """File on each node that `consul maint` gets as -token-file. Empty: the agent's own token."""

    @field_validator("claims_prefix")
    @classmethod
    def _prefix(cls, prefix: str) -> str:
        if not prefix.endswith("/") or prefix.startswith("/") or len(prefix) < 2:
            raise ValueError("must end with / and not begin with it")
        return prefix

    @field_validator("drain", "undrain")
    @classmethod
    def _command(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if fault := fault_of(words):
            raise ValueError(fault)
        return words

    @field_validator("drain_environment")
    @classmethod
    def _variables(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if any(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name) is None for name in names):
            raise ValueError("must be names of variables, without their values")
        return names

    @field_validator("maintenance_token_file")
    @classmethod
    def _path_on_nodes(cls, path: str) -> str:
        if path and re.fullmatch(r"/[A-Za-z0-9_.,:@%+=/-]{1,400}", path) is None:
            raise ValueError("must be a file's whole path on the nodes, without blanks")
        return path

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """Faults: a way out of production without its way back, or back without out."""
        drain, undrain = (_written(table.get(key)) for key in ("drain", "undrain"))
        if drain and drain[0] in _BUILT_IN and len(drain) == 1:
            if undrain and undrain != drain:
                yield Contradiction(("undrain",), f"{drain[0]} has its own way back; leave it away")
        elif undrain and undrain[0] in _BUILT_IN:
            yield Contradiction(("undrain",), f"give {undrain[0]} as drain; it has its own way back")
        elif drain and not undrain:
            yield Contradiction(("drain",), "needs undrain beside it: the way back into production")
        elif undrain and not drain:
            yield Contradiction(("undrain",), "needs drain beside it")

    def drain_policy(self) -> DrainPolicy | None:
        """Return the way out of production and back; None where none is configured."""
        if not self.drain:
            return None
        if self.drain[0] in _BUILT_IN:
            return DrainPolicy(DrainMeans(self.drain[0]))
        return DrainPolicy(DrainMeans.COMMAND, self.drain, self.undrain)

    def policy(self) -> RepairPolicy:
        """Convert to the policy used by the planner."""
        return RepairPolicy(
            claims_prefix=self.claims_prefix,
            quarantine_days=self.quarantine_days,
            fallback_keeper=self.fallback_keeper,
            workload_field=self.workload_field,
            workload_service=self.workload_service,
            drain=self.drain_policy(),
        )


def _written(value: object) -> Sequence[str]:
    """Return the words that stand at a key, as far as they are words."""
    words = [value] if isinstance(value, str) else value
    return [word for word in words if isinstance(word, str)] if isinstance(words, list | tuple) else []
