"""Reads registrations from raw values: one JSON record, a folder of keys, or a catalog node's meta. Pure.

Nothing here raises for what Consul holds: what cannot be read becomes an `InvalidRegistration` with its
reason, and the rest go on. All sizes are bounded, because the registry's content is not ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from auditor.errors import InvalidValue
from auditor.values.addresses import Prefix, parse_prefix, parse_public_key
from auditor.values.models import InvalidRegistration, NodeId, Registration, RegistryReading
from auditor.values.names import VALUE_NAME
from auditor.values.text import for_json, masked

if TYPE_CHECKING:
    from auditor.settings.consul import ConsulFields

MAX_RECORD = 64 * 1024
"""Bytes of one registration."""
MAX_ADDRESSES = 64
MAX_TEXT = 253
"""Characters of a name, region, endpoint or host: the longest that DNS allows."""
MAX_VALUES = 32
EXCERPT = 80

# A host template needs nothing but what can stand in a host's name, so nothing else is kept: a key (its
# base64 ends in "="), a URL or a sentence never gets into a snapshot this way.
_HOST_TEXT = re.compile(r"[A-Za-z0-9._:\-]{1,253}")
_VALUE_NAME = re.compile(VALUE_NAME)
_SECRET_NAME = re.compile(
    r"private|preshared|psk|secret|token|passw|credential|webhook|api_?key", re.IGNORECASE
)
# What must not get into an excerpt: all from a secret-looking name or a URL on, and any whole 32-byte key. A
# key that made a registration unreadable is no whole key, so nothing that explains the reason is lost.
_SECRET_REST = re.compile(rf"((?:{_SECRET_NAME.pattern})\w*|https?://).*", re.IGNORECASE | re.DOTALL)
_SEPARATORS = re.compile(r"[,\s]+")


class KvItem(NamedTuple):
    """One key of Consul's KV store."""

    key: str
    value: bytes | None
    """None or empty: a folder that the Consul UI made."""
    create_index: int | None = None
    modify_index: int | None = None


class CatalogNode(NamedTuple):
    """One node of Consul's catalog."""

    name: str
    address: str
    meta: Mapping[str, str]
    create_index: int | None = None
    modify_index: int | None = None


_NO_VALUES: Mapping[str, str] = {}  # one for all: most registrations have no others


class ReadRecord(NamedTuple):
    """What was read of one registration: the registration, what could not be read of it, or both."""

    registration: Registration | None
    unreadable: InvalidRegistration | None = None

    @property
    def whole(self) -> Registration | None:
        """The registration if all of it could be read."""
        return self.registration if self.unreadable is None else None

    @property
    def reason(self) -> str:
        """Why not all of it could be read; "" if it could."""
        return self.unreadable.reason if self.unreadable is not None else ""


class _RecordError(Exception):
    """Why a registration cannot be read; caught in this file, never leaves it."""


class _Names(NamedTuple):
    """What `ConsulFields` says, in the form that costs least to follow 20,000 times."""

    paths: tuple[str, str, str, str, str]
    """Of address, public key, region, endpoint and SSH host: the order in which their values are handed on."""
    known: frozenset[str]
    dotted: bool


def _names(fields: ConsulFields) -> _Names:
    paths = (fields.address, fields.public_key, fields.region, fields.endpoint, fields.ssh_host)
    return _Names(paths, frozenset(paths), any("." in path for path in paths))


def read_kv(
    layout: Literal["kv-json", "kv-fields"],
    datacenter: str,
    prefix: str,
    items: Iterable[KvItem],
    fields: ConsulFields,
) -> RegistryReading:
    """Reads all keys under `prefix`; each must begin with it. The reading has no gaps."""
    if layout == "kv-fields":
        return _reading(_field_keys(datacenter, prefix, items, fields))
    names, start = _names(fields), len(prefix)
    return _reading(
        _json_record(NodeId(datacenter, item.key[start:]), item, names)
        for item in items
        if item.value or not _is_folder(item)
    )


