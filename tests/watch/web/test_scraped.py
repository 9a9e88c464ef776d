"""Debian's Prometheus scrapes the watch's page: the rules ring on the incident, and go silent after it."""

from __future__ import annotations

from pathlib import Path

from tests.parts.prometheus import PrometheusServer
from tests.reports import sample
from tests.watch.web.scripted import view
from tests.watch.web.threaded_page import ThreadedPage

RULES = Path(__file__).parents[3] / "deploy" / "prometheus" / "wgaudit.rules.yml"


def ringing(prometheus: PrometheusServer) -> set[str]:
    """Names of the rules that ring, or wait to."""
    return {rule["name"] for rule in prometheus.rules() if rule["alerts"]}


def test_the_rules_ring_on_the_incident_and_go_silent_after_it(tmp_path: Path) -> None:
    with ThreadedPage(view(1, sample.clean())) as page:
        target = page.url.removeprefix("http://").rstrip("/")
        with PrometheusServer(tmp_path / "prometheus", rules=[RULES], target=target) as prometheus:
            prometheus.wait_until(
                "the watch was scraped, and each rule evaluated",
                lambda: (
                    bool(prometheus.query("wgaudit_watch_ready == 1"))
                    and all(rule["health"] == "ok" for rule in prometheus.rules())
                ),
            )
            assert not ringing(prometheus) & {"WgauditContestedAddress", "WgauditWatchNotFollowing"}
            page.show(view(2, sample.incident()))
            prometheus.wait_until(
                "the contested address rings", lambda: "WgauditContestedAddress" in ringing(prometheus)
            )
            page.show(view(3, sample.clean()))
            prometheus.wait_until(
                "it went silent", lambda: "WgauditContestedAddress" not in ringing(prometheus)
            )
            page.end()
            prometheus.wait_until("the watch is down", lambda: "WgauditWatchDown" in ringing(prometheus))
