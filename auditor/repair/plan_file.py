"""Reads and writes the file that holds a plan."""

from __future__ import annotations

from pathlib import Path

from auditor.disk.bounded import read_bounded
from auditor.errors import PlanError
from auditor.repair.moves import RepairPlan
from auditor.repair.plan.plan_v1 import document, from_json
from auditor.state.files import write_whole

MAX_PLAN = 64 * 1024 * 1024
"""Bytes beyond which a file is no plan of ours."""


def write_plan(plan: RepairPlan, path: Path) -> None:
    """Write a plan with mode 0600, whole or not at all. Raises `PlanError`."""
    try:
        write_whole(path, document(plan).encode("ascii"))
    except OSError as error:
        raise PlanError(f"cannot write the plan to {path}: {error.strerror}") from None


def read_plan(path: Path) -> RepairPlan:
    """Read a file of `write_plan`. Raises `PlanError` with the file and the place of a fault."""
    try:
        raw = read_bounded(path, MAX_PLAN)
    except OSError as error:
        raise PlanError(f"cannot read {path}: {error.strerror}") from None
    if len(raw) > MAX_PLAN:
        raise PlanError(f"{path}: more than {MAX_PLAN:,} bytes; not a plan of ours")
    return from_json(raw, str(path))
