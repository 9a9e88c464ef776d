"""`wgaudit sweep --alert` on the real incident: who is told what, by four notifiers, until it is repaired."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.pagerduty import ROUTING_KEY, PagerDutyDouble
from tests.doubles.receiver import Receiver
from tests.doubles.server import Double
from tests.doubles.slack import SlackDouble
from tests.lab import files
from tests.lab.cases import incident, repaired
from tests.lab.change import change
from tests.lab.mesh import Lab
from tests.lab.namespace import network_of
from tests.lab.sweeps import Sweep
from tests.parts.alertmanager import AlertmanagerServer

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]
CASE = "incident"
PAIR = "10.0.0.1"
TRIPLE = "10.20.0.7"
BLINDNESS = "the audit itself"
UNSEEN = "nodes not seen"
OBSERVER = "worker-fra-1"
SIGNING_SECRET = "lab-signing-secret"

Told = tuple[str, str]
"""`firing` or `resolved`, and what it is about."""

_NOTIFIERS = """
[[notifiers]]
name = "pagerduty"
type = "pagerduty"
routing_key = "{routing_key}"
api = "{pagerduty}"

[[notifiers]]
name = "slack"
type = "slack"
url = "{slack}"

[[notifiers]]
name = "webhook"
type = "webhook"
url = "{webhook}"
secret = "{secret}"

[[notifiers]]
name = "alertmanager"
type = "alertmanager"
url = "{alertmanager}"
"""

_SLACK_TITLE = re.compile(r"^\S+ \*(?P<state>\S+)\* · \S+ `(?P<subject>[^`]+)` · ")


@dataclass
class OnCall:
    """All who are told, in the lab's control namespace, and a sweep that tells them."""

    lab: Lab
    config: Path
    pagerduty: PagerDutyDouble
    slack: SlackDouble
    webhook: Receiver
    alertmanager: AlertmanagerServer
    people: Double
    """Whom Alertmanager itself tells."""
    _read: dict[str, int] = field(default_factory=dict)

    def sweep(self) -> Sweep:
        """`wgaudit sweep --alert`, with no complaint about any notifier."""
        sweep = self.lab.sweep("--config", str(self.config), "--alert")
        assert "wgaudit: alerts:" not in sweep.stderr, sweep.stderr
        return sweep

    def told(self) -> dict[str, list[Told]]:
        """By double: what it was told since this was asked last. Sorted; what came twice is there twice."""
        everything = {
            "pagerduty": [_pagerduty(event) for event in self.pagerduty.events],
            "slack": [told for message in self.slack.messages for told in _slack(message)],
            "webhook": [(item["status"], item["incident"]["subject"]) for item in self.webhook.notifications],
        }
        new = {name: sorted(told[self._read.get(name, 0) :]) for name, told in everything.items()}
        self._read = {name: len(told) for name, told in everything.items()}
        return new

    def held(self) -> dict[str, dict[str, Any]]:
        """By subject: the alerts that stand at Alertmanager; no two of them are about the same."""
        with network_of(self.lab.control_pid):
            alerts = self.alertmanager.alerts()
        held = {_subject(alert["labels"]): alert for alert in alerts}
        assert len(held) == len(alerts)
        return held

    def alertmanager_told(self, count: int) -> list[Told]:
        """What Alertmanager passed on to people since the start, as soon as it did so `count` times. Sorted."""
        alerts = [alert for call in self.people.wait_for(count) for alert in json.loads(call.body)["alerts"]]
        return sorted((alert["status"], _subject(alert["labels"])) for alert in alerts)


def _pagerduty(event: dict[str, Any]) -> Told:
    return {"trigger": "firing", "resolve": "resolved"}[event["event_action"]], event["payload"]["component"]


def _slack(message: dict[str, Any]) -> Iterator[Told]:
    """The first block is the header, the last one says who sends it; each other one is about one incident."""
    assert message["blocks"][-1]["type"] == "context"
    for block in message["blocks"][1:-1]:
        match = _SLACK_TITLE.match(block["text"]["text"])
        assert match is not None, block
        yield "resolved" if match["state"] == "RESOLVED" else "firing", match["subject"]


def _subject(labels: dict[str, str]) -> str:
    return labels.get("subject") or labels["address"].removesuffix("/32")


def everywhere(*told: Told) -> dict[str, list[Told]]:
    """Every double was told this, and nothing else."""
    return dict.fromkeys(("pagerduty", "slack", "webhook"), sorted(told))


def firing(*subjects: str) -> list[Told]:
    """These fire."""
    return [("firing", subject) for subject in subjects]


def resolved(*subjects: str) -> list[Told]:
    """These are over."""
    return [("resolved", subject) for subject in subjects]


