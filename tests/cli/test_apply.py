"""`wgaudit apply` as its users call it: what it refuses, asks, prints and tells where it stops."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor.cli.apply_screen import Screen, Work
from auditor.cli.apply_wait import WaitLine, WaitLines
from auditor.cli.main import main
from auditor.repair.apply.journal import Journal
from auditor.repair.apply.observers import PeerLook
from auditor.repair.apply.outcome import BOOT_FILES, BY_HAND, UNSEEN, table
from auditor.repair.apply.stages import BY_US, OUT, Event
from auditor.repair.apply.steps import ApplyOptions
from auditor.repair.apply.waiting import PeerWait
from auditor.repair.moves import Keeper, RepairPlan, Rule, Step
from auditor.repair.plan_file import write_plan
from auditor.values.addresses import Prefix
from auditor.values.models import NodeId
from tests.cases import CASES
from tests.cli.command import WGAUDIT, clean_environment, one_line
from tests.cli.test_progress import screen_of
from tests.parts.consul import ConsulServer
from tests.repair.apply.test_outcome import MOVE
from tests.repair.fleet import DRAIN, KEEPER, MOVER, NEW, NODES, OLD, OTHER_NEW, SECOND, Bench, record

pytestmark = pytest.mark.xdist_group("consul")
NOBODY = "127.0.0.1:1"  # refuses at once


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    with ConsulServer(tmp_path_factory.mktemp("apply")) as running:
        yield running


class Desk:
    """A folder with a configuration and a plan for two moves; nobody's SSH answers."""

    def __init__(self, folder: Path, server: ConsulServer) -> None:
        self.folder = folder
        self.bench = Bench(folder, server)
        self.bench.reset()
        for node in (KEEPER, MOVER, SECOND):
            server.put(NODES + node.name, record(node, OLD, ssh_host=NOBODY))
        self.plan: RepairPlan = self.bench.plan(self.bench.move(), self.bench.move(SECOND, OTHER_NEW))
        self.file = folder / "plan.json"
        write_plan(self.plan, self.file)
        self.journal = folder / "plan.json.journal"
        self.configure(server.url)

    def configure(self, url: str, more: str = "", ssh: str = "") -> None:
        for name in ("known_hosts", "ssh_config"):
            (self.folder / name).touch(mode=0o600)
        (self.folder / "wgaudit.toml").write_text(
            f'[consul]\nurl = "{url}"\ntimeout = 2.0\n[ssh]\nuser = "root"\nagent = false\n'
            f'config_file = "{self.folder}/ssh_config"\nknown_hosts = "{self.folder}/known_hosts"\n'
            f"{ssh}\n[repair]\ntimeout = 1.0\n{more}\n"
        )

    def apply(self, *options: str) -> subprocess.CompletedProcess[str]:
        """One run in this process, which has no terminal: a start of Python each would cost most of the time."""
        arguments = ["apply", str(self.file), *options]
        stdout, stderr = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
        ):
            patch.setenv("HOME", str(self.folder))
            patch.delenv("WGAUDIT_CONFIG", raising=False)
            patch.setattr(sys, "stdin", io.StringIO())
            code = main(arguments)
        return subprocess.CompletedProcess(arguments, code, stdout.getvalue(), stderr.getvalue())

    def asked(self, answers: str, *options: str) -> subprocess.CompletedProcess[str]:
        """The same at a terminal, where somebody types."""
        terminal, stdin = pty.openpty()
        os.write(terminal, answers.encode())
        try:
            return subprocess.run(
                [WGAUDIT, "apply", self.file, *options],
                cwd=self.folder,
                env=clean_environment(self.folder),
                stdin=stdin,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            os.close(terminal)
            os.close(stdin)

    def write(self, *steps: Step, done: bool = True) -> None:
        with Journal(self.journal, self.plan.ident) as journal:
            for number, step in enumerate(steps, 1):
                journal.write(self.plan.moves[0].ident, step, Event.BEGIN)
                if done or number < len(steps):
                    journal.write(self.plan.moves[0].ident, step, Event.DONE)


@pytest.fixture
def desk(server: ConsulServer, tmp_path: Path) -> Desk:
    return Desk(tmp_path, server)


def refused(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 2, run.stderr
    return one_line(run.stderr)


def test_a_dry_run_prints_every_step_and_touches_nothing(desk: Desk) -> None:
    """Not even Consul is asked."""
    desk.configure("http://127.0.0.1:1")
    before = sorted(desk.folder.iterdir())
    run = desk.apply("--dry-run", "--push-peers")
    assert run.returncode == 0, run.stderr
    text = re.sub(r"\s+", " ", run.stdout)
    index = desk.plan.moves[0].modify_index
    for words in (
        "1 of 2: renumber edge-sin-1: 10.0.0.1 to 10.9.0.7",
        "wireguard/claims/10.9.0.7, cas 0",
        f"wireguard/nodes/edge-sin-1, cas {index}",
        "`ip addr add 10.9.0.7/LEN dev wg0`",
        "steps reserve, add, register, peers, persist, remove, verify",
        "2 of 2: renumber edge-nrt-1: 10.0.0.1 to 10.9.0.8",
        "nothing was changed",
    ):
        assert words in text
    assert sorted(desk.folder.iterdir()) == before


def test_without_a_terminal_it_wants_yes(desk: Desk) -> None:
    assert "there is no terminal to ask at; --yes" in refused(desk.apply())
    assert not desk.journal.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--resume", "--rollback"], "give one of them"),
        (["--all"], "--all goes with --rollback"),
        (["--dry-run", "--resume"], "--dry-run prints the whole plan"),
        (["--yes", "--resume"], "there is no journal"),
        (["--yes", "--rollback"], "there is no journal"),
        (["--yes", "--journal", "nowhere/j"], "there is no folder nowhere"),
    ],
)
def test_options_that_do_not_go_together_are_refused(desk: Desk, options: list[str], words: str) -> None:
    assert words in refused(desk.apply(*options))
    assert not desk.journal.exists()


