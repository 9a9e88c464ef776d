"""What plans and applies leave in the state, and what a timeline reads from it and from their files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from auditor.errors import JournalError
from auditor.judge import judge
from auditor.repair.apply.journal import Journal
from auditor.repair.apply.stages import Event
from auditor.repair.moves import RepairPlan, Step
from auditor.repair.plan.planner import plan as make_plan
from auditor.repair.plan_file import write_plan
from auditor.service.alert_state import opened_state
from auditor.service.operation_notes import note_plan, noted_apply
from auditor.service.timeline_records import read_records
from auditor.settings.file import Config, parse_config
from auditor.state.recording import replay
from auditor.values.past_sweeps import OperationKind

INCIDENT = Path(__file__).parent.parent.parent / "fixtures" / "incident" / "snapshot.json.gz"


@pytest.fixture(scope="module")
def plan() -> RepairPlan:
    """The plan of the recorded incident."""
    snapshot = replay(INCIDENT)
    return make_plan(snapshot, judge(snapshot), Config().repair.policy())


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """With a state of its own, which is not there yet."""
    return parse_config({"state": {"path": str(tmp_path / "state" / "wgaudit.db")}}, "a test")


def made(config: Config) -> None:
    """Make the state, as the first alerted sweep does."""
    with opened_state(config.state.path):
        pass


def never(line: str) -> None:
    """Fail on a complaint."""
    raise AssertionError(line)


def test_a_plan_and_an_apply_are_remembered_with_addresses_nodes_and_outcome(
    config: Config, plan: RepairPlan, tmp_path: Path
) -> None:
    made(config)
    note_plan(config, plan, tmp_path / "plan.json", "alice", never)
    with noted_apply(config, plan, tmp_path / "j", "alice", never, rollback=False) as noted:
        noted.outcome = "done"
    first, second = read_records(config).operations
    assert (first.kind, first.by, first.reference) == (OperationKind.PLAN, "alice", plan.ident)
    assert first.addresses == tuple(item.address for item in plan.contested)
    assert first.nodes == tuple(str(move.node) for move in plan.moves)
    assert (second.kind, second.outcome) == (OperationKind.APPLY, "done")
    assert second.ended_at is not None


def test_an_apply_that_is_under_way_has_no_end_and_one_that_was_broken_off_says_so(
    config: Config, plan: RepairPlan, tmp_path: Path
) -> None:
    made(config)

    def broken_off() -> None:
        with noted_apply(config, plan, tmp_path / "j", "alice", never, rollback=True):
            (under_way,) = read_records(config).operations
            assert (under_way.ended_at, under_way.outcome) == (None, "")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    (ended,) = read_records(config).operations
    assert (ended.kind, ended.outcome) == (OperationKind.ROLLBACK, "interrupted")


def test_no_state_is_made_for_it_and_one_that_cannot_be_used_is_a_complaint(
    config: Config, plan: RepairPlan, tmp_path: Path
) -> None:
    note_plan(config, plan, tmp_path / "plan.json", "alice", never)
    assert not config.state.path.parent.exists()
    config.state.path.parent.mkdir(mode=0o700)
    config.state.path.write_bytes(b"this is no database\n" * 500)
    complaints: list[str] = []
    with noted_apply(config, plan, tmp_path / "j", "alice", complaints.append, rollback=False):
        pass
    assert ["file is not a database" in line for line in complaints] == [True]


def test_the_steps_come_from_the_journal_where_it_is_with_node_and_address_of_the_plan(
    config: Config, plan: RepairPlan, tmp_path: Path
) -> None:
    made(config)
    path = tmp_path / "plan.json.journal"
    move = plan.moves[0]
    with (
        noted_apply(config, plan, path, "alice", never, rollback=False),
        Journal(path, plan.ident) as journal,
    ):
        journal.write(move.ident, Step.RESERVE, Event.BEGIN)
        journal.write(move.ident, Step.RESERVE, Event.SURPRISE, {"what": "it is taken"})
    with path.open("ab") as stream:
        stream.write(b'{"schema": "wgaudit.jour')  # a line that is just being written
    write_plan(plan, tmp_path / "plan.json")
    steps = read_records(config, [tmp_path / "plan.json"]).steps
    assert [(step.step, step.event, step.what) for step in steps] == [
        ("reserve", "begin", ""),
        ("reserve", "surprise", "it is taken"),
    ]
    assert {(step.node, step.address) for step in steps} == {(str(move.node), move.old)}

    moved = path.rename(tmp_path / "elsewhere")
    records = read_records(config)
    assert records.steps == ()
    assert any("plan.json.journal" in note and "--journal" in note for note in records.notes)
    assert len(read_records(config, journals=[moved]).steps) == 2


@pytest.mark.parametrize(
    "line",
    [b"nothing\n", b"{}\n", b'{"schema": "wgaudit.journal/1", "facts": {}, "at": "0001-01-01"}\n', b"\xff\n"],
)
def test_a_file_that_is_no_journal_is_refused_with_its_line(
    config: Config, tmp_path: Path, line: bytes
) -> None:
    path = tmp_path / "journal"
    path.write_bytes(line)
    with pytest.raises(JournalError, match="line 1 is no entry of a journal"):
        read_records(config, journals=[path])


def test_a_plan_that_the_state_does_not_know_is_told_at_the_time_of_its_sweep(
    config: Config, plan: RepairPlan, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    write_plan(plan, path)
    (operation,) = read_records(config, [path]).operations
    assert (operation.at, operation.by) == (plan.snapshot_at, "")
    made(config)
    note_plan(config, plan, path, "alice", never)
    assert [item.by for item in read_records(config, [path]).operations] == ["alice"]
    assert operation.at < datetime.now(UTC)
