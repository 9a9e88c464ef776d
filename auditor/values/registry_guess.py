"""Guesses about an unknown registry: layout, fields, pools, region pattern, each with the counts that it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from auditor.values.addresses import Prefix

RegistryLayout = Literal["kv-json", "kv-fields", "catalog"]

FIELDS = ("public_key", "address", "region", "endpoint", "ssh_host", "state")
"""Fields of a registration, as `consul.fields` names them."""


@dataclass(frozen=True, slots=True)
class FieldGuess:
    """Place of one field inside the registrations."""

    field: str
    """One of `FIELDS`."""
    path: str
    """Dotted path; "" where no place fits."""
    matching: int
    """Registrations that have a fitting value there."""
    of: int
    also: tuple[tuple[str, int], ...] = ()
    """Other paths with fitting values, and how many."""


@dataclass(frozen=True, slots=True)
class PoolGuess:
    """Prefix that mesh addresses seem to come from. The pool may be wider: nobody sees addresses never given."""

    pool: Prefix
    addresses: int
    """Registered addresses that lie in it."""
    of: int
    smallest: Prefix
    """Smallest prefix that holds these addresses."""


@dataclass(frozen=True, slots=True)
class PatternGuess:
    """Pattern that reads a node's region from its name."""

    pattern: str
    matching: int
    """Names of which it reads the registered region; without registered regions, any."""
    of: int
    """Names of nodes that have a registered region; without registered regions, all."""
    differing: tuple[tuple[str, str, str], ...]
    """A few names, each with the region that the pattern reads and the registered one."""
    against_registered: bool
    """False: nothing is registered that it could be compared with."""


@dataclass(frozen=True, slots=True)
class RegistryGuess:
    """Guess about one registry. Nothing in it is a key, an address's owner or another value but names of nodes."""

    layout: RegistryLayout
    prefix: str
    """"" for the catalog."""
    device: str
    """Device whose records are read, where a node has one for each; "" where no key names one."""
    registrations: int
    """Nodes with a value there."""
    others: int
    """Further keys under the prefix, or nodes of the catalog, that hold neither key nor address."""
    fields: tuple[FieldGuess, ...]
    """One for each of `FIELDS`, in their order."""
    pools: tuple[PoolGuess, ...]
    outside: tuple[tuple[str, Prefix], ...]
    """A few nodes with addresses that lie in none of the pools."""
    outside_count: int
    pattern: PatternGuess | None
    """None: no part of the names tells a region."""
    retired: tuple[tuple[str, int], ...]
    """States that seem to mean: not in the mesh any more, with the number of nodes that have them."""
    private: tuple[str, ...]
    """Paths that hold private keys, as far as their names say: a registry should not hold them."""

    def field(self, name: str) -> FieldGuess:
        """Return the guess for one of `FIELDS`."""
        return self.fields[FIELDS.index(name)]


@dataclass(frozen=True, slots=True)
class GuessLine:
    """One line of a guess."""

    name: str
    """Key of the configuration, without its table."""
    value: str
    """As a person writes it: lists with commas; empty: none."""
    why: str
    """What it rests on, in words."""
    corrected: bool
    """True: a person said so."""
    empty: str = "none"
    """What an empty value means."""