@pytest.mark.parametrize(
    ("more", "ssh", "words"),
    [
        ("", 'host = "{address}"', "by their mesh address"),
        ("", 'probe = "installed"', "lets nothing be changed"),
        (
            'claims_prefix = "other/claims/"',
            "",
            "the plan was made with repair.claims_prefix = wireguard/claims/",
        ),
        ('[mesh]\ndevice = "wg1"', "", "the plan was made with mesh.device = wg0"),
    ],
)
def test_a_configuration_that_cannot_carry_it_out_is_refused(
    desk: Desk, more: str, ssh: str, words: str
) -> None:
    desk.configure(desk.bench.server.url, more, ssh)
    assert words in refused(desk.apply("--yes"))


def test_a_registry_of_another_layout_is_refused(desk: Desk) -> None:
    text = (desk.folder / "wgaudit.toml").read_text().replace("[ssh]", 'layout = "kv-fields"\n[ssh]')
    (desk.folder / "wgaudit.toml").write_text(text)
    assert 'layout = "kv-json"' in refused(desk.apply("--yes"))


def test_a_plan_that_was_edited_is_refused(desk: Desk) -> None:
    desk.file.write_text(desk.file.read_text().replace("10.9.0.8", "10.9.0.9"))
    assert "changed since it was made" in refused(desk.apply("--yes"))


def test_a_journal_that_shows_something_stands_in_the_way_of_a_new_start(desk: Desk) -> None:
    desk.write(Step.RESERVE, Step.ADD, done=False)
    line = refused(desk.apply("--yes"))
    assert "0 of 2 moves done; edge-sin-1: on the way" in line
    assert f"`wgaudit apply {desk.file} --resume`" in line
    assert f"`wgaudit apply {desk.file} --rollback`" in line


def test_a_second_apply_on_one_journal_is_refused(desk: Desk) -> None:
    with Journal(desk.journal, desk.plan.ident):
        assert "another wgaudit carries out this plan" in refused(desk.apply("--yes"))


def test_a_journal_of_another_plan_is_refused(desk: Desk) -> None:
    with Journal(desk.journal, "ffffffffff") as journal:
        journal.write("x 10.0.0.1", Step.RESERVE, Event.BEGIN)
    assert "belongs to plan ffffffffff" in refused(desk.apply("--yes", "--resume"))


