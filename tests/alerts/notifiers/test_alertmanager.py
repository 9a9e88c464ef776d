"""What Alertmanager is told, and what a real one makes of it: fires, groups, keeps, resolves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import SecretStr

from alerts.models import Incident, Notification, NotifyReason, Status
from alerts.notifiers.alertmanager import KEEP, Alertmanager
from alerts.sender import Sender
from auditor.errors import DeliveryError
from auditor.values.findings import Severity, fingerprint
from auditor.values.guide import Guide
from tests.alerts.notifiers.sample import HOSTILE_NAMES, NOW, PAIR, SENDER, firing, resolved, trial
from tests.doubles.server import Double
from tests.parts.alertmanager import AlertmanagerServer

TRIPLE = replace(
    PAIR,
    fingerprint=fingerprint("duplicate-address", "10.0.0.2"),
    subject="10.0.0.2",
    address="10.0.0.2/32",
    nodes=("web-ams-1", "web-fra-1", "web-sin-1"),
    regions=("ams", "fra", "sin"),
)
DRIFT = replace(
    PAIR,
    fingerprint=fingerprint("address-drift", "web-ams-1"),
    check="address-drift",
    severity=Severity.ERROR,
    subject="web-ams-1",
    address="",
    nodes=("web-ams-1",),
    regions=("ams",),
    routing=(),
)


def alert(notification: Notification, **more: Any) -> dict[str, Any]:
    """The one alert of its payload, at `NOW`."""
    (made,) = json.loads(
        Alertmanager("am", SecretStr("http://x"), clock=lambda: NOW, **more).payload([notification])
    )
    return dict(made)


def test_labels_identify_and_annotations_tell() -> None:
    """Everything that may change between sweeps is an annotation."""
    made = alert(firing())
    assert made["labels"] == {
        "alertname": "wgaudit",
        "check": "duplicate-address",
        "address": "10.0.0.1/32",
        "region": "multiple",
        "severity": "critical",
        "fingerprint": PAIR.fingerprint,
    }
    assert made["annotations"] == {
        "summary": "duplicate-address 10.0.0.1: 10.0.0.1 is held by edge-fra-1 and edge-sin-1.",
        "description": f"{PAIR.summary} {PAIR.guess}",
        "reason": "new",
        "nodes": "edge-fra-1, edge-sin-1",
        "regions": "fra, sin",
        "routing": "edge-sin-1: 6 observers (ams 1, sin 5), nobody: 2 observers (region unknown 2),"
        " edge-fra-1: 1 observer (ams 1)",
        "follows": "displaced-allowed-ips ×3, split-routing",
        "explain": "wgaudit explain 10.0.0.1",
        "affected": "wgaudit affected 10.0.0.1",
        "runbook": "docs/findings.md#duplicate-address",
    }
    assert made["startsAt"] == "2026-03-01T02:59:42.000Z"
    assert made["endsAt"] == "2026-03-01T04:06:42.000Z"


def test_labels_stay_while_claimants_routes_and_sight_change() -> None:
    """A changed label would be a second alert beside the first."""
    later = replace(
        PAIR,
        nodes=(*PAIR.nodes, "edge-ams-1"),
        regions=("ams", *PAIR.regions),
        routing=(),
        follows=(),
        summary="now three",
        guess="",
        not_seen_since=NOW,
    )
    labels = {
        json.dumps(alert(item)["labels"])
        for item in (firing(), firing(later, NotifyReason.CLAIMANTS_CHANGED), resolved(), resolved(later))
    }
    assert len(labels) == 1


def test_what_is_over_ends_now() -> None:
    """And not when Alertmanager forgets it."""
    assert alert(resolved())["endsAt"] == "2026-03-01T03:06:42.000Z"


def test_a_clock_that_was_set_back_makes_no_alert_that_ends_before_it_starts() -> None:
    """Alertmanager refuses those, and the whole list with them."""
    made = alert(resolved(replace(PAIR, since=NOW + timedelta(hours=1))))
    assert made["startsAt"] == made["endsAt"]


def test_a_finding_about_one_node_has_its_region_and_subject() -> None:
    """There is no address to tell it apart by."""
    labels = alert(firing(DRIFT))["labels"]
    assert (labels["region"], labels["subject"]) == ("ams", "web-ams-1")
    assert "address" not in labels


def test_an_alert_of_a_named_mesh_has_its_label_and_one_of_another_has_none() -> None:
    """A label with nothing in it would still be a part of the alert's identity."""
    assert alert(firing(replace(PAIR, mesh="prod-eu")))["labels"]["mesh"] == "prod-eu"
    assert "mesh" not in alert(firing())["labels"]


