"""Recording and replay: a snapshot as a versioned, gzipped JSON file, to judge last night's incident from.

The file's form is a type of its own, apart from the models, so that either can change without the other.
It holds no secret: a snapshot has public keys, addresses, names and reasons alone.
"""

from __future__ import annotations

import gzip
import io
import json
import operator
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)

from auditor.disk.bounded import read_bounded
from auditor.errors import GapReason, InvalidValue, SnapshotError
from auditor.state.files import write_whole
from auditor.state.recorded_forms import (
    GapForm,
    KeyText,
    MaskedText,
    Moment,
    NodeForm,
    Number,
    ObservationForm,
    OfNodeForm,
    PrefixText,
    RecordedForm,
    RegistrationForm,
    Rows,
    ShapedForm,
    Share,
    Time,
    node_id,
    unless,
    within,
)
from auditor.values.address_claims import ClaimState
from auditor.values.json_bounds import check_density, check_json, count_values
from auditor.values.models import Memory, OtherKeys, OtherKind, Snapshot
from auditor.values.names import MESH_NAME
from auditor.values.region_pattern import RegionPattern
from auditor.values.route_table import Bases, RouteTable, check_lines
from auditor.values.text import for_detail
from auditor.values.witness_answers import AnswerSource

SCHEMA = "wgaudit.snapshot/1"
MAX_BYTES = 1024**3
"""Unpacked size beyond which a file is refused; reading takes up to three times as much memory."""
PLAIN_BYTES = 64 * 1024**2
"""Unpacked size that any file may have."""
MOST_PACKED = 250
"""Times that a larger one may be packed: a small archive must not fill the memory."""
WHOLE_TABLES = 32
"""Up to so many route tables are written whole, as every version reads them; of more, the differences."""
MOST_LINES = 2**28
"""Lines of all route tables together, if each were written whole."""


def _in_order(value: object) -> object:
    """Sort a set, so that the same snapshot is the same text."""
    return sorted(value) if isinstance(value, frozenset) else value


def _region_pattern(pattern: str | None) -> str | None:
    if pattern:
        RegionPattern(pattern)  # its InvalidValue is a ValueError, which names the place
    return pattern


def _outer_address(text: str) -> str:
    return str(ip_address(text))  # its ValueError names the place


def _unless_empty(value: object) -> object:
    return None if value == Memory() else value


def _by_node(value: Any, info: ValidationInfo) -> object:
    """Put each node's name beside what a value has of it."""
    if info.mode == "json":
        return value
    return [
        node._asdict() | ({"public_key": of_it} if isinstance(of_it, str) else asdict(of_it))
        for node, of_it in sorted(value.items())
    ]


def _by_fingerprint(value: Any, info: ValidationInfo) -> object:
    if info.mode == "json":
        return value
    return [{"fingerprint": mark, "nodes": nodes} for mark, nodes in sorted(value.items())]


class _FaultForm(RecordedForm):
    field: str
    reason: str


class _InvalidForm(OfNodeForm):
    where: str
    reason: str
    excerpt: MaskedText
    public_key: KeyText | None = Field(None, exclude=True)
    """In older recordings, where it is null: the registration that stands beside it has the key."""
    faults: Rows[_FaultForm] = unless([])
    """Not in recordings made before registrations were read field by field."""


class _SharedForm(RecordedForm):
    prefix: PrefixText = Field(
        validation_alias=AliasChoices("address", "prefix"), serialization_alias="address"
    )
    nodes: Annotated[Rows[str], BeforeValidator(_in_order)]
    reason: str
    until: Time


class _RoamingForm(RecordedForm):
    nodes: Annotated[Rows[str], BeforeValidator(_in_order)]
    hosts: Rows[PrefixText]
    reason: str
    until: Time


class _MeetingForm(RecordedForm):
    public_key: KeyText
    host: Annotated[str, AfterValidator(_outer_address)]
    observer: NodeForm


class _PolicyForm(RecordedForm):
    device: str
    pools: Rows[PrefixText]
    topology: Literal["full", "partial"]
    name_pattern: Annotated[str | None, AfterValidator(_region_pattern)]
    region_pools: dict[str, PrefixText]
    minimum_coverage: Share
    shared: Rows[_SharedForm] = Field([])
    """Not in recordings made before there were agreements."""
    roaming: Rows[_RoamingForm] = unless([])
    """Not in recordings where nobody is agreed to roam."""
    mesh: Annotated[str, Field(pattern=MESH_NAME)] = unless("")
    """Not in recordings of meshes without a name."""


