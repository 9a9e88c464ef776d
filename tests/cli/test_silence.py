"""`wgaudit silence`: planned mutes that take pages away and nothing else, and that end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.command import one_line
from tests.cli.conftest import to_receiver
from tests.cli.fleet import HEALTHY, PAIR, TRIPLE, Fleet, contested, mark
from tests.doubles.receiver import Receiver

Make = Callable[..., Fleet]
WHY = ("--comment", "moving db-sin-1, OPS-123")


@pytest.fixture
def fleet(make_fleet: Make, receiver: Receiver) -> Fleet:
    """One contested address, told to the receiver."""
    fleet = make_fleet(notifiers=[to_receiver(receiver)])
    fleet.register(contested(PAIR))
    return fleet


def add(fleet: Fleet, *arguments: str) -> str:
    """Adds a silence for two hours; its ident."""
    done = fleet.run("silence", "add", "--for", "2h", *WHY, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    found = re.match(
        r"([0-9a-f]{8})  until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC; mutes \d of \d standing incidents?$",
        done.stdout,
    )
    assert found is not None
    return found[1]


def reasons(receiver: Receiver) -> list[str]:
    """Why it was told each thing."""
    return [item["reason"] for item in receiver.notifications]


# -- what it does


@pytest.mark.parametrize(
    "matchers",
    [
        ["--address", PAIR],
        ["--address", f"{PAIR}/32"],
        ["--check", "duplicate-address"],
        ["--check", "wrong-host", "--check", "duplicate-address"],
        ["--node", "db-sin-1", "--node", "db-fra-1"],
        ["--region", "sin", "--region", "fra", "--address", PAIR],
    ],
    ids=" ".join,
)
def test_a_silenced_finding_is_told_to_nobody_and_counts_all_the_same(
    fleet: Fleet, receiver: Receiver, matchers: list[str]
) -> None:
    """The report marks it, and the exit code stays 1: a silence does not make the fleet clean."""
    ident = add(fleet, *matchers)
    done = fleet.sweep()
    assert done.returncode == 1
    assert receiver.calls == []
    assert "silenced" in done.stdout
    assert "moving db-sin-1, OPS-123" in re.sub(r"\s+", " ", done.stdout)
    assert ident in done.stdout


@pytest.mark.parametrize(
    "matchers",
    [
        ["--address", TRIPLE],
        ["--node", "db-sin-1"],
        ["--region", "sin"],
        ["--check", "duplicate-address", "--address", TRIPLE],
    ],
    ids=" ".join,
)
def test_a_silence_that_does_not_fit_whole_mutes_nothing(
    fleet: Fleet, receiver: Receiver, matchers: list[str]
) -> None:
    """One node's silence is no silence for its collision with another one."""
    add(fleet, *matchers)
    fleet.sweep()
    assert reasons(receiver) == ["first-notification"]


def test_the_json_report_says_what_is_silenced(fleet: Fleet, receiver: Receiver) -> None:
    fleet.register(contested(PAIR, TRIPLE))
    ident = add(fleet, "--address", PAIR)
    report = json.loads(fleet.sweep("--format", "json").stdout)
    silenced = {
        item["fingerprint"]: item["silenced"] for item in report["findings"] if item["caused_by"] is None
    }
    assert ident in silenced[mark(PAIR)]
    assert "OPS-123" in silenced[mark(PAIR)]
    assert silenced[mark(TRIPLE)] is None
    # What follows from it is muted with it.
    assert all(item["silenced"] for item in report["findings"] if item["caused_by"] == mark(PAIR))


def test_what_was_told_before_it_was_silenced_still_gets_its_resolve(
    fleet: Fleet, receiver: Receiver
) -> None:
    fleet.sweep()
    add(fleet, "--address", PAIR)
    fleet.register(contested(PAIR) | {"spare-ams-1": PAIR})
    fleet.sweep()
    assert reasons(receiver) == ["first-notification"]
    fleet.register(HEALTHY)
    assert fleet.sweep().returncode == 0
    assert reasons(receiver) == ["first-notification", "resolved"]


