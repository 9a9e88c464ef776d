"""Record and replay: a snapshot as a versioned, gzipped JSON file that last night's incident can be judged from.

The file's form is a type of its own, apart from the models, so that either can change without the other.
It holds no secret: what a snapshot holds are public keys, addresses, names and reasons.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from auditor.errors import GapReason, InvalidValue, SnapshotError
from auditor.state.files import write_whole
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix, parse_prefix, parse_public_key
from auditor.values.models import (
    AuditPolicy,
    Device,
    Gap,
    InvalidRegistration,
    NodeId,
    Observation,
    Registration,
    RouteTable,
    SecondLook,
    SharedAddress,
    Snapshot,
)

SCHEMA = "wgaudit.snapshot/1"
MAX_BYTES = 2 * 1024**3
"""Unpacked size beyond which a file is refused: a small archive must not fill the memory."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Node(_Record):
    name: str
    datacenter: str = ""


class _Registration(_Node):
    public_key: str
    addresses: list[str]
    region: str | None = None
    endpoint: str | None = None
    ssh_host: str | None = None
    values: dict[str, str] = {}
    where: str = ""
    create_index: int | None = None
    modify_index: int | None = None


class _Invalid(_Node):
    where: str
    reason: str
    excerpt: str
    public_key: str | None = None


class _Observation(_Node):
    device: str
    public_key: str
    addresses: list[str]
    table: str
    region: str | None = None
    host_key: str | None = None
    endpoints: dict[str, str] | None = None
    digested: bool = True


class _Gap(_Record):
    source: Literal["consul", "file", "ssh", "sweep"]
    reason: GapReason
    detail: str
    node: str | None = None
    datacenter: str | None = None


class _Shared(_Record):
    address: str
    nodes: list[str]
    reason: str
    until: AwareDatetime


class _Policy(_Record):
    device: str
    pools: list[str]
    topology: Literal["full", "partial"]
    name_pattern: str | None
    region_pools: dict[str, str]
    minimum_coverage: float
    shared: list[_Shared] = []
    """Not in recordings made before there were agreements."""


class _SecondLook(_Record):
    asked: list[_Node]
    observations: list[_Observation]
    gaps: list[_Gap]


class _AddressClaim(_Record):
    prefix: str
    state: ClaimState
    node: str
    public_key: str | None
    at: AwareDatetime
    until: AwareDatetime | None
    by: str


class _Document(_Record):
    schema_: Literal["wgaudit.snapshot/1"] = Field(alias="schema")
    started_at: AwareDatetime
    finished_at: AwareDatetime
    policy: _Policy
    registrations: list[_Registration]
    invalid: list[_Invalid]
    in_flight: list[_Registration]
    observations: list[_Observation]
    gaps: list[_Gap]
    second_look: _SecondLook | None
    cut_short: str | None
    address_claims: list[_AddressClaim] | None = None
    """Not in recordings of sweeps that did not read them; so with the workloads."""
    workloads: list[_Node] | None = None
    tables: dict[str, str]


def record(snapshot: Snapshot, path: Path) -> None:
    """Writes the snapshot: mode 0600, whole or not at all. Raises `SnapshotError`."""
    try:
        write_whole(path, _packed(snapshot))
    except OSError as error:
        raise SnapshotError(f"cannot record to {path}: {error.strerror}") from None


def _packed(snapshot: Snapshot) -> bytes:
    # Table by table: on a bad day their texts alone are hundreds of megabytes, which must not be held twice.
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=packed, mtime=0) as stream:
        for part in _json_parts(snapshot):
            stream.write(part.encode("ascii"))
    return packed.getvalue()


def replay(path: Path) -> Snapshot:
    """Reads a recorded snapshot, gzipped or plain. Raises `SnapshotError` that names the file and the place."""
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            unpacker = zlib.decompressobj(wbits=31)
            raw = unpacker.decompress(raw, MAX_BYTES)
            if unpacker.unconsumed_tail:
                raise SnapshotError(f"{path}: unpacks to more than {MAX_BYTES:,} bytes; not one of ours")
            if not unpacker.eof:
                raise SnapshotError(f"{path}: cut off; the recording is not whole")
    except OSError as error:
        raise SnapshotError(f"cannot read {path}: {error.strerror}") from None
    except zlib.error:
        raise SnapshotError(f"{path}: damaged; not a whole gzip file") from None
    return from_json(raw, str(path))


