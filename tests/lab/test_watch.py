"""`wgaudit watch` on a real mesh while the incident happens to it, and while Consul, nodes and network fail."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.pagerduty import ROUTING_KEY, PagerDutyDouble
from tests.doubles.server import Double
from tests.doubles.slack import SlackDouble
from tests.lab import files
from tests.lab.cases import growing
from tests.lab.faulty_allocator import FaultyAllocator, provision_many
from tests.lab.happenings import logins, network_cut, rebooting, set_up_device
from tests.lab.mesh import Lab
from tests.lab.topology import PREFIX
from tests.parts.alertmanager import AlertmanagerServer
from tests.parts.chaos import ChaosProxy, Fault
from tests.watch.running import Report, WatchProcess

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]
FALLBACK, RACE = "10.0.0.1", "10.0.0.2"
OWNED = "10.20.0.12"
"""The address of edge-sin-1."""
CUT = 3.0
"""Seconds without a network: less than three beats of a node, whose silence would be a gap."""
OPEN_TO_ALL = 'key_prefix "" { policy = "write" } session_prefix "" { policy = "write" }'
"""Rules of Consul's anonymous token: agents and the faulty tool have none of their own."""

_WATCH = """
[watch]
listen = "unix://{page}"
follow_interval = 1.0
round_interval = 10.0

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
name = "alertmanager"
type = "alertmanager"
url = "{alertmanager}"
"""


@dataclass
class Watched:
    """A mesh, the watch on it, and all who are told."""

    lab: Lab
    watch: WatchProcess
    config: Path
    by_hand: Path
    """The configuration for those who repair: its token may write."""
    pagerduty: PagerDutyDouble
    slack: SlackDouble
    alertmanager: AlertmanagerServer
    people: Double
    """Whom Alertmanager tells."""
    _contested: list[str] = field(default_factory=list)

    def rounds_each(self, seconds: float) -> None:
        """Starts the watch anew with such rounds, if it has others; its first round comes at once."""
        text = self.config.read_text()
        now = re.sub(r"(?m)^round_interval = .*", f"round_interval = {seconds}", text)
        if now != text:
            self.config.write_text(now)
            self.watch.restart()

    def contest(self, address: str) -> None:
        """Registers two nodes with this address, beside those that they have."""
        self._contested.append(address)
        self._register()

    def mend(self) -> None:
        """Takes all of these addresses from them."""
        self._contested.clear()
        self._register()

    def _register(self) -> None:
        for label in ("edge-fra-1", "edge-sin-1"):
            own = self.lab.topology.node(label).address
            put(self.lab, label, ip=[own, *self._contested])

    def pages(self, reason: str = "first-notification", check: str = "duplicate-address") -> Counter[str]:
        """How often PagerDuty was told of each subject of this check for this reason."""
        return Counter(
            event["payload"]["component"]
            for event in self.pagerduty.events
            if event["payload"]["class"] == check and event["payload"]["custom_details"]["reason"] == reason
        )

    def told(self, since: int = 0) -> list[tuple[str, str, str]]:
        """What PagerDuty was told after so many events: reason, check and subject of each."""
        events = self.pagerduty.events[since:]
        return [
            (
                event["payload"]["custom_details"]["reason"],
                event["payload"]["class"],
                event["payload"]["component"],
            )
            for event in events
        ]

    def checks(self) -> set[str]:
        """The checks of all incidents that PagerDuty was told of."""
        return {event["payload"]["class"] for event in self.pagerduty.events}

    def wait_for_pages(self, *subjects: str, reason: str = "first-notification") -> None:
        """Returns when PagerDuty was told of all of them."""
        self.pagerduty.wait_until(
            lambda: self.pages(reason).keys() >= {*subjects}, f"{reason}: {subjects}", 60.0
        )

    def passed_on(self) -> Counter[tuple[str, str]]:
        """What Alertmanager has passed on to people about duplicate addresses, by status and address."""
        alerts = [alert for call in self.people.taken for alert in json.loads(call.body)["alerts"]]
        return Counter(
            (alert["status"], alert["labels"]["address"].removesuffix("/32"))
            for alert in alerts
            if alert["labels"]["check"] == "duplicate-address"
        )

    def held(self) -> set[str]:
        """The subjects of the alerts that stand at Alertmanager."""
        with self.lab.inside():
            alerts = self.alertmanager.alerts()
        return {alert["labels"].get("subject") or alert["labels"]["address"] for alert in alerts}