def test_what_came_and_went_in_silence_was_never_told(fleet: Fleet, receiver: Receiver) -> None:
    add(fleet, "--address", PAIR)
    fleet.sweep()
    fleet.register(HEALTHY)
    fleet.sweep()
    assert receiver.calls == []


def test_what_still_stands_is_told_when_its_silence_was_ended(fleet: Fleet, receiver: Receiver) -> None:
    ident = add(fleet, "--address", PAIR)
    fleet.sweep()
    done = fleet.run("silence", "expire", ident)
    assert (done.returncode, done.stdout) == (0, f"{ident}  is over\n")
    fleet.sweep()
    assert reasons(receiver) == ["first-notification"]


def test_a_silence_that_is_to_come_mutes_nothing_yet(fleet: Fleet, receiver: Receiver) -> None:
    starts = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    ident = add(fleet, "--address", PAIR, "--starts", starts)
    fleet.sweep()
    assert reasons(receiver) == ["first-notification"]
    assert re.search(rf"{ident}\s+to come", fleet.run("silence", "list").stdout)


def test_blindness_can_be_silenced(make_fleet: Make, receiver: Receiver) -> None:
    fleet = make_fleet(notifiers=[to_receiver(receiver)], alerts={"blind_after": 1})
    add(fleet, "--check", "audit-blind")
    (fleet.folder / "registry.json").unlink()
    assert fleet.sweep().returncode == 3
    assert receiver.calls == []


# -- the list


def test_the_list_shows_what_holds_and_with_all_what_is_over(fleet: Fleet) -> None:
    assert fleet.run("silence", "list").stdout.startswith("no silences: there is no state database ")
    first = add(fleet, "--address", PAIR, "--check", "duplicate-address")
    second = add(fleet, "--node", "db-sin-1")
    listed = fleet.run("silence", "list").stdout
    for words in (
        first,
        second,
        "active",
        "check duplicate-address and address 10.0.0.1",
        "node db-sin-1",
        "OPS-123",
    ):
        assert words in listed
    fleet.run("silence", "expire", first)
    assert first not in fleet.run("silence", "list").stdout
    assert re.search(rf"{first}\s+over", fleet.run("silence", "list", "--all").stdout)


def test_a_comment_cannot_play_with_the_terminal(fleet: Fleet) -> None:
    done = fleet.run("silence", "add", "--address", PAIR, "--for", "1h", "--comment", "\x1b[2Jgone\u202e")
    assert done.returncode == 0
    listed = fleet.run("silence", "list").stdout
    assert "\x1b" not in listed
    assert "\u202e" not in listed


# -- what is refused


@pytest.mark.parametrize(
    "duration",
    ["", "2", "h", "2 h", "-2h", "2h30", "1.5h", "0s", "366d", "9999999h", "forever", "\uff12h", "1h 30m"],
)
def test_a_duration_that_is_none_is_refused(fleet: Fleet, duration: str) -> None:
    done = fleet.run("silence", "add", "--address", PAIR, f"--for={duration}", *WHY)
    assert done.returncode == 2
    assert "--for" in one_line(done.stderr)
    assert not fleet.database.exists()


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1d", 86_400), ("365d", 31_536_000)],
)
def test_a_duration_is_what_it_says(fleet: Fleet, duration: str, seconds: int) -> None:
    starts = datetime(2027, 1, 10, 22, tzinfo=UTC)
    done = fleet.run(
        "silence", "add", "--address", PAIR, "--for", duration, "--starts", starts.isoformat(), *WHY
    )
    assert f"until {starts + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S} UTC" in done.stdout


