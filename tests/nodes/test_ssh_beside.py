"""What a node is asked beside its table, over a real sshd: only where there is a reason to."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.nodes.probe.probe import ProbePlaces, probe_script
from auditor.values.addresses import Prefix
from tests.nodes.bench import Bench
from tests.nodes.probe.test_hidden_addresses import routed
from tests.nodes.probe.test_one_way import STUCK, counted
from tests.nodes.stubs import key
from tests.parts.sshd import Sshd, public

POOLS = (Prefix("10.0.0.0/8"),)
PLAIN = "default via 192.0.2.1 dev eth0\n10.0.0.0/8 dev wg0 scope link\n"
BRIDGE = "10.0.0.0/24 dev docker0 scope link\n"


def asked(bench: Bench) -> int:
    """How often the node was asked for its table."""
    return bench.node.calls.count("wg show wg0 public-key")


async def test_a_node_is_asked_once_more_where_a_route_may_hide_something(bench: Bench) -> None:
    server = bench.sshd()
    routed(bench.node, PLAIN)
    await bench.observe(server, pools=POOLS)  # its table is new here
    plain = asked(bench)
    seen = await bench.observe(server, pools=POOLS)
    assert (seen.shadows, asked(bench) - plain) == ((), plain)
    routed(bench.node, PLAIN + BRIDGE)
    seen = await bench.observe(server, pools=POOLS)
    assert [item.device for item in seen.shadows or ()] == ["docker0"]
    assert asked(bench) - 2 * plain == plain + 1


async def test_whom_it_sends_to_in_vain_is_asked_where_that_is_wanted(bench: Bench) -> None:
    server = bench.sshd()
    counted(bench.node, *STUCK)
    assert (await bench.observe(server)).one_way is None
    seen = await bench.observe(server, transfer=True, region_command="echo fra")
    assert [item.public_key for item in seen.one_way or ()] == [key(2)]
    assert seen.region == "fra"


def forced(bench: Bench, script: str) -> Sshd:
    file = bench.node.script("wgaudit-probe", script)
    return bench.sshd(authorized=[f'command="{file}",restrict {public(bench.identity)}'])


async def test_an_installed_probe_tells_all_of_it(bench: Bench) -> None:
    routed(bench.node, PLAIN + BRIDGE)
    counted(bench.node, *STUCK)
    server = forced(bench, probe_script("wg0", False, "", ProbePlaces(pools=POOLS)))
    seen = await bench.observe(server, probe="installed", transfer=True)
    assert (len(seen.shadows or ()), len(seen.one_way or ())) == (1, 1)


@pytest.mark.parametrize("transfer", [False, True])
async def test_an_older_installed_probe_tells_none_of_it_and_that_is_no_error(
    bench: Bench, transfer: bool
) -> None:
    older = Path(__file__).with_name("probe") / "installed-before-follow"
    seen = await bench.observe(
        forced(bench, older.read_text()), probe="installed", pools=POOLS, transfer=transfer
    )
    assert (seen.shadows, seen.one_way) == (None, None)
    assert (seen.routes_unread, seen.transfers_unread) == ("", "")


async def test_counters_that_wg_does_not_show_cost_nothing_else(bench: Bench) -> None:
    (bench.node.folder / "transfer").unlink()
    seen = await bench.observe(bench.sshd(), transfer=True)
    assert (seen.one_way, seen.transfers_unread) == (None, "wg show transfer: exit 1")
    assert seen.device == bench.node.device
