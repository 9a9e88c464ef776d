"""PURE: reader of text as people and tools write it: blanks, interface notation, keys in hex, JSON in JSON.

Only unambiguous text is read. A guess would raise `InvalidValue` with the reason.
"""

from __future__ import annotations

import ipaddress
import json
import re
import string
from base64 import b64encode

from auditor.errors import InvalidValue
from auditor.values.addresses import Prefix, PublicKey, parse_prefix, parse_public_key

MAX_TEXT = 253
"""Characters of a name, region, endpoint or host: the longest that DNS allows."""
AROUND = string.whitespace + "\ufeff\u200b\u00a0\0"
"""Meaningless characters around a text: blanks, line ends, a byte order mark, a C string's end."""

_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")
_URL_SAFE = str.maketrans("-_", "+/")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_WIDE = re.compile(rb'\A(?:\0["{\[0-9A-Za-z:]|["{\[0-9A-Za-z:]\0)')


class Doubled:
    """Mark in place of a value whose name is in its object twice, with different values."""


DOUBLED = Doubled()


def decoded(raw: bytes) -> str:
    """Decode bytes to text. Bytes that are not UTF-8 become lone surrogates, for the field that they belong to.

    Raises `InvalidValue` for text in an encoding that no reader of a registry expects.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError:
        if raw.startswith(_UTF16):
            return _marked_utf16(raw)
        return raw.decode(errors="surrogateescape")


def _marked_utf16(raw: bytes) -> str:
    try:
        return raw.decode("utf-16")  # its byte order mark says so: a Windows shell writes files like that
    except UnicodeDecodeError:
        raise InvalidValue("UTF-16 text that is cut off; write it as UTF-8") from None


def check_narrow(raw: bytes) -> None:
    """Raise `InvalidValue` for UTF-16 without a byte order mark, which is UTF-8 too, with a NUL at every letter."""
    if _WIDE.match(raw):
        raise InvalidValue("UTF-16 text; write it as UTF-8")


def read_text(value: object) -> str | None:
    """Strip meaningless characters around a text; None where nothing is left. Raises `InvalidValue`."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidValue(_kind(value))
    text = unquoted(value.strip(AROUND))
    if len(text) > MAX_TEXT:
        raise InvalidValue(f"{len(text)} characters, more than {MAX_TEXT}")
    if not text.isprintable():
        raise InvalidValue(_unprintable(text))
    return text or None


def unquoted(text: str) -> str:
    """Unwrap a text that is a JSON string or stands in a shell's quotes, once; any other text is unchanged."""
    if len(text) > 2 and text[0] == text[-1] == "'" and "'" not in text[1:-1]:
        return text[1:-1].strip(AROUND)
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    try:
        inner = json.loads(text, strict=False)
    except ValueError:
        return text
    return inner.strip(AROUND) if isinstance(inner, str) else text


def read_public_key(value: object) -> PublicKey:
    """Read a key in base64, with or without padding, URL-safe too, or in hex. Raises `InvalidValue`."""
    text = read_text(value)
    if text is None:
        raise InvalidValue("missing")
    if _HEX_KEY.fullmatch(text):
        return PublicKey(b64encode(bytes.fromhex(text)).decode())
    spelled = text.translate(_URL_SAFE)
    return parse_public_key(f"{spelled}=" if len(spelled) == 43 else spelled)


def read_prefix(text: str) -> Prefix:
    """Read an address or prefix; `10.0.0.5/8` is the host 10.0.0.5, as on interfaces. Raises `InvalidValue`."""
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if _NOT_UTF8.search(text):
        raise InvalidValue("not UTF-8 text")
    address, slash, length = text.partition("/")
    length = _length_of_netmask(length)
    try:
        return check_nodes_address(parse_prefix(f"{address}{slash}{length}"))
    except InvalidValue:
        bits = 128 if ":" in address else 32
        if not slash or not re.fullmatch(r"0|[1-9][0-9]{0,2}", length) or int(length) > bits:
            raise
        return check_nodes_address(
            parse_prefix(address)
        )  # what is wrong with a good length can be the address, or its host bits


def check_nodes_address(prefix: Prefix) -> Prefix:
    """Return the prefix as it is. Raises `InvalidValue` for one address that no node can have, such as `0.0.0.0`."""
    if prefix.startswith(_NO_NODES) and prefix.endswith(("/32", "/128")):
        raise InvalidValue(_why_no_nodes(prefix))
    return prefix


_NO_NODES = ("0.0.0.0/32", "::/128", "127.", "::1/128", "255.")


def _why_no_nodes(prefix: str) -> str:
    if prefix.startswith("255."):
        return "a netmask or the broadcast address, not a node's; write the length after the address (/8)"
    if prefix.startswith(("0.", "::/")):
        return "the unspecified address, which no node can have"
    return "a loopback address, which every machine has"


def _length_of_netmask(length: str) -> str:
    """Return `8` for `255.0.0.0`; what is no netmask, unchanged."""
    if not length.startswith("255."):
        return length
    try:
        return str(ipaddress.IPv4Network(f"0.0.0.0/{length}").prefixlen)
    except ValueError:
        return length


def read_prefixes(value: object, most: int) -> tuple[dict[Prefix, None], list[tuple[str, str]]]:
    """Read addresses in order, each once, and the unreadable ones: place after the field's name, and reason.

    One address, several with commas or blanks between, or a list, which may be a text that holds one.
    """
    if isinstance(value, str):
        value = _listed(unquoted(value.strip(AROUND)))
    if value is None or value == []:
        return {}, [("", "missing or empty")]
    if not isinstance(value, list):
        return {}, [("", _kind(value))]
    found: dict[Prefix, None] = {}
    faults = (
        [("", f"{len(value)} addresses, more than {most}; the rest is not read")] if len(value) > most else []
    )
    for position, entry in enumerate(value[:most]):
        place = f"[{position}]" if len(value) > 1 else ""
        if not isinstance(entry, str):
            faults.append((place, "null where an address is meant" if entry is None else _kind(entry)))
            continue
        for text in _SEPARATORS.split(entry.strip(AROUND))[:most]:
            try:
                found[read_prefix(text.strip(AROUND))] = None
            except InvalidValue as error:
                faults.append((place, str(error)))
    return found, faults


_SEPARATORS = re.compile(r"[,;\s]+")


def _listed(text: str) -> object:
    """Split a text of several addresses."""
    if text.startswith("["):
        try:
            listed: object = json.loads(text)
        except (ValueError, RecursionError):
            if (
                text.endswith("]") and ":" not in text
            ):  # not `[fdaa::1]`; `[10.0.0.1, 10.0.0.2]`, quoted or not
                text = re.sub(r"[\[\]'\"]", " ", text).strip()
        else:
            return listed
    return [part for part in _SEPARATORS.split(text) if part] or None


def _unprintable(text: str) -> str:
    if _NOT_UTF8.search(text):
        return "not UTF-8 text"
    return "holds a control character, or another that does not print"


def _kind(value: object) -> str:
    if isinstance(value, Doubled):
        return "stands twice, with different values, and readers differ in which they take"
    kinds = {bool: "true or false", list: "a list", dict: "an object", float: "no number"}
    return f"{kinds.get(type(value), 'something else')} where text is meant"
