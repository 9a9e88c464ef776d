"""One look at the fleet from the command line: registry, nodes and progress around one sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.cli import open_files, running, settings
from auditor.cli.progress import watching
from auditor.gather.sweep import SweepOptions
from auditor.values.models import Snapshot

if TYPE_CHECKING:  # `--help` needs no pydantic
    from auditor.settings.file import Config


def look(
    config: Config,
    options: SweepOptions,
    *,
    endpoints: bool = False,
    progress: bool = True,
) -> Snapshot:
    """Sweeps the fleet that the configuration names. Raises `ConfigError` before anything is looked at."""
    registry = settings.build_registry(config)
    collector = settings.build_collector(config, endpoints=endpoints, room=open_files.room_for)
    with watching(enabled=progress) as observer:
        return running.run_sweep(registry, collector, config.policy(), options, observer)