class _LooksForm(NodeForm):
    first: Number
    changed: Number
    last: Number


class _MovedForm(RecordedForm):
    registration: RegistrationForm
    round: Number


class _SecondLookForm(ShapedForm):
    asked: Rows[NodeForm]
    observations: Rows[ObservationForm]
    gaps: Rows[GapForm]
    rounds: Number = unless(1)
    """Not in recordings made when there was one round only; so with the rest."""
    time_up: bool = unless(False)
    looks: Annotated[Rows[_LooksForm], BeforeValidator(_by_node)] = unless([])
    moved: Rows[_MovedForm] = unless([])

    def parts(self) -> dict[str, object]:
        """See `ShapedForm`."""
        return {"looks": {node_id(item): item.model_dump() for item in self.looks}}


class _ClaimForm(RecordedForm):
    prefix: PrefixText
    state: ClaimState
    node: str
    public_key: KeyText | None
    at: Moment
    until: Moment | None
    by: str


class _DriftedForm(NodeForm):
    public_key: KeyText


class _LostLookForm(RecordedForm):
    public_key: KeyText | None
    addresses: Rows[PrefixText]
    why_not: str


class _LostForm(RecordedForm):
    registration: RegistrationForm
    last_read: Time
    record: str = ""
    released: bool | None = None
    look: _LostLookForm | None = unless(None)
    """Not in recordings made before lost nodes were asked, nor where one was not."""


class _AddressWriteForm(RecordedForm):
    node: NodeForm
    prefix: PrefixText
    at: Time
    to_the_moment: bool
    index: Number | None


class _DrainedForm(NodeForm):
    since: Time
    by: str
    how: str
    reason: str = ""
    plan: str = ""


class _MetForm(RecordedForm):
    fingerprint: str
    nodes: Annotated[Rows[NodeForm], BeforeValidator(_in_order)]


class _MemoryForm(ShapedForm):
    drifted: Annotated[Rows[_DriftedForm], BeforeValidator(_by_node)] = Field([])
    unsettled: Annotated[Rows[NodeForm], BeforeValidator(_in_order)] = Field([])
    ghosts: Annotated[Rows[KeyText], BeforeValidator(_in_order)] = Field([])
    several: Annotated[Rows[KeyText], BeforeValidator(_in_order)] = unless([])
    met: Annotated[Rows[_MetForm], BeforeValidator(_by_fingerprint)] = unless([])
    """Not in recordings made before there were witnesses; so where no such finding stands."""
    lost: Rows[_LostForm] = unless([])
    """Not in recordings made before registrations were taken down; so where none is lost."""
    writes: Rows[_AddressWriteForm] = unless([])
    """Not in recordings where no address is contested that a watch saw written."""
    drained: Annotated[Rows[_DrainedForm], BeforeValidator(_by_node)] = unless([])
    """Not in recordings where no node was drained."""

    def parts(self) -> dict[str, object]:
        """See `ShapedForm`."""
        return {
            "drifted": {node_id(item): item.public_key for item in self.drifted},
            "met": {item.fingerprint: [node_id(node) for node in item.nodes] for item in self.met},
            "drained": {node_id(item): item.model_dump() for item in self.drained},
        }


class _AnswerForm(RecordedForm):
    observer: NodeForm
    address: PrefixText
    source: AnswerSource
    seconds: Annotated[float, Field(ge=0, lt=1e6, allow_inf_nan=False)]
    said: str = ""
    node: NodeForm | None = None
    region: str | None = None
    reason: GapReason | None = None
    detail: MaskedText = ""


class _SeenForm(RecordedForm):
    """Form of a snapshot without its tables, of which no second copy is made."""

    started_at: Time
    finished_at: Time
    policy: _PolicyForm
    registrations: Rows[RegistrationForm]
    invalid: Rows[_InvalidForm]
    in_flight: Rows[RegistrationForm]
    observations: Rows[ObservationForm]
    gaps: Rows[GapForm]
    second_look: _SecondLookForm | None
    cut_short: str | None
    address_claims: Rows[_ClaimForm] | None = unless(None)
    """Not in recordings of sweeps that did not read them; so with the workloads."""
    workloads: Annotated[Rows[NodeForm] | None, BeforeValidator(_in_order)] = unless(None)
    others: dict[OtherKind, Number] = within(
        "others", "counts", "others", default={}, exclude_if=operator.not_
    )
    """Keys under the prefix that are no registrations, by kind. Not in recordings made before they were counted."""
    memory: Annotated[_MemoryForm | None, BeforeValidator(_unless_empty)] = unless(None)
    """Not in recordings of sweeps that nothing was handed in to."""
    answers: Rows[_AnswerForm] = unless([])
    """Not in recordings of sweeps that asked no witness."""
    meetings: Rows[_MeetingForm] | None = unless(None)
    """Not in recordings of sweeps, nor where a watch had asked nobody yet."""


