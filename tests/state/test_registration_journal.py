"""The journal of registrations: what differs from the sweep before, and nothing that was only out of sight."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from auditor.errors import GapReason, StateError
from auditor.service.alert_state import state_tables
from auditor.state import history
from auditor.state.audit_tables import REGISTRATIONS, TABLES
from auditor.state.known_registrations import (
    read_address_writes,
    read_journal_begin,
    read_known_registrations,
    read_latest_writes,
    read_registration_changes,
)
from auditor.state.opening import store_in_memory
from auditor.state.registration_journal import keep_reading
from auditor.state.state_store import StateStore
from auditor.values.models import (
    AuditPolicy,
    Gap,
    InvalidRegistration,
    NodeId,
    Registration,
    RegistryReading,
    Snapshot,
)
from auditor.values.registration_changes import ChangeSource, RegistrationChange, RegistrationChangeKind
from auditor.values.report import Coverage, Report, Verdict
from tests.fleets import key_of, prefixes

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
ADDED, CHANGED, REMOVED = RegistrationChangeKind


def registered(name: str, address: str, datacenter: str = "dc1", index: int = 7) -> Registration:
    return Registration(
        NodeId(datacenter, name),
        key_of(name),
        prefixes([address]),
        region="sin",
        endpoint="198.18.0.9:51820",
        ssh_host="198.18.0.9",
        where=f"wireguard/nodes/{name}",
        create_index=index,
        modify_index=index,
    )


FLEET = tuple(registered(f"edge-{number}", f"10.0.0.{number}") for number in range(1, 13))


def sweep(
    store: StateStore,
    minute: int,
    registrations: tuple[Registration, ...],
    *gaps: Gap,
    invalid: tuple[InvalidRegistration, ...] = (),
) -> None:
    """An alerted sweep that read these registrations, and took seven seconds."""
    began = START + timedelta(minutes=minute)
    ended = began + timedelta(seconds=7)
    snapshot = Snapshot(began, ended, AuditPolicy(), registrations, invalid, gaps=gaps)
    report = Report(Verdict.CLEAN, began, ended, Coverage(9, 9), (), gaps)
    with store.transaction():
        history.record(store, report, standing=(), resolved=(), snapshot=snapshot)


def changes(store: StateStore) -> list[RegistrationChange]:
    return list(read_registration_changes(store))


def brief(store: StateStore) -> list[tuple[str, RegistrationChangeKind]]:
    return [(item.node.name, item.kind) for item in changes(store)]


def test_what_the_first_sweep_reads_was_there_before_and_is_no_change(store: StateStore) -> None:
    sweep(store, 0, FLEET)
    assert changes(store) == []
    assert [item.registration for item in read_known_registrations(store)] == sorted(
        FLEET, key=lambda item: item.node
    )
    assert read_journal_begin(store) == START


def test_a_change_lies_between_the_begin_of_the_sweep_before_and_the_end_of_this_one(
    store: StateStore,
) -> None:
    moved = replace(FLEET[0], addresses=prefixes(["10.0.9.9"]), modify_index=40)
    sweep(store, 0, FLEET)
    sweep(store, 1, FLEET)
    sweep(store, 2, (moved, *FLEET[1:]))
    assert changes(store) == [
        RegistrationChange(
            moved.node,
            CHANGED,
            FLEET[0],
            moved,
            not_before=START + timedelta(minutes=1),
            not_after=START + timedelta(minutes=2, seconds=7),
            index=40,
            sweep=3,
        )
    ]
    assert changes(store)[0].fields == ("addresses",)


def test_a_new_port_of_an_endpoint_and_a_rewrite_are_no_changes(store: StateStore) -> None:
    rewritten = replace(FLEET[0], endpoint="198.18.0.9:40000", modify_index=41)
    sweep(store, 0, FLEET)
    sweep(store, 1, (rewritten, *FLEET[1:]))
    assert changes(store) == []
    assert rewritten in [item.registration for item in read_known_registrations(store)]


def test_a_removed_registration_is_kept_whole_until_it_comes_back(store: StateStore) -> None:
    sweep(store, 0, FLEET)
    sweep(store, 1, FLEET[1:])
    (lost,) = [item for item in read_known_registrations(store) if item.gone is not None]
    assert lost.registration == FLEET[0]
    assert lost.gone == changes(store)[0]
    assert lost.gone is not None
    assert lost.gone.before == FLEET[0]
    sweep(store, 2, FLEET)
    assert brief(store) == [("edge-1", REMOVED), ("edge-1", ADDED)]
    assert [item for item in read_known_registrations(store) if item.gone is not None] == []


def test_a_datacenter_that_was_not_read_whole_removes_nothing(store: StateStore) -> None:
    there = registered("db-1", "10.1.0.1", "dc2")
    unread = Gap("consul", GapReason.CONSUL_TIMEOUT, "timeout", datacenter="dc2")
    sweep(store, 0, (*FLEET, there))
    sweep(store, 1, FLEET[1:], unread)
    sweep(store, 2, FLEET[1:], replace(unread, datacenter=None))
    assert brief(store) == [("edge-1", REMOVED)]


def test_a_registry_that_shows_nothing_at_all_removes_nothing(store: StateStore) -> None:
    sweep(store, 0, FLEET)
    sweep(store, 1, ())
    assert changes(store) == []


def test_many_that_are_missing_at_once_are_removed_by_the_next_sweep_that_reads_the_same(
    store: StateStore,
) -> None:
    sweep(store, 0, FLEET)
    sweep(store, 1, FLEET[2:])
    assert changes(store) == []
    sweep(store, 2, FLEET[1:])
    assert changes(store)[0].not_before == START, "it was missing since the first of the two"
    assert brief(store) == [("edge-1", REMOVED)], "the other one was only out of sight"


def test_a_registry_that_looks_suspect_removes_nothing(store: StateStore) -> None:
    suspect = Gap("sweep", GapReason.REGISTRY_SUSPECT, "3 of 9 keys")
    sweep(store, 0, FLEET)
    sweep(store, 1, FLEET[1:], suspect)
    sweep(store, 2, FLEET[1:], suspect)
    assert changes(store) == []


def test_a_registration_that_cannot_be_read_any_more_is_not_removed(store: StateStore) -> None:
    broken = InvalidRegistration(FLEET[0].node, FLEET[0].where, "not JSON", "{")
    sweep(store, 0, FLEET)
    sweep(store, 1, FLEET[1:], invalid=(broken,))
    assert changes(store) == []


def test_the_registry_of_a_new_datacenter_is_taken_down_without_changes(
    store: StateStore,
) -> None:
    sweep(store, 0, FLEET)
    sweep(store, 1, (*FLEET, registered("db-1", "10.1.0.1", "dc2")))
    assert changes(store) == []


def test_changes_are_forgotten_with_their_time_and_what_is_registered_never(
    store: StateStore,
) -> None:
    sweep(store, 0, FLEET)
    sweep(store, 1, FLEET[1:])
    with store.transaction():
        history.prune(store, START + timedelta(days=1))
    assert changes(store) == []
    assert [item.registration for item in read_known_registrations(store)] == sorted(
        FLEET[1:], key=lambda item: item.node
    )


def test_values_that_only_a_host_template_reads_are_not_kept(store: StateStore) -> None:
    """They are anything that the registry's owners put there."""
    sweep(store, 0, (replace(FLEET[0], values={"rack": "hunter2"}),))
    assert "hunter2" not in str([list(store.rows_of(table.name)) for table in TABLES.sorted_tables])


