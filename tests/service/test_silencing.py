"""A silence that is added says what it does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerts.models import Policy, Route
from alerts.plan import plan
from auditor.errors import UsageError
from auditor.service.alert_state import no_state, opened_state
from auditor.service.silencing import AddedSilence, add_silence, expire_silence
from auditor.service.timeline_records import find_target
from auditor.settings.file import Config, parse_config
from auditor.state import history
from auditor.values.addresses import Prefix
from auditor.values.guide import Guide
from auditor.values.models import AuditPolicy, NodeId, Registration, Snapshot
from tests.alerts.incidents import finding, report
from tests.fleets import key_of, prefixes

NOW = datetime.now(UTC)


def configured(folder: Path) -> Config:
    """A configuration with a state in the folder, which remembers one incident of `edge-fra-1` and `edge-sin-1`."""
    config = parse_config(
        {
            "state": {"path": str(folder / "state.db")},
            "regions": {"name_pattern": "^[a-z]+-(?P<region>[a-z]{3})-"},
        },
        "w.toml",
    )
    found = finding("10.0.0.9", ("edge-fra-1", "edge-sin-1"))
    with opened_state(config.state.path) as state:
        made = plan(report(found), state.notifications.log(), (), NOW, Policy((Route("slack"),)))
        with state.store.transaction():
            state.notifications.keep(made, 1, NOW)
    return config


def added(config: Config, **matchers: Any) -> AddedSilence:
    """The silence, of two hours."""
    return add_silence(config, NOW, NOW + timedelta(hours=2), "ops", "moving it", **matchers)


def test_a_silence_counts_the_standing_incidents_that_it_mutes(tmp_path: Path) -> None:
    config = configured(tmp_path)
    both = added(config, addresses=[Prefix("10.0.0.9/32")])
    none = added(config, addresses=[Prefix("10.0.0.8/32")])
    assert (both.muted, both.standing, both.doubts) == (1, 1, ())
    assert (none.muted, none.standing) == (0, 1)


def test_a_name_that_nobody_has_is_doubted_and_the_silence_is_stored_all_the_same(tmp_path: Path) -> None:
    config = configured(tmp_path)
    made = added(config, nodes=["edge-fra-l", "edge-fra-1"], addresses=[Prefix("192.0.2.1/32")])
    assert made.doubts == (
        "no node that earlier sweeps saw is called edge-fra-l",
        "192.0.2.1 is in none of mesh.pools",
    )
    with opened_state(config.state.path) as state:
        assert [item.ident for item in state.notifications.silences()] == [made.silence.ident]


def test_where_nothing_is_remembered_no_name_is_doubted(tmp_path: Path) -> None:
    config = parse_config({"state": {"path": str(tmp_path / "state.db")}}, "w.toml")
    assert added(config, nodes=["edge-fra-1"], regions=["fra"]).doubts == ()


def test_an_address_or_region_that_no_registration_has_is_doubted(tmp_path: Path) -> None:
    config = configured(tmp_path)
    one = Registration(NodeId("", "db-1"), key_of("db-1"), prefixes(["10.0.0.7"]), region="nrt", where="db-1")
    snapshot = Snapshot(NOW, NOW, AuditPolicy(), (one,))
    with opened_state(config.state.path) as state, state.store.transaction():
        history.record(state.store, report(), standing=(), resolved=(), snapshot=snapshot)
    addresses = [Prefix(f"10.0.0.{last}/32") for last in (7, 8, 9)]
    assert added(config, addresses=addresses, regions=["nrt", "fra", "syd"]).doubts == (
        "no node that earlier sweeps saw is registered in region syd, or has a name of it",
        "no registration that the last alerted sweep read has 10.0.0.8, and no incident",
    )


def test_commands_that_lead_on_are_those_that_the_reader_can_run(tmp_path: Path) -> None:
    guide, config = Guide(config="/srv/w.toml"), configured(tmp_path)
    with pytest.raises(
        UsageError, match=r"no silence 0bad; `wgaudit silence list --config /srv/w.toml` shows"
    ):
        expire_silence(config, "0bad", NOW, "ops", guide)
    with pytest.raises(UsageError, match=r"; `wgaudit history --config /srv/w.toml` lists"):
        find_target(config, "0bad", guide)
    assert no_state(config, guide).endswith(": `wgaudit sweep --config /srv/w.toml --alert` makes it")
