"""What following is made of: contents compared, pauses, the budget of answers, news that nobody took, a file."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import GapReason
from auditor.registry.file import FileRegistry, export_text
from auditor.registry.follow.contents import Contents
from auditor.registry.follow.file_follower import FileFollower
from auditor.registry.follow.rhythm import AnswerBudget, Pauses
from auditor.registry.follow.untaken_news import UntakenNews
from auditor.registry.interface import RegistryNews
from auditor.registry.records import EarlierRecords, KvItem, read_kv
from auditor.settings.consul import ConsulFields, ConsulSettings
from auditor.values.models import Gap, OtherKeys, OtherKind, RegistryReading
from tests.fleets import healthy
from tests.registry.follow.following import following, names
from tests.registry.records_of import PREFIX, record

NODES = tuple(healthy().registrations.values())
NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def reading(*changed: object, gaps: tuple[Gap, ...] = ()) -> Contents:
    return Contents(RegistryReading((*NODES[1:], *changed), gaps=gaps))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"modify_index": 99}, True),
        ({"create_index": 99}, False),
        ({"addresses": ()}, False),
        ({"public_key": None}, False),
        ({"region": "nrt"}, False),
        ({"values": {"rack": "7"}}, False),
        ({"retired": True}, False),
    ],
)
def test_readings_differ_in_what_is_registered_and_not_in_a_locks_index(
    change: dict[str, object], same: bool
) -> None:
    assert reading(NODES[0]).same_as(reading(replace(NODES[0], **change))) is same  # type: ignore[arg-type]


def test_a_gap_is_another_by_its_reason_and_not_by_its_words() -> None:
    gap = Gap("consul", GapReason.CONSUL_FILTERED, "3 nodes fewer", datacenter="dc1")
    assert reading(gaps=(gap,)).same_as(reading(gaps=(replace(gap, detail="4 nodes fewer"),)))
    assert not reading(gaps=(gap,)).same_as(reading())
    locks = RegistryReading(NODES, others=OtherKeys({OtherKind.LOCK: 3}))
    assert Contents(locks).same_as(Contents(RegistryReading(NODES)))


CHOICES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c/wg0", "d", "d/copy"]),
        st.sampled_from([record("a"), record("b", "10.0.0.2"), b"no json", b"", None]),
        st.integers(5, 7),
        st.booleans(),
    ),
    unique_by=lambda one: one[0],
)


@given(st.lists(CHOICES, min_size=2, max_size=4))
def test_what_is_kept_of_earlier_readings_changes_no_reading(
    readings: list[list[tuple[str, bytes | None, int, bool]]],
) -> None:
    earlier = EarlierRecords()
    for chosen in readings:
        items = [KvItem(PREFIX + name, value, 5, index, 0, held) for name, value, index, held in chosen]
        fresh = read_kv("kv-json", "dc1", PREFIX, items, ConsulFields())
        assert read_kv("kv-json", "dc1", PREFIX, items, ConsulFields(), earlier=earlier) == fresh


def test_pauses_double_to_five_seconds_begin_anew_and_respect_what_is_asked_for() -> None:
    pauses = Pauses()
    for longest in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0):
        assert longest / 2 <= pauses.after_failure() <= longest
    pauses.reset()
    assert pauses.after_failure() <= 0.1
    assert pauses.after_failure(7.0) == 7.0
    assert pauses.after_failure(3600.0) == 25.0, "what befell it must be noticed within 35 s"


def test_some_answers_are_read_at_once_and_then_two_a_second() -> None:
    budget = AnswerBudget()
    assert [budget.take(100.0) for _ in range(6)] == [0.0, 0.0, 0.0, 0.0, 0.5, 1.0]
    assert budget.take(200.0) == 0.0


def news(datacenter: str, seconds: float, event: str = "", *, woken: bool = True) -> RegistryNews:
    at = NOW + timedelta(seconds=seconds)
    before = at - timedelta(seconds=5)
    return RegistryNews(
        datacenter, RegistryReading(), at, confirmed=False, event=event, woken=woken, before_at=before
    )


async def test_news_that_nobody_took_are_joined_by_datacenter() -> None:
    untaken = UntakenNews()
    for one in (
        news("a", 1, "first"),
        news("b", 2),
        news("a", 3, "third", woken=False),
        news("a", 4, "first"),
    ):
        untaken.tell(one)
    b, a = await untaken.take(), await untaken.take()
    assert (b.datacenter, b.arrived_at) == ("b", NOW + timedelta(seconds=2))
    assert (a.arrived_at, a.before_at) == (NOW + timedelta(seconds=4), NOW - timedelta(seconds=4))
    assert (a.event, a.woken) == ("first; third", False)


async def test_a_fault_of_the_program_ends_the_stream_with_it() -> None:
    untaken = UntakenNews()

    async def broken() -> None:
        raise ZeroDivisionError

    task = asyncio.create_task(broken())
    task.add_done_callback(untaken.fail_with)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(untaken.take(), 5)


async def test_a_file_is_followed_and_one_that_is_cut_off_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "registry.json"
    text = export_text({PREFIX + "a": record("a")})
    path.write_text(text)
    registry = FileFollower(path, FileRegistry(path, ConsulSettings(file=path, datacenters=("dc1",))))
    async with following(registry) as stream:
        first = await stream.next()
        assert (first.datacenter, names(first), first.confirmed) == ("dc1", ["a"], True)
        more = export_text({PREFIX + "a": record("a"), PREFIX + "b": record("b", "10.0.0.2")})
        path.write_text(json.dumps(json.loads(more)))
        assert names(second := await stream.next()) == ["a", "b"]
        assert (second.woken, second.before_at is not None) == (False, True)
        path.write_text(text[:40])
        broken = await stream.next()
        assert [gap.reason for gap in broken.reading.gaps] == [GapReason.REGISTRY_UNREADABLE]
        replaced = tmp_path / "new"
        replaced.write_text(text)
        os.replace(replaced, path)  # noqa: PTH105  (as a tool does it)
        assert names(await stream.next()) == ["a"]
    assert names(await registry.confirm("dc1")) == ["a"]
