"""A clock that is not that of the database server is warned of, and decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from auditor.service.alert_trials import state_trials
from auditor.service.watch_telling import WatchAlerts
from auditor.settings.file import Config, parse_config
from auditor.values.leaders import Leader
from auditor.values.trials import Trial, TrialOutcome
from tests.off_clock import off_clock
from tests.parts.postgresql import PostgresqlServer


@pytest.fixture
def config(postgresql: PostgresqlServer) -> Iterator[Config]:
    """A state on a server, and a lease that is renewed a few times a second."""
    database = postgresql.fresh("prepared")
    url = f"postgresql+psycopg://wgaudit@/{database}?host={postgresql.folder}"
    yield parse_config({"state": {"url": url, "lease": 1.0}}, "a test")
    postgresql.drop(database)


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """By how much this machine's clock is ahead, where the lease is read."""
    ahead = {"seconds": 0.0}
    monkeypatch.setattr("auditor.state.lease.datetime", off_clock(lambda: ahead["seconds"]))
    return ahead


async def test_a_watch_says_once_that_the_clocks_are_apart_and_once_that_they_agree_and_leads_all_along(
    config: Config, off: dict[str, float]
) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()

    async def of_the_clock() -> str:
        async with asyncio.timeout(30.0):
            while "clock" not in (line := await said.get()):
                pass
        return line

    leaders: list[Leader] = []
    async with WatchAlerts(config, said.put_nowait, led_by=leaders.append):
        off["seconds"] = -8000.0
        line = await of_the_clock()
        assert line.startswith(
            "alerts: this machine's clock is 2.2 h behind the database server's; keep both"
        )
        assert "NTP" in line
        off["seconds"] = 0.0
        assert "within 5 s of the database server's" in await of_the_clock()
        assert said.empty()
    assert [leader.epoch for leader in leaders] == [1]


@pytest.mark.parametrize(
    ("seconds", "outcome", "words"),
    [
        (0.0, TrialOutcome.WORKS, "it is within 5 s of that one"),
        (86_400.0, TrialOutcome.WARNS, "it is 24.0 h ahead of that one"),
    ],
)
async def test_the_doctor_compares_the_clocks(
    config: Config, off: dict[str, float], seconds: float, outcome: TrialOutcome, words: str
) -> None:
    off["seconds"] = seconds
    async with WatchAlerts(config, lambda _: None):
        trials = await asyncio.to_thread(lambda: {trial.part: trial for trial in state_trials(config)})
    assert trials["leader"].outcome is TrialOutcome.WORKS
    clock: Trial = trials["clock"]
    assert (clock.outcome, clock.got) == (outcome, words)
    assert ("NTP" in clock.advice) == (outcome is TrialOutcome.WARNS)
