"""Cost of reading 20,000 registrations into validated values, against the plain way.

The plain way is what a script would do: python-consul2's own client, then one pydantic model per record with
validators equivalent to ours. Both read the same keys of the same real Consul, over loopback, and both
are measured in CPU time of this process, threads included.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated

import consul
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from auditor.registry.consul import ConsulRegistry
from auditor.settings.consul import ConsulSettings
from auditor.values.models import RegistryReading
from benchmarks.figures import CannotRun, Figure, Results, ratios
from tests.parts.consul import HOW, ConsulServer, consul_binary

REGISTRATIONS = 20_000
RUNS = 9
PREFIX = "wireguard/nodes/"


def measure(quick: bool) -> Results:
    """Measure the CPU of a whole reading, ours over theirs, run by run. Nothing if `quick`: all of it is time."""
    if quick:
        return Results(())
    if consul_binary() is None:
        raise CannotRun(HOW)
    with _consul(REGISTRATIONS) as server:
        ours, theirs, tuned = _alternating(
            RUNS,
            lambda: _whole(read_ours(server.url).registrations),
            lambda: _whole(read_plainly(server.url, Plain)),
            lambda: _whole(read_plainly(server.url, Tuned)),
        )
    return Results(
        (
            Figure(
                "registry of 20,000 registrations, against python-consul2 and pydantic a record",
                "×",
                ratios(ours, theirs),
                target=0.5,
                note="CPU of the reading process; one real Consul on loopback",
            ),
            Figure(
                "the same, against a model that takes single addresses as such and not as networks",
                "×",
                ratios(ours, tuned),
                note="what the model's author could still save",
            ),
            Figure("registry of 20,000 registrations", "ms", tuple(1000 * one for one in ours)),
            Figure(
                "registry of 20,000 registrations, by python-consul2 and pydantic a record",
                "ms",
                tuple(1000 * one for one in theirs),
            ),
        )
    )


def _one_key(text: str) -> str:
    if len(base64.b64decode(text, validate=True)) != 32:
        raise ValueError("not 32 bytes")
    return text


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("does not print")
    return text


_Text = Annotated[str, Field(max_length=253), AfterValidator(_printable)]


class Plain(BaseModel):
    """A registration as a script would model it."""

    model_config = ConfigDict(frozen=True)

    public_key: Annotated[str, AfterValidator(_one_key)]
    ip: Annotated[
        tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_as_list), Field(min_length=1, max_length=64)
    ]
    region: _Text | None = None
    endpoint: _Text | None = None
    ssh_host: _Text | None = None


def _address_or_network(text: str) -> object:
    return ip_network(text) if "/" in text else ip_address(text)


class Tuned(Plain):
    """The same, with addresses parsed in the cheapest way of the standard library."""

    ip: Annotated[  # type: ignore[assignment]  # other values than the base class's
        tuple[Annotated[str, AfterValidator(_address_or_network)], ...],
        BeforeValidator(_as_list),
        Field(min_length=1, max_length=64),
    ]


def read_plainly(url: str, model: type[Plain]) -> dict[str, Plain]:
    """Read registrations by name the plain way. Errors of invalid ones are kept too, as ours does."""
    host, _, port = url.removeprefix("http://").partition(":")
    client = consul.Consul(host=host, port=int(port), consistency="consistent")
    _, items = client.kv.get(PREFIX, recurse=True)
    good: dict[str, Plain] = {}
    bad: dict[str, str] = {}
    for item in items:
        name = item["Key"].removeprefix(PREFIX)
        try:
            good[name] = model.model_validate_json(item["Value"])
        except ValidationError as error:
            bad[name] = str(error)
    if bad:
        raise RuntimeError(f"{len(bad)} could not be read: {bad}")
    return good


def read_ours(url: str) -> RegistryReading:
    """Read the registry as the sweep does."""
    readings: list[RegistryReading] = []

    async def read() -> None:
        readings.append(await ConsulRegistry(ConsulSettings(url=url, timeout=60.0), None).read())

    asyncio.run(read())  # returns nothing: asyncio.run takes the repr of what its coroutine returns, twice
    return readings[0]


def records(count: int) -> Iterator[tuple[str, bytes]]:
    """Return keys and values in the default layout; every tenth node has an IPv6 address too."""
    for number in range(count):
        name = f"worker-fra-{number:05d}"
        ip = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        record = {
            "public_key": base64.b64encode(hashlib.sha256(name.encode()).digest()).decode(),
            "ip": ip if number % 10 else [ip, f"fdaa::{number + 1:x}"],
            "region": "fra",
            "endpoint": f"198.18.{number >> 8 & 255}.{number & 255}:51820",
            "ssh_host": f"{name}.mgmt.example",
        }
        yield PREFIX + name, json.dumps(record).encode()


@contextmanager
def _consul(count: int) -> Iterator[ConsulServer]:
    with tempfile.TemporaryDirectory() as folder, ConsulServer(Path(folder) / "consul") as server:
        server.put_many(dict(records(count)))
        yield server


def _whole(found: Sized) -> None:
    if len(found) != REGISTRATIONS:
        raise RuntimeError(f"read {len(found)} of {REGISTRATIONS}")


def _alternating(runs: int, *readers: Callable[[], None]) -> tuple[list[float], ...]:
    """Measure the CPU seconds of each, alternating; the first run of each is a warm-up."""
    took: tuple[list[float], ...] = tuple([] for _ in readers)
    for run in range(runs + 1):
        for read, times in zip(readers, took, strict=True):
            gc.collect()
            started = time.process_time()
            read()
            if run:
                times.append(time.process_time() - started)
    return took