def test_the_version_and_what_to_run_next_are_annotations() -> None:
    annotations = alert(firing(), sender=SENDER)["annotations"]
    assert annotations["version"] == "1.2.3"
    assert annotations["explain"] == "ssh audit-1 wgaudit explain 10.0.0.1"
    assert annotations["affected"] == "ssh audit-1 wgaudit affected 10.0.0.1"
    assert annotations["plan"] == "ssh audit-1 wgaudit plan --address 10.0.0.1"
    assert {"affected", "plan"}.isdisjoint(alert(resolved(), sender=SENDER)["annotations"])


def test_the_runbook_is_a_link_where_its_address_is_known() -> None:
    """Else the file's path, and no `runbook_url`."""
    made = alert(firing(), sender=Sender(Guide(docs_url="https://docs.example/findings.html")))
    assert made["annotations"]["runbook_url"] == "https://docs.example/findings.html#duplicate-address"
    assert made["annotations"]["runbook"] == "https://docs.example/findings.html#duplicate-address"
    assert "runbook_url" not in alert(firing())["annotations"]


@pytest.mark.parametrize("status", Status)
def test_a_trial_has_a_name_of_its_own(status: Status) -> None:
    """So that it can be routed to nobody, and is not grouped with what is real."""
    made = alert(trial(status))
    assert made["labels"]["alertname"] == "wgaudit-test"
    assert made["annotations"]["summary"].startswith("TEST - not an incident")


@pytest.mark.parametrize(
    ("written", "called"),
    [
        ("", "/api/v2/alerts"),
        ("/", "/api/v2/alerts"),
        ("/am", "/am/api/v2/alerts"),
        ("/am/api/v2", "/am/api/v2/alerts"),
        ("/api/v2/alerts", "/api/v2/alerts"),
        ("/api/v2/alerts/", "/api/v2/alerts"),
        ("/am?tenant=a", "/am/api/v2/alerts?tenant=a"),
    ],
)
async def test_its_url_may_hold_as_much_of_the_path_as_one_likes(written: str, called: str) -> None:
    with Double() as double:
        notifier = Alertmanager("am", SecretStr(double.url + written))
        await notifier.send(notifier.payload([firing()]))
        assert double.calls[0].path == called


class Real(NamedTuple):
    """A running Alertmanager and the webhook that it tells."""

    server: AlertmanagerServer
    hook: Double

    async def tell(
        self, *notifications: Notification, at: datetime | None = None, keep: float = KEEP
    ) -> None:
        """Sends, as a sweep does."""
        notifier = Alertmanager(
            "am", SecretStr(self.server.url + "/"), keep=keep, clock=lambda: at or datetime.now(UTC)
        )
        assert await notifier.send(notifier.payload(notifications)) == "200 OK"

    def standing(self) -> dict[str, dict[str, Any]]:
        """Active alerts by fingerprint."""
        return {found["labels"]["fingerprint"]: found for found in self.server.alerts()}

    def told(self, status: str) -> set[str]:
        """Fingerprints that the webhook was told with this status."""
        return {
            item["labels"]["fingerprint"]
            for call in list(self.hook.taken)
            for item in json.loads(call.body)["alerts"]
            if item["status"] == status
        }


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    """A resolve_timeout of a second: what is kept is kept by its own `endsAt`."""
    with (
        Double() as hook,
        AlertmanagerServer(tmp_path / "am", receiver=hook.url, resolve_timeout=1) as server,
    ):
        yield Real(server, hook)


