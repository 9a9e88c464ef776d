"""What PagerDuty is told: one incident for each fingerprint, opened and closed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from alerts.models import Notification, Status
from alerts.notifiers.pagerduty import EVENT_BYTES, PagerDuty
from alerts.sender import Sender
from auditor.errors import DeliveryError
from auditor.values.findings import Severity
from auditor.values.guide import Guide
from tests.alerts.notifiers.sample import PAIR, SENDER, firing, resolved, trial
from tests.doubles.pagerduty import ROUTING_KEY, PagerDutyDouble
from tests.doubles.server import Double

OTHER_KEY = "R1" + "j" * 30


@pytest.fixture
def service() -> Iterator[PagerDutyDouble]:
    """PagerDuty."""
    with PagerDutyDouble(keys=(ROUTING_KEY, OTHER_KEY)) as serving:
        yield serving


def notifier(service: PagerDutyDouble, key: str = ROUTING_KEY, **more: Any) -> PagerDuty:
    """Aimed at the double."""
    return PagerDuty("oncall", SecretStr(key), api=service.url, **more)


@pytest.mark.parametrize("path", ["", "/", "/gateway", "/gateway/v2", "/gateway/v2/enqueue"])
async def test_its_address_may_have_a_path(path: str) -> None:
    """Gateways have one."""
    with Double() as double:
        notifier = PagerDuty("oncall", SecretStr(ROUTING_KEY), api=double.url + path)
        await notifier.send(notifier.payload([firing()]))
        assert double.calls[0].path == f"{'/gateway' if 'gateway' in path else ''}/v2/enqueue"


async def told(service: PagerDutyDouble, notification: Notification, **more: Any) -> dict[str, Any]:
    """The event as PagerDuty took it."""
    pagerduty = notifier(service, **more)
    assert (await pagerduty.send(pagerduty.payload([notification]))).startswith("202 Accepted")
    return service.events[-1]


async def test_a_trigger_says_what_who_and_how_bad(service: PagerDutyDouble) -> None:
    """In PagerDuty's own fields, with the rest in the details."""
    event = await told(service, firing())
    assert event["event_action"] == "trigger"
    assert event["dedup_key"] == PAIR.fingerprint
    assert event["client"] == "wgaudit"
    payload = event["payload"]
    details = payload.pop("custom_details")
    assert payload == {
        "summary": "duplicate-address 10.0.0.1: 10.0.0.1 is held by edge-fra-1 and edge-sin-1.",
        "source": "edge-fra-1",
        "severity": "critical",
        "component": "10.0.0.1",
        "group": "fra, sin",
        "class": "duplicate-address",
    }
    assert details["nodes"] == ["edge-fra-1", "edge-sin-1"]
    assert details["routed"][0] == "to edge-sin-1: 6 observers (ams 1, sin 5)"
    assert details["run"] == "wgaudit explain 10.0.0.1"
    assert details["reason"] == "first-notification"
    assert details["since"] == "2026-03-01 02:59 UTC"
    assert details["documentation"] == "docs/findings.md#duplicate-address"


@pytest.mark.parametrize("severity", Severity)
async def test_each_severity_is_passed_as_it_is(service: PagerDutyDouble, severity: Severity) -> None:
    """The four are PagerDuty's own."""
    assert (await told(service, firing(replace(PAIR, severity=severity))))["payload"][
        "severity"
    ] == severity.value


async def test_a_resolve_closes_what_its_trigger_opened(service: PagerDutyDouble) -> None:
    """By the same key, and no other."""
    other = replace(PAIR, fingerprint="another")
    await told(service, firing())
    await told(service, firing(other))
    await told(service, resolved())
    assert list(service.open) == ["another"]


async def test_a_resolve_under_another_routing_key_is_refused_for_good(service: PagerDutyDouble) -> None:
    """The double says so; it would close nothing."""
    await told(service, firing())
    with pytest.raises(DeliveryError, match="another routing_key") as caught:
        await told(service, resolved(), key=OTHER_KEY)
    assert caught.value.permanent
    assert list(service.open) == [PAIR.fingerprint]


async def test_an_unknown_routing_key_is_refused_for_good(service: PagerDutyDouble) -> None:
    """400: never again."""
    with pytest.raises(DeliveryError) as caught:
        await told(service, firing(), key="x" * 32)
    assert caught.value.permanent


