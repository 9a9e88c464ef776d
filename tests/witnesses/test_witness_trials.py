"""What doctor says of witnesses, over a real sshd: what works, and what is missing where it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from auditor.errors import GapReason
from auditor.service.witness_trials import witness_trials
from auditor.settings.file import Config
from auditor.settings.witnesses import WitnessSettings
from auditor.values.models import NodeId, Registration
from auditor.values.trials import Trial, TrialOutcome
from tests.fleets import prefixes
from tests.parts.nats import NatsServer
from tests.witnesses.conftest import Observer

OTHER = Registration(NodeId("dc1", "edge-sin-1"), None, prefixes(["127.0.0.2"]), "sin", ssh_host="198.18.0.1")


async def tried(observer: Observer, witness: WitnessSettings | None) -> list[tuple[str, TrialOutcome]]:
    return [(trial.part, trial.outcome) for trial in await trials(observer, witness)]


async def trials(observer: Observer, witness: WitnessSettings | None) -> tuple[Trial, ...]:
    config = Config(ssh=observer.access.settings, witnesses=() if witness is None else (witness,))
    return await witness_trials(config, (OTHER, observer.registration), (observer.registration,))


async def test_without_witnesses_nothing_is_tried(observe: Callable[..., Observer]) -> None:
    assert await tried(observe(), None) == []


async def test_a_node_that_connects_on_to_a_known_server_works(
    observe: Callable[..., Observer], tmp_path: Path
) -> None:
    with NatsServer(tmp_path / "nats", name="edge-sin-1", address="127.0.0.2", monitoring=False) as server:
        found = await tried(observe(), WitnessSettings(type="nats", port=server.port))
    assert found == [("witnesses: nats", TrialOutcome.WORKS)]


async def test_a_name_that_belongs_to_no_node_is_a_warning(
    observe: Callable[..., Observer], tmp_path: Path
) -> None:
    with NatsServer(tmp_path / "nats", name="nats-7", address="127.0.0.2", monitoring=False) as server:
        found = await trials(observe(), WitnessSettings(type="nats", port=server.port))
    assert [(item.part, item.outcome) for item in found] == [
        ("witnesses: nats", TrialOutcome.WORKS),
        ("witnesses: nats: names", TrialOutcome.WARNS),
    ]
    assert "'nats-7'" in found[1].got


async def test_a_key_that_may_not_forward_is_told_the_line(observe: Callable[..., Observer]) -> None:
    (found,) = await trials(observe("restrict"), WitnessSettings(type="nats"))
    assert (found.part, found.outcome, found.reason) == (
        "witnesses: nats",
        TrialOutcome.FAILS,
        GapReason.FORWARDING_REFUSED,
    )
    assert 'put restrict,port-forwarding,permitopen="*:4222" before the key there' in found.advice
