"""The journal as a file and as a fold: torn, foreign, edited, full, locked; and every prefix has two ways out."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import JournalError, StateBusy
from auditor.repair.apply.journal import Journal
from auditor.repair.apply.stages import Entry, Event, Progress, after
from auditor.repair.moves import Step
from tests.cases import CASES

PLAN, MOVE = "0123456789", "edge-sin-1 10.0.0.1"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "plan.json.journal"


def written(path: Path, *steps: Step) -> list[bytes]:
    with Journal(path, PLAN) as journal:
        for step in steps:
            journal.write(MOVE, step, Event.BEGIN)
            journal.write(MOVE, step, Event.DONE, {"at": "it"})
    return path.read_bytes().splitlines(keepends=True)


def refused(path: Path, plan: str = PLAN) -> str:
    before = path.read_bytes()
    with pytest.raises(JournalError) as caught:
        Journal(path, plan)
    assert path.read_bytes() == before
    return str(caught.value)


def test_what_is_written_is_read_again(path: Path) -> None:
    written(path, Step.RESERVE, Step.ADD)
    with Journal(path, PLAN) as journal:
        state = journal.progress(MOVE)
        assert (state.done, state.open, state.facts) == ((Step.RESERVE, Step.ADD), None, {"at": "it"})
        assert journal.progress("another 10.0.0.1") == Progress()


def test_only_its_owner_may_read_it(path: Path) -> None:
    written(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_torn_last_line_is_cut_off_and_written_over(path: Path) -> None:
    """A kill in the middle of a write: what the line announced has not happened."""
    first, second = written(path, Step.RESERVE)
    for length in range(len(second)):
        path.write_bytes(first + second[:length])
        with Journal(path, PLAN) as journal:
            assert journal.progress(MOVE).open is Step.RESERVE
            journal.write(MOVE, Step.RESERVE, Event.DONE)
        with Journal(path, PLAN) as journal:
            assert journal.progress(MOVE).done == (Step.RESERVE,)


def test_a_file_that_is_no_journal_is_left_as_it_is(path: Path) -> None:
    for content in (
        b"a shopping list",
        b"a shopping list\n",
        b"{}\n",
        b"[" * 100_000 + b"\n",
        b"\xff\n",
        b"\n",
    ):
        path.write_bytes(content)
        assert str(path) in refused(path)


def test_the_journal_of_another_plan_is_refused(path: Path) -> None:
    written(path, Step.RESERVE)
    assert "belongs to plan 0123456789, not to abcdef0123" in refused(path, "abcdef0123")
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0][:60])
    refused(path, "abcdef0123")


def test_lines_that_were_edited_are_refused_with_their_number(path: Path) -> None:
    lines = written(path, Step.RESERVE, Step.ADD)
    for edited in (
        [lines[0], lines[2]],  # one taken out
        [lines[1]],
        [*lines, lines[1]],  # one said twice
        [lines[2], lines[3], lines[0]],  # another order
        [lines[0], lines[1].replace(b'"done"', b'"undone"')],
        [lines[0], lines[1].replace(b'"reserve"', b'"verify"')],
    ):
        path.write_bytes(b"".join(edited))
        assert f"line {len(edited)} cannot follow" in refused(path) or "line 1 cannot follow" in refused(path)
    for word, other in (
        (b'"done"', b'"perhaps"'),
        (b'"reserve"', b'"pray"'),
        (b"/1", b"/2"),
        (b'"at": "', b'"at": "MMXX'),
    ):
        path.write_bytes(lines[0] + lines[1].replace(word, other, 1))
        assert "line 2" in refused(path)


def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="cannot use the journal"):
        Journal(path, PLAN)
    assert not (tmp_path / "elsewhere").exists()


def test_an_index_that_consul_does_not_have_is_refused(path: Path) -> None:
    """Its digits are more than Python reads: a traceback, once."""
    path.write_bytes((CASES / "hostile/journal-bigindex").read_bytes())
    with pytest.raises(JournalError, match="line 2 is no entry of a journal") as caught:
        Journal(path, "c8dcb95a20")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("end", ["", ".lock"])
def test_a_journal_or_lock_of_somebody_else_is_refused(path: Path, end: str) -> None:
    planted = path.with_name(path.name + end)
    planted.touch()
    os.chown(planted, 65534, 65534)
    with pytest.raises(
        JournalError, match=r"belongs to nobody \(uid 65534\); nothing is changed on its word"
    ):
        Journal(path, PLAN)


def test_a_journal_of_ours_that_others_could_write_is_closed_to_them(path: Path) -> None:
    path.touch()
    path.chmod(0o666)
    with Journal(path, PLAN):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_or_a_pipe_in_its_place_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(JournalError):
        Journal(path, PLAN)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(JournalError, match="it is no plain file"):
        Journal(path, PLAN)


def test_a_second_process_is_refused_until_the_first_has_ended(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    open_, end = context.Event(), context.Event()

    def hold() -> None:
        with Journal(path, PLAN):
            open_.set()
            end.wait(30)

    other = context.Process(target=hold)
    other.start()
    assert open_.wait(30)
    with pytest.raises(StateBusy, match="another wgaudit carries out this plan"):
        Journal(path, PLAN)
    assert other.pid is not None
    os.kill(other.pid, signal.SIGKILL)
    other.join(30)
    Journal(path, PLAN).__exit__()


def test_on_a_full_disk_the_line_is_refused_whole_and_nothing_is_lost(path: Path) -> None:
    """RLIMIT_FSIZE stands in for a full disk: a write that comes through in part, or not at all."""
    first = written(path, Step.RESERVE)
    size = path.stat().st_size

    def short() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for room in (0, 20):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, resource.RLIM_INFINITY))
            with Journal(path, PLAN) as journal:
                with pytest.raises(JournalError, match="cannot write the journal"):
                    journal.write(MOVE, Step.ADD, Event.BEGIN)
                assert journal.progress(MOVE).open is None
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    child = multiprocessing.get_context("fork").Process(target=short)
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert path.read_bytes() == b"".join(first)


# -- the fold


STEPS = tuple(Step)


def entry(step: Step, event: Event) -> Entry:
    return Entry(PLAN, MOVE, step, event, NOW)


def forward(state: Progress) -> Iterator[Entry]:
    """What an executor writes on the way to the end."""
    for step in STEPS:
        if step not in state.done:
            yield entry(step, Event.BEGIN)
            yield entry(step, Event.DONE)


def back(state: Progress) -> Iterator[Entry]:
    for step in reversed(STEPS):
        if step in state.done or step is state.open:
            yield entry(step, Event.UNDOING)
            yield entry(step, Event.UNDONE)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.booleans()), max_size=8))
def test_from_every_prefix_of_every_journal_both_ways_come_to_their_end(
    runs: list[tuple[bool, int, bool]],
) -> None:
    """Each run goes one way, and is cut off after some lines; a surprise may be told at its end."""
    state = Progress()
    entries: list[Entry] = []
    for onwards, lines, surprised in runs:
        for _, one in zip(range(lines), list(forward(state) if onwards else back(state)), strict=False):
            entries.append(one)
            state = after(state, one)
            assert state.done == STEPS[: len(state.done)]
            assert state.open in (None, *STEPS[len(state.done) : len(state.done) + 1])
        if surprised and entries:
            assert after(state, entry(entries[-1].step, Event.SURPRISE)) == state
    ahead, behind = state, state
    for one in forward(state):
        ahead = after(ahead, one)
    for one in back(state):
        behind = after(behind, one)
    assert ahead.complete
    assert ahead.done == STEPS
    assert behind == Progress()


def test_a_line_holds_nothing_that_is_not_meant_to_be_there(path: Path) -> None:
    (line, _) = written(path, Step.RESERVE)
    assert sorted(json.loads(line)) == ["at", "event", "facts", "move", "plan", "schema", "step"]