@pytest.fixture(scope="module")
def watched(lab_parts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A healthy mesh, and servers that wait to be provisioned; the watch has seen all of it once."""
    folder = tmp_path_factory.mktemp("watch")
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab(growing()))
        open_consul(lab)
        with lab.inside():
            people = stack.enter_context(Double())
            pagerduty = stack.enter_context(PagerDutyDouble())
            slack = stack.enter_context(SlackDouble())
            alertmanager = stack.enter_context(
                AlertmanagerServer(folder / "alertmanager", receiver=people.url)
            )
        page = lab.folder / "page.sock"
        text = files.configuration(lab.topology, lab.folder, lab.consuls["dc1"].url)
        text += _WATCH.format(
            page=page,
            routing_key=ROUTING_KEY,
            pagerduty=pagerduty.url,
            slack=slack.webhook,
            alertmanager=alertmanager.url,
        )
        lab.write("watch.toml", text)
        lab.write("management-token", lab.consuls["dc1"].token)
        lab.write(
            "by-hand.toml",
            text.replace(f'{lab.folder}/{files.TOKEN_FILE}"', f'{lab.folder}/management-token"'),
        )
        watch = stack.enter_context(
            WatchProcess(
                lab.command("watch", "--config", str(lab.folder / "watch.toml")),
                lab.environment(),
                lab.folder,
                page,
            )
        )
        watch.until(lambda report: report["verdict"] == "clean", "all nodes were seen")
        yield Watched(
            lab,
            watch,
            lab.folder / "watch.toml",
            lab.folder / "by-hand.toml",
            pagerduty,
            slack,
            alertmanager,
            people,
        )


@pytest.fixture
def between_rounds(watched: Watched) -> Watched:
    """The same, with rounds so far apart that no two of them meet what two tests do."""
    watched.rounds_each(300.0)
    watched.watch.until(is_whole, "to see all at first")
    return watched


def open_consul(lab: Lab) -> None:
    """Lets everybody without a token write."""
    consul = lab.consuls["dc1"]
    policy = consul.request(
        "PUT", "/v1/acl/policy", json.dumps({"Name": "open", "Rules": OPEN_TO_ALL}).encode()
    )
    assert policy.status == 200, policy
    anonymous = "00000000-0000-0000-0000-000000000002"
    body = json.dumps({"AccessorID": anonymous, "Policies": [{"Name": "open"}]}).encode()
    answer = consul.request("PUT", f"/v1/acl/token/{anonymous}", body)
    assert answer.status == 200, answer


def provision(lab: Lab, labels: Collection[str], *, fallen: bool) -> None:
    """The faulty tool at work on these servers at once: it cannot list, or they race."""
    nodes = {
        label: (lab.topology.public_key(lab.topology.node(label)), lab.topology.node(label).region)
        for label in labels
    }
    hosts = {label: lab.topology.underlay(lab.topology.node(label)) for label in labels}
    # Nobody writes before everybody has listed: that is what the lock does not keep apart.
    together = threading.Barrier(len(labels))
    url = lab.consuls["dc1"].url
    with contextlib.ExitStack() as stack:
        stack.enter_context(lab.inside())
        if fallen:
            url = stack.enter_context(ChaosProxy(url, reads={Fault.ERROR_BEFORE: 1.0})).url
        allocator = FaultyAllocator(url, work=lambda: together.wait(30), hosts=hosts)
        runs = provision_many(allocator, nodes, len(labels))
    assert {run.fell_back for run in runs} == {fallen}


def evidence(report: Report, subject: str) -> dict[str, Any]:
    """The evidence of a duplicate address; empty where it is no finding."""
    for finding in report["findings"]:
        if (finding["check"], finding["subject"]) == ("duplicate-address", subject):
            assert isinstance(finding["evidence"], dict)
            return finding["evidence"]
    return {}


def holders(report: Report, subject: str) -> int:
    """How many devices are known to have the contested address."""
    return sum(claim["witness"] == "device" for claim in evidence(report, subject).get("claims", []))


def senders(report: Report, subject: str) -> int:
    """How many nodes are known to send the contested address to somebody else."""
    picks = evidence(report, subject).get("routing", [])
    return sum(pick["observers"] for pick in picks if pick["public_key"] is not None)


def test_the_incident_is_one_page_from_its_first_write_to_its_repair(
    watched: Watched, record_property: Callable[[str, object], None]
) -> None:
    """From the registry, before any device has the address; devices and routes follow into the same incident."""
    lab, watch = watched.lab, watched.watch
    fallen, raced = ("spare-ams-1", "spare-fra-1"), ("spare-nrt-1", "spare-sin-1")
    assert watched.pagerduty.events == []

    provision(lab, fallen, fallen=True)
    written = time.monotonic()
    watched.wait_for_pages(FALLBACK)
    paged = [watched.pagerduty.calls[-1].at - written]
    provision(lab, raced, fallen=False)
    written = time.monotonic()
    watched.wait_for_pages(FALLBACK, RACE)
    paged.append(watched.pagerduty.calls[-1].at - written)
    assert registered_only(watch.report(), FALLBACK, RACE)

    for label in fallen:
        set_up_device(lab, label, FALLBACK)
    for label in raced:
        set_up_device(lab, label, RACE)
    watch.until(lambda report: all(holders(report, each) == 2 for each in (FALLBACK, RACE)), "the devices")
    for node in lab.topology.nodes:
        lab.start_agent(node.label)
    watch.until(lambda report: all(senders(report, each) == 6 for each in (FALLBACK, RACE)), "the routes")

    plan = lab.folder / "plan.json"
    by_hand = ("--config", str(watched.by_hand))
    planned = lab.run("plan", *by_hand, "--format", "json", "--output", str(plan))
    assert plan.exists(), planned.stderr
    applied = lab.run("apply", str(plan), *by_hand, "--yes")
    assert applied.code == 0, applied.stdout + applied.stderr
    watched.wait_for_pages(FALLBACK, RACE, reason="resolved")
    after = watch.until(lambda report: report["verdict"] == "clean", "a clean mesh")
    assert after["coverage"]["observed"] == 8
    assert watched.pages() == watched.pages("resolved") == {FALLBACK: 1, RACE: 1}
    # Nobody has the new servers as peers before the agents are started, and between two moves one server alone holds
    # the first address: that was true, and is over.
    assert watched.checks() <= {"duplicate-address", "missing-peer", "fallback-address"}
    watched.pagerduty.wait_until(lambda: not watched.pagerduty.open, "all incidents to be over")
    watched.people.wait_until(
        lambda: watched.passed_on() == once_each(FALLBACK, RACE), "Alertmanager's people"
    )
    assert watched.held() == set()
    record_property("measured", f"from write to page: {', '.join(f'{each:.2f} s' for each in paged)}")


def once_each(*subjects: str) -> Counter[tuple[str, str]]:
    """Each fired once, and was over once."""
    return Counter((status, subject) for status in ("firing", "resolved") for subject in subjects)


def registered_only(report: Report, *subjects: str) -> bool:
    """The contested addresses are known from the registry alone."""
    return all(holders(report, each) == senders(report, each) == 0 for each in subjects)


Happening = Callable[[Watched], None]


def lose_the_leader(watched: Watched) -> None:
    """Consul's leader dies, and another one is elected; the server that the watch asks follows it."""
    cluster, asked = watched.lab.cluster, watched.lab.consuls["dc1"]
    assert cluster is not None
    while (leader := cluster.leader()) is asked:
        asked.restart()
    leader.kill()
    asked.wait_until_ready()
    leader.start()


def restart_the_agent(watched: Watched) -> None:
    """The server that the watch asks ends, with all waiting queries, and comes back."""
    watched.lab.consuls["dc1"].restart()


def restore_a_snapshot(watched: Watched) -> None:
    """Consul's index goes back behind the one that the watch waits at."""
    consul = watched.lab.consuls["dc1"]
    snapshot = consul.snapshot()
    for number in range(20):
        consul.put("elsewhere", b"%d" % number)
    put(watched.lab, "worker-fra-1", note="written after the snapshot")
    consul.restore(snapshot)


def take_the_rights_away(watched: Watched) -> None:
    """The token's policy loses the prefix, which is a gap and no empty registry, and gets it back."""
    consul = watched.lab.consuls["dc1"]
    (policy,) = (
        each
        for each in json.loads(consul.request("GET", "/v1/acl/policies").body)
        if each["Name"].startswith("test-")
    )
    path = f"/v1/acl/policy/{policy['ID']}"
    whole = consul.request("GET", path).body
    nothing = json.loads(whole) | {"Rules": 'key_prefix "elsewhere/" { policy = "read" }'}
    assert consul.request("PUT", path, json.dumps(nothing).encode()).status == 200
    try:
        # What wakes the waiting query shows all keys, by the rights that it began with.
        put(watched.lab, "worker-fra-1", note="written without rights")
        watched.watch.until(lambda report: bool(registry_gaps(report)), "the lost rights as a gap", 40.0)
    finally:
        assert consul.request("PUT", path, whole).status == 200


def registry_gaps(report: Report) -> list[str]:
    """Why the registry could not be read."""
    return [gap["reason"] for gap in report["gaps"] if gap["scope"] == "registry"]


def put(lab: Lab, label: str, **fields: object) -> None:
    """Writes a node's registration with these fields in place of its own."""
    document = json.loads(lab.topology.registration(lab.topology.node(label)))
    lab.consuls["dc1"].put(PREFIX + label, json.dumps(document | fields).encode())


def is_whole(report: Report) -> bool:
    """Every place is seen, whether or not all that was seen holds still by now."""
    return all(gap["reason"] == "unsettled" for gap in report["gaps"])


@pytest.mark.parametrize(
    ("happening", "address"),
    [
        (lose_the_leader, "10.20.1.1"),
        (restart_the_agent, "10.20.1.2"),
        (restore_a_snapshot, "10.20.1.3"),
        (take_the_rights_away, "10.20.1.4"),
    ],
    ids=["leader lost", "agent restarted", "snapshot restored", "rights taken away"],
)
def test_whatever_befalls_consul_tells_nobody_anything_and_the_next_duplicate_is_paged(
    between_rounds: Watched, happening: Happening, address: str
) -> None:
    """As quickly as before; and what stands is not over because the registry could not be read."""
    watched = between_rounds
    told = len(watched.pagerduty.events)

    happening(watched)
    watched.watch.until(is_whole, "to see all again", 60.0)
    assert watched.told(since=told) == []

    watched.contest(address)
    watched.wait_for_pages(address)
    watched.watch.until(is_whole, "to have seen all since")


def test_a_node_that_reboots_is_a_gap_until_it_is_back_and_tells_nobody_anything(
    between_rounds: Watched,
) -> None:
    """Its device, its sshd and all connections go; it is logged in to once more, and nobody else is."""
    watched = between_rounds
    told, before = len(watched.pagerduty.events), logins(watched.lab)

    with rebooting(watched.lab, "edge-nrt-1"):
        watched.watch.until(lambda report: unseen(report) == {"edge-nrt-1"}, "the node to be a gap")
    watched.watch.until(is_whole, "the node to be back")

    assert watched.told(since=told) == []
    assert logins(watched.lab) == before + 1


def unseen(report: Report) -> set[str]:
    """The nodes that are not seen now."""
    return {gap["node"] for gap in report["gaps"] if gap["scope"] == "node"}


def test_a_network_that_was_cut_for_some_seconds_costs_no_page_and_no_login(between_rounds: Watched) -> None:
    """What is written meanwhile is paged; the connections live on, and bring what happened on the nodes."""
    watched, lab = between_rounds, between_rounds.lab
    told, paged, before = len(watched.pagerduty.events), watched.pages(), logins(lab)

    with network_cut(lab):
        watched.contest("10.20.1.5")
        watched.wait_for_pages("10.20.1.5")
        lab.on("worker-fra-1", "ip", "addr", "add", OWNED, "dev", "wg0")
        time.sleep(CUT)
    watched.wait_for_pages(OWNED)

    assert {check for _, check, _ in watched.told(since=told)} <= {"duplicate-address", "address-drift"}
    assert watched.pages() == {**paged, "10.20.1.5": 1, OWNED: 1}
    assert logins(lab) == before


def test_all_that_stood_meanwhile_is_over_when_it_is_mended_each_page_once(watched: Watched) -> None:
    watched.lab.on("worker-fra-1", "ip", "addr", "del", f"{OWNED}/32", "dev", "wg0")
    watched.mend()
    watched.rounds_each(5.0)

    watched.watch.until(lambda report: report["verdict"] == "clean", "a clean mesh")
    watched.pagerduty.wait_until(lambda: not watched.pagerduty.open, "all incidents to be over")
    assert set(watched.pages().values()) == {1}
    assert watched.pages() == watched.pages("resolved")
    assert watched.slack.pings == []
