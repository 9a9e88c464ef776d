"""PURE: reader of registrations from raw values: one JSON record, a folder of keys, or a catalog node's meta.

Nothing here raises for Consul's content: what can be read of a registration is a `Registration`, what cannot
is an `InvalidRegistration` beside it that names each field, and the rest go on. All sizes are bounded, because
the registry's content is not ours.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from auditor.errors import InvalidValue
from auditor.registry.spellings import (
    AROUND,
    DOUBLED,
    MAX_TEXT,
    check_narrow,
    check_nodes_address,
    decoded,
    read_prefixes,
    read_public_key,
    read_text,
)
from auditor.values.addresses import Prefix, PublicKey, parse_prefix, parse_public_key
from auditor.values.models import (
    FieldFault,
    InvalidRegistration,
    NodeId,
    OtherKeys,
    OtherKind,
    Registration,
    RegistryReading,
)
from auditor.values.names import VALUE_NAME
from auditor.values.text import for_json, masked, without_login

if TYPE_CHECKING:
    from auditor.settings.consul import ConsulFields, ConsulSettings

MAX_RECORD = 512 * 1024
"""Bytes of one registration: as many as Consul takes for one key."""
MAX_ADDRESSES = 64
MAX_VALUES = 32
MAX_FAULTS = 16
"""Fields that one `InvalidRegistration` names."""
EXCERPT = 80
LOCK_FLAGS = 0x2DDCCBC058A50C18
"""Flags of a key that `consul lock` and its library keep: api.LockFlagValue."""
SEMAPHORE_FLAGS = 0xE0F69A2BAA414DE0
"""Flags of a semaphore's key: api.SemaphoreFlagValue."""

# A host template needs nothing but what can stand in a host's name, so nothing else is kept: a key (its
# base64 ends in "="), a URL or a sentence never gets into a snapshot this way.
_HOST_TEXT = re.compile(r"(?:\[login\]@)?[A-Za-z0-9._:\-]{1,253}")
_VALUE_NAME = re.compile(VALUE_NAME)
_SECRET_NAME = re.compile(
    r"private|preshared|psk|secret|token|passw|credential|webhook|api_?key", re.IGNORECASE
)
# What must not get into an excerpt: all from a secret-looking name or a URL on, and any whole 32-byte key. A
# key that made a registration unreadable is no whole key, so nothing that explains the reason is lost.
_SECRET_REST = re.compile(rf"((?:{_SECRET_NAME.pattern})\w*|https?://).*", re.IGNORECASE | re.DOTALL)
_KEY_OTHERWISE = re.compile(r"(?<![A-Za-z0-9+/_-])(?:[0-9a-fA-F]{64}|[A-Za-z0-9_-]{43})(?![A-Za-z0-9+/_-])")
_LONG_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{48,}={0,2}")
"""A whole private key, or a key in base64 once more."""
_DEEPEST = 64
"""Levels of a record's JSON that are read: a field that is nested deeper is none of ours."""
# A text that does not end is one token too: begun anew at each of its quotes, the search would take hours.
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[{}\[\]]', re.DOTALL)


class KvItem(NamedTuple):
    """One key of Consul's KV store."""

    key: str
    value: bytes | None
    """None or empty: a folder that the Consul UI made."""
    create_index: int | None = None
    modify_index: int | None = None
    flags: int = 0
    session: bool = False
    """True: a session holds the key's lock."""


class CatalogNode(NamedTuple):
    """One node of Consul's catalog."""

    name: str
    address: str
    meta: Mapping[str, str]
    create_index: int | None = None
    modify_index: int | None = None


class ReadingRules(NamedTuple):
    """Rules of the configuration for reading registrations, apart from the places of their fields."""

    retired: frozenset[str] = frozenset()
    """States that mean: not in the mesh any more."""
    ignore: tuple[str, ...] = ()
    """Patterns over keys, without the prefix, that are no registrations."""
    device: str = "wg0"
    """Audited device, whose record is read where a node has one for each: `<node>/<device>`."""


NO_RULES = ReadingRules()


def reading_rules(settings: ConsulSettings, device: str) -> ReadingRules:
    """Make the reading rules of a configuration. device: the audited one."""
    return ReadingRules(frozenset(settings.retired), settings.ignore, device)


_NO_VALUES: Mapping[str, str] = {}  # one for all: most registrations have no others


