"""Words for registrations and their changes, for every form that people read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from auditor.values.addresses import Prefix, format_prefix
from auditor.values.models import Registration
from auditor.values.registration_changes import ChangeSource, RegistrationChange, RegistrationChangeKind
from auditor.values.text import listed, minute

Clean = Callable[[str], str]
"""Makes foreign text harmless for where it goes."""

_NAMES = {
    "public_key": "key",
    "addresses": "address",
    "region": "region",
    "endpoint": "endpoint",
    "ssh_host": "ssh_host",
    "state": "state",
}


def between(change: RegistrationChange) -> str:
    """Word when it happened: a sweep knows an interval, a watch the moment."""
    first, last = change.not_before, change.not_after
    if change.seen_by is ChangeSource.WATCH:
        return f"{_time(last)}.{last.microsecond // 100_000}"
    same_day = first.date() == last.date()
    return f"{_time(first)} to {last:%H:%M:%S}" if same_day else f"{_time(first)} to {_time(last)}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def held_until(changes: Iterable[RegistrationChange], prefix: Prefix) -> tuple[str, ...]:
    """Word who lost an address and when, a sentence each: `edge-1 held 10.0.0.9 until … at the latest.`"""
    return tuple(
        f"{item.node} held {format_prefix(prefix)} by its registration until {minute(item.not_after)} at the latest."
        for item in changes
        if item.before is not None
        and prefix in item.before.addresses
        and (item.after is None or prefix not in item.after.addresses)
    )


def change_words(change: RegistrationChange, clean: Clean) -> str:
    """Word what became of the registration: `changed address 10.0.0.9 to 10.0.0.17`, `removed: key …`."""
    before, after = change.before, change.after
    if change.kind is RegistrationChangeKind.CHANGED and before is not None and after is not None:
        changes = (
            f"{_NAMES[name]} {_value(before, name, clean)} to {_value(after, name, clean)}"
            for name in change.fields
        )
        return f"changed {listed(changes)}"
    item = after or before
    return (
        f"{change.kind.value}: {registration_words(item, clean)}" if item is not None else change.kind.value
    )


def registration_words(item: Registration, clean: Clean) -> str:
    """Word what a registration says: `10.0.0.9, key U8fP9qA1…, region sin, ssh_host 198.18.0.12`."""
    return ", ".join(_parts(item, clean))


def _parts(item: Registration, clean: Clean) -> Iterator[str]:
    yield _value(item, "addresses", clean)
    yield f"key {_value(item, 'public_key', clean)}"
    for name in ("region", "ssh_host", "endpoint", "state"):
        if getattr(item, name):
            yield f"{name} {_value(item, name, clean)}"


def _value(item: Registration, name: str, clean: Clean) -> str:
    if name == "addresses":
        return listed(map(format_prefix, item.addresses)) or "no address"
    if name == "public_key":
        return f"{item.public_key[:8]}..." if item.public_key else "none"
    return clean(getattr(item, name) or "none")
