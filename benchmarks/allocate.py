"""Cost of allocating one address with few and with many addresses taken: it should be the same.

Runs a real Consul on loopback, filled with claims and registrations in bulk. The pool is the whole 10.0.0.0/8, as
in a configuration without region prefixes.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from auditor.registry.store import ConsulStore
from auditor.repair.claims.adopted import adopted_bytes, adopted_key
from auditor.repair.claims.allocator import Allocator
from auditor.repair.claims.claim import claim_bytes, claim_key
from auditor.repair.claims.key_claim import key_claim_bytes, key_claim_key
from auditor.repair.claims.registration import AllocatorPolicy
from auditor.repair.claims.unclaimed import check_mark_key
from auditor.settings.consul import ConsulSettings
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix, format_prefix
from benchmarks.figures import CannotRun, Figure, Results, ratios
from tests.fleets import key_of
from tests.parts.chaos import ChaosProxy
from tests.parts.consul import HOW, ConsulServer, consul_binary

TAKEN = (100, 10_000, 50_000)
FEW_AND_MANY = TAKEN[:2]
WRITERS = (1, 8, 32)
ALLOCATIONS = 192
"""Allocations in one run: a multiple of every number of writers."""
RUNS = 5
COUNTED = 24
MOST_REQUESTS = 3.0
"""Requests of one allocation: the registration, the marker with its mark, the transaction."""
FLAT = 1.3


def measure(quick: bool) -> Results:
    """Measure requests per allocation and, unless `quick`, allocations per second. Raises `CannotRun`."""
    if consul_binary() is None:
        raise CannotRun(HOW)
    counts = [requests_an_allocation(taken) for taken in FEW_AND_MANY]
    figures = [
        Figure(
            f"requests an allocation, {taken:,} addresses taken",
            "requests",
            (count,),
            target=MOST_REQUESTS,
            exact=True,
            note="counted by a proxy before a real Consul",
        )
        for taken, count in zip(FEW_AND_MANY, counts, strict=True)
    ]
    return Results((*figures, *([] if quick else _speeds())))


def requests_an_allocation(taken: int) -> float:
    """Count the HTTP requests of one allocation without other writers."""
    with _registry(taken) as server, ChaosProxy(server.url) as proxy:
        allocator = _allocator(proxy.url)
        for number in range(COUNTED):
            name = f"counted-{number}"
            allocator.allocate(name, key_of(name), "")
        return sum(proxy.requests.values()) / COUNTED


def _speeds() -> Iterator[Figure]:
    """Measure allocations per second by number of writers, and the time of one against that with few taken."""
    seconds: dict[tuple[int, int], list[float]] = {(w, taken): [] for w in WRITERS for taken in TAKEN}
    with _registry(TAKEN[0]) as few, _registry(TAKEN[1]) as more, _registry(TAKEN[2]) as many:
        names = (f"new-{number}" for number in itertools.count())
        for writers, _ in itertools.product(WRITERS, range(RUNS)):
            for taken, server in zip(TAKEN, (few, more, many), strict=True):
                took = _time(server.url, writers, list(itertools.islice(names, ALLOCATIONS)))
                seconds[writers, taken].append(took)
    for writers in WRITERS:
        by = "1 writer" if writers == 1 else f"{writers} writers"
        yield Figure(
            f"time of an allocation by {by}, {TAKEN[-1]:,} addresses taken against {TAKEN[0]:,}",
            "×",
            ratios(seconds[writers, TAKEN[-1]], seconds[writers, TAKEN[0]]),
            target=FLAT,
            note="wall-clock time on one machine, Consul included",
        )
        for taken in TAKEN:
            rates = tuple(ALLOCATIONS / took for took in seconds[writers, taken])
            yield Figure(f"allocations by {by}, {taken:,} addresses taken", "a second", rates)


def _time(url: str, writers: int, names: list[str]) -> float:
    """Return the seconds for one allocation per name, with so many writers at once."""
    allocator = _allocator(url)
    with ThreadPoolExecutor(writers) as pool:
        started = time.perf_counter()
        given = list(pool.map(lambda name: allocator.allocate(name, key_of(name), ""), names))
        took = time.perf_counter() - started
    if len({one.address for one in given}) != len(names):
        raise RuntimeError("an address was handed out twice")
    return took


def _allocator(url: str) -> Allocator:
    return Allocator(ConsulStore(ConsulSettings(url=url), None), AllocatorPolicy())


@contextmanager
def _registry(taken: int) -> Iterator[ConsulServer]:
    """Start a Consul with so many registered nodes, each with the claims of its address and its key."""
    settings = AllocatorPolicy()
    with tempfile.TemporaryDirectory() as folder, ConsulServer(Path(folder) / "consul") as server:
        now = datetime.now(UTC)
        records = {adopted_key(settings.claims_prefix): adopted_bytes((), now)}
        for number in range(taken):
            name, address = f"node-{number:05d}", Prefix(f"{IPv4Address((10 << 24) + 2 + number)}/32")
            claim = AddressClaim(address, ClaimState.HELD, name, key_of(name), now, None, "adopt")
            records[claim_key(settings.claims_prefix, address)] = claim_bytes(claim)
            record = {"public_key": key_of(name), "ip": format_prefix(address), "region": "fra"}
            records[settings.registry_prefix + name] = json.dumps(record).encode()
            records[key_claim_key(settings.claims_prefix, key_of(name))] = key_claim_bytes(name)
        server.put_many(records)
        server.put(check_mark_key(settings.claims_prefix), b"{}")  # last, as `adopt` sets it
        yield server
