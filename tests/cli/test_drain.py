"""`wgaudit drain` and `undrain`: nodes by name, address or finding; one failure keeps back none of the others."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import text

from auditor.service.alert_state import opened_state
from auditor.state.drained_nodes import read_drained
from auditor.state.operations import read_operations
from auditor.values.past_sweeps import OperationKind
from tests.cli.command import one_line, wgaudit
from tests.fleets import key_of

HELD = {"edge-sin-1": "10.0.0.1", "edge-fra-1": "10.0.0.1", "db-fra-1": "10.0.0.3", "--force": "10.0.0.4"}
COMMANDS = '[repair]\ndrain = ["{program}", "out", "{{node}}"]\nundrain = ["{program}", "in", "{{node}}"]\n'


class Desk:
    """A folder with an exported registry, a state, and a program that notes what it is asked to drain."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.program = folder / "drain"
        self.programmed("")
        entries = [
            {"key": f"wireguard/nodes/{name}", "flags": 0, "value": base64.b64encode(value).decode()}
            for name, ip in HELD.items()
            for value in [json.dumps({"public_key": key_of(name), "ip": ip}).encode()]
        ]
        (folder / "export.json").write_text(json.dumps(entries))
        self.configure(COMMANDS.format(program=self.program))
        with opened_state(self.state):
            pass

    @property
    def state(self) -> Path:
        return self.folder / "state" / "wgaudit.db"

    def programmed(self, first: str) -> None:
        """Sets the program; `first`: what it does before it notes its words."""
        self.program.write_text(f'#!/bin/sh\n{first}\necho "$*" >>{self.log}\n')
        self.program.chmod(0o755)

    def configure(self, repair: str) -> None:
        (self.folder / "wgaudit.toml").write_text(
            f'[consul]\nfile = "{self.folder}/export.json"\n[state]\npath = "{self.state}"\n{repair}'
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return wgaudit(*arguments, folder=self.folder)

    @property
    def done(self) -> Sequence[str]:
        """What the program was asked for."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def remembered(self) -> Sequence[str]:
        """Who is out of production by the state."""
        with opened_state(self.state) as state:
            return [
                f"{node.name}: {drained.how}, {drained.reason}"
                for node, drained in read_drained(state.store).items()
            ]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_nodes_are_taken_out_and_put_back_and_the_state_remembers_meanwhile(desk: Desk) -> None:
    run = desk.run("drain", "edge-sin-1", "db-fra-1", "--yes", "--reason", "who\nanswers?")
    assert (run.returncode, desk.done) == (0, ["out edge-sin-1", "out db-fra-1"]), run.stderr
    assert run.stdout == "edge-sin-1  out of production\ndb-fra-1  out of production\n"
    assert desk.remembered() == ["db-fra-1: command, who answers?", "edge-sin-1: command, who answers?"]
    assert desk.run("undrain", "--all", "--yes").returncode == 0
    assert desk.done[2:] == ["in db-fra-1", "in edge-sin-1"]
    assert desk.remembered() == []


def test_what_is_out_already_is_not_taken_out_again(desk: Desk) -> None:
    desk.run("drain", "edge-sin-1", "--yes")
    run = desk.run("drain", "edge-sin-1", "--yes")
    assert (run.returncode, run.stdout) == (0, "edge-sin-1  out of production already\n")
    assert desk.done == ["out edge-sin-1"]


def test_an_address_means_all_that_are_registered_with_it(desk: Desk) -> None:
    run = desk.run("drain", "10.0.0.1", "--dry-run")
    assert run.returncode == 0, run.stderr
    assert run.stdout == (
        f"edge-fra-1  `{desk.program} out edge-fra-1`, here\n"
        f"edge-sin-1  `{desk.program} out edge-sin-1`, here\n"
        "2 nodes; nothing was changed\n"
    )
    assert (desk.done, desk.remembered()) == ([], [])


def test_a_fingerprint_means_the_nodes_of_the_finding_that_the_state_knows(desk: Desk) -> None:
    with opened_state(desk.state) as state:
        state.store.execute(
            text(
                "INSERT INTO history_findings VALUES ('5d1c0e00aa', 'duplicate-address', 'critical', '10.0.0.1', '', "
                "'[\"edge-sin-1\", \"edge-fra-1\"]', NULL, '2026-01-01T00:00:00.000000+00:00', "
                "'2026-01-01T00:00:00.000000+00:00', NULL, '10.0.0.1/32', '[]')"
            )
        )
    run = desk.run("drain", "5d1c0e", "--yes")
    assert (run.returncode, desk.done) == (0, ["out edge-fra-1", "out edge-sin-1"]), run.stderr


def test_one_that_fails_is_told_with_the_command_to_repeat_and_keeps_back_none_of_the_others(
    desk: Desk,
) -> None:
    desk.programmed('[ "$2" != edge-fra-1 ] || { echo no leader; exit 4; }')
    run = desk.run("drain", "10.0.0.1", "db-fra-1", "--yes")
    assert run.returncode == 1
    assert desk.done == ["out edge-sin-1", "out db-fra-1"]
    said = run.stderr
    assert f"edge-fra-1: {desk.program} out edge-fra-1: exit code 4: no leader" in said
    assert (
        "1 of 3 nodes not taken out of production, as far as is known; again: wgaudit drain edge-fra-1;"
        in said
    )
    assert [item.partition(":")[0] for item in desk.remembered()] == ["db-fra-1", "edge-sin-1"]


def test_a_name_that_would_be_an_option_runs_nothing(desk: Desk) -> None:
    """Others write the registry."""
    run = desk.run("drain", "--yes", "--", "--force")
    assert run.returncode == 1
    assert "its name is none that is put into a command" in run.stderr
    assert desk.done == []


def test_the_operation_is_in_the_timeline_with_its_outcome(desk: Desk) -> None:
    desk.run("drain", "edge-sin-1", "--yes")
    desk.programmed("exit 1")
    desk.run("undrain", "edge-sin-1", "--yes")
    with opened_state(desk.state) as state:
        first, second = read_operations(state.store)
    assert (first.kind, first.nodes, first.outcome) == (OperationKind.DRAIN, ("edge-sin-1",), "done")
    assert (second.kind, second.outcome) == (OperationKind.UNDRAIN, "1 of 1 failed")
    run = desk.run("timeline", "--since", "1d")
    assert "begun by" in run.stdout, run.stderr
    assert "edge-sin-1" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["drain"], "name nodes"),
        (["undrain"], "name nodes, or give --all"),
        (["drain", "edge-sin-1"], "no terminal to ask at; --yes"),
        (["drain", "edge-sin-9", "--yes"], "no node of that name is registered"),
        (["drain", "10.0.0.9", "--yes"], "nobody is registered with 10.0.0.9"),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused_before_anything_is_done(
    desk: Desk, arguments: Sequence[str], says: str
) -> None:
    run = desk.run(*arguments)
    assert run.returncode == 2
    assert says in one_line(run.stderr)
    assert desk.done == []


def test_without_a_way_that_is_configured_the_document_is_named(desk: Desk) -> None:
    desk.configure("")
    run = desk.run("drain", "edge-sin-1", "--yes")
    assert run.returncode == 2
    assert "repair.drain is not set" in run.stderr
    assert "docs/configuration.md#out-of-production" in run.stderr


def test_without_a_state_it_is_done_and_said_that_no_report_will_tell(desk: Desk) -> None:
    desk.state.unlink()
    run = desk.run("drain", "edge-sin-1", "--yes")
    assert (run.returncode, desk.done) == (0, ["out edge-sin-1"])
    assert "so no report will say" in one_line(run.stderr)
    assert not desk.state.exists()