class ReadRecord(NamedTuple):
    """Outcome of reading one registration: the registration, its unreadable part, or both."""

    registration: Registration | None
    unreadable: InvalidRegistration | None = None

    @property
    def whole(self) -> Registration | None:
        """Registration, if all of it could be read; else None."""
        return self.registration if self.unreadable is None else None

    @property
    def reason(self) -> str:
        """Reason why not all of it could be read; "" if it could."""
        return self.unreadable.reason if self.unreadable is not None else ""


class _RecordError(Exception):
    """Failure to read anything of a registration; caught in this file, never leaves it."""


class _Names(NamedTuple):
    """Field names of `ConsulFields`, in the form that costs least to look up 20,000 times."""

    paths: tuple[str, str, str, str, str, str]
    """Of address, public key, region, endpoint, SSH host and state: the order in which values are handed on."""
    known: frozenset[str]
    dotted: bool


def _names(fields: ConsulFields) -> _Names:
    paths = (
        fields.address,
        fields.public_key,
        fields.region,
        fields.endpoint,
        fields.ssh_host,
        fields.state,
    )
    return _Names(paths, frozenset(paths), any("." in path for path in paths))


def read_kv(
    layout: Literal["kv-json", "kv-fields"],
    datacenter: str,
    prefix: str,
    items: Iterable[KvItem],
    fields: ConsulFields,
    rules: ReadingRules = NO_RULES,
    earlier: EarlierRecords | None = None,
) -> RegistryReading:
    """Read all keys under `prefix`; each must begin with it. The reading has no gaps.

    earlier: of earlier readings by the same rules; records that are as they were are taken from it.
    """
    if layout == "kv-fields":
        return _FieldKeys(datacenter, prefix, fields, rules).read(items)
    return _JsonKeys(datacenter, prefix, fields, rules, earlier).read(items)


def read_catalog(
    datacenter: str, nodes: Iterable[CatalogNode], fields: ConsulFields, rules: ReadingRules = NO_RULES
) -> RegistryReading:
    """Read the catalog's mesh nodes: those whose meta has a public key, an address or an endpoint.

    Others are not mesh nodes: a catalog also lists servers that are in no mesh, and a region alone is
    something that any of them may carry.
    """
    marks = (fields.public_key, fields.address, fields.endpoint)
    return _reading(
        parse_fields(
            NodeId(datacenter, node.name),
            f"catalog node {node.name[:MAX_TEXT]}",
            node.meta,
            fields,
            node.create_index,
            node.modify_index,
            ssh_host=node.address,
            rules=rules,
        )
        for node in nodes
        if any(mark in node.meta for mark in marks)
    )


def parse_json_record(
    node: NodeId,
    where: str,
    value: bytes | None,
    fields: ConsulFields,
    create_index: int | None = None,
    modify_index: int | None = None,
    rules: ReadingRules = NO_RULES,
) -> ReadRecord:
    """Read one KV record: a JSON object, its values at the dotted paths that `fields` gives."""
    return _json_record(node, KvItem(where, value, create_index, modify_index), _names(fields), rules)


def _json_record(node: NodeId, item: KvItem, names: _Names, rules: ReadingRules) -> ReadRecord:
    raw = item.value or b""
    try:
        document = _json_object(raw)
    except _RecordError as error:
        return ReadRecord(None, invalid(node, item.key, str(error), raw))
    at = partial(_at, document) if names.dotted else document.get
    known = tuple(map(at, names.paths))
    return _read(node, item, known, document, names, rules, [], raw)


def parse_fields(
    node: NodeId,
    where: str,
    values: Mapping[str, str],
    fields: ConsulFields,
    create_index: int | None = None,
    modify_index: int | None = None,
    *,
    ssh_host: str | None = None,
    rules: ReadingRules = NO_RULES,
) -> ReadRecord:
    """Read one node from a field-to-text mapping; the names in `fields` are taken as they stand.

    The address may be several: with commas or blanks between, or a JSON list. `ssh_host` is what to take
    where the mapping has none.
    """
    item = KvItem(where, None, create_index, modify_index)
    return _fields_record(node, item, values, _names(fields), rules, [], ssh_host)


