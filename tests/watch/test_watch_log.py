"""The watch's log tells what came and what went, once, in bounded and harmless lines."""

from __future__ import annotations

from datetime import timedelta

from auditor.errors import GapReason
from auditor.watch.view import FollowedDatacenter
from auditor.watch.watch_log import BETWEEN_GAPS, MOST_FINDINGS, WatchLog
from tests.fleets import FINISHED, Mesh
from tests.watch.views import pair, view_of


def test_the_first_view_says_that_it_is_ready_and_what_the_verdict_is() -> None:
    lines = WatchLog().of(view_of(pair()))
    assert lines == ("ready: the registry was read whole: 2 nodes in 1 datacenter", "verdict: clean")


def test_a_view_that_shows_nothing_new_is_no_news() -> None:
    log = WatchLog()
    log.of(view_of(pair(second="10.0.0.7")))
    assert log.of(view_of(pair(second="10.0.0.7"), 2)) == ()


def test_a_new_incident_is_one_line_with_the_command_that_comes_next() -> None:
    log = WatchLog()
    log.of(view_of(pair()))
    told = log.of(view_of(pair(second="10.0.0.7"), 2))
    (line,) = [line for line in told if line.startswith("new: critical")]
    assert "duplicate-address 10.0.0.7: Claimed by 2 nodes" in line
    assert line.endswith("; next: wgaudit explain 10.0.0.7")
    assert told[-1] == "verdict: clean, now findings"


def test_what_follows_from_an_incident_has_no_line_of_its_own() -> None:
    view = view_of(pair(second="10.0.0.7").node("db-nrt-1", "10.0.0.9", region="nrt"))
    assert len(view.report.findings) > 1
    assert len([line for line in WatchLog().of(view) if line.startswith("new: ")]) == 1


def test_an_incident_that_is_no_longer_shown_is_told_once() -> None:
    log = WatchLog()
    log.of(view_of(pair(second="10.0.0.7")))
    gone = "no longer shown: duplicate-address 10.0.0.7"
    assert log.of(view_of(pair(), 2)) == (gone, "verdict: findings, now clean")
    assert log.of(view_of(pair(), 3)) == ()


def test_a_storm_is_a_few_lines() -> None:
    mesh = Mesh()
    for number in range(30):
        mesh.node(f"edge-sin-{number}", f"10.1.0.{number + 1}", region="sin")
        mesh.node(f"edge-fra-{number}", f"10.1.0.{number + 1}", region="fra")
    lines = [line for line in WatchLog().of(view_of(mesh)) if line.startswith("new: ")]
    assert len(lines) == MOST_FINDINGS + 1
    assert lines[-1] == "new: 20 more findings; next: wgaudit sweep"


def test_gaps_are_told_in_groups_not_a_line_a_node() -> None:
    mesh = Mesh()
    for number in range(9):
        mesh.node(f"edge-sin-{number}", f"10.1.0.{number + 1}", region="sin")
        mesh.not_seen(f"edge-sin-{number}", GapReason.CONNECT_TIMEOUT)
    (line,) = [line for line in WatchLog().of(view_of(mesh)) if line.startswith("not seen: ")]
    named = "edge-sin-0, edge-sin-1, edge-sin-2 and 6 more"
    assert line == f"not seen: connect-timeout, 9 nodes: {named}; docs/gaps.md#connect-timeout"


def test_gaps_that_come_and_go_are_told_at_most_each_ten_seconds() -> None:
    log = WatchLog()
    log.of(view_of(pair().not_seen("edge-sin-1")))
    soon, later = 1.0, BETWEEN_GAPS.total_seconds() + 1
    assert [line for line in log.of(view_of(pair(), 2, seconds=soon)) if "seen" in line] == []
    assert "seen again: connect-refused" in log.of(view_of(pair(), 3, seconds=later))


def test_a_node_that_is_not_seen_for_another_reason_now_is_not_called_seen_again() -> None:
    log = WatchLog()
    log.of(view_of(pair().not_seen("edge-sin-1").not_seen("edge-fra-1")))
    lost = pair()
    for node in ("edge-sin-1", "edge-fra-1"):
        lost.not_seen(node, GapReason.COLLECTOR_LOST)
    later = BETWEEN_GAPS.total_seconds() + 1
    assert [line for line in log.of(view_of(lost, 2, seconds=later)) if "seen" in line] == [
        "not seen: collector-lost, 2 nodes: edge-fra-1 and edge-sin-1; docs/gaps.md#collector-lost"
    ]
    refused = view_of(pair().not_seen("edge-sin-1"), 3, seconds=2 * later)
    assert "seen again: collector-lost, 1 of 2" in log.of(refused)
    other = log.of(view_of(pair().not_seen("edge-fra-1"), 4, seconds=3 * later))
    assert "not seen: connect-refused, 1 node: edge-fra-1; docs/gaps.md#connect-refused" in other


