"""Parts of a watch that its settings decide: registry, nodes, policy, rhythm."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from auditor.gather.questioning import Questioning
from auditor.service.lost_registrations import lost_registrations
from auditor.service.parts import build_follower, build_node_follower, build_witnesses, consul_token
from auditor.service.remembered import Remembered
from auditor.settings.file import Config
from auditor.values.models import LostRegistration, Snapshot
from auditor.watch.interface import WatchParts

_CATCH_UP = 2.0
"""Seconds beside `watch.follow_interval` after which a node has seen, and said, what follows from a registration."""
_UNDER_WAY = 3.0
"""Seconds more where collectors follow: a word of theirs that was longer under way is not believed."""


def watch_parts(config: Config, complain: Callable[[str], None]) -> WatchParts:
    """Build what a watch follows. Asks nothing yet. Raises `ConfigError`.

    complain: told in one line of what failed.
    """

    def lost(snapshot: Snapshot, remembered: Remembered) -> tuple[LostRegistration, ...]:
        return lost_registrations(config, snapshot, remembered, complain)

    build_node_follower(config, complain)  # what cannot be used is said now, and not when the watch has begun
    witnesses = build_witnesses(config)
    return WatchParts(
        registry=build_follower(config),
        follower=partial(build_node_follower, config, complain),
        policy=config.policy(),
        lost=lost,
        questioning=Questioning(witnesses, config.witnesses) if witnesses is not None else None,
        round_interval=config.watch.round_interval,
        catch_up=config.watch.follow_interval
        + _CATCH_UP
        + (_UNDER_WAY if config.collectors.regions else 0.0),
        built_of=(
            config.consul,
            consul_token(config),
            config.ssh,
            config.collectors,
            config.mesh,
            config.regions,
            config.watch.follow_interval,
        ),
    )