def test_a_plan_that_leads_out_of_what_is_configured_is_refused_before_anything_is_begun(desk: Desk) -> None:
    """Its ident is right: anybody can make one."""
    desk.file.write_bytes((CASES / "hostile/plan-outside-pool.json").read_bytes())
    assert "some/other/app/key does not lie under consul.prefix wireguard/nodes/" in refused(
        desk.apply("--yes")
    )
    write_plan(desk.bench.plan(desk.bench.move(new=Prefix("8.8.8.8/32"))), desk.file)
    assert "8.8.8.8 is no address to give (outside of mesh.pools)" in refused(desk.apply("--yes"))
    assert not desk.journal.exists()


@pytest.mark.parametrize("how", ["--resume", "--rollback"])
def test_a_journal_is_believed_only_for_what_the_registry_shows(desk: Desk, how: str) -> None:
    """It says that an address was claimed, which no claim does."""
    before = desk.bench.registry()
    desk.write(Step.RESERVE, Step.ADD)
    run = desk.apply("--yes", how)
    assert run.returncode == 1
    assert "the journal says that 10.9.0.7 was claimed for it, and the registry does not" in run.stderr
    assert desk.bench.registry() == before


def test_the_first_surprise_stops_it_with_the_state_of_every_node(desk: Desk) -> None:
    before = desk.bench.registry()
    run = desk.apply("--yes")
    assert run.returncode == 1
    lines = run.stderr.splitlines()
    assert lines[0].startswith("wgaudit: edge-sin-1: before the first step: connect-refused")
    assert lines[1:] == [
        "wgaudit: edge-sin-1: not begun; it is as the plan found it, at 10.0.0.1",
        "wgaudit: edge-nrt-1: not begun; it is as the plan found it, at 10.0.0.1",
        "wgaudit: nothing was changed",
    ]
    assert desk.bench.registry() == before


def test_in_the_middle_it_says_how_to_go_on_and_back_with_the_same_options(desk: Desk) -> None:
    desk.bench.ledger(desk.plan).reserve(desk.plan.moves[0])
    desk.write(Step.RESERVE, Step.ADD, done=False)
    run = desk.apply("--yes", "--resume", "--push-peers", "--wait", "5")
    assert run.returncode == 1
    assert run.stderr.splitlines()[0].startswith("wgaudit: edge-sin-1: add: connect-refused")
    assert "edge-sin-1: on the way: its device holds 10.0.0.1" in run.stderr
    assert f"wgaudit: go on: wgaudit apply {desk.file} --resume --wait 5 --push-peers\n" in run.stderr
    assert (
        f"unfinished move alone: wgaudit apply {desk.file} --rollback --wait 5 --push-peers\n" in run.stderr
    )


def test_a_rollback_takes_back_what_was_begun(desk: Desk) -> None:
    ledger, move = desk.bench.ledger(desk.plan), desk.plan.moves[0]
    before = desk.bench.registry()
    ledger.reserve(move)
    desk.write(Step.RESERVE, done=False)
    run = desk.apply("--yes", "--rollback")
    assert run.returncode == 0, run.stderr
    assert "edge-sin-1: not begun; it is as the plan found it" in run.stdout
    assert desk.bench.registry() == before


def test_a_rollback_names_what_takes_back_moves_that_are_done(desk: Desk) -> None:
    desk.write(*Step)
    assert "no move is unfinished; `wgaudit apply" in refused(desk.apply("--yes", "--rollback"))


def test_a_consul_that_does_not_answer_stops_it_before_anything(desk: Desk) -> None:
    desk.configure("http://127.0.0.1:1")
    run = desk.apply("--yes")
    assert run.returncode == 1
    assert "the registry cannot be read whole: consul-unreachable" in run.stderr
    assert run.stderr.endswith("nothing was changed\n")


def questions(run: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"^.*\? \[y/N/a/q/\?\] ", run.stdout, flags=re.MULTILINE)


def test_at_a_terminal_each_move_is_asked_for_by_a_line_that_names_node_and_addresses(desk: Desk) -> None:
    run = desk.asked("n\nq\n")
    assert run.returncode == 1
    assert questions(run) == [
        "Move edge-sin-1 from 10.0.0.1 to 10.9.0.7? [y/N/a/q/?] ",
        "Move edge-nrt-1 from 10.0.0.1 to 10.9.0.8? [y/N/a/q/?] ",
    ]
    assert "1 of 2: renumber edge-sin-1" in run.stdout
    assert run.stderr.startswith("wgaudit: stopped as asked\n")
    left_out = desk.asked("n\nn\n")
    assert left_out.returncode == 1
    assert left_out.stderr.startswith("wgaudit: 2 of 2 moves were left out\n")


