"""PURE: a sweep as metrics in Prometheus' text form, for node_exporter's textfile collector and for scrapes.

No label holds a node or an address, whose number has no bound, but those of one capped info metric. All metrics are
gauges: they say what one sweep found, so none has a `_created` beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from auditor.checks.catalogue import CHECKS
from auditor.reports.audit_health import AuditHealth
from auditor.reports.interface import Layout
from auditor.reports.outline import CONTESTED, outline
from auditor.values.findings import Finding
from auditor.values.leaders import TellingRole
from auditor.values.report import Report, Verdict
from auditor.values.text import listed, one_line

MOST_CONTESTED = 20
"""Contested addresses with an info metric of their own; `wgaudit_contested_addresses` counts all."""
LONGEST_LABEL = 128
"""Characters of a label's value; longer ones are cut with an ellipsis."""
_MOST_NAMES = 4
_LAYOUT = Layout()


def render(report: Report, _layout: Layout = _LAYOUT, /) -> str:
    """Render a report alone, as of a recording."""
    return exposition(report, AuditHealth())


def exposition(report: Report, health: AuditHealth) -> str:
    """Render a report and the health of the audit as Prometheus' text form 0.0.4. A value not known has no metric."""
    registry = CollectorRegistry()
    registry.register(_Sweep(report, health))
    return generate_latest(registry).decode()


