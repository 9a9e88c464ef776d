"""`wgaudit history`: past sweeps, findings that stand and findings that are over, and the life of one."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable

import pytest

from tests.cli.command import one_line
from tests.cli.conftest import to_pagerduty, to_receiver
from tests.cli.fleet import HEALTHY, PAIR, TRIPLE, WITNESSES, Fleet, contested, mark
from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.receiver import Receiver
from tests.doubles.server import Reply
from tests.fleets import key_of

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


def test_programs_get_the_sweeps_with_their_numbers_and_the_life_of_a_finding(fleet: Fleet) -> None:
    assert json.loads(shown(fleet, "--format", "json")) == {
        "schema": "wgaudit.history/1",
        "state": False,
        "sweeps": [],
        "findings": [],
    }
    fleet.sweep()
    fleet.register(contested(TRIPLE))
    fleet.sweep()
    document = json.loads(shown(fleet, "--format", "json"))
    assert [(item["number"], item["verdict"]) for item in document["sweeps"]] == [
        (2, "findings"),
        (1, "findings"),
    ]
    known = {item["fingerprint"]: item for item in document["findings"]}
    assert known[mark(TRIPLE)]["resolved_at"] is None
    assert known[mark(PAIR)]["address"] == f"{PAIR}/32"
    life = json.loads(shown(fleet, "show", mark(PAIR), "--format", "json"))
    assert life["finding"] == known[mark(PAIR)]
    assert [(item["reason"], item["firing"], item["state"]) for item in life["notifications"]] == [
        ("first-notification", True, "accepted"),
        ("resolved", False, "accepted"),
    ]


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


def test_filters_choose_findings_before_the_limit_counts_them(fleet: Fleet) -> None:
    fleet.sweep()
    assert f"duplicate-address {TRIPLE}" not in shown(fleet, "--node", "db-*")
    said = shown(fleet, "--node", "cache-nrt-*", "--region", "nrt", "--limit", "1")
    assert f"duplicate-address {TRIPLE}" in said
    assert "FILTERED by --node cache-nrt-* --region nrt: sweeps are all shown" in said
    # What follows from another is shown where its check was asked for.
    assert "fallback-address" in shown(fleet, "--check", "fallback-address")


def test_a_name_that_no_finding_of_the_history_has_is_told_with_its_like(fleet: Fleet) -> None:
    fleet.sweep()
    done = fleet.run("history", "--node", "db-son-1")
    assert done.returncode == 0
    assert (
        one_line(done.stderr)
        == "wgaudit: --node: no node db-son-1 was seen; did you mean db-sin-1 or db-fra-1?"
    )
    assert fleet.run("history", "--node", "db-*", "--format", "json").returncode == 2


def test_a_node_that_was_removed_is_told_with_the_record_that_is_lost_by_name_address_and_key(
    fleet: Fleet,
) -> None:
    fleet.register(HEALTHY)
    fleet.sweep()
    fleet.register({node: address for node, address in HEALTHY.items() if node != "cache-nrt-1"})
    fleet.sweep()
    said = shown(fleet, "node", "cache-nrt-1")
    assert "gone between" in said
    assert "removed: 10.48.0.5, key " in said
    key = key_of("cache-nrt-1")
    for target in ("10.48.0.5", key, key[:8]):
        document = json.loads(shown(fleet, "node", target, "--format", "json"))
        (change,) = document["changes"]
        assert (change["kind"], change["before"]["public_key"], change["after"]) == ("removed", key, None)
        assert [item["registered"] for item in document["registrations"]] == [False]


def test_a_node_of_which_nothing_is_remembered_is_refused_with_the_time_since_when_it_would_be(
    fleet: Fleet,
) -> None:
    assert "no state database" in shown(fleet, "node", "web-1")
    fleet.sweep()
    done = fleet.run("history", "node", "web-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no registration of 'web-1' is remembered since 20" in one_line(done.stderr)


def test_a_deleted_registration_of_a_node_that_peers_still_have_is_a_finding_of_the_next_sweep_and_of_its_replay(
    fleet: Fleet,
) -> None:
    """Its script deleted by prefix; nobody asked the node, but the other one has it as a peer."""
    fleet.register(HEALTHY)
    fleet.sweep()
    registry = fleet.folder / "registry.json"
    entries = json.loads(registry.read_text())
    gone = next(entry for entry in entries if entry["key"].endswith(f"/{WITNESSES.nodes[0].name}"))
    registry.write_text(json.dumps([entry for entry in entries if entry != gone]))
    for arguments in (("--record", "seen.json.gz"), ("--alert",), ("--replay", "seen.json.gz")):
        report = json.loads(fleet.run("sweep", "--no-progress", "--format", "json", *arguments).stdout)
        (found,) = [item for item in report["findings"] if item["check"] == "registration-vanished"]
        assert found["subject"] == gone["key"].rpartition("/")[2]
        restore, step = found["next_steps"]
        assert restore["command"][:3] == ["wgaudit", "restore", found["subject"]]
        assert step["command"][:-1] == ["consul", "kv", "put", "-cas", "-modify-index=0", gone["key"]]
        lost = json.loads(base64.b64decode(gone["value"]))
        assert json.loads(step["command"][-1]) == {
            name: value
            for name, value in lost.items()
            if name in ("public_key", "ip", "region", "ssh_host", "endpoint")
        }


def test_the_story_of_an_address_and_the_plan_for_it_say_who_held_it_until_when(fleet: Fleet) -> None:
    moved = HEALTHY | {"cache-nrt-1": "10.48.0.99", "spare-ams-1": "10.48.0.5", "db-sin-1": "10.48.0.5"}
    fleet.register(HEALTHY)
    fleet.sweep()
    fleet.register(moved)
    fleet.sweep()
    story = re.sub(r"\s+", " ", fleet.run("explain", "10.48.0.5", "--no-progress").stdout)
    assert "REGISTRATION BEFORE" in story
    assert "cache-nrt-1 changed address 10.48.0.5 to 10.48.0.99" in story
    document = json.loads(fleet.run("explain", "10.48.0.5", "--no-progress", "--format", "json").stdout)
    changes = document["stories"][0]["registration_changes"]
    assert {item["node"] for item in changes} == {"cache-nrt-1", "spare-ams-1", "db-sin-1"}
    plan = re.sub(r"\s+", " ", fleet.run("plan", "--no-progress").stdout)
    assert "cache-nrt-1 held 10.48.0.5 by its registration until 20" in plan