def test_a_question_fits_the_terminal_whatever_a_node_is_called(desk: Desk) -> None:
    long = desk.bench.move(NodeId("", "edge-" + "x" * 90))
    screen = Screen(desk.bench.plan(long), ApplyOptions())
    for work in Work:
        question = screen.question(long, work)
        assert len(question) <= 80
        assert "10.9.0.7" in question
        assert "edge-xx" in question


def test_a_question_mark_explains_the_move_and_asks_again(desk: Desk) -> None:
    run = desk.asked("?\nq\n")
    assert len(questions(run)) == 2
    text = re.sub(r"\s+", " ", run.stdout)
    assert "1 reserve 10.9.0.7 is claimed in Consul for edge-sin-1" in text
    assert "6 remove wg0 no longer holds 10.0.0.1" in text
    assert "a: yes, and yes to all the rest" in text
    assert max(map(len, run.stdout.splitlines())) <= 80


def test_a_word_that_is_no_answer_is_asked_again(desk: Desk) -> None:
    run = desk.asked("yep\xff\nq\n")
    assert len(questions(run)) == 2
    assert run.stderr.startswith("wgaudit: stopped as asked\n")


def test_all_is_asked_once_for_all_the_rest(desk: Desk) -> None:
    """The first is taken back, then the second one without a question."""
    with Journal(desk.journal, desk.plan.ident) as journal:
        for move in desk.plan.moves:
            desk.bench.ledger(desk.plan).reserve(move)
            journal.write(move.ident, Step.RESERVE, Event.BEGIN)
    run = desk.asked("a\n", "--rollback", "--all")
    assert run.returncode == 0, run.stderr
    assert questions(run) == ["Take edge-nrt-1 back from 10.9.0.8 to 10.0.0.1? [y/N/a/q/?] "]
    assert run.stdout.count("not begun; it is as the plan found it") == 2


def test_the_end_of_the_input_at_the_question_is_told_in_one_line_and_changes_nothing(desk: Desk) -> None:
    run = desk.asked("\x04")
    assert run.returncode == 1
    assert run.stderr.splitlines()[0] == (
        "wgaudit: the input ended at the question for edge-sin-1; answer at a terminal, "
        "or give --yes to make every move without asking"
    )
    assert run.stderr.endswith("nothing was changed\n")


def test_what_was_not_verified_stands_in_the_last_line_and_the_exit_code(desk: Desk) -> None:
    with Journal(desk.journal, desk.plan.ident) as journal:
        for move, facts in zip(
            desk.plan.moves,
            ({BOOT_FILES: table({}), UNSEEN: table({"db-fra-1": "auth"})}, {BOOT_FILES: table({"/a": ""})}),
            strict=True,
        ):
            for step in Step:
                journal.write(move.ident, step, Event.BEGIN)
                journal.write(move.ident, step, Event.DONE, facts if step is Step.VERIFY else {})
    run = desk.asked("n\n", "--resume")
    assert run.returncode == 3
    assert questions(run) == ["Look again at edge-sin-1, moved to 10.9.0.7? [y/N/a/q/?] "]
    again, last = run.stderr.splitlines()
    assert again == f"wgaudit: look again, once that is mended: wgaudit apply {desk.file} --resume"
    assert last == (
        "wgaudit: all 2 moves are done, but not verified: edge-sin-1: no boot file found, a restart may bring "
        "10.0.0.1 back; observers not seen: db-fra-1 (auth); exit code 3"
    )
    assert "verified" not in run.stdout