class _DifferenceForm(RecordedForm):
    base: str
    without: str
    plus: str


class _Document(_SeenForm):
    schema_: Literal["wgaudit.snapshot/1"] = Field(alias="schema")
    tables: dict[str, str]
    differences: dict[str, _DifferenceForm] = Field({})
    """Tables that are written as their difference from one of `tables`. Not in recordings of few distinct tables."""


_SNAPSHOT = TypeAdapter(Snapshot)


def record(snapshot: Snapshot, path: Path) -> None:
    """Write the snapshot: mode 0600, whole or not at all. Raises `SnapshotError`, also for what no replay takes."""
    try:
        write_whole(path, _packed(snapshot))
    except InvalidValue as error:
        raise SnapshotError(
            f"cannot record to {path}: no wgaudit could read it again ({error}); record fewer nodes at once"
        ) from None
    except OSError as error:
        raise SnapshotError(f"cannot record to {path}: {error.strerror}") from None


def _packed(snapshot: Snapshot) -> bytes:
    # Table by table: on a bad day their texts alone are hundreds of megabytes, which must not be held twice.
    packed, size, values = io.BytesIO(), 0, 0
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=packed, mtime=0) as stream:
        for part in _json_parts(snapshot):
            raw = part.encode("ascii")
            size += stream.write(raw)
            values += count_values(raw)
    data = packed.getvalue()
    if size > (most := _most_unpacked(len(data))):
        raise InvalidValue(f"it unpacks to {size:,} bytes, more than {most:,}")
    check_density(values, size, len(data))
    return data


def _most_unpacked(packed: int) -> int:
    return min(MAX_BYTES, max(PLAIN_BYTES, MOST_PACKED * packed))


def replay(path: Path) -> Snapshot:
    """Read a recorded snapshot, gzipped or plain. Raises `SnapshotError` that names the file and the place."""
    try:
        raw = read_bounded(path, MAX_BYTES)
        packed = None
        if len(raw) > MAX_BYTES:
            raise SnapshotError(f"{path}: larger than {MAX_BYTES:,} bytes; not one of ours")
        if raw[:2] == b"\x1f\x8b":
            packed = len(raw)
            most = _most_unpacked(packed)
            unpacker = zlib.decompressobj(wbits=31)
            raw = unpacker.decompress(raw, most)
            if unpacker.unconsumed_tail:
                raise SnapshotError(f"{path}: unpacks to more than {most:,} bytes; not one of ours")
            if not unpacker.eof:
                raise SnapshotError(f"{path}: cut off; the recording is not whole")
    except OSError as error:
        raise SnapshotError(f"cannot read {path}: {error.strerror}") from None
    except zlib.error:
        raise SnapshotError(f"{path}: damaged; not a whole gzip file") from None
    return from_json(raw, str(path), packed)


def to_json(snapshot: Snapshot) -> str:
    """Write the snapshot as text, the same text for the same snapshot."""
    return "".join(_json_parts(snapshot))


def _json_parts(snapshot: Snapshot) -> Iterator[str]:
    """Yield the text in parts, each with one table at most."""
    seen = _SeenForm.model_validate(snapshot).model_dump(mode="json", by_alias=True)
    yield json.dumps({"schema": SCHEMA, **seen}, indent=1).removesuffix("\n}") + ',\n "tables": {'
    whole, differences = _shared_tables(snapshot.tables)
    for number, digest in enumerate(sorted(whole)):
        text = whole[digest].decode("ascii")
        yield f"{',' if number else ''}\n  {json.dumps(digest)}: {json.dumps(text)}"
    yield "\n }"
    for number, (digest, form) in enumerate(sorted(differences.items())):
        begin = "," if number else ',\n "differences": {'
        yield f"{begin}\n  {json.dumps(digest)}: {json.dumps(form.model_dump())}"
    yield "\n }\n}\n" if differences else "\n}\n"


