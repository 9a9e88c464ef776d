"""Times at which nodes got their addresses, as a watch is told of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from auditor.errors import GapReason
from auditor.judge import judge
from auditor.registry.interface import RegistryNews
from auditor.values.models import Gap, NodeId, Registration, RegistryReading
from auditor.watch.live import Live
from auditor.watch.written_addresses import WrittenAddresses, with_older
from tests.fleets import Mesh, of

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def fleet(**addresses: str) -> tuple[Registration, ...]:
    mesh = Mesh()
    for number, (name, address) in enumerate(addresses.items()):
        mesh.node(name, address, index=50 + number)
    return tuple(mesh.registrations.values())


def news(seconds: float, *gaps: Gap, woken: bool = True, **addresses: str) -> RegistryNews:
    at = START + timedelta(seconds=seconds)
    return RegistryNews(
        "dc1", RegistryReading(fleet(**addresses), gaps=gaps), at, confirmed=True, woken=woken
    )


def written(*taken: RegistryNews) -> list[tuple[str, float, bool]]:
    """Node, seconds and exactness of each write of a contested address, after these news."""
    made = WrittenAddresses()
    for one in taken:
        made.take(one)
    found = made.contested(taken[-1].reading.registrations)
    return [(item.node.name, (item.at - START).total_seconds(), item.to_the_moment) for item in found]


def test_two_writes_of_one_address_have_each_its_moment() -> None:
    first = news(0, woken=False, a="10.0.0.2")
    one = news(40, a="10.0.0.2", x="10.0.0.5")
    both = news(40.3, a="10.0.0.2", x="10.0.0.5", y="10.0.0.5")
    assert written(first, one) == []
    assert written(first, one, both) == [("x", 40.0, True), ("y", 40.3, True)]


def test_who_was_there_at_the_first_reading_was_written_then_or_before() -> None:
    twice = news(9, x="10.0.0.5", y="10.0.0.5")
    assert written(news(0, woken=False, x="10.0.0.5"), twice) == [("x", 0.0, False), ("y", 9.0, True)]


def test_what_a_confirming_read_shows_first_is_known_to_the_moment_and_what_an_outage_hid_is_not() -> None:
    first = news(0, woken=False, x="10.0.0.5")
    for seconds, known in ((0.8, True), (30.0, False)):
        assert written(first, news(seconds, woken=False, x="10.0.0.5", y="10.0.0.5"))[1:] == [
            ("y", seconds, known)
        ]


def test_a_gap_says_nothing_and_an_address_that_left_is_forgotten() -> None:
    gap = Gap("consul", GapReason.CONSUL_TIMEOUT, "timeout", datacenter="dc1")
    first = news(0, woken=False, x="10.0.0.5")
    twice: dict[str, Any] = {"x": "10.0.0.5", "y": "10.0.0.5"}
    assert written(first, news(1, **twice), news(2, gap), news(3, **twice))[1] == ("y", 1.0, True)
    assert written(first, news(1, **twice), news(2, x="10.0.0.5"), news(9, **twice))[1] == ("y", 9.0, True)


def test_a_watch_that_begins_anew_knows_the_moments_of_the_one_before() -> None:
    made = WrittenAddresses()
    made.take(news(900, woken=False, x="10.0.0.5", y="10.0.0.5"))
    found = made.contested(fleet(x="10.0.0.5", y="10.0.0.5"))
    older = [replace(item, at=START, to_the_moment=True) for item in found[:1]]
    assert [(item.node.name, item.at) for item in with_older(found, older)] == [
        ("x", START),
        ("y", START + timedelta(seconds=900)),
    ]


def test_the_registry_alone_is_judged_with_the_times_of_its_writes() -> None:
    """The first page says which writes, and when."""
    live = Live(Mesh().policy, {})
    live.read(news(0, woken=False, a="10.0.0.2"), 0.0)
    live.read(news(40, a="10.0.0.2", x="10.0.0.5"), 40.0)
    live.read(news(40.3, a="10.0.0.2", x="10.0.0.5", y="10.0.0.5"), 40.3)
    [finding] = of(judge(live.registry_alone(START)), "duplicate-address")
    assert finding.guess is not None
    assert finding.guess.sentence == "Possibly written by parallel writers: y only 0.3 s after x."
    assert [item.node for item in finding.evidence.writes] == [NodeId("dc1", "x"), NodeId("dc1", "y")]
