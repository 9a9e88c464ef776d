"""Everything goes wrong at once, and no address is handed out twice, nor any word broken: see `storm.py`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.repair.storm import NODES, SMALL, Outcome, faults, storm


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One storm, in the size that fits here; `make storm` raises the full one."""
    return storm(tmp_path_factory.mktemp("storm"), SMALL)


def test_after_the_storm_every_address_is_held_once_and_every_word_is_kept(
    outcome: Outcome, record_property: Callable[[str, object], None]
) -> None:
    """Held against Consul's own records; repeated calls brought every interrupted one to its end."""
    record_property("measured", outcome.figures())
    assert faults(outcome) == []


def test_it_was_a_storm(outcome: Outcome) -> None:
    """Faults met one request in ten at least, calls were repeated, and writers were killed amid theirs."""
    assert outcome.injected > SMALL / 2
    assert sum(one.retries for one in outcome.told) > SMALL / 2
    assert outcome.killed == 2
    assert outcome.repeated
    assert outcome.refusals["another key"]


def test_an_address_held_twice_would_have_been_seen(outcome: Outcome) -> None:
    """The judge of the storm is no blind one: a second registration of one address is named."""
    first = next(item for item in outcome.raw if item["Key"].startswith(f"{NODES}node-"))
    record = json.loads(base64.b64decode(first["Value"]))
    double = {
        **first,
        "Key": f"{NODES}double",
        "Value": base64.b64encode(json.dumps(record).encode()).decode(),
    }
    wrong = faults(replace(outcome, raw=[*outcome.raw, double]))
    assert f"{record['ip']} is registered 2 times" in wrong


def test_a_broken_word_would_have_been_seen(outcome: Outcome) -> None:
    """A node that was told another address than it is registered with is named."""
    at = next(number for number, one in enumerate(outcome.told) if one.address)
    told = [*outcome.told]
    told[at] = told[at]._replace(address="10.255.0.9")
    assert any("was told 10.255.0.9" in text for text in faults(replace(outcome, told=told)))
