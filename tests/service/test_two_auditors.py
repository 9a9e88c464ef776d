"""Two watches on one PostgreSQL: whatever befalls the leader, people are told in time, and by one of the two.

`make lease-faults` has a hundred runs of each fault.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import reduce
from operator import add
from pathlib import Path

from auditor.service.watch_telling import WatchAlerts
from auditor.settings.file import parse_config
from auditor.values.leaders import TellingRole
from tests.parts.postgresql import PostgresqlServer
from tests.service.two_auditors import LEASE, TOLD_WITHIN, Chain, Fault, ForkServer, Outcome

RUNS = int(os.environ.get("LEASE_FAULTS", "1"))
"""Runs of each fault."""
AT_ONCE = int(os.environ.get("LEASE_CHAINS", "4"))
"""Chains of runs beside each other."""
FAULTS = [fault for fault in Fault if os.environ.get("LEASE_FAULT", "") in fault.value]
"""All of them, unless one is named."""
LONGEST_CHAIN = 25


def test_no_incident_stays_untold_and_none_is_told_twice_but_once_more_and_counted(
    tmp_path: Path, postgresql: PostgresqlServer, record_property: Callable[[str, object], None]
) -> None:
    with closing(ForkServer()) as forks, ThreadPoolExecutor(AT_ONCE) as threads:
        begun = []
        for seed, (fault, start) in enumerate(
            (fault, start) for fault in FAULTS for start in range(0, RUNS, LONGEST_CHAIN)
        ):
            folder = tmp_path / f"{seed}"
            folder.mkdir()
            chain = Chain(fault, min(LONGEST_CHAIN, RUNS - start), seed, postgresql, forks, folder)
            begun.append((fault, threads.submit(chain.run)))
        outcomes = [(fault, one.result()) for fault, one in begun]
    for fault in FAULTS:
        found = reduce(add, (outcome for kind, outcome in outcomes if kind is fault), Outcome())
        assert len(found.seconds) == RUNS
        longest = max(found.seconds)
        assert longest <= TOLD_WITHIN
        seconds = sorted(found.seconds)
        record_property(
            "measured",
            f"leader {fault.value}: {RUNS} runs, lease {LEASE:g} s: told after {seconds[len(seconds) // 2]:.2f} s, "
            f"{longest:.2f} s at most; once more: {found.again['oncall']} at the pager, "
            f"{found.again['chat']} in the chat, in {found.takeovers} takeovers",
        )


async def test_the_one_that_follows_knows_its_state_and_who_leads_before_any_round(
    postgresql: PostgresqlServer,
) -> None:
    database = postgresql.fresh("prepared")
    url = postgresql.url(database).get_secret_value()
    config = parse_config({"state": {"url": url}}, "a test")
    async with WatchAlerts(config, lambda _: None), WatchAlerts(config, lambda _: None) as second:
        health = second.health()
    postgresql.drop(database)
    assert (health.state_readable, health.waiting, health.handed_over) == (True, 0, None)
    assert health.leader is not None
    assert health.leader.role is TellingRole.FOLLOWS