def test_a_name_that_is_no_text_does_not_stop_the_sweep_from_being_remembered(
    store: StateStore,
) -> None:
    odd = replace(FLEET[0], node=NodeId("dc1", "edge-\udc80"))
    sweep(store, 0, (odd, *FLEET[1:]))
    sweep(store, 1, (odd, *FLEET[1:]))
    assert changes(store) == []


def test_a_stored_registration_that_none_of_ours_wrote_is_a_state_error(
    store: StateStore,
) -> None:
    sweep(store, 0, FLEET)
    store.execute(update(REGISTRATIONS).values(body="[]"))
    with pytest.raises(StateError, match="cannot be read"):
        list(read_known_registrations(store))


# -- to the moment


def at(minute: int, second: float = 0.0) -> datetime:
    return START + timedelta(minutes=minute, seconds=second)


def told(
    store: StateStore,
    when: datetime,
    registrations: tuple[Registration, ...],
    *gaps: Gap,
    before: datetime | None = START,
    woken: bool = True,
    index: int | None = None,
) -> None:
    """A watch is told of what one datacenter holds now."""
    reading = RegistryReading(registrations, gaps=gaps)
    with store.transaction():
        keep_reading(store, "dc1", reading, not_before=before, not_after=when, woken=woken, index=index)


def test_a_change_that_a_watch_is_told_of_is_known_to_the_moment(store: StateStore) -> None:
    moved = replace(FLEET[0], addresses=prefixes(["10.0.9.9"]), modify_index=40)
    sweep(store, 0, FLEET)
    told(store, at(5, 0.3), (moved, *FLEET[1:]), before=at(4), index=41)
    assert changes(store) == [
        RegistrationChange(
            moved.node,
            CHANGED,
            FLEET[0],
            moved,
            not_before=at(4),
            not_after=at(5, 0.3),
            seen_by=ChangeSource.WATCH,
            index=40,
        )
    ]