class _Sweep(Collector):
    """Collector of one sweep's metrics."""

    def __init__(self, report: Report, health: AuditHealth) -> None:
        self._report = report
        self._health = health
        self._mesh = {"mesh": one_line(report.mesh, most=LONGEST_LABEL)} if report.mesh else {}

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its samples."""
        yield from self._outcome()
        yield from self._findings()
        yield from self._contested()
        yield from self._sight()
        yield from self._times()
        yield from self._alerts()

    def _outcome(self) -> Iterator[Metric]:
        report = self._report
        yield self._one("wgaudit_build_info", "Version of wgaudit.", 1, version=report.version)
        yield self._many(
            "wgaudit_verdict",
            "Verdict of the last sweep: 1 for the one that it is.",
            (({"verdict": each.value}, each is report.verdict) for each in Verdict),
        )
        yield self._one(
            "wgaudit_seen_enough",
            "1: the last sweep saw enough to say clean. 0: it may have missed something.",
            report.seen_enough,
        )
        yield self._one(
            "wgaudit_sweep_cut_short",
            "1: the last sweep ended early, by its deadline or by hand.",
            report.cut_short is not None,
        )

    def _findings(self) -> Iterator[Metric]:
        grouped = outline(self._report)
        yield self._many(
            "wgaudit_findings",
            "Findings of the last sweep that count, those that follow from another included.",
            _by_check(self._report.standing),
        )
        yield self._many(
            "wgaudit_incidents",
            "Findings of the last sweep that follow from nothing else: one cause, one incident.",
            _by_check(item.finding for item in grouped.leading),
        )
        yield self._one(
            "wgaudit_incidents_silenced", "Incidents of the last sweep with a silence.", grouped.silenced
        )

    def _contested(self) -> Iterator[Metric]:
        contested = [finding for finding in self._report.standing if finding.check == CONTESTED]
        yield self._one(
            "wgaudit_contested_addresses", "Mesh addresses with two or more claimants.", len(contested)
        )
        yield self._many(
            "wgaudit_contested_address_info",
            f"The first {MOST_CONTESTED} contested addresses; wgaudit_contested_addresses counts all.",
            ((self._contested_labels(finding), 1) for finding in contested[:MOST_CONTESTED]),
        )

    def _contested_labels(self, finding: Finding) -> Mapping[str, str]:
        names = sorted({self._report.name(node) for node in finding.nodes})
        return {
            "address": finding.subject,
            "nodes": listed(names, most=_MOST_NAMES, last=", "),
            "regions": listed(finding.regions, most=_MOST_NAMES, last=", "),
            "fingerprint": finding.fingerprint,
        }

    def _sight(self) -> Iterator[Metric]:
        coverage = self._report.coverage
        yield self._one("wgaudit_nodes_registered", "Nodes that the registry lists.", coverage.registered)
        yield self._one(
            "wgaudit_nodes_observed", "Registered nodes whose own device answered.", coverage.observed
        )
        yield self._one(
            "wgaudit_coverage_ratio", "Share of the registered nodes that was seen, 0 to 1.", coverage.share
        )
        yield self._one(
            "wgaudit_distinct_route_tables",
            "Distinct route tables among the nodes; 1 in a healthy full mesh.",
            coverage.distinct_tables,
        )
        yield self._one(
            "wgaudit_nodes_in_flight",
            "Nodes that had not held still when the sweep ended.",
            len(set(self._report.in_flight)),
        )
        gaps = Counter((gap.source, gap.reason.value) for gap in self._report.gaps)
        yield self._many(
            "wgaudit_gaps",
            "What the last sweep could not see, by source and reason.",
            (({"source": source, "reason": reason}, gaps[source, reason]) for source, reason in sorted(gaps)),
        )

    def _times(self) -> Iterator[Metric]:
        report = self._report
        yield self._one(
            "wgaudit_sweep_duration_seconds",
            "Duration of the last sweep.",
            (report.finished_at - report.started_at).total_seconds(),
        )
        yield self._one(
            "wgaudit_last_sweep_timestamp_seconds",
            "End of the last sweep, in Unix time.",
            report.finished_at.timestamp(),
        )
        clean = report.finished_at if report.verdict is Verdict.CLEAN else self._health.last_clean_at
        if clean is not None:
            yield self._one(
                "wgaudit_last_clean_sweep_timestamp_seconds",
                "End of the last sweep that was clean, as far as it is remembered, in Unix time.",
                clean.timestamp(),
            )

    def _alerts(self) -> Iterator[Metric]:
        health = self._health
        if health.state_readable is not None:
            yield self._one(
                "wgaudit_state_readable",
                "0: the state database could not be read; then what it says has no metric.",
                health.state_readable,
            )
        undelivered = {"waiting": health.waiting, "refused": health.refused}
        if health.waiting is not None or health.refused is not None:
            yield self._many(
                "wgaudit_alerts_undelivered",
                "Notifications that have reached nobody: waiting to be sent, or refused for good.",
                (
                    ({"state": name}, number)
                    for name, number in sorted(undelivered.items())
                    if number is not None
                ),
            )
        if health.handed_over is not None:
            yield self._one(
                "wgaudit_alerts_handed_over",
                "1: all alerts of the last sweep were handed over. 0: somebody was not told.",
                health.handed_over,
            )
        if (leader := health.leader) is not None:
            yield self._one(
                "wgaudit_leader",
                "Who of several auditors tells people: 1, this one; 0, the one that is named, or nobody.",
                leader.role is not TellingRole.FOLLOWS,
                holder=leader.holder,
            )
            yield self._one(
                "wgaudit_lease_epoch",
                "Number of the leadership: it grows with each one that takes over.",
                leader.epoch,
            )
            yield self._one(
                "wgaudit_database_away",
                "1: nobody can be asked who tells people, and this auditor tells from its memory.",
                leader.role is TellingRole.ALONE,
            )
        if health.perhaps_twice is not None:
            yield self._many(
                "wgaudit_alerts_perhaps_twice",
                "Notifications on record that a notifier took, and that another call may have brought there, too.",
                (({"notifier": name}, number) for name, number in sorted(health.perhaps_twice.items())),
            )

    def _one(self, name: str, documentation: str, value: float, **labels: str) -> Metric:
        return self._many(name, documentation, ((labels, value),))

    def _many(
        self, name: str, documentation: str, samples: Iterable[tuple[Mapping[str, str], float]]
    ) -> Metric:
        metric = GaugeMetricFamily(name, documentation)
        for labels, value in samples:
            harmless = {label: one_line(text, most=LONGEST_LABEL) for label, text in labels.items()}
            metric.add_sample(name, {**harmless, **self._mesh}, float(value))
        return metric


def _by_check(findings: Iterable[Finding]) -> Iterator[tuple[Mapping[str, str], int]]:
    """Count findings by check and severity. What is not there is 0, so that a graph of it has no hole."""
    counts = Counter({(str(check.ident), check.severity.value): 0 for check in CHECKS})
    counts.update((str(finding.check), finding.severity.value) for finding in findings)
    for check, severity in sorted(counts):
        yield {"check": check, "severity": severity}, counts[check, severity]