def read_catalog(datacenter: str, nodes: Iterable[CatalogNode], fields: ConsulFields) -> RegistryReading:
    """Reads the catalog's mesh nodes: those whose meta has a public key, an address or an endpoint.

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
) -> ReadRecord:
    """Reads one KV record: a JSON object, its values at the dotted paths that `fields` gives."""
    return _json_record(node, KvItem(where, value, create_index, modify_index), _names(fields))


def _json_record(node: NodeId, item: KvItem, names: _Names) -> ReadRecord:
    try:
        _check_name(node.name)
        document = _json_object(item.value or b"")
        at = partial(_at, document) if names.dotted else document.get
        known = tuple(map(at, names.paths))
        read = _registration(node, item.key, known, document, names, item.create_index, item.modify_index)
        return ReadRecord(read)
    except _RecordError as error:
        return ReadRecord(None, invalid(node, item.key, str(error), item.value or b""))


def parse_fields(
    node: NodeId,
    where: str,
    values: Mapping[str, str],
    fields: ConsulFields,
    create_index: int | None = None,
    modify_index: int | None = None,
    *,
    ssh_host: str | None = None,
) -> ReadRecord:
    """Reads one node from a field-to-text mapping; the names in `fields` are taken as they stand.

    The address may be several: with commas or blanks between, or a JSON list. `ssh_host` is what to take
    where the mapping has none.
    """
    try:
        _check_name(node.name)
        if sum(len(name) + len(text) for name, text in values.items()) > MAX_RECORD:
            raise _RecordError(f"larger than {MAX_RECORD} bytes")
        names = _names(fields)
        address, public_key, region, endpoint, host = (values.get(name, "").strip() for name in names.paths)
        known = (_several(address, fields.address), public_key, region, endpoint, host or ssh_host)
        return ReadRecord(_registration(node, where, known, values, names, create_index, modify_index))
    except _RecordError as error:
        shown = json.dumps(dict(sorted(values.items())), ensure_ascii=False)
        return ReadRecord(None, invalid(node, where, str(error), shown.encode(errors="replace")))


def invalid(node: NodeId, where: str, reason: str, raw: bytes) -> InvalidRegistration:
    """What is reported of a registration that cannot be read: its excerpt shows no key and no secret."""
    # Far more than an excerpt is masked before it is cut, so that no cut can run through a key.
    text = raw[: EXCERPT * 16].decode(errors="replace")
    text = _SECRET_REST.sub(r"\1…", masked(text))
    if _SECRET_NAME.search(node.name):  # a key such as <node>/private_key, read with the wrong layout
        text = "[not shown]"
    shown = NodeId(node.datacenter, for_json(node.name[:MAX_TEXT]))
    return InvalidRegistration(shown, for_json(where[: 4 * MAX_TEXT]), reason, text[:EXCERPT])


def _reading(parsed: Iterable[ReadRecord]) -> RegistryReading:
    registrations: list[Registration] = []
    unreadable: list[InvalidRegistration] = []
    for one in parsed:
        if one.registration is not None:
            registrations.append(one.registration)
        if one.unreadable is not None:
            unreadable.append(one.unreadable)
    return RegistryReading(tuple(registrations), tuple(unreadable))


def _is_folder(item: KvItem) -> bool:
    """Whether it is what the Consul UI makes of an empty folder, the prefix itself included."""
    return item.key.endswith("/") and not item.value


def _field_keys(
    datacenter: str, prefix: str, items: Iterable[KvItem], fields: ConsulFields
) -> Iterable[ReadRecord]:
    folders: dict[str, dict[str, KvItem]] = {}
    mapped = frozenset(fields.model_dump().values())
    for item in items:
        if _is_folder(item):
            continue
        name, slash, field = item.key[len(prefix) :].partition("/")
        if slash:
            folders.setdefault(name, {})[field] = item
        else:
            reason = "key has no field after the node's name; is consul.layout kv-json?"
            yield ReadRecord(None, invalid(NodeId(datacenter, name), item.key, reason, item.value or b""))
    for name, folder in folders.items():
        yield _folder(NodeId(datacenter, name), f"{prefix}{name}/", folder, fields, mapped)


def _folder(
    node: NodeId, where: str, folder: Mapping[str, KvItem], fields: ConsulFields, mapped: frozenset[str]
) -> ReadRecord:
    values: dict[str, str] = {}
    for field, item in folder.items():
        raw = item.value or b""
        named = f"{field[:MAX_TEXT]}: ".encode(errors="replace") + raw
        if len(raw) > MAX_RECORD:
            reason = f"{field[:MAX_TEXT]}: larger than {MAX_RECORD} bytes"
            return ReadRecord(None, invalid(node, where, reason, named))
        try:
            values[field] = raw.decode()
        except UnicodeDecodeError:
            if field in mapped:
                return ReadRecord(None, invalid(node, where, f"{field}: not UTF-8 text", named))
    # The address is what two writers race for, so its key's indexes stand for the node.
    address = folder.get(fields.address)
    create_index, modify_index = (address.create_index, address.modify_index) if address else (None, None)
    return parse_fields(node, where, values, fields, create_index, modify_index)


def _check_name(name: str) -> None:
    if 0 < len(name) <= MAX_TEXT and "/" not in name and name.isprintable():
        return
    if not name:
        raise _RecordError("no node name: the key ends at the prefix")
    if "/" in name:
        raise _RecordError("key has a folder where a node is expected; is consul.layout kv-fields?")
    if len(name) > MAX_TEXT:
        raise _RecordError(f"node name: {len(name)} characters, more than {MAX_TEXT}")
    raise _RecordError("node name: holds a control character, or another that does not print")


def _json_object(value: bytes) -> Mapping[str, object]:
    if not value:
        raise _RecordError("empty value")
    if len(value) > MAX_RECORD:
        raise _RecordError(f"{len(value)} bytes, more than {MAX_RECORD}")
    try:
        text, end = value.decode(), 0
        if text.startswith("{"):
            document, end = _DECODER.raw_decode(text)
        if end != len(text):  # blanks around it, or no JSON object
            document = json.loads(text, object_pairs_hook=_no_duplicates)
    except UnicodeDecodeError:
        raise _RecordError("not JSON: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise _RecordError(f"not JSON: {error.msg.removesuffix(' at')} at character {error.pos}") from None
    except (ValueError, RecursionError):
        raise _RecordError("not JSON that can be read: a number too long, or nested too deep") from None
    if not isinstance(document, dict):
        raise _RecordError("not a JSON object")
    return document


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                break
            seen.add(name)
        # Readers differ in which of the two they take: the node may hold the one and its peers the other.
        raise _RecordError(f"the name {json.dumps(name[:40])} stands twice")
    return document


# json.loads would make one anew for each record, which costs more than to read it.
_DECODER = json.JSONDecoder(object_pairs_hook=_no_duplicates)


def _at(document: Mapping[str, object], path: str) -> object:
    """The value at a dotted path; None where there is none."""
    value: object = document
    for part in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _several(text: str, field: str) -> object:
    if not text.startswith("["):
        return [part for part in _SEPARATORS.split(text) if part]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _RecordError(f"{field}: begins like a JSON list, but is none") from None


def _registration(
    node: NodeId,
    where: str,
    known: tuple[object, ...],
    others: Mapping[str, object],
    names: _Names,
    create_index: int | None,
    modify_index: int | None,
) -> Registration:
    address, public_key, region, endpoint, ssh_host = known
    address_name, key_name, region_name, endpoint_name, host_name = names.paths
    if public_key is None or public_key == "":
        raise _RecordError(f"no public_key: field {key_name} is missing")
    if not isinstance(public_key, str):
        raise _RecordError(f"{key_name}: not text")
    addresses = _addresses(address, address_name)
    try:
        key = parse_public_key(public_key)
    except InvalidValue as error:
        raise _RecordError(f"{key_name}: {error}") from None
    return Registration(
        node,
        key,
        addresses,
        _text(region, region_name),
        _text(endpoint, endpoint_name),
        _text(ssh_host, host_name),
        _values(others, names.known),
        where,
        create_index,
        modify_index,
    )


def _addresses(value: object, field: str) -> tuple[Prefix, ...]:
    if isinstance(value, str) and value:
        try:
            return (parse_prefix(value),)
        except InvalidValue as error:
            raise _RecordError(f"{field}: {error}") from None
    if value is None or value in ("", []):
        raise _RecordError(f"no address: field {field} is missing or empty")
    texts = value if isinstance(value, list) else [value]
    if len(texts) > MAX_ADDRESSES:
        raise _RecordError(f"{field}: {len(texts)} addresses, more than {MAX_ADDRESSES}")
    found: dict[Prefix, None] = {}
    for position, text in enumerate(texts):
        place = f"{field}[{position}]" if len(texts) > 1 else field
        if not isinstance(text, str):
            raise _RecordError(f"{place}: not text")
        try:
            found[parse_prefix(text)] = None
        except InvalidValue as error:
            raise _RecordError(f"{place}: {error}") from None
    return tuple(found)


def _text(value: object, field: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise _RecordError(f"{field}: not text")
    if len(value) > MAX_TEXT:
        raise _RecordError(f"{field}: {len(value)} characters, more than {MAX_TEXT}")
    if not value.isprintable():
        raise _RecordError(f"{field}: holds a control character, or another that does not print")
    return value


def _values(document: Mapping[str, object], known: frozenset[str]) -> Mapping[str, str]:
    if known.issuperset(document):
        return _NO_VALUES
    found = {
        name: value
        for name, value in document.items()
        if isinstance(value, str)
        and name not in known
        and _HOST_TEXT.fullmatch(value)
        and _VALUE_NAME.fullmatch(name)
        and not _SECRET_NAME.search(name)
    }
    # Sorted, so that the same record gives the same value whatever the order it was written in.
    return dict(sorted(found.items())[:MAX_VALUES])