def test_what_a_watch_took_down_is_no_change_to_the_round_after_it(store: StateStore) -> None:
    now = (replace(FLEET[0], region="fra"), *FLEET[2:], registered("new", "10.0.3.3"))
    sweep(store, 0, FLEET)
    told(store, at(5), now)
    before = changes(store)
    assert sorted(item.kind for item in before) == [ADDED, CHANGED, REMOVED]
    sweep(store, 6, now)
    told(store, at(7), now)
    assert changes(store) == before


def test_a_round_that_ended_before_the_news_does_not_take_them_back(store: StateStore) -> None:
    """It judged what stood then, and is written down after the news."""
    moved = (replace(FLEET[0], region="fra"), *FLEET[1:])
    sweep(store, 0, FLEET)
    told(store, at(5, 8), moved)
    sweep(store, 5, FLEET)
    assert brief(store) == [("edge-1", CHANGED)]


def test_a_clock_that_was_put_back_silences_no_sweep(store: StateStore) -> None:
    sweep(store, 0, FLEET)
    told(store, at(90), FLEET)
    sweep(store, 30, (replace(FLEET[0], region="fra"), *FLEET[1:]))
    assert brief(store) == [("edge-1", CHANGED)]


def test_the_index_of_a_removal_is_that_of_the_reading_where_nothing_else_changed(
    store: StateStore,
) -> None:
    sweep(store, 0, FLEET)
    told(store, at(1), FLEET[1:], index=70)
    told(store, at(2), (*FLEET[2:], registered("new", "10.0.3.3", index=71)), index=72)
    assert [(item.node.name, item.index) for item in changes(store)] == [
        ("edge-1", 70),
        ("new", 71),
        ("edge-2", None),
    ]


def test_many_that_are_missing_at_once_are_removed_by_the_next_round_alone(
    store: StateStore,
) -> None:
    sweep(store, 0, FLEET)
    told(store, at(1), FLEET[6:])
    told(store, at(1, 0.3), FLEET[6:])
    assert changes(store) == []
    sweep(store, 2, FLEET[6:])
    assert {(item.kind, item.not_after) for item in changes(store)} == {(REMOVED, at(1))}


def test_news_with_a_gap_or_without_a_registration_change_nothing(store: StateStore) -> None:
    sweep(store, 0, FLEET)
    told(store, at(1), FLEET[1:], Gap("consul", GapReason.CONSUL_FILTERED, "less", datacenter="dc1"))
    told(store, at(2), ())
    assert changes(store) == []


def test_what_was_found_after_an_outage_lies_between_two_readings(store: StateStore) -> None:
    sweep(store, 0, FLEET)
    told(store, at(9), FLEET[1:], before=at(2), woken=False)
    (change,) = changes(store)
    assert (change.seen_by, change.not_before, change.not_after) == (ChangeSource.SWEEP, at(2), at(9))


def test_what_a_reading_found_that_followed_another_at_once_is_known_to_the_moment(
    store: StateStore,
) -> None:
    """The one that confirms a write may be the first to show the next write."""
    new = registered("new", "10.0.3.3", index=50)
    sweep(store, 0, FLEET)
    told(store, at(1, 0.1), (*FLEET, new))
    told(store, at(1, 0.4), (*FLEET, new, registered("twin", "10.0.3.3")), before=None, woken=False)
    told(store, at(1, 3.4), FLEET, before=None, woken=False)
    assert [(item.node.name, item.kind, item.seen_by) for item in changes(store)] == [
        ("new", ADDED, ChangeSource.WATCH),
        ("twin", ADDED, ChangeSource.WATCH),
    ]


def test_without_the_news_before_the_last_stored_reading_bounds_the_change(
    store: StateStore,
) -> None:
    sweep(store, 0, FLEET)
    told(store, at(9), FLEET[1:], before=None, woken=False)
    assert changes(store)[0].not_before == START


def test_the_first_news_of_all_are_taken_down_and_are_no_change(store: StateStore) -> None:
    told(store, at(0), FLEET, before=None, woken=False)
    assert changes(store) == []
    assert len(list(read_known_registrations(store))) == len(FLEET)


# -- by which write a node got its address


def writes_of(store: StateStore, name: str, address: str) -> list[tuple[datetime, bool, int | None]]:
    wanted = {NodeId("dc1", name): prefixes([address])}
    return [(item.at, item.to_the_moment, item.index) for item in read_address_writes(store, wanted)]


