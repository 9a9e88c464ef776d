"""Mesh addresses of registries, kept between jobs, so that they need not come again with each."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.errors import StreamBroken
from auditor.gather.nats.message_parts import addresses_digest
from auditor.values.addresses import Prefix

MOST_KEPT = 4
"""Registries whose addresses are kept: those of a few auditors, and their last change."""


class KnownAddresses:
    """Mesh addresses of the registries that were named last, by their digest."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Prefix, ...]] = {}

    def has(self, digest: str | None) -> bool:
        """Tell whether these need not come again."""
        return digest in self._kept

    def of(self, digest: str | None, came: Sequence[Prefix]) -> tuple[Prefix, ...]:
        """Return the addresses of a digest: those that came, which are kept, or those kept before.

        Raises `StreamBroken` where what came is not what the digest says.
        """
        if digest is None:
            return tuple(came)
        if not came and (kept := self._kept.pop(digest, None)) is not None:
            self._kept[digest] = kept  # now the last one to be forgotten
            return kept
        if addresses_digest(came) != digest:
            raise StreamBroken("the mesh addresses of the registry are not those of their digest")
        self._kept.pop(digest, None)
        self._kept[digest] = tuple(came)
        while len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return self._kept[digest]