def test_nodes_that_were_not_heard_of_yet_are_no_news_and_no_verdict() -> None:
    """A watch that begins hears of one node after the other."""
    log = WatchLog()
    beginning = view_of(pair().not_seen("edge-sin-1", GapReason.CUT_SHORT))
    assert log.of(beginning) == ("ready: the registry was read whole: 2 nodes in 1 datacenter",)
    assert log.of(view_of(pair(), 2)) == ("verdict: clean",)
    assert log.of(view_of(pair().not_seen("edge-sin-1", GapReason.CUT_SHORT), 3)) == ()


def test_what_befell_the_registry_is_told_when_it_happens() -> None:
    log = WatchLog()
    calm = FollowedDatacenter("dc1", True, FINISHED, registrations=2)
    log.of(view_of(pair(), datacenters=(calm,)))
    held = FollowedDatacenter(
        "dc1", True, FINISHED, registrations=2, event="an election; read anew", event_at=FINISHED
    )
    assert log.of(view_of(pair(), 2, datacenters=(held,))) == ("registry dc1: an election; read anew",)
    assert log.of(view_of(pair(), 3, datacenters=(held,))) == ()
    again = FollowedDatacenter(
        "dc1",
        True,
        FINISHED,
        registrations=2,
        event="an election; read anew",
        event_at=FINISHED + timedelta(seconds=9),
    )
    assert log.of(view_of(pair(), 4, datacenters=(again,))) == ("registry dc1: an election; read anew",)


def test_a_registry_that_cannot_be_read_says_why_and_when_it_can_again() -> None:
    log = WatchLog()
    log.of(view_of(pair(), datacenters=(FollowedDatacenter("dc1", True, FINISHED, registrations=2),)))
    dark = view_of(
        pair().gap(GapReason.CONSUL_TIMEOUT, dc="dc1"),
        2,
        datacenters=(FollowedDatacenter("dc1", False, FINISHED),),
    )
    assert "registry dc1: cannot be read: consul-timeout: planted; docs/gaps.md#consul-timeout" in log.of(
        dark
    )
    back = view_of(pair(), 3, datacenters=(FollowedDatacenter("dc1", True, FINISHED, registrations=2),))
    assert "registry dc1: can be read again: 2 registrations" in log.of(back)


def test_nothing_is_called_gone_while_the_registry_cannot_be_read() -> None:
    log = WatchLog()
    followed = FollowedDatacenter("dc1", True, FINISHED, registrations=2)
    log.of(view_of(pair(second="10.0.0.7"), datacenters=(followed,)))
    dark = FollowedDatacenter("dc1", False, FINISHED)
    lines = log.of(
        view_of(Mesh().gap(GapReason.CONSUL_TIMEOUT, dc="dc1"), 2, seconds=60, datacenters=(dark,))
    )
    assert "cannot be judged now, for not all of it is seen: duplicate-address 10.0.0.7" in lines
    assert not any(line.startswith(("no longer shown", "not seen")) for line in lines)


def test_a_registry_that_was_just_read_is_counted_though_the_report_is_older() -> None:
    """The registry alone is told of before the whole is judged: then the report still has the gap from before."""
    read = FollowedDatacenter("dc1", True, FINISHED, registrations=40)
    older = Mesh().gap(GapReason.CONSUL_TIMEOUT, dc="dc1")
    lines = WatchLog().of(view_of(older, datacenters=(read,)))
    assert "ready: the registry was read whole: 40 nodes in 1 datacenter" in lines
    assert not any(line.startswith("not seen") for line in lines)


def test_what_moves_is_told_of_only_where_it_does_not_hold_still() -> None:
    """Each change of a registration is unsettled for a moment."""
    log = WatchLog()
    log.of(view_of(pair()))
    moving = pair().flying("edge-sin-1", region="fra")
    assert not any("unsettled" in line for line in log.of(view_of(moving, 2, seconds=1)))
    assert not any("unsettled" in line for line in log.of(view_of(moving, 3, seconds=30)))
    assert any("not seen: unsettled" in line for line in log.of(view_of(moving, 4, seconds=62)))


def test_foreign_text_stays_on_its_line_and_harmless() -> None:
    mesh = Mesh().node("edge\n\x1b[2J-1", "10.0.0.7").node("edge-2", "10.0.0.7")
    lines = WatchLog().of(view_of(mesh))
    assert all(line.isprintable() and len(line) <= 400 for line in lines)
