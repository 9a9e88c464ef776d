"""A sweep inside this process, in the lab's network: something can happen to the mesh as each phase begins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from auditor.service.audit import Auditor, judged, sweep_options
from auditor.service.remembered import Remembered
from auditor.settings.file import parse_toml
from auditor.values.findings import Finding
from auditor.values.models import Memory
from auditor.values.report import Report
from tests.lab.mesh import Lab
from tests.lab.namespace import network_of

BEFORE_EACH_READING = "registry again"
"""Every reading of the registry but the first."""
BETWEEN_LOOKS = "waiting for a second look"


@dataclass
class Happenings:
    """Receives the progress of a sweep, and makes happen what is planned for a phase, each time that it begins."""

    planned: Mapping[str, Callable[[], object]]
    phases: list[str] = field(default_factory=list)

    def phase(self, name: str) -> None:
        """Begin a phase."""
        self.phases.append(name)
        self.planned.get(name, lambda: None)()

    def registered(self, count: int) -> None:
        """Do nothing."""

    def node_done(self, seen: bool) -> None:
        """Do nothing."""

    def complain(self, line: str) -> None:
        """Fail: nothing is complained of in a lab."""
        raise AssertionError(line)


def sweep_while(
    lab: Lab, planned: Mapping[str, Callable[[], object]], *, memory: Memory | None = None, **lines: str
) -> Report:
    """Sweep the lab, and check that each phase came for which something is planned.

    memory: what sweeps before this one saw. lines: by table of the configuration, a line to add to it.
    """
    text = lab.config.read_text()
    for table, line in lines.items():
        assert f"[{table}]\n" in text
        text = text.replace(f"[{table}]\n", f"[{table}]\n{line}\n")
    config = parse_toml(text, str(lab.config))
    happenings = Happenings(planned)

    async def look() -> Report:
        snapshot = await Auditor(config).look(
            sweep_options(config), happenings, before=Remembered(memory or Memory())
        )
        return (await judged(snapshot)).report

    with network_of(lab.control_pid):
        report = asyncio.run(look())
    assert planned.keys() <= set(happenings.phases)
    return report


def looked_at(lab: Lab, **lines: str) -> Report:
    """Sweep the lab while nothing happens."""
    return sweep_while(lab, {}, memory=None, **lines)


def roots(report: Report) -> set[tuple[str, str]]:
    """Check and subject of each standing finding that follows from no other."""
    return {(item.check, item.subject) for item in report.standing if item.caused_by is None}


def gone(report: Report) -> set[str]:
    """The checks whose findings the first look showed and a further one did not."""
    return {item.check for item in report.findings if item.confirmed is False}


def only(report: Report, check: str) -> Finding:
    """The one standing finding of a check."""
    (finding,) = (item for item in report.standing if item.check == check)
    return finding
