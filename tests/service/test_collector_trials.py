"""What `wgaudit doctor` says of collectors, over real nats-servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from auditor.errors import GapReason
from auditor.gather.nats.connection import open_nats
from auditor.gather.nats.messages import COLLECTOR_INBOX
from auditor.gather.nats.nats_login import read_login
from auditor.service.collector_trials import collector_trials, is_of_collector
from auditor.service.doctor import try_collector
from auditor.service.version import VERSION
from auditor.settings.collectors import CollectorSettings
from auditor.settings.file import Config, parse_toml
from auditor.values.guide import INSTALLED
from auditor.values.trials import Trial, TrialOutcome
from tests.fakes import MemoryNodes
from tests.fleets import trio
from tests.gather.nats.by_hand import ServedRegion
from tests.gather.nats.documented import DocumentedServer, documented_server
from tests.parts.nats import NatsServer, require_nats


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentedServer]:
    require_nats()
    made = documented_server(tmp_path_factory.mktemp("documented"))
    with made.server:
        yield made


@asynccontextmanager
async def fra(settings: CollectorSettings) -> AsyncIterator[None]:
    """A collector of fra, of version 0.1.0 whatever this is."""
    region = ServedRegion(MemoryNodes(trio()), "fra")
    async with (
        open_nats(read_login(settings, ()), COLLECTOR_INBOX, print) as connection,
        region.service.serving(connection),
    ):
        yield


async def tried(config: Config) -> dict[str, Trial]:
    return {trial.part: trial for trial in await collector_trials(config, INSTALLED)}


async def test_each_region_without_a_collector_is_named_with_the_command_that_starts_one(
    server: DocumentedServer,
) -> None:
    config = parse_toml(server.configuration("auditor", "UAUDITOR"), "auditor.toml")
    user = server.keys["UFRA"].file
    async with fra(config.collectors.model_copy(update={"nkey_file": user})):
        found = await tried(config)
        local = config.collectors.model_copy(update={"fallback": "local"})
        kinder = await tried(config.model_copy(update={"collectors": local}))
    versions = [] if VERSION == "0.1.0" else ["collectors: versions"]
    assert list(found) == ["collectors: NATS", "collectors", "collectors: sin", *versions]
    assert found["collectors: NATS"].got == f"lets the user {server.keys['UAUDITOR'].public} in"
    assert found["collectors"].got == "1 region answered: fra (here/7)"
    missing = found["collectors: sin"]
    assert (missing.outcome, missing.reason) == (TrialOutcome.FAILS, GapReason.COLLECTOR_MISSING)
    assert missing.got == "no collector serves it; its nodes are gaps"
    assert "wgaudit collector --region sin" in missing.advice
    assert kinder["collectors: sin"].outcome is TrialOutcome.WARNS


async def test_a_server_that_lets_everybody_in_is_a_warning_and_other_versions_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auditor.service.collector_trials.VERSION", "9.9.9")
    with NatsServer(tmp_path, name="open", monitoring=False) as plain:
        url = f"nats://127.0.0.1:{plain.port}"
        config = parse_toml(f'[collectors]\nnats = "{url}"\nregions = ["fra"]\n', "auditor.toml")
        async with fra(config.collectors):
            found = await tried(config)
    assert {part: trial.outcome.value for part, trial in found.items()} == {
        "collectors: NATS": "works",
        "collectors: NATS: login": "warns",
        "collectors": "works",
        "collectors: versions": "warns",
    }
    assert found["collectors: versions"].got == "this is 9.9.9; fra here has 0.1.0"
    away = (await tried(config))["collectors: NATS"]
    assert away.outcome is TrialOutcome.FAILS
    assert "Connect call failed" in away.got


async def test_without_collectors_nothing_is_tried() -> None:
    assert await tried(Config()) == {}


async def test_a_collectors_own_configuration_is_tried_for_what_a_collector_needs_in_its_region_alone(
    server: DocumentedServer, tmp_path: Path
) -> None:
    text = server.configuration("collector", "UFRA").replace(
        "/etc/wgaudit/known_hosts", str(tmp_path / "hosts")
    )
    text = text.replace("/etc/wgaudit/id_ed25519", str(tmp_path / "key"))
    (tmp_path / "hosts").touch()
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "key")
    config = parse_toml(text, "collector.toml")
    assert is_of_collector(config)
    found, other = [await try_collector(config, None, region) for region in ("fra", "sin")]
    assert found.whole
    assert [trial.part for trial in found.trials] == [
        "configuration",
        "collectors: NATS",
        "collectors: NATS: permissions",
        "SSH identities and host keys",
    ]
    (refused,) = [trial for trial in other.trials if trial.outcome is TrialOutcome.FAILS]
    assert "wgaudit.collect.sin" in refused.got
    assert refused.advice == "give this user a collector's permissions of docs/collectors.md"
    (tmp_path / "key").unlink()
    (missing,) = [
        trial
        for trial in (await try_collector(config, None, "")).trials
        if trial.outcome is TrialOutcome.FAILS
    ]
    assert missing.part == "SSH identities and host keys"


def test_a_configuration_with_regions_or_with_a_registry_is_no_collectors_own() -> None:
    nats = '[collectors]\nnats = "nats://127.0.0.1:4222"\n'
    for more in ('regions = ["fra"]\n', '[consul]\nurl = "http://127.0.0.1:8500"\n'):
        assert not is_of_collector(parse_toml(nats + more, "auditor.toml"))
