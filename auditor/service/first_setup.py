"""First setup: reads an unknown registry, guesses its configuration, and takes corrections of each guess."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.errors import InvalidValue, UsageError
from auditor.registry.guess.field_guess import addresses_at, counted_at
from auditor.registry.guess.found_records import Candidate
from auditor.registry.guess.name_guess import counted_pattern
from auditor.registry.guess.pool_guess import pool_with
from auditor.registry.guess.whole_guess import guess_registry, mesh_records
from auditor.reports.guess_words import (
    field_words,
    pattern_words,
    place_words,
    pools_words,
    retired_words,
)
from auditor.settings.consul import ConsulSettings
from auditor.values.addresses import Prefix, parse_prefix
from auditor.values.registry_guess import FIELDS, GuessLine, PatternGuess, PoolGuess, RegistryGuess
from auditor.values.text import listed

if TYPE_CHECKING:
    from pydantic import SecretStr

    from auditor.registry.guess.survey import Survey

LINES = ("prefix", "layout", "datacenters", *FIELDS, "retired", "pools", "name_pattern", "device")
"""Lines of a guess, each of which can be corrected."""
_ELSEWHERE_TOO = ("datacenters", "device")
"""Lines that a change of prefix or layout does not touch."""
_EMPTY = {"datacenters": "the agent's own"}
_MOST_OTHERS = 3


@dataclass(frozen=True)
class FoundRegistry:
    """Registry that was read, with the guess about it and a person's corrections. A value; corrections make another."""

    survey: Survey
    place: int = 0
    """Number of the candidate that is taken."""
    said: Mapping[str, str] = field(default_factory=dict)
    """Corrections, by name of the line."""

    @property
    def candidate(self) -> Candidate:
        """Return the part of the registry that is taken for the registrations."""
        return self.survey.candidates[self.place][0]

    @property
    def guess(self) -> RegistryGuess:
        """Guess with corrected fields: pools, pattern and states are guessed from what stands there."""
        guessed = guess_registry(self.candidate)
        if not any(name in self.said for name in FIELDS):
            return guessed
        records = mesh_records(self.candidate)
        fields = [
            counted_at(records, name, self.said[name]) if self.said.get(name) else found
            for name, found in zip(FIELDS, guessed.fields, strict=True)
        ]
        return guess_registry(self.candidate, fields)

    def lines(self) -> tuple[GuessLine, ...]:
        """List the guess, one line for each of `LINES`, in that order."""
        guess = self.guess
        values = {
            "prefix": (guess.prefix, self._place_words(guess)),
            "layout": (guess.layout, ""),
            "datacenters": (self.said.get("datacenters", ""), self._datacenter_words()),
            **{found.field: (found.path, field_words(found)) for found in guess.fields},
            "retired": self._retired(guess),
            "pools": self._pools(guess),
            "name_pattern": self._pattern(guess),
            "device": (self.said.get("device") or guess.device or "wg0", self._device_words(guess)),
        }
        return tuple(
            GuessLine(name, *values[name], name in self.said, _EMPTY.get(name, "none")) for name in LINES
        )

    def corrected(self, name: str, text: str) -> FoundRegistry | None:
        """Take a correction; None where it leads to what was not read yet. Raises `UsageError` for what cannot be."""
        text = text.strip()
        if name in ("prefix", "layout"):
            return self._elsewhere(name, text)
        if name == "pools":
            for pool in _words(text):
                _prefix(pool)
        if name == "name_pattern" and text:
            try:
                counted_pattern(text, {})
            except InvalidValue as error:
                raise UsageError(f"name_pattern: {error}") from None
        return replace(self, said={**self.said, name: text})

    def _elsewhere(self, name: str, text: str) -> FoundRegistry | None:
        for number, (candidate, _) in enumerate(self.survey.candidates):
            same_prefix = candidate.prefix == (text if name == "prefix" else self.candidate.prefix)
            same_layout = candidate.layout == (text if name == "layout" else candidate.layout)
            if (same_prefix or text == "catalog") and same_layout:
                if name == "prefix" and not self._is_whole(number):
                    return None
                kept = {name: text for name, text in self.said.items() if name in _ELSEWHERE_TOO}
                return FoundRegistry(self.survey, number, kept)
        return None

    def _is_whole(self, number: int) -> bool:
        candidate, size = self.survey.candidates[number]
        return len(candidate.records) >= size

    # -- the lines

    def _place_words(self, guess: RegistryGuess) -> str:
        size = self.survey.candidates[self.place][1]
        others = [
            (candidate.prefix, number)
            for candidate, number in self.survey.candidates
            if candidate.prefix != self.candidate.prefix
        ]
        words = place_words(guess, size, list(dict.fromkeys(others))[:_MOST_OTHERS])
        sample = "" if self._is_whole(self.place) else f"a sample of {len(self.candidate.records):,} was read"
        return "; ".join(filter(None, (words, sample, self.survey.cut_short)))

    def _datacenter_words(self) -> str:
        known = self.survey.datacenters
        return f'Consul knows {listed(known)}: "*" reads them all' if len(known) > 1 else ""

    def _retired(self, guess: RegistryGuess) -> tuple[str, str]:
        words = retired_words(guess.retired)
        if "retired" in self.said:
            return self.said["retired"], words
        return ", ".join(state for state, _ in guess.retired), words

    def _pools(self, guess: RegistryGuess) -> tuple[str, str]:
        pools: tuple[PoolGuess, ...] = guess.pools
        outside, outside_count = guess.outside, guess.outside_count
        if "pools" in self.said:
            registered = addresses_at(mesh_records(self.candidate), guess.field("address").path)
            pools = tuple(pool_with(_prefix(text), registered) for text in _words(self.said["pools"]))
            outside, outside_count = (), 0
        return ", ".join(item.pool for item in pools), pools_words(pools, outside, outside_count)

    def _pattern(self, guess: RegistryGuess) -> tuple[str, str]:
        found: PatternGuess | None = guess.pattern
        if "name_pattern" in self.said:
            pattern = self.said["name_pattern"]
            path = guess.field("region").path
            regions = {
                record.name: value if isinstance(value := record.values.get(path), str) else None
                for record in mesh_records(self.candidate)
            }
            found = counted_pattern(pattern, regions) if pattern else None
        return found.pattern if found is not None else "", pattern_words(found)

    def _device_words(self, guess: RegistryGuess) -> str:
        return "the keys end in it" if guess.device else "the registry does not say"


async def look_at_registry(
    settings: ConsulSettings, token: SecretStr | None, *, file: Path | None, start: str
) -> FoundRegistry | None:
    """Read a bounded part of the registry; None where nothing in it looks like registrations.

    file: a `consul kv export` in Consul's place; start: a prefix to look under, empty for everywhere.
    Raises `RegistryError` and `ConfigError`.
    """
    from auditor.registry.guess.survey import survey_consul, survey_file

    if file is not None:
        survey = await asyncio.to_thread(survey_file, file)
    else:
        survey = await asyncio.to_thread(survey_consul, settings, token, start=start)
    return FoundRegistry(survey) if survey.candidates else None


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.replace(";", ",").split(","))))


def _prefix(text: str) -> Prefix:
    try:
        return parse_prefix(text)
    except InvalidValue as error:
        raise UsageError(f"pools: {error}") from None