def test_what_the_way_back_left_in_files_stands_in_the_last_line_too(desk: Desk) -> None:
    facts = {BY_HAND: table({"/etc/netplan/50.yaml line 7": "an alias"})}
    with Journal(desk.journal, desk.plan.ident) as journal:
        move = desk.plan.moves[0].ident
        journal.write(move, Step.PERSIST, Event.BEGIN)
        journal.write(move, Step.PERSIST, Event.UNDOING)
        journal.write(move, Step.PERSIST, Event.UNDONE, facts)
    run = desk.apply("--yes", "--rollback")
    assert run.returncode == 3
    assert run.stderr == (
        "wgaudit: taken back, but not verified: edge-sin-1: not given back, do it by hand: "
        "/etc/netplan/50.yaml line 7 (an alias); exit code 3\n"
    )


def waiting(waited: float) -> PeerWait:
    return PeerWait(MOVE, Keeper(KEEPER, None, Rule.OLDEST, ""), PeerLook(3, 1, 1, ("a", "b")), waited, 120)


def test_a_wait_is_redrawn_on_one_line_of_a_terminal_and_gone_at_the_end() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    line = WaitLine(stream, colour=False, width=60)

    def shown() -> list[str]:
        return screen_of(stream.buffer.getvalue().decode(), 60)  # type: ignore[attr-defined]

    for seconds in (0.0, 2.0, 4.0):
        line.show(waiting(seconds))
        assert len(shown()) == 1
    assert shown()[0].startswith("1 of 3 route 10.0.0.9, ")
    assert shown()[0].endswith("· 4 s of 120 s")
    line.close()
    assert shown() == []


def test_a_wait_is_a_line_every_ten_seconds_in_a_log() -> None:
    lines: list[str] = []
    log = WaitLines(lines.append)
    for seconds in range(0, 25, 2):
        log.show(waiting(seconds))
    assert [line.rpartition(" · ")[2] for line in lines] == ["0 s of 120 s", "10 s of 120 s", "20 s of 120 s"]


def test_names_that_would_move_the_cursor_are_shown_and_not_obeyed(desk: Desk) -> None:
    document = json.loads(desk.file.read_text())
    document["contested"][0]["moves"][0]["why"] = "\x1b[2J\x1b]0;owned\x07"
    desk.file.write_text(json.dumps(document))
    run = desk.apply("--dry-run")
    assert "\x1b" not in run.stdout + run.stderr
    assert NEW.removesuffix("/32") in run.stdout


# -- out of production

DRAINED = 'drain = ["drain", "{node}"]\nundrain = ["undrain", "{node}"]'


@pytest.fixture
def draining(desk: Desk) -> Desk:
    """A plan that takes its movers out of production, and the configuration that it was made with."""
    desk.plan = desk.bench.plan(*desk.plan.moves, drain=DRAIN)
    write_plan(desk.plan, desk.file)
    desk.configure(desk.bench.server.url, DRAINED)
    return desk


def test_a_dry_run_shows_both_commands_of_each_move(draining: Desk) -> None:
    run = draining.apply("--dry-run")
    assert run.returncode == 0, run.stderr
    assert "first `drain edge-sin-1`, here; once it was verified `undrain edge-sin-1`" in folded(run.stdout)
    assert "steps drain, reserve, add, register, peers, persist, remove, verify, undrain" in folded(
        run.stdout
    )


def test_a_plan_runs_no_command_but_the_configuration_s(draining: Desk) -> None:
    """A plan is only a file."""
    draining.configure(draining.bench.server.url)
    assert (
        "made with repair.drain = drain '{node}', and back undrain '{node}', and this configuration has nothing"
        in (refused(draining.apply("--yes")))
    )


def test_a_node_that_could_not_be_put_back_is_told_with_the_command_that_does(draining: Desk) -> None:
    (move, _) = draining.plan.moves
    with Journal(draining.journal, draining.plan.ident) as journal:
        for step in Step:
            journal.write(move.ident, step, Event.BEGIN, {OUT: BY_US} if step is Step.DRAIN else {})
            if step is not Step.UNDRAIN:
                journal.write(move.ident, step, Event.DONE)
    run = draining.apply("--resume", "--yes")
    assert run.returncode == 1
    assert "edge-sin-1: done; it holds 10.9.0.7; IT IS STILL OUT OF PRODUCTION\n" in run.stderr
    assert "edge-sin-1 IS STILL OUT OF PRODUCTION; put it back: wgaudit undrain edge-sin-1\n" in run.stderr


def folded(text: str) -> str:
    return " ".join(text.split())
