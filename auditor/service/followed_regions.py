"""Parts of a watch whose nodes are followed by collectors elsewhere, region by region."""

from __future__ import annotations

from collections.abc import Callable

from auditor.fleet.region_sources import RegionSources
from auditor.gather.collector import Follower
from auditor.gather.following_by_region import RegionalFollower
from auditor.gather.nats.nats_follower import FollowTerms, NatsFollower
from auditor.gather.nats.nats_line import NatsLine
from auditor.gather.nats.nats_login import read_login
from auditor.nodes.probe.probe import BEAT
from auditor.nodes.underlay import further_values
from auditor.settings.file import Config

BEATS = 3
"""Beats that do not come, after which a node is a gap."""
GRACE = 5.0
"""Seconds more: a collector says so itself, if it is there."""


def build_regional_follower(
    config: Config, local: Follower | None, complain: Callable[[str], None]
) -> RegionalFollower:
    """Build what has collectors follow the nodes of their regions. Connects to nothing yet. Raises `ConfigError`.

    local: follows nodes from this machine; None: it is not to. complain: receives one line for what happens to the
    connection, and to a region's collectors.
    """
    collectors, interval = config.collectors, config.watch.follow_interval
    line = NatsLine(read_login(collectors, config.mesh.pools), complain)
    terms = FollowTerms(
        device=config.mesh.device,
        pools=config.mesh.pools,
        address_devices=config.mesh.address_devices,
        endpoints=config.ssh.endpoints,
        interval=interval,
        value_names=further_values(config.ssh.host),
    )
    silence = BEATS * max(BEAT, interval) + GRACE
    regions = {
        region: NatsFollower(region, line, terms, silence, complain=complain) for region in collectors.regions
    }
    return RegionalFollower(RegionSources(config.policy()), regions, local, line.close)
