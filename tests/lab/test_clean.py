"""A clean fleet on a real mesh, and what becomes of "clean" when something can no longer be seen."""

from __future__ import annotations

import signal

import pytest

from tests.lab.lossy import losing, sending
from tests.lab.mesh import Lab
from tests.lab.sweeps import finish

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]
CASE = "consul-stops"  # the clean fleet, and who stops Consul is asked for by `planned_sweep`
HOLDABLE = "worker-fra-1"


def test_a_clean_fleet_exits_with_0(lab: Lab) -> None:
    """No finding, no gap, every node seen, and one route table that all of them share."""
    sweep = lab.sweep()

    assert (sweep.code, sweep.report["verdict"]) == (0, "clean"), sweep.stderr
    assert (sweep.report["findings"], sweep.report["gaps"]) == ([], [])
    coverage = sweep.report["coverage"]
    assert (coverage["registered"], coverage["observed"], coverage["distinct_tables"]) == (6, 6, 1)


def test_one_node_that_cannot_be_reached_makes_it_inconclusive_and_is_named(lab: Lab) -> None:
    """Exit 3 with the node and the reason; the same fleet is clean again when it is back."""
    with lab.without_sshd("edge-sin-1"):
        sweep = lab.sweep()

    assert (sweep.code, sweep.report["verdict"]) == (3, "inconclusive"), sweep.stderr
    assert sweep.gaps() == {("edge-sin-1", "connect-refused")}
    assert sweep.report["coverage"]["observed"] == 5
    assert lab.sweep().code == 0


def test_consul_that_stops_during_the_sweep_makes_it_inconclusive(lab: Lab) -> None:
    """All nodes were seen, but the registry could not be read again: never clean."""
    sweep = lab.planned_sweep()

    assert (sweep.code, sweep.report["verdict"]) == (3, "inconclusive"), sweep.stderr
    assert sweep.report["coverage"]["observed"] == 6
    gaps = {(gap["source"], gap["reason"]) for gap in sweep.report["gaps"]}
    assert gaps == {("consul", "consul-unreachable")}


def test_ctrl_c_gives_the_report_of_what_was_seen_so_far(lab: Lab) -> None:
    """It says that it was cut short, and by what; the node that still had to answer is a gap."""
    lab.arm(HOLDABLE)
    running = lab.start_sweep()
    with lab.held(HOLDABLE, running):
        running.send_signal(signal.SIGINT)
        sweep = finish(running)

    assert (sweep.code, sweep.report["cut_short"]) == (3, "interrupted"), sweep.stderr
    assert (HOLDABLE, "cut-short") in sweep.gaps()


def test_the_deadline_ends_a_sweep_that_waits_for_a_node(lab: Lab) -> None:
    """One slow node does not keep the report of all others."""
    lab.arm(HOLDABLE)
    running = lab.start_sweep("--deadline", "2")
    with lab.held(HOLDABLE, running):
        sweep = finish(running)

    assert (sweep.code, sweep.report["cut_short"]) == (3, "deadline"), sweep.stderr
    # The second gap is the registry's: it was not read again.
    assert sweep.gaps() == {(HOLDABLE, "cut-short"), (None, "cut-short")}
    assert sweep.report["coverage"]["observed"] == 5


def test_a_key_that_may_only_run_the_probe_sees_the_same(lab: Lab) -> None:
    """The installed mode: authorized_keys forces the script that `wgaudit probe-script` prints."""
    script = lab.run("probe-script")
    assert script.code == 0, script.stderr
    lab.write("probe", script.stdout)
    lab.write("installed.toml", lab.config.read_text().replace("[ssh]", '[ssh]\nprobe = "installed"'))

    with lab.forced_command(f"sh {lab.folder}/probe"):
        sweep = lab.sweep("--config", str(lab.folder / "installed.toml"))

    assert (sweep.code, sweep.report["coverage"]["observed"]) == (0, 6), sweep.stderr


def test_a_bridge_for_containers_inside_the_pool_is_named_with_whom_it_hides(lab: Lab) -> None:
    """Nothing is wrong in WireGuard. Docker's own network is in the mesh's here."""
    lab.on(
        "edge-nrt-1",
        *(
            "sh",
            "-ec",
            "ip link add docker0 type bridge; ip addr add 10.20.0.15/31 dev docker0; ip link set docker0 up",
        ),
    )
    try:
        sweep = lab.sweep("--no-confirm")
    finally:
        lab.on("edge-nrt-1", "ip", "link", "del", "docker0")

    (finding,) = sweep.report["findings"]
    assert (finding["check"], finding["subject"]) == ("shadowed-addresses", "10.20.0.14/31 on docker0")
    assert finding["nodes"] == ["edge-nrt-1"]
    hidden = {claim["node"] for claim in finding["evidence"]["claims"]}
    assert hidden == {"worker-fra-1", "worker-sin-1"}


def test_a_node_that_is_sent_to_in_vain_is_named_and_one_that_only_does_not_answer_is_not(lab: Lab) -> None:
    """Both get handshakes and no data comes back from either. One of them receives, as a log server does."""
    with (
        losing(lab, "edge-fra-1", "edge-sin-1"),
        sending(lab, "edge-fra-1", "edge-sin-1"),
        sending(lab, "worker-nrt-1", "worker-fra-1"),
    ):
        sweep = lab.sweep("--transfer", "--no-confirm")

    (finding,) = sweep.report["findings"]
    assert (finding["check"], finding["subject"]) == ("one-way-peer", "edge-fra-1 and edge-sin-1")
    assert "no address is contested" in finding["summary"]
    assert sweep.report["gaps"] == []