def _fields_record(
    node: NodeId,
    item: KvItem,
    values: Mapping[str, str],
    names: _Names,
    rules: ReadingRules,
    faults: list[FieldFault],
    ssh_host: str | None = None,
) -> ReadRecord:
    address, public_key, region, endpoint, host, state = map(values.get, names.paths)
    if host is None or not host.strip(AROUND):
        host = ssh_host
    known = (address, public_key, region, endpoint, host, state)
    shown = {name: text[:EXCERPT] for name, text in sorted(values.items())[:MAX_VALUES]}
    raw = json.dumps(shown, ensure_ascii=False).encode(errors="replace")
    return _read(node, item, known, values, names, rules, faults, raw)


def invalid(
    node: NodeId, where: str, reason: str, raw: bytes, faults: Sequence[FieldFault] = ()
) -> InvalidRegistration:
    """Report a registration that cannot be read, with an excerpt that shows no key and no secret."""
    # Far more than an excerpt is masked before it is cut, so that no cut can run through a key.
    text = raw[: EXCERPT * 16].decode(errors="replace")
    text = _SECRET_REST.sub(r"\1…", _LONG_BASE64.sub("[base64]", _KEY_OTHERWISE.sub("[key]", masked(text))))
    if _SECRET_NAME.search(node.name):  # a key such as <node>/private_key, read with the wrong layout
        text = "[not shown]"
    shown = NodeId(node.datacenter, for_json(node.name[:MAX_TEXT]))
    return InvalidRegistration(shown, for_json(where[: 4 * MAX_TEXT]), reason, text[:EXCERPT], tuple(faults))


def _reading(parsed: Iterable[ReadRecord], others: Mapping[OtherKind, int] | None = None) -> RegistryReading:
    registrations: list[Registration] = []
    unreadable: list[InvalidRegistration] = []
    for one in parsed:
        if one.registration is not None:
            registrations.append(one.registration)
        if one.unreadable is not None:
            unreadable.append(one.unreadable)
    return RegistryReading(
        tuple(registrations), tuple(unreadable), others=OtherKeys() + OtherKeys(others or {})
    )


# -- keys


class _Keys:
    """Keys under one prefix: those of registrations are read, the others counted."""

    def __init__(self, datacenter: str, prefix: str, fields: ConsulFields, rules: ReadingRules) -> None:
        self.datacenter = datacenter
        self.prefix = prefix
        self.fields = fields
        self.names = _names(fields)
        self.rules = rules
        self.others: Counter[OtherKind] = Counter()

    def read(self, items: Iterable[KvItem]) -> RegistryReading:
        """Read the registry's content from the keys."""
        return _reading(self.records(items), self.others)

    def records(self, items: Iterable[KvItem]) -> Iterable[ReadRecord]:
        """Yield the outcome for each registration; other keys are counted on the way."""
        raise NotImplementedError

    def name_of(self, item: KvItem) -> str:
        """Return the key without the prefix."""
        return item.key[len(self.prefix) :]

    def plainly_other(self, item: KvItem, name: str) -> bool:
        """Tell whether a key is no registration whatever its value says; then it is counted."""
        kind = None
        if any(fnmatchcase(name, pattern) for pattern in self.rules.ignore):
            kind = OtherKind.IGNORED
        elif name.startswith(".") or "/." in name:
            kind = _held(item) or OtherKind.DOT_NAME
        elif not item.value and (not name or name.endswith("/")):
            kind = OtherKind.FOLDER
        if kind is not None:
            self.others[kind] += 1
        return kind is not None

    def held_by_another(self, item: KvItem) -> bool:
        """Tell whether a key that holds no registration is a lock's; then it is counted."""
        kind = _held(item)
        if kind is not None:
            self.others[kind] += 1
        return kind is not None


def _held(item: KvItem) -> OtherKind | None:
    if item.flags == LOCK_FLAGS:
        return OtherKind.LOCK
    if item.flags == SEMAPHORE_FLAGS:
        return OtherKind.SEMAPHORE
    return OtherKind.SESSION if item.session else None


class EarlierRecords:
    """Records of the reading before, for a follower that reads all again because one has changed."""

    def __init__(self) -> None:
        self._before: dict[KvItem, ReadRecord] = {}
        self._now: dict[KvItem, ReadRecord] = {}

    def begin(self) -> None:
        """Begin a new reading: what the last one did not show is forgotten."""
        self._before, self._now = self._now, {}

    def record(self, item: KvItem, read: Callable[[], ReadRecord]) -> ReadRecord:
        """Return the record of a key that is as it was, indexes and all; else read it."""
        found = self._before.get(item)
        self._now[item] = found = read() if found is None else found
        return found


