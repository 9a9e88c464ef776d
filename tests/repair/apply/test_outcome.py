"""What an apply says while it waits, and of what it could not verify: from values alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from auditor.errors import JournalError
from auditor.repair.apply.observers import PeerLook
from auditor.repair.apply.outcome import (
    ASKED,
    BOOT_FILES,
    BY_HAND,
    FLEET,
    NOT_SET,
    UNSEEN,
    facts_in_words,
    in_groups,
    sampled,
    table,
    unverified,
)
from auditor.repair.apply.stages import Entry, Event, Progress, after
from auditor.repair.apply.waiting import PeerWait
from auditor.repair.moves import Keeper, Kind, Move, Rule, Step
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.models import NodeId

MOVE = Move(
    Kind.RENUMBER,
    NodeId("", "edge-sin-2"),
    PublicKey("k"),
    Prefix("10.0.0.1/32"),
    Prefix("10.0.0.9/32"),
    "",
    Prefix("10.0.0.0/8"),
    Rule.OLDEST,
    "it came later",
    "wireguard/nodes/edge-sin-2",
    1,
    (Prefix("10.0.0.1/32"),),
)
KEEPER = Keeper(NodeId("", "edge-sin-1"), PublicKey("l"), Rule.OLDEST, "the oldest")
RIGHT = {BOOT_FILES: table({"/etc/wireguard/wg0.conf": ""}), BY_HAND: table({}), UNSEEN: table({})}


def waits(look: PeerLook, **more: Any) -> PeerWait:
    return PeerWait(MOVE, KEEPER, look, 12.3, 120.0, **more)


def done(**facts: str) -> Progress:
    return Progress(tuple(Step), facts=RIGHT | facts)


def test_a_wait_is_told_as_counts_of_observers() -> None:
    look = PeerLook(35, 31, 31, ("a", "b", "c", "d"), {"x": "auth", "y": "auth"}, still_old=4)
    assert f"{waits(look).counts} · {waits(look).time}" == (
        "observers: 31 of 37 route 10.0.0.9 to edge-sin-2, 4 the old, 2 not seen · 12 s of 120 s"
    )


def test_an_observer_that_is_half_way_is_counted_by_what_is_missing() -> None:
    look = PeerLook(5, 3, 3, ("a", "b", "c"), {}, still_old=1)
    assert waits(look).counts == (
        "observers: 3 of 5 route 10.0.0.9 to edge-sin-2, 1 the old, 1 neither, 1 not 10.0.0.1 to edge-sin-1"
    )


def test_a_wait_for_the_moved_node_itself_names_it() -> None:
    assert waits(PeerLook(1, 1, 0, ("edge-sin-2",)), itself=True).counts == (
        "edge-sin-2 does not route 10.0.0.1 to edge-sin-1 yet"
    )


def test_a_move_whose_files_and_observers_were_all_seen_is_verified() -> None:
    assert not unverified(MOVE, done())


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({BOOT_FILES: table({})}, "no boot file found, a restart may bring 10.0.0.1 back"),
        (
            {BY_HAND: table({"/etc/netplan/50.yaml line 7": "an alias"})},
            "not rewritten, do it by hand: /etc/netplan/50.yaml line 7 (an alias)",
        ),
        ({UNSEEN: table({"db-fra-1": "auth"})}, "observers not seen: db-fra-1 (auth)"),
        ({NOT_SET: table({"db-fra-1": "auth"})}, "peers not set on: db-fra-1 (auth)"),
    ],
    ids=["no file", "by hand", "not seen", "not set"],
)
def test_what_was_not_verified_is_named_with_its_node(facts: dict[str, str], words: str) -> None:
    found = unverified(MOVE, done(**facts))
    assert found
    assert in_groups([found, replace(found, node=NodeId("", "edge-sin-3"))]) == [
        f"edge-sin-2, edge-sin-3: {words}"
    ]


def test_a_file_that_is_left_to_a_person_is_a_boot_file_that_was_found() -> None:
    found = unverified(MOVE, done(**{BOOT_FILES: table({}), BY_HAND: table({"/etc/a": "why"})}))
    assert "no boot file" not in found.in_words()


def test_a_second_look_replaces_what_the_first_one_missed() -> None:
    first = done(**{UNSEEN: table({"db-fra-1": "auth"})})
    entry = Entry("0", MOVE.ident, Step.VERIFY, Event.CHECKED, datetime(2026, 1, 1, tzinfo=UTC), RIGHT)
    assert unverified(MOVE, first)
    second = after(first, entry)
    assert second.complete
    assert not unverified(MOVE, second)
    with pytest.raises(ValueError, match="not done"):
        after(Progress((Step.RESERVE,)), entry)


def test_a_sample_that_was_not_the_whole_fleet_is_told() -> None:
    few = {"a": done(**{ASKED: "20", FLEET: "4999"}), "b": done(**{ASKED: "9", FLEET: "9"})}
    assert sampled(few) == "20 of 4,999 observers were asked"
    assert sampled({"b": few["b"]}) == ""


def test_the_facts_of_a_step_are_told_without_their_form() -> None:
    assert facts_in_words({BOOT_FILES: table({"/etc/a": "", "/etc/b": ""}), BY_HAND: table({})}) == (
        "boot files: /etc/a, /etc/b"
    )
    assert facts_in_words({BOOT_FILES: table({}), "held": "no", ASKED: "1"}) == "no boot file found; held no"


def test_a_table_that_somebody_edited_is_refused() -> None:
    with pytest.raises(JournalError, match="'boot files' is no table"):
        unverified(MOVE, done(**{BOOT_FILES: "none"}))
