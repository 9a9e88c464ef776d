"""News of a followed registry in the state: kept as they come, and what a look is told of contested addresses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from auditor.registry.interface import RegistryNews
from auditor.service.address_writes import address_writes
from auditor.service.alert_state import opened_state
from auditor.service.registration_news import keep_news
from auditor.state.known_registrations import read_registration_changes
from auditor.values.models import Registration, RegistryReading
from auditor.values.registration_changes import ChangeSource
from tests.fleets import healthy

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def never(line: str) -> None:
    """Fail on a complaint."""
    raise AssertionError(line)


def news(registrations: tuple[Registration, ...], seconds: float, *, first: bool = False) -> RegistryNews:
    arrived = START + timedelta(seconds=seconds)
    return RegistryNews(
        "dc1",
        RegistryReading(registrations),
        arrived,
        confirmed=first,
        before_at=None if first else START,
        woken=not first,
    )


def fleet(*twins: str) -> tuple[Registration, ...]:
    mesh = healthy()
    for twin in twins:
        mesh.node(twin, "10.0.0.99", index=70)
    return tuple(mesh.registrations.values())


def test_writes_of_a_contested_address_are_known_to_the_moment(tmp_path: Path) -> None:
    path = tmp_path / "wgaudit.db"
    with opened_state(path) as state:
        for told in (news(fleet(), 0, first=True), news(fleet("x"), 7.2), news(fleet("x", "y"), 7.5)):
            with state.store.transaction():
                keep_news(state, told)
    assert address_writes(path, fleet("x"), never) == ()
    found = address_writes(path, fleet("x", "y"), never)
    assert [(item.node.name, (item.at - START).total_seconds()) for item in found] == [("x", 7.2), ("y", 7.5)]
    assert all(item.to_the_moment for item in found)


def test_news_after_some_that_could_not_be_stored_are_no_moment(tmp_path: Path) -> None:
    with opened_state(tmp_path / "wgaudit.db") as state:
        with state.store.transaction():
            keep_news(state, news(fleet(), 0, first=True))
            keep_news(state, news(fleet("x", "y"), 30), missed=True)
        changes = list(read_registration_changes(state.store))
    assert {(item.seen_by, item.not_before) for item in changes} == {(ChangeSource.SWEEP, START)}


def test_without_a_state_nothing_is_known_and_a_broken_one_is_a_complaint(tmp_path: Path) -> None:
    assert address_writes(tmp_path / "none.db", fleet("x", "y"), never) == ()
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database" * 100)
    complaints: list[str] = []
    assert address_writes(broken, fleet("x", "y"), complaints.append) == ()
    assert "when contested addresses were written is not known" in complaints[0]
    assert address_writes(broken, fleet("x"), never) == (), "not even opened where none is contested"