class _JsonKeys(_Keys):
    """Keys with one JSON record a node, or one for each device of a node."""

    def __init__(
        self,
        datacenter: str,
        prefix: str,
        fields: ConsulFields,
        rules: ReadingRules,
        earlier: EarlierRecords | None,
    ) -> None:
        super().__init__(datacenter, prefix, fields, rules)
        self._earlier = earlier
        if earlier is not None:
            earlier.begin()

    def records(self, items: Iterable[KvItem]) -> Iterable[ReadRecord]:
        deeper: list[tuple[str, KvItem]] = []
        nodes: set[str] = set()
        for item in items:
            name = self.name_of(item)
            if self.plainly_other(item, name):
                continue
            if "/" in name:
                deeper.append((name, item))
                continue
            record = self._record(name, item)
            nodes.add(name)
            # A lock may be held on a node's own key: what the key holds decides.
            if record.registration is not None or not self.held_by_another(item):
                yield record
        yield from self._devices(deeper, nodes)

    def _record(self, name: str, item: KvItem) -> ReadRecord:
        node = NodeId(self.datacenter, name)
        if self._earlier is None or item.key != self.prefix + name:
            return _json_record(node, item, self.names, self.rules)
        return self._earlier.record(item, lambda: _json_record(node, item, self.names, self.rules))

    def _devices(self, items: Sequence[tuple[str, KvItem]], nodes: Collection[str]) -> Iterable[ReadRecord]:
        """Select records at `<node>/<device>`: the one of the audited device is the node's.

        Where no key is of that device, it is no such layout, and no record is taken for another device's: beside
        other `nodes` it is one with an odd name, without any the prefix is the wrong one. What stands below a node
        that has a key of its own, such as a copy, claims nothing beside it.
        """
        of_device = {name.partition("/")[0] for name, _ in items if self._is_of_device(name)}
        by_device = bool(of_device)
        for name, item in items:
            node, _, device = name.partition("/")
            if self._is_of_device(name):
                record = self._record(node, item)
            else:
                record = self._record(name, item)
                if "/" not in device and (
                    node in of_device or (by_device and record.registration is not None)
                ):
                    self.others[OtherKind.DEVICE] += 1
                    continue
                if (
                    record.registration is None or node in nodes or not (nodes or by_device)
                ):  # a field of the other layout, perhaps
                    unreadable = invalid(NodeId(self.datacenter, name), item.key, _FOLDER, item.value or b"")
                    record = ReadRecord(None, unreadable)
            if record.registration is not None or not self.held_by_another(item):
                yield record

    def _is_of_device(self, name: str) -> bool:
        node, _, device = name.partition("/")
        return bool(node) and device == self.rules.device


_FOLDER = (
    "key has a folder where a node is expected; is consul.layout kv-fields, consul.prefix one level off, "
    "or mesh.device another?"
)


class _FieldKeys(_Keys):
    """Keys with one field each, in a folder a node."""

    def records(self, items: Iterable[KvItem]) -> Iterable[ReadRecord]:
        folders: dict[str, dict[str, KvItem]] = {}
        for item in items:
            path = self.name_of(item)
            if self.plainly_other(item, path):
                continue
            name, slash, field = path.partition("/")
            if field not in self.names.known and self.held_by_another(item):
                continue
            if slash:
                folders.setdefault(name, {})[field] = item
            else:
                reason = "key has no field after the node's name; is consul.layout kv-json?"
                unreadable = invalid(NodeId(self.datacenter, name), item.key, reason, item.value or b"")
                yield ReadRecord(None, unreadable)
        for name, folder in folders.items():
            yield self._folder(NodeId(self.datacenter, name), f"{self.prefix}{name}/", folder)

    def _folder(self, node: NodeId, where: str, folder: Mapping[str, KvItem]) -> ReadRecord:
        values: dict[str, str] = {}
        faults: list[FieldFault] = []
        for field, item in folder.items():
            raw = item.value or b""
            try:
                if len(raw) > MAX_RECORD:
                    raise InvalidValue(f"larger than {MAX_RECORD} bytes")
                check_narrow(raw)
                values[field] = decoded(raw)
            except InvalidValue as error:
                if field in self.names.known:
                    faults.append(FieldFault(field, str(error)))
        # The address is what two writers race for, so its key's indexes stand for the node.
        address = folder.get(self.fields.address)
        indexes = (address.create_index, address.modify_index) if address else (None, None)
        item = KvItem(where, None, *indexes)
        return _fields_record(node, item, values, self.names, self.rules, faults)