def to_json(snapshot: Snapshot) -> str:
    """The snapshot as text, the same text for the same snapshot."""
    return "".join(_json_parts(snapshot))


def _json_parts(snapshot: Snapshot) -> Iterator[str]:
    """The text in parts, of which each holds one table at most."""
    second = snapshot.second_look
    document = {
        "schema": SCHEMA,
        "started_at": snapshot.started_at.isoformat(),
        "finished_at": snapshot.finished_at.isoformat(),
        "policy": {
            "device": snapshot.policy.device,
            "pools": list(snapshot.policy.pools),
            "topology": snapshot.policy.topology,
            "name_pattern": snapshot.policy.name_pattern,
            "region_pools": dict(snapshot.policy.region_pools),
            "minimum_coverage": snapshot.policy.minimum_coverage,
            "shared": [
                {
                    "address": item.prefix,
                    "nodes": sorted(item.nodes),
                    "reason": item.reason,
                    "until": item.until.isoformat(),
                }
                for item in snapshot.policy.shared
            ],
        },
        "registrations": [_registration(item) for item in snapshot.registrations],
        "invalid": [
            {
                **_node(item.node),
                "where": item.where,
                "reason": item.reason,
                "excerpt": item.excerpt,
                "public_key": item.public_key,
            }
            for item in snapshot.invalid
        ],
        "in_flight": [_registration(item) for item in snapshot.in_flight],
        "observations": [_observation(item) for item in snapshot.observations],
        "gaps": [_gap(item) for item in snapshot.gaps],
        "second_look": second
        and {
            "asked": [_node(node) for node in second.asked],
            "observations": [_observation(item) for item in second.observations],
            "gaps": [_gap(item) for item in second.gaps],
        },
        "cut_short": snapshot.cut_short,
        **_repair_parts(snapshot),
    }
    yield json.dumps(document, indent=1).removesuffix("\n}") + ',\n "tables": {'
    for number, digest in enumerate(sorted(snapshot.tables)):
        text = snapshot.tables[digest].text.decode("ascii")
        yield f"{',' if number else ''}\n  {json.dumps(digest)}: {json.dumps(text)}"
    yield "\n }\n}\n"


