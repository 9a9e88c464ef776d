"""The registry's writable side under the names by which repair knows it."""

from __future__ import annotations

from auditor.registry.interface import (
    Create,
    Operation,
    Remove,
    Replace,
    Require,
    Store,
    StoreConflict,
    Stored,
    StoreError,
)

__all__ = [
    "Create",
    "Operation",
    "Remove",
    "Replace",
    "Require",
    "Store",
    "StoreConflict",
    "StoreError",
    "Stored",
]
