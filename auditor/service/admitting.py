"""Whether records may be written: they are read, what stands is read, and the one judged against the other."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from auditor.admission.checked_records import CheckedRecords
from auditor.admission.judged_against import JudgedAgainst, LiveHolders, live_in
from auditor.admission.judgement import admissions
from auditor.admission.objections import ObjectionIdent, Proposal, Unseen
from auditor.disk.bounded import read_bounded
from auditor.errors import InvalidValue, RegistryError, StoreError, UsageError
from auditor.fleet.fleet import Fleet
from auditor.fleet.latest import latest_state
from auditor.registry.file import MAX_FILE
from auditor.registry.interface import Stored
from auditor.registry.proposals import ProposedRecords, proposed_entries, proposed_record
from auditor.registry.records import reading_rules
from auditor.repair.claims.claim import claim_key, claimed_prefix, read_claim
from auditor.service.live_watch import live_of_watch
from auditor.service.parts import build_registry, build_store
from auditor.settings.file import Config
from auditor.state.recording import replay as read_recording
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix, is_host
from auditor.values.models import Registration, RegistryReading, Snapshot
from auditor.values.text import count, for_log, minute

MOST_SINGLE_READS = 32
"""Claims that are read one by one; for more of them, all are listed at once."""


@dataclass(frozen=True, slots=True)
class RecordInput:
    """Input that holds records to be written."""

    name: str
    """Of its file, for messages."""
    raw: bytes
    path: Path | None = None
    """File that it was read from; None: another place."""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What is asked about the inputs, beside their content."""

    node: str = ""
    """Name of the node whose record's JSON the one input is."""
    key: str = ""
    """Its whole key in Consul, in place of the name."""
    datacenter: str = ""
    """Datacenter that it would be written in; "": the configured one."""
    recording: Path | None = None
    """Recording of a sweep, for what is live."""
    watch: bool = False
    """True: the running watch is asked for what is live."""
    claims: bool = True
    """False: address claims are not read."""
    allow: frozenset[ObjectionIdent] = frozenset()
    """Objections that are warnings here."""


def read_input(path: Path) -> RecordInput:
    """Read a file of records. Raises `UsageError`."""
    try:
        raw = read_bounded(path, MAX_FILE)
    except OSError as error:
        raise UsageError(f"{path}: cannot read: {error.strerror}") from None
    return RecordInput(str(path), raw, path)


async def check_records(config: Config, inputs: Sequence[RecordInput], asked: CheckRequest) -> CheckedRecords:
    """Judge the records of all inputs, also against each other, by what registry, claims and mesh say now.

    Only reads. What cannot be read is an `Unseen` of each admission. Raises `UsageError` for an input of which no
    record can be told, and `SnapshotError` for the recording.
    """
    datacenter = _datacenter(config, asked)
    found = [_records(config, each, asked, datacenter) for each in inputs]
    records = [record for each in found for record in each.records]
    passed_over = sum(each.passed_over for each in found)
    if not records:
        raise UsageError(_nothing(config, inputs, passed_over))
    proposals = [Proposal(*record) for record in records]
    written = [item.registration for item in proposals if item.registration is not None]
    reading, claims, live = await asyncio.gather(
        _registry(config, inputs),
        _claims(config, datacenter, written) if asked.claims else _no_claims(),
        asyncio.to_thread(_live, config, asked, written),
    )
    against = JudgedAgainst(
        policy=config.policy(),
        at=datetime.now(UTC),
        reading=reading,
        claims=claims.found,
        live=live[0],
        unseen=(*claims.unseen, *live[1]),
    )
    judged = await asyncio.to_thread(admissions, proposals, against)
    return CheckedRecords(
        tuple(item.allowing(asked.allow) for item in judged),
        len(reading.registrations),
        claims.read,
        "replay" if asked.recording is not None else "watch" if asked.watch else "",
        passed_over,
    )


# -- the records


def _datacenter(config: Config, asked: CheckRequest) -> str:
    if asked.datacenter:
        return asked.datacenter
    named = config.consul.datacenters
    if len(named) > 1 or "*" in named:
        raise UsageError("check: several datacenters are configured; name the record's with --datacenter")
    return next(iter(named), "")


