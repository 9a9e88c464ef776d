"""PURE: read of one datacenter's registrations: what Consul is asked for, and what its answer says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from auditor.errors import GapReason, RegistryError
from auditor.registry.agent import without
from auditor.registry.answers import NO_TOKEN, catalog_nodes, decoded, kv_rows
from auditor.registry.prefix_hints import Samples, candidates, missing_prefix_hint, parent
from auditor.registry.records import EarlierRecords, read_catalog, read_kv
from auditor.values.models import Gap, RegistryReading

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from pydantic import SecretStr

    from auditor.registry.records import ReadingRules
    from auditor.settings.consul import ConsulSettings


class DatacenterRead:
    """Read of all registrations of one datacenter."""

    def __init__(
        self,
        settings: ConsulSettings,
        rules: ReadingRules,
        token: SecretStr | None,
        datacenter: str,
        *,
        again: bool = False,
    ) -> None:
        """datacenter: "" is the agent's own. again: it is read again and again, so records are kept in between."""
        self._settings = settings
        self._rules = rules
        self._token = token
        self._datacenter = datacenter
        self._earlier = EarlierRecords() if again else None
        catalog = settings.layout == "catalog"
        self.path = "/v1/catalog/nodes" if catalog else f"/v1/kv/{settings.prefix}"
        self.params = (
            *((("recurse", "1"),) if not catalog else ()),
            *((("dc", datacenter),) if datacenter else ()),
            ("consistent", "1"),
        )
        """Of a plain read; a waiting one adds index and wait."""

    def reading(self, body: bytes, asked: str, *, filtered: bool) -> RegistryReading:
        """Read the body of a whole answer. Raises `RegistryError` where it is not what was asked for.

        filtered: Consul says that it left rows out.
        """
        settings, samples = self._settings, Samples(self._settings)
        if settings.layout == "catalog":
            nodes = catalog_nodes(json.loads(body), asked)
            reading = read_catalog(self._datacenter, nodes, settings.fields, self._rules)
            nothing = f"none of {len(nodes)} nodes has the meta keys of a mesh node; check consul.fields"
        else:
            items = samples.of(kv_rows(body, settings.prefix, asked))
            reading = read_kv(
                settings.layout,
                self._datacenter,
                settings.prefix,
                items,
                settings.fields,
                self._rules,
                self._earlier,
            )
            nothing = "the prefix is there, but no registration under it"
        gaps = []
        token_sent = "" if self._token is not None else NO_TOKEN
        if filtered:
            detail = f"{asked}: Consul left out what the token may not read; use one that may read all"
            gaps.append(self.gap(RegistryError(GapReason.CONSUL_FILTERED, joined(detail, token_sent))))
        hint = "" if reading.registrations else samples.hint()
        if not reading.registrations and (hint or not reading.invalid):
            detail = joined(f"{asked}: {nothing}", hint, token_sent)
            gaps.append(self.gap(RegistryError(GapReason.REGISTRY_EMPTY, detail)))
        return RegistryReading(reading.registrations, reading.invalid, tuple(gaps), reading.others)

    def decoded(self, body: bytes, asked: str, hint: str, *, filtered: bool) -> RegistryReading:
        """Read as `reading` does; a body that is no such JSON is a `RegistryError` too."""
        return decoded(lambda: self.reading(body, asked, filtered=filtered), asked, hint)

    def gap(self, error: RegistryError) -> Gap:
        """Make the gap of a read that failed."""
        return consul_gap(error, self._token, self._datacenter)


def consul_gap(error: RegistryError, token: SecretStr | None, datacenter: str) -> Gap:
    """Make the gap of a datacenter that could not be read whole, without the token."""
    return Gap("consul", error.reason, without(token, error.detail), datacenter=datacenter or None)


def prefix_hint(prefix: str) -> Generator[str, Sequence[str], str]:
    """Suggest an existing prefix in place of a missing one; "" where nothing is near.

    Yields each folder that is to be listed, and is sent the keys and folders directly in it.
    """
    beside = yield parent(prefix)
    elsewhere = []
    for folder in () if parent(prefix) else candidates(prefix, beside):
        elsewhere += [key for key in (yield folder) if key.endswith(f"/{prefix}")]
    return missing_prefix_hint(prefix, beside, elsewhere)


def joined(*parts: str) -> str:
    """Join the parts of a message that are not empty."""
    return "; ".join(filter(None, parts))