def _shared_tables(
    tables: Mapping[str, RouteTable],
) -> tuple[Mapping[str, bytes], Mapping[str, _DifferenceForm]]:
    """Divide tables into those that are written whole, bases included, and the others' differences."""
    if len(tables) <= WHOLE_TABLES:
        return {digest: table.text for digest, table in tables.items()}, {}
    digests: dict[bytes, str] = {}
    whole: dict[str, bytes] = {}
    differences: dict[str, _DifferenceForm] = {}
    for digest, table in tables.items():
        if table.base not in digests:
            digests[table.base] = RouteTable(table.base).digest
            whole[digests[table.base]] = table.base
        if digest not in whole:
            without, plus = (
                "".join(f"{line.decode('ascii')}\n" for line in lines)
                for lines in (table.without, table.plus)
            )
            differences[digest] = _DifferenceForm(base=digests[table.base], without=without, plus=plus)
    # A base that a later table names may be one of those before.
    return whole, {digest: form for digest, form in differences.items() if digest not in whole}


def from_json(text: bytes, origin: str, packed: int | None = None) -> Snapshot:
    """Read the text of `to_json`. Raises `SnapshotError` with the place of an unreadable value.

    packed: bytes that it was packed into, where it was.
    """
    try:
        check_json(text, packed)
        document = _Document.model_validate_json(text)
        return _snapshot(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = for_detail(".".join(str(part) for part in first["loc"])[:200])
        if place == "schema_":
            raise SnapshotError(f"{origin}: not a {SCHEMA} recording; recorded by another version?") from None
        where = place or "document"
        why = first["msg"].removeprefix("Value error, ")  # pydantic's prefix before our message
        raise SnapshotError(f"{origin}: not a recorded snapshot: {where}: {why}") from None
    except InvalidValue as error:
        raise SnapshotError(f"{origin}: not a recorded snapshot: {for_detail(str(error)[:400])}") from None


def _snapshot(document: _Document) -> Snapshot:
    if document.finished_at < document.started_at:
        raise InvalidValue("it ended before it began")
    tables = _tables(document)
    second = document.second_look
    for item in (*document.observations, *(second.observations if second else ())):
        if item.table not in tables:
            raise InvalidValue(f"the route table {item.table[:12]}… of {item.name} is not in the file")
    fields = document.model_dump(exclude={"schema_", "tables", "differences", "others"})
    return _SNAPSHOT.validate_python({**fields, "tables": tables, "others": OtherKeys(document.others)})


def _tables(document: _Document) -> dict[str, RouteTable]:
    """Read the tables, each checked. Raises `InvalidValue`."""
    whole = {digest: RouteTable(text.encode("ascii", "replace")) for digest, text in document.tables.items()}
    for digest, table in whole.items():
        if table.digest != digest:
            raise InvalidValue(f"table {digest[:12]}… does not have the digest that it is stored under")
    check_lines(table.base for table in whole.values())
    if not document.differences:
        bases = Bases()
        return {digest: bases.held(table) for digest, table in whole.items()}
    return whole | _differences(document.differences, whole)


def _differences(
    forms: Mapping[str, _DifferenceForm], whole: Mapping[str, RouteTable]
) -> dict[str, RouteTable]:
    """Read tables that are written as differences. Raises `InvalidValue`."""
    known: dict[str, frozenset[bytes]] = {}
    spelled: dict[bytes, bytes] = {}
    found: dict[str, RouteTable] = {}
    texts: set[bytes] = set()
    left = MOST_LINES
    for digest, form in forms.items():
        if digest in whole or form.base not in whole:
            raise InvalidValue(
                f"the difference {digest[:12]}… is of a table that is not in the file, or is whole too"
            )
        if form.base not in known:
            known[form.base] = frozenset(whole[form.base].lines())
        left -= len(known[form.base])
        if left < 0:
            raise InvalidValue(f"the route tables have more than {MOST_LINES:,} lines")
        without, plus = (text.encode("ascii", "replace") for text in (form.without, form.plus))
        texts |= {without, plus}
        lines = [
            tuple(spelled.setdefault(line, line) for line in text.splitlines()) for text in (without, plus)
        ]
        if any(list(part) != sorted(set(part)) for part in lines):
            raise InvalidValue("a route table's difference is not sorted, or has a line twice")
        if not known[form.base].issuperset(lines[0]) or not known[form.base].isdisjoint(lines[1]):
            raise InvalidValue("a route table's difference does not fit the table that it is of")
        found[digest] = RouteTable(whole[form.base].base, *lines)
    check_lines(texts)
    return found