def test_the_write_that_gave_a_node_its_address_is_found_behind_others(
    store: StateStore,
) -> None:
    new = registered("new", "10.0.3.3", index=50)
    elsewhere = replace(new, region="fra", modify_index=60)
    sweep(store, 0, FLEET)
    told(store, at(1, 0.3), (*FLEET, new))
    told(store, at(2), (*FLEET, elsewhere))
    assert writes_of(store, "new", "10.0.3.3") == [(at(1, 0.3), True, 50)]


def test_an_address_that_was_lost_and_came_back_was_written_when_it_came_back(
    store: StateStore,
) -> None:
    moved = replace(FLEET[0], addresses=prefixes(["10.0.9.9"]), modify_index=40)
    back = replace(FLEET[0], modify_index=50)
    sweep(store, 0, FLEET)
    told(store, at(1), (moved, *FLEET[1:]))
    told(store, at(2), (back, *FLEET[1:]))
    assert writes_of(store, "edge-1", "10.0.0.1") == [(at(2), True, 50)]
    told(store, at(3), FLEET[1:])
    assert writes_of(store, "edge-1", "10.0.0.1") == []


def test_what_was_there_when_the_journal_began_was_written_then_or_before(
    store: StateStore,
) -> None:
    sweep(store, 0, FLEET)
    told(store, at(1), (*FLEET, registered("new", "10.0.0.1")))
    assert writes_of(store, "edge-1", "10.0.0.1") == [(START, False, None)]
    assert writes_of(store, "nobody", "10.0.0.1") == []


def test_the_latest_writes_are_of_addresses_that_are_still_held(store: StateStore) -> None:
    """For a watch that begins anew, and has read all of it but the times."""
    new, other = registered("new", "10.0.3.3", index=50), registered("other", "10.0.3.4", index=60)
    moved = replace(new, addresses=prefixes(["10.0.3.5"]), modify_index=70)
    sweep(store, 0, FLEET)
    told(store, at(1), (*FLEET, new))
    told(store, at(2), (*FLEET, new, other))
    told(store, at(3), (*FLEET, moved, other))
    sweep(store, 4, (*FLEET, moved, other, registered("swept", "10.0.3.6")))
    found = [(item.node.name, item.prefix, item.at) for item in read_latest_writes(store, 500)]
    assert found == [("new", "10.0.3.5/32", at(3)), ("other", "10.0.3.4/32", at(2))]
    assert [item.node.name for item in read_latest_writes(store, 2)] == ["new"]


def test_what_a_sweep_noticed_was_written_by_its_end(store: StateStore) -> None:
    sweep(store, 0, FLEET)
    sweep(store, 1, (*FLEET, registered("new", "10.0.0.1")))
    assert writes_of(store, "new", "10.0.0.1") == [(at(1, 7), False, None)]


# -- whatever comes

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["sweep", "woken", "found"]),
        st.sampled_from(["add", "remove", "move", "rewrite", "nothing"]),
        st.integers(0, 20),
    ),
    max_size=12,
)


def write(held: dict[NodeId, Registration], what: str, chosen: NodeId, minute: int) -> None:
    """Write to a registry."""
    if what == "add":
        new = registered(f"new-{minute}", f"10.0.7.{minute}", index=100 * minute)
        held[new.node] = new
    elif what == "remove":
        del held[chosen]
    elif what == "move":
        moved = prefixes([f"10.0.8.{minute}"])
        held[chosen] = replace(held[chosen], addresses=moved, modify_index=100 * minute)
    elif what == "rewrite":
        held[chosen] = replace(held[chosen], modify_index=100 * minute)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_the_changes_in_order_lead_from_the_first_reading_to_the_last_each_once(
    steps: list[tuple[str, str, int]],
) -> None:
    """Whoever noticed them: nothing is doubled, nothing is left out."""
    with closing(store_in_memory(state_tables())) as store:
        sweep(store, 0, FLEET)
        held = {item.node: item for item in FLEET}
        for minute, (kind, what, number) in enumerate(steps, start=1):
            write(held, what, sorted(held)[number % len(held)], minute)
            if kind == "sweep":
                sweep(store, minute, tuple(held.values()))
            else:
                told(store, at(minute), tuple(held.values()), before=None, woken=kind == "woken")
            if number % 3 == 0:
                sweep(store, minute, tuple(held.values()))
        replayed = {item.node: item for item in FLEET}
        for change in changes(store):
            if change.before is not None:
                assert replayed.pop(change.node).addresses == change.before.addresses
            if change.after is not None:
                replayed[change.node] = change.after
        assert {node: item.addresses for node, item in replayed.items()} == {
            node: item.addresses for node, item in held.items()
        }
        standing = {
            item.registration.node: item.registration
            for item in read_known_registrations(store)
            if item.gone is None
        }
        assert standing == held