@pytest.fixture
def on_call(lab: Lab, tmp_path: Path) -> Iterator[OnCall]:
    """The mesh has the incident, nobody was told anything yet, and nothing is remembered."""
    change(lab, incident())
    with contextlib.ExitStack() as stack:
        with network_of(lab.control_pid):
            people = stack.enter_context(Double())
            pagerduty = stack.enter_context(PagerDutyDouble())
            slack = stack.enter_context(SlackDouble())
            webhook = stack.enter_context(Receiver(secret=SIGNING_SECRET))
            alertmanager = stack.enter_context(
                AlertmanagerServer(tmp_path / "alertmanager", receiver=people.url)
            )
        notifiers = _NOTIFIERS.format(
            routing_key=ROUTING_KEY,
            pagerduty=pagerduty.url,
            slack=slack.webhook,
            webhook=webhook.url,
            secret=SIGNING_SECRET,
            alertmanager=alertmanager.url,
        )
        config = tmp_path / "wgaudit.toml"
        config.touch(mode=0o600)
        consul = lab.consuls["dc1"].url
        config.write_text(
            files.configuration(lab.topology, lab.folder, consul, state=tmp_path / "state" / "wgaudit.db")
            + notifiers
        )
        yield OnCall(lab, config, pagerduty, slack, webhook, alertmanager, people)


def test_the_pair_and_the_triple_are_paged_once_and_resolve_with_the_first_sweep_of_the_repaired(
    on_call: OnCall,
) -> None:
    """Not once an observer or a sweep, and not for what follows; under the findings' own fingerprints."""
    sweep = on_call.sweep()

    assert sweep.code == 1
    assert len(sweep.report["findings"]) > 2
    assert on_call.told() == everywhere(*firing(PAIR, TRIPLE))
    fingerprints = {each["subject"]: each["fingerprint"] for each in sweep.findings("duplicate-address")}
    assert {_pagerduty(event)[1]: event["dedup_key"] for event in on_call.pagerduty.events} == fingerprints
    assert {
        subject: alert["labels"]["fingerprint"] for subject, alert in on_call.held().items()
    } == fingerprints
    assert on_call.alertmanager_told(2) == firing(PAIR, TRIPLE)

    # Alertmanager, which forgets, is told again, holds the same two alerts, and tells nobody again.
    before = on_call.held()
    assert on_call.sweep().code == 1
    assert on_call.told() == everywhere()
    again = on_call.held()
    assert again.keys() == before.keys() == {PAIR, TRIPLE}
    for subject, alert in again.items():
        assert alert["fingerprint"] == before[subject]["fingerprint"]
        assert alert["startsAt"] == before[subject]["startsAt"]
        assert alert["updatedAt"] > before[subject]["updatedAt"]
    assert on_call.alertmanager_told(2) == firing(PAIR, TRIPLE)

    change(on_call.lab, repaired())
    after = on_call.sweep()
    assert (after.code, after.report["findings"]) == (0, [])
    assert on_call.told() == everywhere(*resolved(PAIR, TRIPLE))
    assert on_call.pagerduty.open == {}
    assert on_call.held() == {}
    assert on_call.alertmanager_told(4) == firing(PAIR, TRIPLE) + resolved(PAIR, TRIPLE)
    assert on_call.sweep().code == 0
    assert on_call.told() == everywhere()


def test_nothing_resolves_while_one_nodes_sshd_is_stopped_even_if_all_is_repaired(on_call: OnCall) -> None:
    """Its own view was evidence: until it is seen again, the incidents stand, with since when they were not seen."""
    on_call.sweep()
    on_call.told()

    with on_call.lab.without_sshd(OBSERVER):
        assert on_call.sweep().code == 1
        assert on_call.told() == everywhere()

        change(on_call.lab, repaired())
        hidden = on_call.sweep()
        assert (hidden.code, hidden.report["findings"]) == (3, [])
        # The second sweep in a row that did not see this node: that is told, and nothing else.
        assert on_call.told() == everywhere(*firing(UNSEEN))
        held = on_call.held()
        assert held.keys() == {PAIR, TRIPLE, UNSEEN}
        assert all("not_seen_since" in held[address]["annotations"] for address in (PAIR, TRIPLE))

    assert on_call.sweep().code == 0
    assert on_call.told() == everywhere(*resolved(PAIR, TRIPLE, UNSEEN))
    assert on_call.held() == {}


def test_a_stopped_consul_is_told_as_blindness_after_two_sweeps_and_resolves_nothing(on_call: OnCall) -> None:
    """Told once, and over when Consul is back; the two collisions stand all the while."""
    on_call.sweep()
    on_call.told()
    consul = on_call.lab.consuls["dc1"]

    consul.stop()
    try:
        assert on_call.sweep().code == 3
        assert on_call.told() == everywhere()
        assert on_call.sweep().code == 3
        assert on_call.told() == everywhere(*firing(BLINDNESS))
        assert on_call.sweep().code == 3
        assert on_call.told() == everywhere()
        held = on_call.held()
        assert held.keys() == {PAIR, TRIPLE, BLINDNESS}
        assert held[BLINDNESS]["labels"]["check"] == "audit-blind"
    finally:
        consul.restart()

    assert on_call.sweep().code == 1
    assert on_call.told() == everywhere(*resolved(BLINDNESS))
    assert on_call.held().keys() == {PAIR, TRIPLE}
