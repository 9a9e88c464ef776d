"""PURE: a hint at the right prefix where the configured one holds no registration: a level off, or a typo."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Literal

from auditor.registry.records import KvItem, read_kv
from auditor.values.text import count, for_detail, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from auditor.settings.consul import ConsulSettings

KvLayout = Literal["kv-json", "kv-fields"]

_FOLDERS = 8
"""Folders whose keys are looked at."""
_SAMPLE = 24
"""Keys of each."""
_TRIED = 4
"""Folders of the top level in which a prefix is looked for."""


class Samples:
    """A few keys of each folder under the prefix, kept while registrations are read."""

    def __init__(self, settings: ConsulSettings) -> None:
        self._settings = settings
        self._folders: dict[str, list[KvItem]] = {}

    def of(self, items: Iterable[KvItem]) -> Iterator[KvItem]:
        """Pass the items on, and keep samples of them."""
        start = len(self._settings.prefix)
        for item in items:
            end = item.key.find("/", start) + 1
            folder = item.key[:end] or self._settings.prefix
            kept = self._folders.get(folder)
            if kept is None:
                if len(self._folders) < _FOLDERS:
                    self._folders[folder] = [item]
            elif len(kept) < _SAMPLE:
                kept.append(item)
            yield item

    def hint(self) -> str:
        """Name the prefix under which the keys would be registrations, one level down or up; "" if none is."""
        prefix = self._settings.prefix
        if self._settings.layout == "catalog":
            return ""
        near = [folder for folder in self._folders if folder != prefix]
        if self._settings.layout == "kv-fields":
            near.append(parent(prefix))
        fitting = [name for name in near if name and self._fits(name, self._settings.layout)]
        return f"is consul.prefix to be {' or '.join(map(for_detail, fitting))}?" if fitting else ""

    def _fits(self, prefix: str, layout: KvLayout) -> bool:
        kept = self._folders.get(prefix)
        if kept is None:
            kept = [item for items in self._folders.values() for item in items]
        elif layout == "kv-json":
            kept = [item for item in kept if "/" not in item.key[len(prefix) :]]
        return bool(read_kv(layout, "", prefix, kept, self._settings.fields).registrations)


def parent(prefix: str) -> str:
    """Return the prefix one level up; "" is the top."""
    return prefix[: prefix.rstrip("/").rfind("/") + 1]


def candidates(prefix: str, beside: Sequence[str]) -> tuple[str, ...]:
    """List folders to read for a prefix that lacks its first level. beside: keys and folders of the top level."""
    return tuple(key for key in beside if key.endswith("/") and key != prefix)[:_TRIED]


def missing_prefix_hint(prefix: str, beside: Sequence[str], elsewhere: Sequence[str]) -> str:
    """Name an existing prefix in place of one that is not there; "" where nothing is near.

    beside: keys and folders one level up; elsewhere: prefixes that are there and end as the missing one does.
    """
    if elsewhere:
        return f"is consul.prefix to be {' or '.join(map(for_detail, elsewhere))}?"
    above = parent(prefix)
    shown = for_detail(above) or "the top level"
    folders = [key for key in beside if key.endswith("/") and key != above]
    if alike := difflib.get_close_matches(prefix, folders, n=1):
        return f"is consul.prefix to be {for_detail(alike[0])}?"
    if above and len(folders) < len(beside):
        return f"{shown} holds {count(len(beside) - len(folders), 'key')}: is that consul.prefix?"
    if folders:
        return f"{shown} holds the folders {listed(map(for_detail, folders))}"
    return ""
