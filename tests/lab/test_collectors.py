"""Regions of a real mesh that let in SSH from inside alone, three with a collector each; one is looked at from here.

On the way between are a real nats-server and real processes, which are killed, stopped and configured wrongly.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.pagerduty import ROUTING_KEY, PagerDutyDouble
from tests.gather.nats.servers import new_nkey
from tests.lab import files
from tests.lab.cases import collided, regional
from tests.lab.change import change
from tests.lab.mesh import Lab
from tests.lab.regions import COLLECTED, Collectors, collectors_of, deaf, open_doors
from tests.lab.sweeps import finish
from tests.parts.certificates import self_signed
from tests.watch.running import Report, WatchProcess

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]
PAIR, TRIPLE = "10.0.0.1", "10.20.0.7"
FROZEN = 60.0
"""Seconds within which a collector that hangs is found out: it is silent for 20, and does not answer for 5."""

_WATCH = """
[watch]
listen = "unix://{page}"
follow_interval = 1.0
round_interval = 5.0

[[notifiers]]
name = "pagerduty"
type = "pagerduty"
routing_key = "{routing_key}"
api = "{pagerduty}"
"""


@dataclass
class Regions:
    """A healthy mesh, its collectors, and a watch that sees all of it through them."""

    lab: Lab
    collectors: Collectors
    watch: WatchProcess
    pagerduty: PagerDutyDouble

    def config(self, name: str, more: str) -> tuple[str, str]:
        """Writes a configuration of this mesh with further tables; the words that name it."""
        lab = self.lab
        text = files.configuration(lab.topology, lab.folder, lab.consuls["dc1"].url)
        lab.write(f"{name}.toml", text + more)
        return "--config", str(lab.folder / f"{name}.toml")

    def nodes(self, *regions: str) -> set[str]:
        """The nodes of these regions."""
        return {node.name for node in self.lab.topology.nodes if node.region in regions}

    def told(self, reason: str) -> Counter[str]:
        """How often PagerDuty was told of each duplicate address for this reason."""
        return Counter(
            event["payload"]["component"]
            for event in self.pagerduty.events
            if event["payload"]["class"] == "duplicate-address"
            and event["payload"]["custom_details"]["reason"] == reason
        )

    def whole(self) -> Report:
        """The watch's report once all nodes are seen; collectors that a test left ended are started before."""
        self.collectors.serve(*(region for region in COLLECTED if region not in self.collectors.running))
        return self.watch.until(lambda report: not report["gaps"], "all nodes to be seen", 60.0)


@pytest.fixture(scope="module")
def regions(lab_parts: None) -> Iterator[Regions]:
    """The regional fleet behind its doors."""
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab(regional()))
        with lab.inside():
            pagerduty = stack.enter_context(PagerDutyDouble())
        collectors = stack.enter_context(collectors_of(lab))
        page = lab.folder / "page.sock"
        lab.write(
            "watch.toml",
            files.configuration(lab.topology, lab.folder, lab.consuls["dc1"].url, lab.folder / "watch.db")
            + collectors.table()
            + _WATCH.format(page=page, routing_key=ROUTING_KEY, pagerduty=pagerduty.url),
        )
        watching = lab.command("watch", "--config", str(lab.folder / "watch.toml"))
        watch = stack.enter_context(WatchProcess(watching, lab.environment(), lab.folder, page))
        watch.until(lambda report: report["verdict"] == "clean", "a clean mesh")
        yield Regions(lab, collectors, watch, pagerduty)


def unseen(report: Report) -> dict[str, str]:
    """By node that was not seen: why."""
    return {gap["node"]: gap["reason"] for gap in report["gaps"]}


