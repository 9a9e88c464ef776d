"""The way of a person at 3 a.m.: the runbook's own commands, in their order, from the verdict to the post-mortem."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import wgaudit
from tests.doubles.receiver import Receiver
from tests.ways.documents import RUNBOOK, Step, faults, reads_well, shown_in, walk
from tests.ways.fleet import configured, served_mesh
from tests.ways.terminal import Shown

CONTESTED, MARK, NUMBER = "10.20.0.7", "5d1c0e", "1412"
HERE = {CONTESTED: "10.0.0.1", "10.20.0.50": "10.32.0.99"}
"""The incident's addresses of this fleet in place of the document's."""
ALL = (("[y/N/a/q/?]", "?"), ("[y/N/a/q/?]", "a"))
SILENCE = 'wgaudit silence add --address 10.20.0.7 --for 2h --comment "repairing, YOUR-NAME"'
AFTERWARDS = "wgaudit sweep, afterwards"
RECORDED = ("--replay", "before.json.gz")
"""Added where the screen may be of the sweep that was recorded, as well as of one more of the same fleet."""
BEFORE = (
    Step("wgaudit sweep", 1),
    Step("wgaudit sweep --record before.json.gz", 1),
    Step("wgaudit sweep --replay before.json.gz", 1),
    Step("wgaudit explain 10.20.0.7", 0, HERE),
    Step("wgaudit explain 10.0.0.1 --replay before.json.gz"),
    Step("wgaudit explain split-routing"),
    Step("wgaudit explain missing-peer"),
    Step("wgaudit explain REASON", 0, {"REASON": "consul-timeout"}),
    Step("wgaudit explain NODE", 0, {"NODE": "edge-sin-1"}, more=RECORDED),
    Step("wgaudit affected 10.20.0.7", 1, HERE),
    Step("wgaudit affected sin", 1, more=RECORDED),
    Step("wgaudit affected missing-peer", 3, more=RECORDED),
    Step("wgaudit affected 10.20.0.7 --format csv --output who.csv", 1, HERE, more=RECORDED),
    Step("wgaudit explain 10.20.0.50", 2, HERE, more=RECORDED),
    Step("wgaudit alerts test"),
    Step("wgaudit alerts list"),
    Step(SILENCE, 0, {**HERE, "repairing, YOUR-NAME": "repairing, ANNA"}),
    Step("wgaudit doctor"),
    Step("wgaudit doctor --node NODE", 0, {"NODE": "edge-sin-1"}),
    Step("wgaudit plan --address 10.20.0.7", 0, HERE, more=RECORDED),
    Step("wgaudit plan --keep NODE", 0, {"NODE": "edge-sin-1"}, more=RECORDED),
    Step("wgaudit plan --format shell --output repair.sh", more=RECORDED),
    Step("wgaudit plan --output plan.json"),
    Step("wgaudit apply plan.json --dry-run"),
    # Nobody sets peers in this fleet, and one node refuses SSH: nobody can verify what that one routes.
    Step("wgaudit apply plan.json", 3, answers=ALL, more=("--push-peers",)),
    Step("wgaudit apply plan.json --resume", 3, answers=(("[y/N/a/q/?]", "a"),), more=("--push-peers",)),
    Step("wgaudit verify edge-sin-1", 3),
    Step("wgaudit sweep", 1, name=AFTERWARDS),
)
AFTER = (
    Step("wgaudit history"),
    Step("wgaudit history show FINGERPRINT", 0, {"FINGERPRINT": MARK}),
    Step("wgaudit timeline"),
    Step("wgaudit timeline 5d1c0e"),
    Step("wgaudit timeline 5d1c0e --format markdown --output post-mortem.md"),
    Step("wgaudit timeline --since 2026-12-01T03:00 --until 2026-12-01T09:00"),
    Step("wgaudit timeline 5d1c0e --plan plan.json --journal plan.json.journal"),
    Step("wgaudit diff 1412 last", 1, {NUMBER: "1"}),
)
ELSEWHERE = {
    "wgaudit doctor --node NAME": "as `doctor --node NODE`",
    "wgaudit drain 10.20.0.7 --dry-run": "tests/cli/test_drain.py: this fleet has no `repair.drain`",
    'wgaudit drain 10.20.0.7 --reason "who answers?"': "as its dry run",
    "wgaudit undrain --all": "as `drain`",
    "wgaudit alerts retry": "tests/cli/test_sweep_alert_faults.py: nothing was refused tonight",
    "wgaudit demo --repair": "tests/ways/test_newcomer.py",
    "wgaudit apply": "a name, not a call",
    "wgaudit diff": "a name, not a call",
}
"""What the runbook shows and nobody runs here, with the reason."""

Screens = dict[str, tuple[Step, Shown]]
NOTIFIER = """
[[notifiers]]
name = "oncall"
type = "webhook"
url = "{url}/hook"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the person works."""
    return tmp_path_factory.mktemp("night")


@pytest.fixture(scope="module")
def screens(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screens]:
    """What was seen from the page to the post-mortem, while the timer's sweeps tell the receiver."""
    nodes = tmp_path_factory.mktemp("nodes")
    timer = Step("wgaudit sweep --alert", 1, name="timer before")
    with (
        Receiver() as receiver,
        served_mesh(nodes) as mesh,
        configured(mesh, folder, NOTIFIER.format(url=receiver.url)),
    ):
        seen = walk((timer, *BEFORE, timer._replace(name="timer after")), folder)
        here = {MARK: _mark(folder / "wgaudit.db")}
        after = (
            step._replace(instead=here | {word: here.get(new, new) for word, new in step.instead.items()})
            for step in AFTER
        )
        yield seen | walk(after, folder)


def _mark(database: Path) -> str:
    """The fingerprint of the incident, as the history lists it."""
    listed = wgaudit("history", "--all", folder=database.parent).stdout
    line = next(line for line in listed.splitlines() if "duplicate-address" in line and "10.0.0.1" in line)
    found = re.search(r"\b[0-9a-f]{6,}\b", line)
    assert found, listed
    return found[0]


def test_each_command_of_the_runbook_is_run_or_told_why_not() -> None:
    run = {step.line for step in (*BEFORE, *AFTER)}
    assert shown_in(RUNBOOK) == run | set(ELSEWHERE)


def test_each_screen_fits_and_ends_as_it_should(screens: Screens) -> None:
    assert [fault for step, shown in screens.values() for fault in faults(step, shown)] == []


def test_a_sweep_begins_with_its_verdict_and_ends_with_its_summary(screens: Screens) -> None:
    assert [name for name in ("wgaudit sweep", AFTERWARDS) if not reads_well(screens[name][1])] == []


def test_the_dry_run_asks_nothing_and_the_apply_explains_when_asked(screens: Screens) -> None:
    assert "[y/N/a/q/?]" not in screens["wgaudit apply plan.json --dry-run"][1].text
    assert "y makes these steps" in screens["wgaudit apply plan.json"][1].text


def test_after_the_apply_nobody_shares_an_address(screens: Screens) -> None:
    assert "duplicate-address" in screens["wgaudit sweep"][1].text
    assert "duplicate-address" not in screens[AFTERWARDS][1].text


def test_the_post_mortem_is_drafted(screens: Screens, folder: Path) -> None:
    """By the timeline, in a file that tells of the address and of the silence on it."""
    assert "wgaudit timeline 5d1c0e" in screens
    draft = (folder / "post-mortem.md").read_text()
    assert "10.0.0.1" in draft
    assert "silence" in draft
