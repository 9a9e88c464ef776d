"""The newcomer's way: the README's first commands in a terminal of 80 columns, without a fleet or a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.demo.demo_fleet import FEWEST_NODES
from auditor.repair.moves import Step as Move
from tests.demo.test_command import leftovers, processes_on_nodes
from tests.ways.documents import INCIDENT, README, ROOT, Step, faults, reads_well, shown_in, walk
from tests.ways.terminal import Shown

RECORDED = f"wgaudit sweep --replay {INCIDENT}"
REPAIR = "wgaudit demo --repair"
ENTER = ("Enter runs it, q ends the demo:", "")
SMALL = ("--nodes", str(FEWEST_NODES))
SHOWN_BY_README = (
    Step("wgaudit --version"),
    Step("wgaudit demo", more=SMALL),
    Step(RECORDED, code=1),
    Step("wgaudit completion bash", for_programs=True),
    Step(REPAIR, more=SMALL, answers=(ENTER, ENTER, ENTER, ("[y/N/a/q/?]", "a"), ENTER)),
)
TRIED = (
    Step("wgaudit --help"),
    Step("wgaudit sweep --help"),
    Step("wgaudit swep", code=2),
    Step("wgaudit sweep", code=2),
    Step(f"wgaudit explain 10.0.0.1 --replay {INCIDENT}"),
    Step(f"wgaudit affected 10.0.0.1 --replay {INCIDENT}", code=1),
    Step(f"wgaudit affected sin --replay {INCIDENT}", code=1),
    Step(f"wgaudit nodes --replay {INCIDENT}"),
    Step(f"wgaudit plan --replay {INCIDENT}"),
    Step("wgaudit explain split-routing consul-timeout"),
    Step("wgaudit history"),
    Step("wgaudit silence list"),
    Step("wgaudit alerts list"),
    Step("wgaudit doctor", code=1),
)

Screens = dict[str, tuple[Step, Shown]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the newcomer works; temporary files are there too."""
    return tmp_path_factory.mktemp("newcomer")


@pytest.fixture(scope="module")
def screens(folder: Path) -> Screens:
    """What the newcomer saw, by what was typed."""
    (folder / "fixtures").symlink_to(ROOT / "fixtures")
    return walk((*SHOWN_BY_README, *TRIED), folder, {"TMPDIR": str(folder)})


def test_the_readme_shows_these_commands() -> None:
    assert {step.line for step in SHOWN_BY_README} <= shown_in(README)


def test_each_screen_fits_and_ends_as_it_should(screens: Screens) -> None:
    assert [fault for step, shown in screens.values() for fault in faults(step, shown)] == []


def test_a_sweep_begins_with_its_verdict_and_ends_with_its_summary(screens: Screens) -> None:
    assert reads_well(screens[RECORDED][1])


def test_a_mistyped_command_is_answered_with_the_nearest_one(screens: Screens) -> None:
    assert "sweep" in screens["wgaudit swep"][1].text


def test_without_a_configuration_the_sweep_leads_to_init(screens: Screens) -> None:
    assert "wgaudit init" in screens["wgaudit sweep"][1].text


def test_the_demo_names_all_that_it_planted_as_found(screens: Screens) -> None:
    text = screens["wgaudit demo"][1].text
    assert "found" in text
    assert "MISSING" not in text


def test_the_repair_goes_the_whole_circle_and_the_duplicates_are_gone(screens: Screens) -> None:
    """Each step is told of before. What is not verified, for one node refuses, is said by apply itself."""
    text = screens[REPAIR][1].text
    steps = (
        "1 of 4  LOOK",
        *(f"$ wgaudit {each}" for each in ("sweep", "plan --output plan.json", "apply plan.json")),
    )
    places = [text.index(step) for step in (*steps, "4 of 4  LOOK AGAIN", "WHAT CAME OF IT")]
    assert places == sorted(places)
    assert text.count("remove done") == 3
    assert all(f"\n  {step.value} " in text for step in set(Move) - {Move.DRAIN, Move.UNDRAIN})
    again = " ".join(text[places[-2] :].split())
    assert "duplicate-address" not in again
    assert "10.0.0.1 and 10." in again
    assert "have one holder each now" in again
    assert "all 3 moves are done, but not verified" in " ".join(text.split())


def test_the_demos_leave_nothing_behind(screens: Screens, folder: Path) -> None:
    assert leftovers(folder) == []
    assert processes_on_nodes(folder) == []
