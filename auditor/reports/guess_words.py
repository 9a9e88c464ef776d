"""Words for what a guess about the registry rests on."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.values.registry_guess import FieldGuess, PatternGuess, PoolGuess, RegistryGuess
from auditor.values.text import count, listed

_VALUES = {
    "public_key": "a 32-byte key",
    "address": "an address",
    "region": "a short name",
    "endpoint": "host and port",
    "ssh_host": "a host",
    "state": "a state",
}


def place_words(guess: RegistryGuess, size: int, others: Sequence[tuple[str, int]]) -> str:
    """Say what is under the prefix. others: further prefixes that may be meant, with their nodes."""
    what = {
        "kv-json": "one JSON value each",
        "kv-fields": "one key a field",
        "catalog": "by their meta in the catalog",
    }[guess.layout]
    if guess.device:
        what = f"one JSON value for each device, of which {guess.device} is read"
    words = [f"{count(max(size, guess.registrations), 'node')}, {what}"]
    if guess.others:
        words.append(
            f"{count(guess.others, 'other key')}" if guess.layout != "catalog" else f"{guess.others:,} others"
        )
    if others:
        places = (f"{prefix or 'the catalog'} ({number:,})" for prefix, number in others)
        words.append(f"also possible: {listed(places)}")
    return "; ".join(words)


def field_words(guess: FieldGuess) -> str:
    """Say how many registrations have a fitting value at the path, and where else such values stand."""
    what = _VALUES[guess.field]
    if not guess.path:
        return f"no value is called like one that has {what}" if guess.of else ""
    words = (
        f"{guess.matching:,} of {count(guess.of, 'value')} {'has' if guess.of == 1 else 'have'} {what} there"
    )
    if guess.also:
        words += f"; also at {listed(f'{path} ({number:,})' for path, number in guess.also)}"
    return words


def pools_words(pools: Sequence[PoolGuess], outside: Sequence[tuple[str, str]], outside_count: int) -> str:
    """Say how many registered addresses lie in each pool, and which lie in none."""
    if not pools:
        return "no address to guess from"
    words = [
        f"{pool.addresses:,} of {count(pool.of, 'address lies', 'addresses lie')} in {pool.pool}"
        + (f", all in {pool.smallest}" if pool.smallest != pool.pool and pool.addresses > 1 else "")
        for pool in pools
    ]
    words.append("the pool may be another: name what addresses are given from")
    if outside_count:
        strays = listed((f"{address} ({node})" for node, address in outside), total=outside_count)
        words.append(f"outside: {strays}")
    return "; ".join(words)


def pattern_words(guess: PatternGuess | None) -> str:
    """Say of how many names a pattern reads the registered region, and where it does not."""
    if guess is None:
        return "no part of the names tells a region"
    names = count(guess.of, "name")
    if not guess.against_registered:
        return f"reads a region from {guess.matching:,} of {names}; none is registered to compare with"
    words = f"reads the registered region from {guess.matching:,} of {names}"
    if guess.differing:
        apart = (f"{name} ({named}, registered {region})" for name, named, region in guess.differing)
        words += f"; not from {listed(apart, total=guess.of - guess.matching)}"
    return words


def retired_words(retired: Sequence[tuple[str, int]]) -> str:
    """Say how many nodes have each state that seems to mean: not in the mesh any more."""
    if not retired:
        return "no state that would mean: not in the mesh any more"
    return listed(
        f"{count(number, 'node')} {'has' if number == 1 else 'have'} {state}" for state, number in retired
    )
