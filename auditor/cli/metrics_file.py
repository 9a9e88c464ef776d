"""File of metrics, which node_exporter's textfile collector reads."""

from __future__ import annotations

from pathlib import Path

from auditor.errors import ReportError
from auditor.state.files import write_whole

READABLE_BY_ALL = 0o644
"""The collector runs as another user. There is no secret in metrics."""


def write_metrics(path: Path, text: str) -> None:
    """Write metrics whole, by a rename, so that no collector reads half of them. Raises `ReportError`."""
    try:
        write_whole(path, text.encode(), READABLE_BY_ALL)
    except OSError as error:
        raise ReportError(f"--metrics: cannot write {path}: {error.strerror}") from None
