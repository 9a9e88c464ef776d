"""Contents of sweeps in the state: what each sweep saw, stored once for all sweeps that saw the same."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter
from sqlalchemy import delete, select

from auditor.errors import GapReason, StateError
from auditor.state.audit_tables import CONTENTS, SWEEPS
from auditor.state.state_store import StateStore
from auditor.values.findings import Severity
from auditor.values.models import NodeId
from auditor.values.past_sweeps import SweepContent

FORM: Literal["wgaudit.sweep-content/1"] = "wgaudit.sweep-content/1"
MOST_UNPACKED = 256 * 1024 * 1024
"""Bytes beyond which a stored content is none of ours."""


def _in_order(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else value


_Names = Annotated[list[str], BeforeValidator(_in_order)]
_Nodes = Annotated[list[tuple[str, str]], BeforeValidator(_in_order)]
"""Sets: sorted, so that the same set is the same text."""


class _ContentPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class _SeenFindingForm(_ContentPart):
    fingerprint: str
    check: str
    severity: Severity
    subject: str
    nodes: tuple[str, ...]
    confirmed: bool | None
    agreed: bool
    caused_by: str | None
    datacenters: _Names
    places: _Nodes
    by_observers: bool


class _SeenGapForm(_ContentPart):
    source: str
    reason: GapReason
    datacenter: str | None
    node: str | None


class _ContentForm(_ContentPart):
    form: Literal["wgaudit.sweep-content/1"] = FORM
    findings: tuple[_SeenFindingForm, ...]
    gaps: tuple[_SeenGapForm, ...]
    withheld: _Names
    unread: _Names
    unseen: _Nodes


_CONTENT = TypeAdapter(SweepContent)


def keep_content(store: StateStore, content: SweepContent) -> str:
    """Store a content unless it is there already; return its digest. Raises `StateError`."""
    # ASCII, so that any name that Consul or a node came up with can be stored.
    text = json.dumps(_ContentForm.model_validate(content).model_dump(mode="json")).encode("ascii")
    digest = hashlib.sha256(text).hexdigest()
    kept = store.insert(CONTENTS).values(digest=digest, body=zlib.compress(text))
    store.execute(kept.on_conflict_do_nothing())
    return digest


def read_content(store: StateStore, number: int) -> SweepContent | None:
    """Read what a sweep saw; None where it was recorded before contents were kept. Raises `StateError`."""
    joined = SWEEPS.join(CONTENTS, CONTENTS.c.digest == SWEEPS.c.content)
    row = store.first(select(CONTENTS.c.body).select_from(joined).where(SWEEPS.c.number == number))
    if row is None:
        return None
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(row["body"], MOST_UNPACKED)
        form = _ContentForm.model_validate(json.loads(text)).model_dump()
        del form["form"]
        form["unseen"] = [NodeId(*node) for node in form["unseen"]]
        for finding in form["findings"]:
            finding["places"] = [NodeId(*node) for node in finding["places"]]
        return _CONTENT.validate_python(form)
    except (ValueError, TypeError, RecursionError, zlib.error):
        raise StateError(f"the history holds what sweep {number} saw, and it cannot be read") from None


def forget_unused_contents(store: StateStore) -> None:
    """Delete the contents of sweeps that were forgotten. Raises `StateError`."""
    used = select(SWEEPS.c.content).where(SWEEPS.c.content.is_not(None))
    store.execute(delete(CONTENTS).where(CONTENTS.c.digest.not_in(used)))