@pytest.mark.parametrize("starts", ["2027-01-10T22:00", "2027-01-10T23:00+01:00"])
def test_a_silence_starts_in_utc_unless_an_offset_is_given(fleet: Fleet, starts: str) -> None:
    elsewhere = replace(fleet, environment={**fleet.environment, "TZ": "America/New_York"})
    done = elsewhere.run("silence", "add", "--address", PAIR, "--for", "1h", "--starts", starts, *WHY)
    assert "until 2027-01-10 23:00:00 UTC" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--for", "2h", *WHY], "at least one of --check, --address, --node and --region"),
        (["--for", "2h", *WHY, "--check", "duplicate-adress"], "no check is called duplicate-adress"),
        (["--for", "2h", *WHY, "--address", "10.0.0.256"], "--address 10.0.0.256"),
        (["--for", "2h", *WHY, "--address", "db-sin-1"], "--address db-sin-1"),
        (["--for", "2h", *WHY, "--address", PAIR, "--starts", "tomorrow"], "--starts tomorrow"),
        (["--for", "2h", *WHY, "--address", PAIR, "--starts", "2020-01-01"], "over already"),
        (["--for", "2h", *WHY, "--address", PAIR, "--starts", "9999-12-31T23:00+00:00"], "--starts 9999"),
        (["--for", "2h", "--comment", "  ", "--address", PAIR], "--comment"),
        (["--for", "2h", "--comment", "x" * 501, "--address", PAIR], "--comment"),
        (["--for", "2h", *WHY, "--node", " "], "--node"),
    ],
    ids=[
        "no matcher",
        "check",
        "address",
        "no address",
        "start",
        "past",
        "never",
        "no comment",
        "novel",
        "no node",
    ],
)
def test_a_silence_that_cannot_be_meant_is_refused(fleet: Fleet, arguments: list[str], says: str) -> None:
    done = fleet.run("silence", "add", *arguments)
    assert done.returncode == 2
    assert says in one_line(done.stderr)
    assert not fleet.database.exists()


@pytest.mark.parametrize("missing", ["--for", "--comment"])
def test_a_silence_has_an_end_and_a_reason(fleet: Fleet, missing: str) -> None:
    given = {"--for": "2h", "--comment": "why"}
    del given[missing]
    done = fleet.run("silence", "add", "--address", PAIR, *(word for pair in given.items() for word in pair))
    assert done.returncode == 2
    assert missing in done.stderr


def test_an_unknown_silence_cannot_be_ended(fleet: Fleet) -> None:
    done = fleet.run("silence", "expire", "0badc0de")
    assert done.returncode == 2
    assert "there is no silence 0badc0de; `wgaudit silence list` shows them" in one_line(done.stderr)


def test_a_state_that_cannot_be_used_is_one_line(fleet: Fleet) -> None:
    fleet.sweep()
    fleet.database.write_bytes(b"this is no database\n" * 500)
    for arguments in (["list"], ["expire", "0badc0de"], ["add", "--address", PAIR, "--for", "2h", *WHY]):
        done = fleet.run("silence", *arguments)
        assert done.returncode == 2
        assert "file is not a database" in one_line(done.stderr)


def test_silences_and_the_outbox_are_documents_for_programs(make_fleet: Make) -> None:
    """Both are there, and empty, before anything was sent."""
    fleet = make_fleet()
    assert json.loads(fleet.run("silence", "list", "--format", "json").stdout)["silences"] == []
    fleet.run("silence", "add", "--address", "10.0.0.1", "--for", "2h", "--comment", "moving it")
    (silence,) = json.loads(fleet.run("silence", "list", "--format", "json").stdout)["silences"]
    assert (silence["state"], silence["addresses"], silence["comment"]) == (
        "active",
        ["10.0.0.1/32"],
        "moving it",
    )
    outbox = json.loads(fleet.run("alerts", "list", "--format", "json").stdout)
    assert outbox == {"schema": "wgaudit.outbox/1", "waiting": [], "dead": []}


def test_a_plain_sweep_and_a_story_mark_what_is_silenced(fleet: Fleet) -> None:
    """For a person at night, a page that did not come is explained by it."""
    ident = add(fleet, "--address", PAIR)
    report = json.loads(fleet.run("sweep", "--format", "json").stdout)
    assert {item["silenced"] is not None for item in report["findings"]} == {True}
    assert report["findings"][0]["silenced"].startswith(f"{ident} until ")
    assert f"silenced  {ident} until " in fleet.run("explain", PAIR).stdout