def from_json(text: bytes, origin: str) -> Snapshot:
    """Reads what `to_json` wrote. Raises `SnapshotError` with the place of what cannot be read."""
    try:
        document = _Document.model_validate_json(text)
        return _snapshot(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if place == "schema":
            raise SnapshotError(f"{origin}: not a {SCHEMA} recording; recorded by another version?") from None
        where = place or "document"
        raise SnapshotError(f"{origin}: not a recorded snapshot: {where}: {first['msg']}") from None
    except InvalidValue as error:
        raise SnapshotError(f"{origin}: not a recorded snapshot: {error}") from None


def _repair_parts(snapshot: Snapshot) -> dict[str, object]:
    """What only a plan reads. Left out where it was not read: then older versions can read the file too."""
    parts: dict[str, object] = {}
    if (claims := snapshot.address_claims) is not None:
        forms = [_AddressClaim.model_validate(claim, from_attributes=True) for claim in claims]
        parts["address_claims"] = [form.model_dump(mode="json") for form in forms]
    if snapshot.workloads is not None:
        parts["workloads"] = [_node(node) for node in sorted(snapshot.workloads)]
    return parts


def _node(node: NodeId) -> dict[str, object]:
    return {"name": node.name, "datacenter": node.datacenter}


def _registration(item: Registration) -> dict[str, object]:
    return {
        **_node(item.node),
        "public_key": item.public_key,
        "addresses": list(item.addresses),
        "region": item.region,
        "endpoint": item.endpoint,
        "ssh_host": item.ssh_host,
        # `values` fed the ssh host template, which a replay does not need, and may hold anything that
        # the registry's owners put there, secrets included: so they are left out.
        "where": item.where,
        "create_index": item.create_index,
        "modify_index": item.modify_index,
    }


def _observation(item: Observation) -> dict[str, object]:
    return {
        **_node(item.node),
        "device": item.device.name,
        "public_key": item.device.public_key,
        "addresses": list(item.device.addresses),
        "table": item.table,
        "region": item.region,
        "host_key": item.host_key,
        "endpoints": dict(item.endpoints) if item.endpoints is not None else None,
        "digested": item.digested,
    }


def _gap(item: Gap) -> dict[str, object]:
    return _Gap.model_validate(item, from_attributes=True).model_dump(mode="json")


def _snapshot(document: _Document) -> Snapshot:
    tables = {digest: RouteTable(text.encode("ascii", "replace")) for digest, text in document.tables.items()}
    for digest, table in tables.items():
        if table.digest != digest:
            raise InvalidValue(f"table {digest[:12]}… does not have the digest that it is stored under")
    second = document.second_look
    observations = tuple(_read_observation(item, tables) for item in document.observations)
    policy = document.policy
    claims, workloads = document.address_claims, document.workloads
    return Snapshot(
        started_at=document.started_at,
        finished_at=document.finished_at,
        policy=AuditPolicy(
            device=policy.device,
            pools=_prefixes(policy.pools),
            topology=policy.topology,
            name_pattern=policy.name_pattern,
            region_pools={region: parse_prefix(prefix) for region, prefix in policy.region_pools.items()},
            minimum_coverage=policy.minimum_coverage,
            shared=tuple(
                SharedAddress(parse_prefix(item.address), frozenset(item.nodes), item.reason, item.until)
                for item in policy.shared
            ),
        ),
        registrations=tuple(map(_read_registration, document.registrations)),
        invalid=tuple(
            InvalidRegistration(
                _read_node(item),
                item.where,
                item.reason,
                item.excerpt,
                parse_public_key(item.public_key) if item.public_key is not None else None,
            )
            for item in document.invalid
        ),
        observations=observations,
        tables=tables,
        gaps=tuple(map(_read_gap, document.gaps)),
        in_flight=tuple(map(_read_registration, document.in_flight)),
        second_look=None
        if second is None
        else SecondLook(
            asked=tuple(map(_read_node, second.asked)),
            observations=tuple(_read_observation(item, tables) for item in second.observations),
            gaps=tuple(map(_read_gap, second.gaps)),
        ),
        cut_short=document.cut_short,
        address_claims=tuple(map(_read_claim, claims)) if claims is not None else None,
        workloads=frozenset(map(_read_node, workloads)) if workloads is not None else None,
    )


def _read_claim(item: _AddressClaim) -> AddressClaim:
    key = parse_public_key(item.public_key) if item.public_key is not None else None
    return AddressClaim(parse_prefix(item.prefix), item.state, item.node, key, item.at, item.until, item.by)


def _read_node(item: _Node) -> NodeId:
    return NodeId(item.datacenter, item.name)


def _read_registration(item: _Registration) -> Registration:
    return Registration(
        node=_read_node(item),
        public_key=parse_public_key(item.public_key),
        addresses=_prefixes(item.addresses),
        region=item.region,
        endpoint=item.endpoint,
        ssh_host=item.ssh_host,
        values=item.values,
        where=item.where,
        create_index=item.create_index,
        modify_index=item.modify_index,
    )


def _read_observation(item: _Observation, tables: Mapping[str, RouteTable]) -> Observation:
    if item.table not in tables:
        raise InvalidValue(f"the route table {item.table[:12]}… of {item.name} is not in the file")
    endpoints = item.endpoints
    return Observation(
        node=_read_node(item),
        device=Device(item.device, parse_public_key(item.public_key), _prefixes(item.addresses)),
        table=item.table,
        region=item.region,
        host_key=item.host_key,
        endpoints=None
        if endpoints is None
        else {parse_public_key(key): text for key, text in endpoints.items()},
        digested=item.digested,
    )


def _read_gap(item: _Gap) -> Gap:
    return Gap(item.source, item.reason, item.detail, item.node, item.datacenter)


def _prefixes(texts: list[str]) -> tuple[Prefix, ...]:
    return tuple(map(parse_prefix, texts))
