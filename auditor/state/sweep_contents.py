"""Contents of sweeps in the state: what each sweep saw, stored once for all sweeps that saw the same."""

from __future__ import annotations

import hashlib
import zlib

from sqlalchemy import delete, select

from auditor.errors import StateError
from auditor.state.audit_tables import CONTENTS, SWEEPS
from auditor.state.state_store import StateStore
from auditor.values.past_sweeps import SweepContent
from auditor.values.stored_values import StoredForm

FORM = StoredForm("wgaudit.sweep-content/1", SweepContent)
MOST_UNPACKED = 256 * 1024 * 1024
"""Bytes beyond which a stored content is none of ours."""


def keep_content(store: StateStore, content: SweepContent) -> str:
    """Store a content unless it is there already; return its digest. Raises `StateError`."""
    text = FORM.write(content).encode("ascii")
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
        return FORM.read(zlib.decompressobj().decompress(row["body"], MOST_UNPACKED))
    except (StateError, zlib.error):
        raise StateError(f"the history holds what sweep {number} saw, and it cannot be read") from None


def forget_unused_contents(store: StateStore) -> None:
    """Delete the contents of sweeps that were forgotten. Raises `StateError`."""
    used = select(SWEEPS.c.content).where(SWEEPS.c.content.is_not(None))
    store.execute(delete(CONTENTS).where(CONTENTS.c.digest.not_in(used)))
