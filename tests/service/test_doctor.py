"""Trials of nodes over real SSH, and which nodes a sample takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.demo.demo_consul import serve_registry
from auditor.demo.demo_fleet import FEWEST_NODES, build_fleet
from auditor.demo.folder import registry_items, write_configuration
from auditor.demo.servers import serve
from auditor.errors import GapReason, UsageError
from auditor.reports.interface import Layout
from auditor.reports.terminal.doctor_page import doctor_page
from auditor.service.doctor import try_everything
from auditor.service.node_trials import spread_sample
from auditor.settings.file import Config, load_config
from auditor.values.models import Registration
from auditor.values.trials import TrialOutcome
from tests.fleets import Mesh

FLEET = build_fleet(FEWEST_NODES)


@pytest.fixture
async def config(tmp_path: Path) -> AsyncIterator[Config]:
    """The configuration of a fleet that answers over SSH, one node of it not."""
    async with serve(FLEET, tmp_path, sessions=8) as served:
        with serve_registry(registry_items(FLEET, served), "token") as url:
            yield load_config(write_configuration(served, tmp_path, url=url, token="token", concurrency=8))


async def test_every_node_can_be_tried_and_each_reason_is_told_once(config: Config) -> None:
    """What works and what does not stand side by side, each with the nodes that it is about."""
    tried = await try_everything(config, None, names=(), number=None)
    unreachable = {node.name for node in FLEET.nodes if not node.reachable}
    assert {item.node.partition("@")[0] for item in tried.nodes if item.reason is not None} == unreachable
    logins = [item for item in tried.trials if item.part.startswith("nodes by SSH")]
    seen = len(FLEET.nodes) - len(unreachable)
    assert [(item.outcome, item.reason) for item in logins] == [
        (TrialOutcome.WORKS, None),
        (TrialOutcome.FAILS, GapReason.CONNECT_REFUSED),
    ]
    assert logins[0].got == f"{seen} of {len(FLEET.nodes)} logged in"
    assert not any("--nodes all" in words for words in tried.beyond)
    assert not tried.whole


async def test_a_sample_says_what_it_left_out(config: Config) -> None:
    tried = await try_everything(config, None, names=(), number=2)
    assert len(tried.nodes) == 2
    assert f"{len(FLEET.nodes) - 2} of {len(FLEET.nodes)} nodes (--nodes all)" in tried.beyond


async def test_a_named_node_is_tried_and_one_that_is_not_registered_is_refused(config: Config) -> None:
    name = next(node.name for node in FLEET.nodes if node.reachable)
    tried = await try_everything(config, None, names=(name,), number=5)
    assert [item.node.partition("@")[0] for item in tried.nodes] == [name]
    with pytest.raises(UsageError, match="nobody is not among"):
        await try_everything(config, None, names=("nobody",), number=5)


async def test_no_line_of_the_page_is_wider_than_80_columns(config: Config) -> None:
    text = doctor_page(await try_everything(config, None, names=(), number=None), Layout(width=80))
    assert max(map(len, text.splitlines())) <= 80


def registrations() -> tuple[Registration, ...]:
    """Many of one region, and a few of two others."""
    mesh = Mesh()
    for number in range(30):
        mesh.node(f"a-{number}", f"10.0.1.{number + 1}", region="fra")
    for number in range(3):
        mesh.node(f"b-{number}", f"10.0.2.{number + 1}", region="sin")
    mesh.node("c-0", "10.0.3.1")
    return tuple(mesh.registrations.values())


def test_a_sample_is_spread_over_the_regions_and_is_always_the_same() -> None:
    every = registrations()
    region_of = {item.node: item.region or "" for item in every}
    sample = spread_sample(every, region_of.__getitem__, 5)
    assert Counter(region_of[item.node] for item in sample) == {"": 1, "fra": 2, "sin": 2}
    assert spread_sample(tuple(reversed(every)), region_of.__getitem__, 5) == sample


def test_retired_nodes_are_in_no_sample() -> None:
    every = registrations()
    gone = replace(every[0], retired=True)
    assert spread_sample((gone, *every[1:]), lambda _node: "", None) == every[1:]