# -- one record


def _check_name(name: str) -> None:
    if 0 < len(name) <= MAX_TEXT and "/" not in name and name.isprintable():
        return
    if "/" in name:
        raise InvalidValue(_FOLDER)
    if len(name) > MAX_TEXT:
        raise InvalidValue(f"{len(name)} characters, more than {MAX_TEXT}")
    raise InvalidValue("holds a control character, or another that does not print")


def _shortened(name: str) -> str:
    """Shorten a name to a bounded length, so that it stays unique."""
    if len(name) <= MAX_TEXT:
        return for_json(name)
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return for_json(f"{name[: MAX_TEXT - 9]}…{digest}")


def _json_object(value: bytes) -> Mapping[str, object]:
    text, end = _json_text(value), 0
    try:
        if text.startswith("{"):
            document, end = _DECODER.raw_decode(text)
        if not end or end != len(
            text
        ):  # blanks around it, or no JSON object; nothing at all behind a byte order mark
            document = _decode(text.strip(AROUND))
            if isinstance(document, str) and document.strip(AROUND).startswith("{"):
                document = _decode(document.strip(AROUND))
    except RecursionError:
        document = _shallow(text)
    except json.JSONDecodeError as error:
        raise _RecordError(_why_no_json(value, error)) from None
    except ValueError:
        raise _RecordError("not JSON that can be read") from None
    if not isinstance(document, dict):
        raise _RecordError("not a JSON object")
    return document


def _json_text(value: bytes) -> str:
    if not value.strip():
        raise _RecordError("empty value")
    if len(value) > MAX_RECORD:
        raise _RecordError(f"{len(value)} bytes, more than {MAX_RECORD}")
    try:
        check_narrow(value)
        return decoded(value)
    except InvalidValue as error:
        raise _RecordError(f"not JSON: {error}") from None


def _decode(text: str) -> object:
    return _DECODER.decode(text)


def _shallow(text: str) -> object:
    """Cut off values nested so deep that none of our fields can be there."""
    pieces: list[str] = []
    depth = kept_until = 0
    for token in _JSON_TOKEN.finditer(text):
        if token[0] in ("{", "["):
            depth += 1
            if depth == _DEEPEST + 1:
                pieces.append(text[kept_until : token.start()])
        elif token[0] in ("}", "]"):
            depth -= 1
            if depth == _DEEPEST:
                pieces.append("null")
                kept_until = token.end()
    if depth:
        raise _RecordError("not JSON: its brackets are not closed")
    try:
        return _decode("".join((*pieces, text[kept_until:])).strip(AROUND))
    except (ValueError, RecursionError):
        raise _RecordError("not JSON that can be read: nested too deep") from None


def _why_no_json(value: bytes, error: json.JSONDecodeError) -> str:
    if value.startswith(b"\x1f\x8b"):
        return "not JSON: gzip data"
    if value.strip().startswith(b"eyJ"):
        return "not JSON: base64, perhaps of JSON that was encoded twice"
    return f"not JSON: {error.msg.removesuffix(' at')} at character {error.pos}"