def _records(config: Config, each: RecordInput, asked: CheckRequest, datacenter: str) -> ProposedRecords:
    settings, rules = config.consul, reading_rules(config.consul, config.mesh.device)
    if len(each.raw) > MAX_FILE:
        raise UsageError(f"check: {each.name}: larger than {MAX_FILE} bytes")
    key = asked.key or (f"{settings.prefix}{asked.node}" if asked.node else "")
    if key:
        if not key.startswith(settings.prefix) or key == settings.prefix:
            raise UsageError(f"check: --key: {for_log(key, most=80)} is no key under {settings.prefix}")
        return proposed_record(each.raw, key, settings, rules, datacenter)
    try:
        found, odd = proposed_entries(each.raw, each.name, settings, rules, datacenter)
    except RegistryError as error:
        raise UsageError(f"check: {error.detail}, or say whose record it is with --node") from None
    if odd:
        raise UsageError(
            f"check: {each.name}: {count(odd, 'entry', 'entries')} without a key or a value of text"
        )
    return found


def _nothing(config: Config, inputs: Sequence[RecordInput], passed_over: int) -> str:
    names = ", ".join(each.name for each in inputs)
    if passed_over:
        return (
            f"check: {names}: no registration under {config.consul.prefix}, {count(passed_over, 'other key')}; "
            "check consul.prefix and consul.ignore"
        )
    return f"check: {names}: it holds no record"


# -- what they are judged against


async def _registry(config: Config, inputs: Sequence[RecordInput]) -> RegistryReading:
    file = config.consul.file
    if file is not None and any(each.path is not None and _is_same(each.path, file) for each in inputs):
        return RegistryReading()  # the input is the registry, as it is to be: there is nothing beside it
    return await build_registry(config).read()


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


@dataclass(frozen=True, slots=True)
class _ReadClaims:
    found: dict[Prefix, AddressClaim]
    unseen: tuple[Unseen, ...] = ()
    read: bool = True


async def _no_claims() -> _ReadClaims:
    return _ReadClaims({}, read=False)


async def _claims(config: Config, datacenter: str, records: Sequence[Registration]) -> _ReadClaims:
    if config.consul.file is not None:
        return await _no_claims()  # a file has none
    wanted = {prefix for item in records if not item.retired for prefix in item.addresses if is_host(prefix)}
    try:
        return await asyncio.to_thread(_read_claims, config, datacenter, wanted)
    except StoreError as error:
        return _ReadClaims({}, (Unseen("claims", "claims-unread", str(error)),), read=False)


def _read_claims(config: Config, datacenter: str, wanted: Collection[Prefix]) -> _ReadClaims:
    store, prefix = build_store(config, datacenter), config.repair.claims_prefix
    if len(wanted) <= MOST_SINGLE_READS:
        read = [store.read(claim_key(prefix, address)) for address in sorted(wanted)]
        stored = [item for item in read if item is not None]
    else:
        stored = list(store.list(prefix))
    found: dict[Prefix, AddressClaim] = {}
    for item in stored:
        claim = _claim(item, prefix)
        if claim is not None and claim.prefix in wanted:
            found[claim.prefix] = claim
    return _ReadClaims(found)


def _claim(stored: Stored, claims_prefix: str) -> AddressClaim | None:
    """Read a claim; one that cannot be read keeps its address all the same. None: the key names no address."""
    try:
        return read_claim(claims_prefix, stored.key, stored.value)
    except InvalidValue:
        pass  # read below for its address alone
    try:
        address = claimed_prefix(claims_prefix, stored.key)
    except InvalidValue:
        return None
    return AddressClaim(address, ClaimState.SEEN, "", None, datetime.fromtimestamp(0, UTC), by="unreadable")


def _live(
    config: Config, asked: CheckRequest, records: Sequence[Registration]
) -> tuple[LiveHolders, tuple[Unseen, ...]]:
    if asked.recording is not None:
        snapshot = read_recording(asked.recording)
        fleet = Fleet(latest_state(snapshot))
        return live_in(fleet, records), tuple(_unseen_in(fleet, snapshot, config.coverage.minimum))
    return live_of_watch(config, datetime.now(UTC)) if asked.watch else (LiveHolders(), ())


def _unseen_in(fleet: Fleet, snapshot: Snapshot, minimum: float) -> Sequence[Unseen]:
    registered = fleet.by_node.keys() | fleet.registered.unreadable_nodes
    seen = registered & {item.node for item in fleet.witnesses}
    found = []
    when = minute(snapshot.started_at)
    if snapshot.cut_short is not None:
        found.append(
            Unseen("live", "cut-short", f"the recording of {when} was cut short: {snapshot.cut_short}")
        )
    if not registered or len(seen) / len(registered) < minimum:
        text = f"the recording of {when} saw {len(seen):,} of {len(registered):,} nodes"
        found.append(Unseen("live", "coverage", f"{text}; coverage.minimum is {minimum:g}"))
    return found
