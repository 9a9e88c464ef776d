"""Shows, at the end of a run, what tests have measured: `record_property("measured", TEXT)`."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line and more for each test that measured something; also under xdist, whose workers print nothing."""
    measured = [
        (report.nodeid, text)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, text in report.user_properties
        if name == "measured"
    ]
    if measured:
        terminalreporter.section("measured")
    for test, text in sorted(measured):
        terminalreporter.write_line(f"{test.rpartition('::')[2]}:\n  {text}")
