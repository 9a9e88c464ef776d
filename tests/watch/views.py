"""Views of a watch, made from fleets that are written as literals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from auditor.judge import judge
from auditor.watch.view import WatchView
from tests.fleets import FINISHED, STARTED, Mesh


def pair(*, second: str = "10.0.0.2") -> Mesh:
    """Two nodes in two regions; `second` is the second one's address."""
    return Mesh().node("edge-sin-1", "10.0.0.7", region="sin").node("edge-fra-1", second, region="fra")


def view_of(mesh: Mesh, number: int = 1, *, seconds: float = 0.0, **more: Any) -> WatchView:
    """What a watch shows of this fleet, so many seconds after it began; ready, if nothing else is said."""
    snapshot = mesh.snapshot()
    shown: dict[str, Any] = {"ready": True, **more}
    return WatchView(
        number,
        judge(snapshot),
        snapshot,
        taken_at=FINISHED + timedelta(seconds=seconds),
        started_at=STARTED,
        **shown,
    )