async def test_blindness_has_no_node_and_still_a_source(service: PagerDutyDouble) -> None:
    """`source` must not be empty."""
    event = await told(
        service, firing(replace(PAIR, nodes=(), regions=(), address="", subject="the audit itself"))
    )
    assert event["payload"]["source"] == "wgaudit"


async def test_the_largest_incident_stays_under_the_limit_with_a_count(service: PagerDutyDouble) -> None:
    """Twenty thousand nodes of long names, and as many routes."""
    nodes = tuple(f"{number:05}-{'名' * 200}" for number in range(20_000))
    routing = tuple((node, 1, (("ams", 1),)) for node in nodes)
    pagerduty = notifier(service)
    body = pagerduty.payload([firing(replace(PAIR, nodes=nodes, routing=routing, summary="s" * 9000))])
    assert len(body) < EVENT_BYTES
    await pagerduty.send(body)
    details = service.events[-1]["payload"]["custom_details"]
    assert details["nodes"][-1] == f"… and {20_000 - len(details['nodes']) + 1:,} more"
    assert len(service.events[-1]["payload"]["summary"]) == 1024


@pytest.mark.parametrize("status", Status)
async def test_a_trial_is_marked(service: PagerDutyDouble, status: Status) -> None:
    """In the title that the phone reads out, and in the details."""
    event = await told(service, trial(status))
    assert event["payload"]["summary"].startswith("TEST - not an incident: ")
    assert event["payload"]["custom_details"]["test"] == "TEST - not an incident"


async def test_an_event_leads_on_and_says_whose_it_is(service: PagerDutyDouble) -> None:
    """The title that the phone reads out names the mesh."""
    event = await told(service, firing(replace(PAIR, mesh="prod-eu")), sender=SENDER)
    details = event["payload"]["custom_details"]
    assert event["payload"]["summary"].startswith("duplicate-address 10.0.0.1 in mesh prod-eu: ")
    assert {key: details[key] for key in ("run", "who_is_affected", "repair", "mesh", "wgaudit")} == {
        "run": "ssh audit-1 wgaudit explain 10.0.0.1",
        "who_is_affected": "ssh audit-1 wgaudit affected 10.0.0.1",
        "repair": "ssh audit-1 wgaudit plan --address 10.0.0.1",
        "mesh": "prod-eu",
        "wgaudit": "1.2.3",
    }
    assert {"who_is_affected", "repair"}.isdisjoint(
        (await told(service, resolved(replace(PAIR, mesh="prod-eu")), sender=SENDER))["payload"][
            "custom_details"
        ]
    )


async def test_the_documentation_is_linked_where_its_address_is_known(service: PagerDutyDouble) -> None:
    """A link must be a URL; without a base there is none."""
    event = await told(service, firing(), sender=Sender(Guide(docs_url="https://docs.example/findings.html")))
    assert event["links"] == [
        {
            "href": "https://docs.example/findings.html#duplicate-address",
            "text": "What duplicate-address means",
        }
    ]
    assert "links" not in await told(service, firing())


def test_an_event_carries_one_incident() -> None:
    """And keeps to about 120 a minute."""
    pagerduty = PagerDuty("oncall", SecretStr(ROUTING_KEY))
    assert pagerduty.max_per_message == 1
    assert pagerduty.pause * 120 >= 60
    with pytest.raises(ValueError, match="too many values"):
        pagerduty.payload([firing(), firing()])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"event_action": "open"}, "event_action"),
        ({"dedup_key": "d" * 256}, "dedup_key"),
        ({"payload": None}, "payload"),
        ({"payload": {"source": "s", "severity": "error"}}, "summary"),
        ({"payload": {"summary": "s" * 1025, "source": "s", "severity": "error"}}, "summary"),
        ({"payload": {"summary": "s", "severity": "error"}}, "source"),
        ({"payload": {"summary": "s", "source": "s", "severity": "fatal"}}, "severity"),
        ({"client": "c" * 512_000}, "larger"),
        ({"notes": 1}, "unknown"),
        ({"links": [{"href": "docs/findings.md"}]}, "href"),
    ],
    ids=str,
)
async def test_the_double_refuses_what_pagerduty_refuses(
    service: PagerDutyDouble, change: dict[str, Any], why: str
) -> None:
    """Else the tests above would prove nothing."""
    pagerduty = notifier(service)
    event = {**json.loads(pagerduty.payload([firing()])), **change}
    with pytest.raises(DeliveryError, match=why) as caught:
        await pagerduty.send(json.dumps(event).encode())
    assert caught.value.permanent
    assert service.events == []
