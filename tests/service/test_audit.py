"""A look at the fleet, as the services put it together: what earlier sweeps remember has a say in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from auditor.errors import GapReason
from auditor.gather.sweep import SweepOptions
from auditor.service.alert_session import AlertSession
from auditor.service.audit import Auditor
from auditor.settings.file import Config, parse_config
from auditor.values.models import Gap, NodeId
from tests.registry.scripted_server import Scripted, scripted_server
from tests.service.test_alert_session import CLEAN, Complaints


def config_of(folder: Path, server: Scripted, *datacenters: str) -> Config:
    """A registry of these datacenters, and a state in the folder."""
    (folder / "known_hosts").touch()
    document = {
        "consul": {"url": server.url, "datacenters": list(datacenters)},
        "ssh": {"known_hosts": str(folder / "known_hosts"), "agent": False},
        "state": {"path": str(folder / "state" / "wgaudit.db")},
    }
    return parse_config(document, "a test")


async def remember(config: Config, *datacenters: str) -> None:
    """Have an alerted sweep see a node of each datacenter."""
    nodes = frozenset(NodeId(datacenter, "node") for datacenter in datacenters)
    async with AlertSession(config, Complaints(), budget=1.0).round() as current:
        current.plan(report := replace(CLEAN, registered=nodes, observed=nodes))
        await current.deliver(report)


async def missed(config: Config, complaints: Complaints) -> list[Gap]:
    """The gaps of a plain sweep that are about a datacenter that is gone."""
    snapshot = await Auditor(config).look(SweepOptions(), complaints)
    return [gap for gap in snapshot.gaps if gap.reason is GapReason.DATACENTER_GONE]


async def test_a_datacenter_that_an_alerted_sweep_read_is_missed_once_consul_lists_it_no_more(
    tmp_path: Path,
) -> None:
    """A fleet of which a part has left Consul is not a smaller fleet."""
    with scripted_server() as server:
        server.body = b'["dc1"]'
        config = config_of(tmp_path, server, "*")
        await remember(config, "dc1", "dc2")
        assert [gap.datacenter for gap in await missed(config, Complaints())] == ["dc2"]


async def test_without_a_state_nothing_is_missed_and_none_is_made(tmp_path: Path) -> None:
    """A plain sweep leaves no trace."""
    with scripted_server() as server:
        server.body = b'["dc1"]'
        assert await missed(config_of(tmp_path, server, "*"), Complaints()) == []
    assert not (tmp_path / "state").exists()


async def test_a_state_that_cannot_be_read_is_told_and_the_sweep_goes_on(tmp_path: Path) -> None:
    """The look is worth more than the memory."""
    with scripted_server() as server:
        server.body = b'["dc1"]'
        config = config_of(tmp_path, server, "*")
        config.state.path.parent.mkdir()
        config.state.path.write_text("no database")
        complaints = Complaints()
        assert await missed(config, complaints) == []
    assert str(config.state.path) in complaints.lines[0]