def recent(incident: Incident) -> Incident:
    """Since a moment ago: a real clock is involved."""
    return replace(incident, since=datetime.now(UTC) - timedelta(seconds=2))


async def test_a_real_one_fires_groups_keeps_and_resolves(real: Real) -> None:
    """The life of three incidents over several sweeps."""
    pair, triple, drift = map(recent, (PAIR, TRIPLE, DRIFT))
    await real.tell(firing(pair), firing(triple), firing(drift))
    real.server.wait_until("three fire", lambda: len(real.told("firing")) == 3)

    groups = {group["labels"].get("address", ""): len(group["alerts"]) for group in real.server.groups()}
    assert groups == {"10.0.0.1/32": 1, "10.0.0.2/32": 1, "": 1}

    # Further sweeps: the same alerts, not new ones, with new annotations.
    for number in range(3):
        grown = replace(pair, summary=f"sweep {number}", nodes=(*pair.nodes, "edge-ams-1"))
        await real.tell(firing(grown, NotifyReason.REPEAT_INTERVAL_ELAPSED), firing(triple), firing(drift))
    real.server.wait_until(
        "the annotations are new",
        lambda: "sweep 2" in real.standing()[pair.fingerprint]["annotations"]["summary"],
    )
    assert len(real.server.alerts()) == 3
    assert real.told("resolved") == set()

    await real.tell(resolved(pair), firing(triple), firing(drift))
    real.server.wait_until("one is over", lambda: real.told("resolved") == {pair.fingerprint})
    assert set(real.standing()) == {triple.fingerprint, drift.fingerprint}

    await real.tell(resolved(triple), resolved(drift))
    real.server.wait_until("all are over", lambda: len(real.told("resolved")) == 3)
    assert real.server.alerts() == []


async def test_a_real_one_ends_what_no_sweep_sends_any_more(real: Real) -> None:
    """By the alert's own end, not by the resolve_timeout, which passes long before here."""
    await real.tell(firing(recent(PAIR)), keep=3.0)
    await real.tell(firing(recent(TRIPLE)), keep=600.0)
    real.server.wait_until("both fire", lambda: len(real.told("firing")) == 2)
    real.server.wait_until("one ended", lambda: real.told("resolved") == {PAIR.fingerprint})
    assert set(real.standing()) == {TRIPLE.fingerprint}


async def test_a_real_one_goes_on_under_a_raised_severity(real: Real) -> None:
    """A new alert in the same group; the old one ends by itself, the resolve ends the new one."""
    drift = recent(DRIFT)
    worse = replace(drift, severity=Severity.CRITICAL)
    await real.tell(firing(drift), keep=2.0)
    await real.tell(firing(worse, NotifyReason.SEVERITY_RAISED))
    real.server.wait_until(
        "the old one ended", lambda: [a["labels"]["severity"] for a in real.server.alerts()] == ["critical"]
    )
    await real.tell(resolved(worse))
    real.server.wait_until("nothing stands", lambda: real.server.alerts() == [])


async def test_a_real_one_takes_hostile_names(real: Real) -> None:
    """One alert that it does not like would cost the whole list."""
    hostile = [
        recent(
            replace(
                DRIFT, subject=name, nodes=(name,), regions=(name,), summary=name, fingerprint=f"f{number}"
            )
        )
        for number, name in enumerate(HOSTILE_NAMES)
    ]
    await real.tell(*map(firing, hostile))
    real.server.wait_until("all stand", lambda: len(real.server.alerts()) == len(hostile))


async def test_a_real_one_refuses_for_good_what_it_cannot_read(real: Real) -> None:
    """Its 400 names the reason."""
    notifier = Alertmanager("am", SecretStr(real.server.url))
    with pytest.raises(DeliveryError) as caught:
        await notifier.send(b'[{"labels": {}}]')
    assert caught.value.permanent
    assert str(caught.value).startswith("400 Bad Request: ")
