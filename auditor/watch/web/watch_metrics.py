"""PURE: the watch as metrics in Prometheus' text form, behind those of its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from auditor.reports.prometheus import LONGEST_LABEL, exposition
from auditor.values.text import one_line
from auditor.watch.view import WatchCounter, WatchView

BOUNDS = (0.25, 0.5, 0.7, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the counted times to the page, in seconds; a last one is without bound."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_COUNTERS: Mapping[WatchCounter, str] = {
    WatchCounter.WAKES: "Answers of the registry that brought something new.",
    WatchCounter.CHANGES: "Words of nodes that brought something new.",
    WatchCounter.JUDGEMENTS: "Times that the live fleet was judged.",
    WatchCounter.ROUNDS: "Rounds, which resolve, count blindness and write history.",
    WatchCounter.REGISTRY_RECONNECTIONS: "Times that following of a datacenter began anew.",
    WatchCounter.SESSION_RECONNECTIONS: "Sessions of nodes that were opened again.",
}


def watch_exposition(
    view: WatchView | None, now: datetime, page_seconds: Sequence[float] | None = None
) -> str:
    """Render a view, and the watch itself. A view of None: nothing was read yet, and only that is said.

    page_seconds: times from the news to the page since the watch began; None: not known.
    """
    registry = CollectorRegistry()
    registry.register(_Watch(view, now, page_seconds))
    own = generate_latest(registry).decode()
    return own if view is None else exposition(view.report, view.health) + own


class _Watch(Collector):
    """Collector of the watch's own metrics. No label holds a node or an address."""

    def __init__(self, view: WatchView | None, now: datetime, page_seconds: Sequence[float] | None) -> None:
        self._view = view
        self._page_seconds = page_seconds
        self._now = now
        mesh = view.report.mesh if view is not None else ""
        self._labels = {"mesh": one_line(mesh, most=LONGEST_LABEL)} if mesh else {}

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its samples."""
        view = self._view
        yield self._gauge(
            "wgaudit_watch_ready", "1: the registry was read whole once.", view is not None and view.ready
        )
        if view is None:
            return
        yield from self._times(view)
        yield from self._registry(view)
        yield from self._sessions(view)
        for counter, documentation in _COUNTERS.items():
            family = CounterMetricFamily(counter.value, documentation, labels=list(self._labels))
            family.add_metric(list(self._labels.values()), float(view.counters.get(counter, 0)))
            yield family
        if self._page_seconds is not None:
            yield self._page_times(self._page_seconds)

    def _times(self, view: WatchView) -> Iterator[Metric]:
        yield self._gauge(
            "wgaudit_watch_start_timestamp_seconds",
            "Begin of the watch, in Unix time.",
            view.started_at.timestamp(),
        )
        if view.round_at is not None:
            yield self._gauge(
                "wgaudit_watch_round_timestamp_seconds",
                "End of the last round, in Unix time.",
                view.round_at.timestamp(),
            )

    def _registry(self, view: WatchView) -> Iterator[Metric]:
        yield self._gauge(
            "wgaudit_watch_datacenters", "Datacenters that are followed.", len(view.datacenters)
        )
        yield self._gauge(
            "wgaudit_watch_datacenters_unreadable",
            "Datacenters whose registrations cannot be read now.",
            sum(not datacenter.readable for datacenter in view.datacenters),
        )
        # Beside others, "" is the list of them, which says something only when it changes.
        answering = [item for item in view.datacenters if item.name or len(view.datacenters) == 1]
        if answering:
            oldest = min(datacenter.arrived_at for datacenter in answering)
            yield self._gauge(
                "wgaudit_watch_registry_answer_age_seconds",
                "Age of the last answer of the registry; of several datacenters the oldest.",
                max(0.0, (self._now - oldest).total_seconds()),
            )

    def _sessions(self, view: WatchView) -> Iterator[Metric]:
        family = GaugeMetricFamily("wgaudit_watch_nodes", "Nodes by how they are seen.")
        for state, number in (
            ("followed", view.sessions.followed),
            ("by-rounds", view.sessions.by_rounds),
            ("gone", view.sessions.gone),
        ):
            family.add_sample(family.name, {"state": state, **self._labels}, float(number))
        yield family

    def _page_times(self, seconds: Sequence[float]) -> Metric:
        name = "wgaudit_watch_page_seconds"
        family = HistogramMetricFamily(
            name, "Time from the news of an incident to its first acceptance by a notifier."
        )
        for bound in BOUNDS:
            number = sum(each <= bound for each in seconds)
            family.add_sample(f"{name}_bucket", {"le": f"{bound:g}", **self._labels}, float(number))
        family.add_sample(f"{name}_bucket", {"le": "+Inf", **self._labels}, float(len(seconds)))
        family.add_sample(f"{name}_count", self._labels, float(len(seconds)))
        family.add_sample(f"{name}_sum", self._labels, sum(seconds))
        return family

    def _gauge(self, name: str, documentation: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, documentation)
        family.add_sample(name, self._labels, float(value))
        return family