def _last_or_doubled(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        first: dict[str, object] = {}
        for name, value in pairs:
            # Readers differ in which of the two they take: the node may hold the one and its peers the other.
            if first.setdefault(name, value) != value:
                document[name] = DOUBLED
    return document


# json.loads would make one anew for each record, which costs more than to read it. Numbers stay the text that
# they are; a control character costs the field that it stands in.
_DECODER = json.JSONDecoder(object_pairs_hook=_last_or_doubled, parse_int=str, parse_float=str, strict=False)


def _at(document: Mapping[str, object], path: str) -> object:
    """Find the value at a dotted path; None where there is none."""
    value: object = document
    for part in path.split("."):
        if isinstance(value, str) and value.strip(AROUND).startswith("{"):
            try:
                value = _decode(value.strip(AROUND))
            except (ValueError, RecursionError):
                return None
        if value is DOUBLED:
            return value
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _read(
    node: NodeId,
    item: KvItem,
    known: tuple[object, ...],
    others: Mapping[str, object],
    names: _Names,
    rules: ReadingRules,
    faults: list[FieldFault],
    raw: bytes,
) -> ReadRecord:
    """Make a registration of the fields that can be read, and report the others."""
    name, where = node.name, item.key
    if not name:
        reason = "no node name: the key ends at the prefix"
        return ReadRecord(None, invalid(node, where, reason, raw))
    try:
        _check_name(name)
    except InvalidValue as error:
        faults.append(FieldFault("node name", str(error)))
        node, where = NodeId(node.datacenter, _shortened(name)), for_json(where[: 4 * MAX_TEXT])
    unread = {fault.field for fault in faults}
    address, public_key, region, endpoint, ssh_host, state = known
    address_name, key_name, region_name, endpoint_name, host_name, state_name = names.paths
    key = None if key_name in unread else _key(public_key, key_name, faults)
    addresses, all_read = ((), False) if address_name in unread else _addresses(address, address_name, faults)
    # A flag (`"disabled": true`) is a state as JSON spells it.
    life = _text(str(state).lower() if isinstance(state, bool) else state, state_name, faults)
    registration = Registration(
        node,
        key,
        addresses,
        _text(region, region_name, faults),
        _host(endpoint, endpoint_name, faults),
        _host(ssh_host, host_name, faults),
        _values(others, names.known),
        where,
        item.create_index,
        item.modify_index,
        life,
        life in rules.retired,
        all_read,
    )
    if registration.retired:  # it may have given its key and address up; what still stands is read
        gone = [name for name, value in ((key_name, public_key), (address_name, address)) if not value]
        faults = [fault for fault in faults if fault.field not in gone]
    if not faults:
        return ReadRecord(registration)
    reason = "; ".join(f"{fault.field}: {fault.reason}" for fault in faults[:MAX_FAULTS])
    unreadable = invalid(node, where, reason, raw, faults[:MAX_FAULTS])
    something = key or addresses or registration.endpoint or registration.ssh_host
    return ReadRecord(registration if something else None, unreadable)


def _key(value: object, field: str, faults: list[FieldFault]) -> PublicKey | None:
    try:
        if (
            type(value) is str
            and len(value) == 44
            and "-" not in value
            and "_" not in value
            and value[-1] == "="
        ):
            return parse_public_key(value)  # as nearly all are written
        return read_public_key(value)
    except InvalidValue as error:
        faults.append(FieldFault(field, str(error)))
    return None


def _addresses(value: object, field: str, faults: list[FieldFault]) -> tuple[tuple[Prefix, ...], bool]:
    """Read the addresses; return those that can be read, and whether these are all."""
    if type(value) is str:
        try:
            return (check_nodes_address(parse_prefix(value)),), True  # as nearly all are written
        except InvalidValue:
            pass  # the reader of other spellings has the reason
    found, unread = read_prefixes(value, MAX_ADDRESSES)
    faults += [FieldFault(f"{field}{place}", reason) for place, reason in unread]
    return tuple(found), not unread


def _host(value: object, field: str, faults: list[FieldFault]) -> str | None:
    text = _text(value, field, faults)
    # A password leads nowhere from here, and would stand in gaps, reports and recordings.
    return without_login(text) if text is not None and "@" in text else text


def _text(value: object, field: str, faults: list[FieldFault]) -> str | None:
    if value is None:
        return None
    # As nearly all are written: nothing stands around it. A blank and a quote sort before what a text begins with.
    if (
        type(value) is str
        and 0 < len(value) <= MAX_TEXT
        and value[0] > '"' < value[-1]
        and value.isprintable()
    ):
        return value
    try:
        return read_text(value)
    except InvalidValue as error:
        faults.append(FieldFault(field, str(error)))
    return None


def _values(document: Mapping[str, object], known: frozenset[str]) -> Mapping[str, str]:
    if known.issuperset(document):
        return _NO_VALUES
    # With a password before it a text stays, masked: a gap that says it is no host beats one that says it is not there.
    found = {
        name: text
        for name, value in document.items()
        if isinstance(value, str)
        and name not in known
        and len(value) <= MAX_TEXT
        and _HOST_TEXT.fullmatch(text := without_login(value))
        and _VALUE_NAME.fullmatch(name)
        and not _SECRET_NAME.search(name)
    }
    # Sorted, so that the same record gives the same value whatever the order it was written in.
    return dict(sorted(found.items())[:MAX_VALUES])
