"""What tests of `wgaudit sweep --alert` and its neighbours share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from auditor.demo.servers import ServedFleet
from tests.cli.fleet import Fleet, answering
from tests.doubles.pagerduty import ROUTING_KEY, PagerDutyDouble
from tests.doubles.receiver import Receiver
from tests.doubles.server import Double
from tests.doubles.slack import SlackDouble

SIGNING_SECRET = "signing-secret-0123456789"


@pytest.fixture(scope="session")
def served() -> Iterator[ServedFleet]:
    """Two nodes that answer over SSH."""
    with answering() as fleet:
        yield fleet


@pytest.fixture
def make_fleet(tmp_path: Path, served: ServedFleet) -> Callable[..., Fleet]:
    """Makes a fleet in the test's folder; takes what `Fleet` takes."""

    def make(**settings: Any) -> Fleet:
        return Fleet(tmp_path / "home", served, **settings)

    return make


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody's own endpoint, that checks signatures."""
    with Receiver(secret=SIGNING_SECRET) as double:
        yield double


@pytest.fixture
def pagerduty() -> Iterator[PagerDutyDouble]:
    """PagerDuty's double."""
    with PagerDutyDouble() as double:
        yield double


@pytest.fixture
def slack() -> Iterator[SlackDouble]:
    """Slack's double."""
    with SlackDouble() as double:
        yield double


@pytest.fixture
def heartbeat() -> Iterator[Double]:
    """Somebody who expects to be called."""
    with Double() as double:
        yield double


def to_receiver(double: Receiver, **more: Any) -> dict[str, Any]:
    """The notifier for it, as configured."""
    return {
        "name": "inventory",
        "type": "webhook",
        "url": f"{double.url}/hook",
        "secret": SIGNING_SECRET,
        **more,
    }


def to_pagerduty(double: PagerDutyDouble, **more: Any) -> dict[str, Any]:
    """The notifier for it, as configured."""
    return {"name": "oncall", "type": "pagerduty", "routing_key": ROUTING_KEY, "api": double.url, **more}


def to_slack(double: SlackDouble, **more: Any) -> dict[str, Any]:
    """The notifier for it, as configured."""
    return {"name": "chat", "type": "slack", "url": double.webhook, **more}
