"""`wgaudit history`: past sweeps, findings that stand and findings that are over, and the life of one."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.cli.command import one_line
from tests.cli.conftest import to_pagerduty, to_receiver
from tests.cli.fleet import HEALTHY, PAIR, TRIPLE, Fleet, contested, mark
from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.receiver import Receiver
from tests.doubles.server import Reply

Make = Callable[..., Fleet]


@pytest.fixture
def fleet(make_fleet: Make, receiver: Receiver) -> Fleet:
    """Both addresses are contested, told to the receiver."""
    return make_fleet(notifiers=[to_receiver(receiver)])


def shown(fleet: Fleet, *arguments: str) -> str:
    """What the history says, in one line whatever the width."""
    done = fleet.run("history", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return re.sub(r"\s+", " ", done.stdout)


def test_each_sweep_is_listed_with_its_verdict_and_what_it_saw(fleet: Fleet) -> None:
    fleet.sweep()
    fleet.register(HEALTHY)
    fleet.sweep()
    (fleet.folder / "registry.json").unlink()
    fleet.sweep()
    said = shown(fleet)
    assert re.findall(r"UTC|findings 2 of 8|clean 2 of 8|inconclusive 0 of 0", said)[-3:] == [
        "inconclusive 0 of 0",
        "clean 2 of 8",
        "findings 2 of 8",
    ]
    assert "clean 2 of 8" not in shown(fleet, "--limit", "1")


def test_what_stands_comes_before_what_is_over(fleet: Fleet) -> None:
    fleet.sweep()
    fleet.register(contested(TRIPLE))
    fleet.sweep()
    said = shown(fleet)
    assert said.index(TRIPLE) < said.index("stands") < said.index(f"{PAIR} resolved")


def test_a_plain_sweep_is_not_in_it(fleet: Fleet) -> None:
    fleet.run("sweep", "--no-progress")
    assert "there is no state database" in shown(fleet)


def test_the_life_of_a_finding_has_each_notification_and_its_answer(
    make_fleet: Make, receiver: Receiver, pagerduty: PagerDutyDouble
) -> None:
    """Refused by the one, taken by the other; then a third claimant; then over."""
    fleet = make_fleet(notifiers=[to_receiver(receiver), to_pagerduty(pagerduty)])
    receiver.fault = Reply(410, b"no such hook")
    for state in (contested(PAIR), contested(PAIR) | {"spare-ams-1": PAIR}, HEALTHY):
        fleet.register(state)
        fleet.sweep()
    said = shown(fleet, "show", mark(PAIR))
    assert f"{mark(PAIR)} critical duplicate-address {PAIR}" in said
    assert "spare-ams-1" in said
    assert re.search(r"end resolved \d{4}-\d\d-\d\d", said)
    told = re.findall(r"(inventory|oncall) (first-notification|claimants-changed|resolved) (\S+)", said)
    assert [row for row in told if row[0] == "oncall"] == [
        ("oncall", "first-notification", "accepted"),
        ("oncall", "claimants-changed", "accepted"),
        ("oncall", "resolved", "accepted"),
    ]
    assert ("inventory", "first-notification", "dead") in told
    assert "410 Gone: no such hook" in said
    assert "202 Accepted" in said


def test_a_finding_that_stands_says_so_and_who_was_not_told(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.sweep()
    said = shown(fleet, "show", mark(PAIR))
    assert "it stands" in said
    assert "nobody yet" in said


def test_the_beginning_of_a_fingerprint_will_do(fleet: Fleet) -> None:
    fleet.sweep()
    assert PAIR in shown(fleet, "show", mark(PAIR)[:6])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("0000000000", "no finding has the fingerprint 0000000000; `wgaudit history` lists them"),
        (PAIR, "no fingerprint"),
        ("", "no fingerprint"),
        ("*", "no fingerprint"),
        ("f" * 4000, "no fingerprint"),
    ],
    ids=["unknown", "an address", "nothing", "a pattern", "a long one"],
)
def test_a_fingerprint_that_is_none_is_refused_in_one_line(fleet: Fleet, given: str, says: str) -> None:
    fleet.sweep()
    done = fleet.run("history", "show", given)
    assert done.returncode == 2
    assert done.stdout == ""
    line = one_line(done.stderr)
    assert says in line
    assert len(line) < 300


def test_the_configuration_may_stand_before_or_after_show(fleet: Fleet) -> None:
    fleet.sweep()
    fleet.config.rename(fleet.folder / "other.toml")
    assert fleet.run("history", "show", mark(PAIR)).returncode == 2
    for arguments in (
        ["history", "--config", "other.toml", "show", mark(PAIR)],
        ["history", "show", mark(PAIR), "--config", "other.toml"],
    ):
        assert fleet.run(*arguments).returncode == 0


def test_old_sweeps_and_findings_that_are_over_are_forgotten_and_what_stands_is_not(fleet: Fleet) -> None:
    """A hundred days pass in the database; ninety are kept. The next sweep cleans up."""
    fleet.sweep()
    fleet.register(contested(TRIPLE))
    fleet.sweep()
    for table, columns in {
        "history_sweeps": ("started_at", "finished_at"),
        "history_findings": ("first_seen", "last_seen", "resolved_at"),
        "alerts_notices": ("created_at", "at"),
    }.items():
        for column in columns:
            fleet.execute(
                f"UPDATE {table} SET {column} = "  # noqa: S608  (names of this test)
                f"strftime('%Y-%m-%dT%H:%M:%f000+00:00', {column}, '-100 days') WHERE {column} IS NOT NULL"
            )
    before = fleet.query("SELECT count(*) FROM alerts_notices")
    fleet.sweep()
    assert fleet.query("SELECT count(*) FROM history_sweeps") == [(1,)]
    assert PAIR not in shown(fleet)
    assert TRIPLE in shown(fleet)
    assert before == [(3,)]
    # What the notifier was last told of the triple is needed: it would be told anew.
    assert fleet.query("SELECT count(*) FROM alerts_notices") == [(1,)]


def test_how_long_it_is_kept_is_configured(fleet: Fleet) -> None:
    fleet.sweep()
    fleet.execute("UPDATE history_sweeps SET finished_at = '2026-01-01T00:00:00.000000+00:00'")
    fleet.config.write_text(fleet.config.read_text().replace("[state]", "[state]\nkeep_days = 3650"))
    fleet.sweep()
    assert fleet.query("SELECT count(*) FROM history_sweeps") == [(2,)]


def test_nothing_to_show_is_no_error(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.run("silence", "add", "--node", "a", "--for", "1h", "--comment", "work on it")
    assert "the last 0" in shown(fleet)


@pytest.mark.parametrize(
    "arguments",
    [
        ["history"],
        ["history", "show", "0" * 20],
        ["alerts", "list"],
        ["alerts", "retry"],
        ["silence", "list"],
        ["silence", "expire", "0a0b0c0d"],
    ],
    ids=" ".join,
)
def test_looking_at_a_state_that_is_not_there_creates_nothing(make_fleet: Make, arguments: list[str]) -> None:
    """Neither file, nor folder, nor lock: else a wrong state.path would look like an empty state from then on."""
    fleet = make_fleet()
    done = fleet.run(*arguments)
    assert not fleet.database.parent.exists()
    if arguments[-1] in ("history", "list"):
        assert done.returncode == 0
        assert f"there is no state database {fleet.database} yet" in done.stdout.replace("\n", " ")


def test_a_state_that_cannot_be_used_is_one_line(fleet: Fleet) -> None:
    fleet.sweep()
    fleet.database.write_bytes(b"this is no database\n" * 500)
    for arguments in ([], ["show", mark(PAIR)]):
        done = fleet.run("history", *arguments)
        assert done.returncode == 2
        assert "file is not a database" in one_line(done.stderr)