def seen(report: Report) -> int:
    """How many nodes were seen."""
    count = report["coverage"]["observed"]
    assert isinstance(count, int)
    return count


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    """A report without when it was made, and without the commands that name a configuration."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            left_out = ("started_at", "finished_at", "next_steps")
            return {name: kept(each) for name, each in value.items() if name not in left_out}
        return [kept(each) for each in value] if isinstance(value, list) else value

    found = kept(report)
    assert isinstance(found, dict)
    return found


def test_a_collector_that_is_killed_or_frozen_in_a_look_costs_its_own_nodes_and_is_never_clean(
    regions: Regions,
) -> None:
    """Two nodes keep their collectors waiting. The watch loses both regions, too; a new collector brings one back."""
    lab, collectors, watch = regions.lab, regions.collectors, regions.watch
    regions.whole()
    collected = regions.config("collected", collectors.table())
    fra, sin = regions.nodes("fra"), regions.nodes("sin")
    with deaf(lab, "worker-fra-1", "worker-sin-1"):
        sweep = lab.start_sweep(*collected)
        for region in ("fra", "sin"):
            collectors.running[region].wait_for(r"begins job \S+ \(look, 2 nodes\)")
        collectors.running["sin"].send(signal.SIGSTOP)
        collectors.kill("fra")
    try:
        killed = watch.until(lambda report: unseen(report).keys() >= fra, "fra to be gone", FROZEN)
        collectors.serve("fra")
        frozen = watch.until(lambda report: unseen(report).keys() == sin, "sin to be gone", FROZEN)
        report = finish(sweep).report
    finally:
        collectors.running["sin"].send(signal.SIGCONT)
    assert unseen(killed).keys() <= fra | sin
    assert killed["verdict"] == frozen["verdict"] == report["verdict"] == "inconclusive"
    gaps = unseen(report)
    assert {"worker-fra-1", "worker-sin-1"} <= gaps.keys() <= fra | sin
    assert set(gaps.values()) == {"collector-lost"}
    assert seen(report) == 8 - len(gaps)
    assert regions.whole()["verdict"] == "clean"
    # With so many nodes unseen the audit may be blind, and tells nothing else.
    assert {event["payload"]["class"] for event in regions.pagerduty.events} <= {"audit-blind"}


def test_a_nats_server_that_is_killed_and_started_anew_in_a_look_costs_what_was_lost_at_most(
    regions: Regions,
) -> None:
    lab, collectors = regions.lab, regions.collectors
    regions.whole()
    collected = regions.config("collected", collectors.table())
    with deaf(lab, "worker-fra-1"):
        sweep = lab.start_sweep(*collected)
        collectors.running["fra"].wait_for(r"begins job \S+ \(look, 2 nodes\)")
        os.kill(collectors.nats.server.pid, signal.SIGKILL)
        collectors.nats.server.stop()
        collectors.nats.server.__enter__()
    report = finish(sweep).report
    gaps = unseen(report)
    assert gaps.keys() <= regions.nodes(*COLLECTED)
    assert set(gaps.values()) <= {"collector-lost"}
    assert seen(report) == 8 - len(gaps)
    assert report["verdict"] == ("inconclusive" if gaps else "clean")
    assert regions.whole()["verdict"] == "clean"
    assert "back after" in regions.watch.log()


def test_without_a_collector_or_with_keys_that_do_not_fit_just_those_regions_are_gaps(
    regions: Regions, tmp_path: Path
) -> None:
    """Of two regions, one collector has another CA, and the other one the key of another region."""
    lab, collectors = regions.lab, regions.collectors
    regions.whole()
    foreign, _ = self_signed(tmp_path, "198.18.0.1")
    collectors.stop("fra", "sin")
    strangers = collectors.start("fra", ca_file=foreign), collectors.start("sin", key_of="fra")
    strangers[0].wait_for("its certificate is not accepted")
    strangers[1].wait_for("does not let this user collect for sin")
    local = lab.sweep(*regions.config("collected", collectors.table()))
    none = lab.sweep(*regions.config("none", collectors.table({'"local"': '"none"'})))
    assert unseen(local.report) == dict.fromkeys(regions.nodes("fra", "sin"), "connect-refused")
    assert unseen(none.report) == dict.fromkeys(regions.nodes("ams", "fra", "sin"), "collector-missing")
    assert (local.code, none.code) == (3, 3)
    collectors.stop("fra", "sin")
    collectors.serve("fra", "sin")

    stranger = new_nkey(tmp_path, "stranger")
    auditor = collectors.nats.keys["UAUDITOR"].file
    for name, changes, words in (
        ("ca", {str(collectors.nats.ca_file): str(foreign)}, "its certificate is not accepted"),
        ("key", {str(auditor): str(stranger.file)}, f"it does not let the user {stranger.public} in"),
    ):
        refused = lab.sweep(*regions.config(name, collectors.table(changes)))
        assert unseen(refused.report) == dict.fromkeys(regions.nodes(*COLLECTED), "connect-refused")
        assert (refused.code, seen(refused.report)) == (3, 2)
        assert words in " ".join(refused.stderr.split())


def test_the_incident_is_paged_once_and_its_report_is_that_of_an_auditor_who_may_log_in_everywhere(
    regions: Regions,
) -> None:
    """In the middle of it a collector ends: what it showed stands, and is resolved when it was seen to be over."""
    lab, collectors, watch = regions.lab, regions.collectors, regions.watch
    regions.whole()
    change(lab, collided())
    regions.pagerduty.wait_until(
        lambda: regions.told("first-notification").keys() == {PAIR, TRIPLE}, "two pages", 60.0
    )
    through = lab.sweep(*regions.config("collected", collectors.table()))
    assert through.subjects("duplicate-address") == {PAIR, TRIPLE}
    with open_doors(lab):
        from_here = lab.sweep()
    assert without_times(through.report) == without_times(from_here.report)
    assert (through.code, through.report["gaps"]) == (1, [])

    collectors.stop("sin")
    gone = regions.nodes("sin")
    watch.until(lambda report: unseen(report).keys() == gone, "the nodes of sin to be gone")
    assert regions.told("resolved") == {}
    regions.whole()
    change(lab, regional())
    both = Counter((PAIR, TRIPLE))
    regions.pagerduty.wait_until(lambda: regions.told("resolved") == both, "both to be over", 60.0)
    assert regions.told("first-notification") == both
    assert regions.whole()["verdict"] == "clean"
