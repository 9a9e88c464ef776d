"""What `doctor` tries of the means out of production; it drains nobody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from auditor.service.drain_trials import drain_trials
from auditor.settings.file import Config, parse_toml
from auditor.values.addresses import Prefix
from auditor.values.models import NodeId, Registration
from auditor.values.trials import Trial, TrialOutcome
from tests.doubles.nomad import NomadDouble

NODES = [
    Registration(NodeId("dc1", name), None, (Prefix(f"10.0.0.{number}/32"),))
    for number, name in enumerate(("edge-fra-1", "edge-sin-1"), 1)
]


async def tried(config: Config, nodes: Sequence[Registration] = NODES) -> Sequence[Trial]:
    return await drain_trials(config, nodes, (), lambda node: node.name[5:8])


def commands(program: object) -> Config:
    return parse_toml(
        f'[repair]\ndrain = ["{program}", "{{node}}"]\nundrain = ["true", "{{region}}"]', "test"
    )


async def test_nothing_is_tried_where_nothing_is_configured() -> None:
    assert await tried(Config()) == ()


async def test_programs_are_found_and_not_run(tmp_path: Path) -> None:
    program = tmp_path / "drain"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    first, second = await tried(commands(program))
    assert (first.outcome, first.tried) == (TrialOutcome.WORKS, f"repair.drain: {program}")
    assert second.outcome is TrialOutcome.WORKS
    assert not (tmp_path / "ran").exists()
    program.chmod(0o644)
    first, _ = await tried(commands(program))
    assert (first.outcome, first.got) == (TrialOutcome.FAILS, "there is no such program")


async def test_nodes_that_cannot_be_named_to_the_commands_are_told_before_the_night() -> None:
    *_, last = await tried(commands("true"), [*NODES, Registration(NodeId("dc1", "--force"), None, ())])
    assert last.outcome is TrialOutcome.WARNS
    assert "1 node cannot be named to them: --force@dc1" in last.got


async def test_nomad_is_asked_for_its_nodes_and_those_that_lack_are_named() -> None:
    with NomadDouble("edge-fra-1", "edge-sin-1") as nomad:
        config = parse_toml(
            f'[repair]\ndrain = "nomad-eligibility"\n[nomad]\nurl = "{nomad.url}"\ntoken = "t"', "test"
        )
        (trial,) = await tried(config)
        assert trial.outcome is TrialOutcome.WORKS
        assert "whether the token may write them was not tried" in trial.got
        nomad.nodes.pop()
        (trial,) = await tried(config)
        assert (trial.outcome, trial.got) == (
            TrialOutcome.WARNS,
            "1 registered node not among 1: edge-sin-1",
        )
        assert all(call.method == "GET" for call in nomad.calls)
    (trial,) = await tried(config)
    assert trial.outcome is TrialOutcome.FAILS


async def test_consul_s_maintenance_is_untried_where_no_node_answered() -> None:
    (trial,) = await tried(parse_toml('[repair]\ndrain = "consul-maintenance"', "test"))
    assert trial.outcome is TrialOutcome.UNTRIED
