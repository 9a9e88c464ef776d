"""Agreements that no longer do anything: over, or about an address that is held by nobody together."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from auditor.settings.file import Config
from auditor.values.addresses import format_prefix
from auditor.values.report import Report


def idle_agreements(config: Config, report: Report) -> Iterator[str]:
    """Say which entries of `[[shared]]` are over, or match no finding of a report that saw enough; and which of
    `[[roaming]]` are over: who roams is not met at two hosts in every sweep.
    """
    for item in config.shared:
        name = f"shared: {format_prefix(item.address)} ({', '.join(sorted(item.nodes))})"
        if item.until <= report.started_at:
            yield f"{name} is over since {_day(item.until)}; take it out, or agree anew"
        elif report.seen_enough and not any(found.address == item.address for found in report.findings):
            yield f"{name} matches nothing: the nodes do not share it"
    for entry in config.roaming:
        if entry.until <= report.started_at:
            names = ", ".join(sorted(entry.nodes))
            yield f"roaming: {names}: it is over since {_day(entry.until)}; take it out, or agree anew"


def _day(moment: datetime) -> str:
    return moment.date().isoformat()
